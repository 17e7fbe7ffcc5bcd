package replication_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// safe waits until the remote has acknowledged every change.
func (p *pair) safe(t *testing.T) {
	t.Helper()
	waiting, err := p.engine.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if left, err := waiting.Left(soon); left != 0 || err != nil {
		t.Fatalf("%d keys are left, %v (%+v)", left, err, p.engine.Status())
	}
}

// TestFollowsAgainstModel writes, loses keys as eviction does, copies, fetches and
// reconfigures at random over a bad network. At the end the remote must have what
// the clients were told, and so must the local server once it was asked. One client
// at a time, so that a seed can be repeated; the network is not told apart.
func TestFollowsAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			followAgainstModel(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func followAgainstModel(t *testing.T, rng *rand.Rand) {
	p := newPair(t, func(c *replication.Config) {
		c.WriteBehind = true
		c.Templates = templates(t, "user:<id> user:<id>:mnodes user:<id>:x:*")
		c.AbsentTTL = time.Millisecond
		c.BufferLimit = 1 << 20
	})
	p.sponsors(t, "1", "2", "\xff")
	p.safe(t)
	m := model{}
	keys := []string{"user:1", "user:2", "user:\xff", "user:1:mnodes", "user:2:mnodes", "user:\xff:mnodes", "user:1:x:a", "user:3:mnodes"}
	var runs []*replication.SyncRun
	history := make(map[string][]string)
	note := func(key, format string, args ...any) {
		history[key] = append(history[key], fmt.Sprintf(format, args...))
	}
	for range 600 {
		key := keys[rng.IntN(len(keys))]
		element, value := "e"+strconv.Itoa(rng.IntN(12)), "v"+strconv.Itoa(rng.IntN(1000))
		isHash := key == "user:1" || key == "user:2" || key == "user:\xff"
		switch rng.IntN(20) {
		case 0:
			n := p.number(t, "DEL", key)
			note(key, "DEL = %d", n)
			if n == 1 {
				delete(m, key)
			}
		case 1, 2:
			p.local.lose(t, key)
			note(key, "is evicted")
		case 3:
			run, _, err := p.engine.Sync(replication.SyncRequest{})
			if err != nil {
				t.Fatal(err)
			}
			runs = append(runs, run)
		case 4:
			p.local.must(t, map[bool]string{true: "HGETALL", false: "SMEMBERS"}[isHash], key)
			note(key, "is read")
		case 5:
			p.proxy.CutAfter(rng.Int64N(3000))
		case 6:
			p.proxy.CutReplyAfter(rng.Int64N(1000))
		case 7:
			p.config.Remote.ServerName = []string{"", "localhost"}[rng.IntN(2)]
			p.engine.Configure(p.config) // a new session
		case 8, 9, 10, 11:
			n := p.number(t, map[bool]string{true: "HDEL", false: "SREM"}[isHash], key, element)
			note(key, "remove %s = %d", element, n)
			if n == 1 {
				delete(m.at(key).elements, element)
			}
		default:
			if isHash {
				p.local.must(t, "HSET", key, element, value)
			} else {
				p.local.must(t, "SADD", key, element)
				value = ""
			}
			m.at(key).elements[element] = value
			note(key, "set %s %s", element, value)
		}
	}
	for _, run := range runs {
		_, _ = run.Wait() // may fail: the network does
	}
	if err := p.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, replication.StateConnected)
	p.safe(t)
	for _, key := range keys {
		want := m.at(key).elements
		if key == "user:3:mnodes" {
			want = nil // no sponsor's
		}
		if got := p.remoteElements(t, key); !maps.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%q on the remote = %q, want %q\n%s", key, got, want, strings.Join(history[key], "\n"))
		}
		if len(want) == 0 {
			continue
		}
		redistest.Eventually(t, soon, func() error {
			if got := p.localElements(t, key); !maps.Equal(got, want) {
				return fmt.Errorf("%q here = %q, want %q (%+v)\n%s", key, got, want, p.engine.Status(), strings.Join(history[key], "\n"))
			}
			return nil
		})
	}
	if st := p.engine.Status(); st.Lost != 0 || st.DeadLetters != 0 {
		t.Errorf("status = %+v, want nothing lost", st)
	}
	for _, key := range p.remoteKeys(t) {
		if !travels(key) && key != "user:\xff:mnodes" && key != "sponsor:dataset:acme" {
			t.Errorf("the remote has %q", key)
		}
	}
}

// number runs a command that answers with a number.
func (p *pair) number(t *testing.T, name string, args ...string) int64 {
	t.Helper()
	n, err := resp.Int(p.local.must(t, name, args...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *pair) remoteElements(t *testing.T, key string) map[string]string {
	t.Helper()
	ctx := context.Background()
	if p.r.Type(ctx, key).Val() == "hash" {
		return p.r.HGetAll(ctx, key).Val()
	}
	got := make(map[string]string)
	for _, member := range p.r.SMembers(ctx, key).Val() {
		got[member] = ""
	}
	return got
}

func (p *pair) localElements(t *testing.T, key string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	if strings.Count(key, ":") == 1 {
		for pair := range slices.Chunk(p.local.items(t, "HGETALL", key), 2) {
			got[pair[0]] = pair[1]
		}
		return got
	}
	for _, member := range p.local.items(t, "SMEMBERS", key) {
		got[member] = ""
	}
	return got
}
