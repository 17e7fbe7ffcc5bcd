package replication_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
)

// A modelValue is a set, whose elements have empty values, or a hash.
type modelValue struct {
	elements map[string]string
	expireAt int64 // unix milliseconds; -1: never
}

type model map[string]*modelValue

// TestSyncAgainstModel runs a random workload on sponsors and on others, and
// compares what SYNC has made of the remote, key by key. What is deleted here
// stays there: SYNC adds.
func TestSyncAgainstModel(t *testing.T) {
	p := newPair(t, func(c *replication.Config) {
		c.ReadThrough = replication.ReadOff
		c.Templates = templates(t, "user:<id> user:<id>:mnodes user:<id>:x:*")
		c.Unfiltered = templates(t, "graph:* open:<id>")
	})
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			p.local.must(t, "FLUSHALL")
			p.engine.DataSetReplaced()
			p.flushRemote(t)
			p.knows(t, 0)
			rng := rand.New(rand.NewPCG(seed, 0))
			p.sponsors(t, "1", "2", "*", "\xff")
			local, remote := model{}, model{}
			local.at(sponsorsKey).elements = map[string]string{"1": "", "2": "", "*": "", "\xff": ""}
			for range 3 {
				for range 300 {
					p.step(t, rng, local)
				}
				p.sync(t)
				remote.merge(local)
				p.wantRemote(t, remote)
			}
		})
	}
}

// step does one random thing to the local server and to its model.
func (p *pair) step(t *testing.T, rng *rand.Rand, m model) {
	t.Helper()
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	owner := pick("1", "2", "*", "\xff", "3", "1:2", "11", "?")
	key := pick("user:"+owner, "user:"+owner+":mnodes", "user:"+owner+":x:"+pick("a", "b"), "graph:"+pick("a", "b"), "open:"+owner, "other:"+owner)
	element, value := "e"+strconv.Itoa(rng.IntN(20)), "v"+strconv.Itoa(rng.IntN(1000))
	isSet := strings.HasSuffix(key, ":mnodes") || strings.HasPrefix(key, "graph:")
	at := int64(4_000_000_000_000) + rng.Int64N(1000)
	switch rng.IntN(10) {
	case 0:
		p.local.must(t, "DEL", key)
		delete(m, key)
	case 1:
		p.local.must(t, "PEXPIREAT", key, strconv.FormatInt(at, 10))
		if v := m[key]; v != nil {
			v.expireAt = at
		}
	case 2:
		p.local.must(t, "PERSIST", key)
		if v := m[key]; v != nil {
			v.expireAt = -1
		}
	case 3, 4:
		p.local.must(t, map[bool]string{true: "SREM", false: "HDEL"}[isSet], key, element)
		if v := m[key]; v != nil {
			if delete(v.elements, element); len(v.elements) == 0 {
				delete(m, key)
			}
		}
	default:
		if isSet {
			p.local.must(t, "SADD", key, element)
			value = ""
		} else {
			p.local.must(t, "HSET", key, element, value)
		}
		m.at(key).elements[element] = value
	}
}

func (m model) at(key string) *modelValue {
	if m[key] == nil {
		m[key] = &modelValue{elements: make(map[string]string), expireAt: -1}
	}
	return m[key]
}

// merge does what a SYNC does.
func (m model) merge(local model) {
	for key, v := range local {
		if !travels(key) {
			continue
		}
		to := m.at(key)
		maps.Copy(to.elements, v.elements)
		to.expireAt = v.expireAt
	}
}

// travels is R1, told without templates.
func travels(key string) bool {
	parts := strings.SplitN(key, ":", 4)
	switch {
	case key == sponsorsKey, parts[0] == "graph":
		return true
	case parts[0] == "open":
		return len(parts) == 2
	case parts[0] != "user" || !slices.Contains([]string{"1", "2", "*", "\xff"}, parts[1]):
		return false
	}
	return len(parts) == 2 || len(parts) == 3 && parts[2] == "mnodes" || len(parts) == 4 && parts[2] == "x"
}

// wantRemote compares all that the remote has with m.
func (p *pair) wantRemote(t *testing.T, m model) {
	t.Helper()
	if got, want := p.remoteKeys(t), slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
		t.Fatalf("keys on the remote = %q, want %q", got, want)
	}
	for key, want := range m {
		got := make(map[string]string)
		var err error
		if p.r.Type(t.Context(), key).Val() == "hash" {
			got, err = p.r.HGetAll(t.Context(), key).Result()
		} else {
			var members []string
			members, err = p.r.SMembers(t.Context(), key).Result()
			for _, member := range members {
				got[member] = ""
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, want.elements) {
			t.Errorf("%q on the remote = %q, want %q", key, got, want.elements)
		}
		if at := p.r.Do(t.Context(), "PEXPIRETIME", key).Val(); at != want.expireAt {
			t.Errorf("%q expires on the remote at %v, want %d", key, at, want.expireAt)
		}
	}
}
