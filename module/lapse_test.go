package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const wildKeys = `sponsor.keys "user_details:<id> user:<id> user:<id>:mnodes user:<id>:x:*"`

// fill gives owner a key of each template.
func fill(t *testing.T, c *redis.Client, owner string) (keys []string) {
	t.Helper()
	keys = []string{"user_details:" + owner, "user:" + owner, "user:" + owner + ":mnodes", "user:" + owner + ":x:1"}
	must(t, c, cmd("HSET", keys[0], "id", owner), cmd("SET", keys[1], "v"), cmd("SADD", keys[2], "a", "b"), cmd("RPUSH", keys[3], "1", "2"))
	return keys
}

func exist(t *testing.T, c *redis.Client, keys ...string) int64 {
	t.Helper()
	n, err := c.Exists(t.Context(), keys...).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestForget erases people: a sponsor, a sponsor whose keys are away, somebody who is
// none, and nobody else.
func TestForget(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, wildKeys, "sponsor.read-through off")
		must(t, p.l, cmd("SADD", sponsorsKey, "8", "77", "*"))
		mine, away, others, odd := fill(t, p.l, "7"), fill(t, p.l, "8"), fill(t, p.l, "77"), fill(t, p.l, "*")
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		p.waitForSponsors(t, 4)
		fill(t, p.l, "7")
		p.safe(t)
		for id, want := range map[string]int{"7": 4, "8": 4, "*": 4, "nobody": 0} {
			got, err := p.l.Do(t.Context(), "SPONSOR.FORGET", id).Int()
			if err != nil || got != want {
				t.Errorf("FORGET %s = %d, %v; want %d", id, got, err, want)
			}
		}
		for _, keys := range [][]string{mine, away, odd} {
			if here, there := exist(t, p.l, keys...), exist(t, p.r, keys...); here+there > 0 {
				t.Errorf("%d keys like %s are here, and %d on the remote, want none", here, keys[0], there)
			}
		}
		if n := exist(t, p.r, others...); n != 4 {
			t.Errorf("the remote has %d keys of somebody else, want 4", n)
		}
		if members := members(t, p.l, sponsorsKey); len(members) != 4 {
			t.Errorf("sponsors = %q, want all as they were", members)
		}
		// Later writes are new data.
		must(t, p.l, cmd("SADD", "user:7:mnodes", "new"))
		p.safe(t)
		p.wantSame(t, "user:7:mnodes")

		// Somebody who was a sponsor once.
		must(t, p.l, cmd("SREM", sponsorsKey, "77"))
		p.safe(t)
		if n, err := p.l.Do(t.Context(), "SPONSOR.FORGET", "77").Int(); n != 4 || err != nil {
			t.Errorf("FORGET = %d, %v; want 4", n, err)
		}
		if n := exist(t, p.r, others...); n != 0 {
			t.Errorf("the remote has %d keys of somebody who was a sponsor, want none", n)
		}
	})
}

// TestForgetCancels: dead letters and what is on its way go with the rest.
func TestForgetCancels(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.r, cmd("SET", "user:7:mnodes", "no set"))
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	redistest.Eventually(t, soon, func() error {
		if n := statusInt(t, p.l, "dead_letters"); n != 1 {
			return fmt.Errorf("dead_letters = %d, want 1", n)
		}
		return nil
	})
	if n, err := p.l.Do(t.Context(), "SPONSOR.FORGET", "7").Int(); n != 1 || err != nil {
		t.Errorf("FORGET = %d, %v; want 1", n, err)
	}
	if n := statusInt(t, p.l, "dead_letters"); n != 0 {
		t.Errorf("dead_letters = %d, want none", n)
	}
	if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
		t.Error("the remote has the key still")
	}
}

// TestForgetRefused: what the remote does not allow is an error, and can be tried
// again.
func TestForgetRefused(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "-unlink"))
	wantError(t, p.l, []string{"erased here", "NOPERM", "SPONSOR.RETRY"}, "SPONSOR.FORGET", "7")
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "+unlink"))
	must(t, p.l, cmd("SPONSOR.RETRY"))
	p.safe(t)
	if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
		t.Error("the remote has the key still")
	}
	wantError(t, p.l, []string{"cannot be the id"}, "SPONSOR.FORGET", "a:b")
	wantError(t, p.l, []string{"wrong number of arguments"}, "SPONSOR.FORGET")
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.write-behind", "no"))
	wantError(t, p.l, []string{"sponsor.write-behind yes"}, "SPONSOR.FORGET", "7")
}

// TestForgetOutlivesACrash: the remote hears of it whatever happens to this server.
func TestForgetOutlivesACrash(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor,
			Conf:   append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "appendonly yes", "appendfsync always"),
		})
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"), cmd("SREM", sponsorsKey, "7"))
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "b"))
		p.safe(t)
		must(t, p.l, cmd("SREM", sponsorsKey, "7"))
		p.safe(t)
		proxy.Refuse()
		proxy.CloseAll()
		p.waitFor(t, "down")
		impatient := p.local.Client(func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 100*time.Millisecond, -1 })
		_ = impatient.Do(t.Context(), "SPONSOR.FORGET", "7").Err() // waits longer than that
		redistest.Eventually(t, soon, func() error {
			if n := exist(t, p.l, "user:7:mnodes"); n != 0 {
				return fmt.Errorf("the key is still here")
			}
			return nil
		})
		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.local.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		p.safe(t)
		if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
			t.Error("the remote has the key still")
		}
	})
}

// TestPurge: with on-lapse purge, who stops sponsoring has their keys here, all of
// them, and nothing on the remote; who comes back has them there again.
func TestPurge(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, wildKeys, "sponsor.on-lapse purge", `sponsor.keys-unfiltered "user_details:<id>"`)
		must(t, p.l, cmd("SADD", sponsorsKey, "8"))
		keys, others := fill(t, p.l, "7"), fill(t, p.l, "8")
		p.safe(t)
		want := make(map[string]string)
		for _, key := range keys {
			want[key] = contents(t, p.l, key)
		}
		// Away, but for a part.
		must(t, p.l, cmd("CONFIG", "SET", "sponsor.read-through", "off"), cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7", "8")
		must(t, p.l, cmd("SADD", "user:7:mnodes", "c"))
		want["user:7:mnodes"] = strings.Replace(want["user:7:mnodes"], `"b"`, `"b" "c"`, 1)
		must(t, p.l, cmd("SREM", sponsorsKey, "7"))
		p.safe(t)
		for _, key := range keys {
			if key == "user_details:7" {
				continue // everybody's
			}
			if got := contents(t, p.l, key); got != want[key] {
				t.Errorf("%s here = %s, want %s", key, got, want[key])
			}
			if n := exist(t, p.r, key); n != 0 {
				t.Errorf("the remote has %s still", key)
			}
		}
		if n := exist(t, p.r, append(others, "user_details:7")...); n != 5 {
			t.Errorf("the remote has %d keys of others, want 5", n)
		}
		must(t, p.l, cmd("SADD", sponsorsKey, "7"))
		p.safe(t)
		for _, key := range keys {
			if got := contents(t, p.r, key); got != want[key] {
				t.Errorf("%s on the remote = %s, want %s", key, got, want[key])
			}
		}
		// Nobody lapses by what is done to the set as a whole.
		must(t, p.l, cmd("DEL", sponsorsKey))
		p.safe(t)
		if n := exist(t, p.r, keys...); n != 4 {
			t.Errorf("the remote has %d keys after DEL of the sponsors, want 4", n)
		}
	})
}

// TestPurgeIsCancelled by who comes back before it was carried out.
func TestPurgeIsCancelled(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()),
		writeBehind, wildKeys, "sponsor.on-lapse purge", "sponsor.read-through off")})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"))
	keys := fill(t, p.l, "7")
	p.safe(t)
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7")
	p.safe(t)
	proxy.Refuse()
	proxy.CloseAll()
	p.waitFor(t, "down")
	must(t, p.l, cmd("SREM", sponsorsKey, "7"), cmd("SADD", sponsorsKey, "7"))
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	p.safe(t)
	if n := exist(t, p.r, keys...); n != 4 {
		t.Errorf("the remote has %d keys, want all 4", n)
	}
	if n := exist(t, p.l, keys...); n != 0 {
		t.Errorf("%d keys are here, want none: nobody has asked for them", n)
	}
}

func TestPruneOfNobody(t *testing.T) {
	p := newPair(t, redistest.Flavor{}, writeBehind)
	p.waitFor(t, "connected")
	p.safe(t)
	wantError(t, p.l, []string{"ERR", "nobody is a sponsor"}, "SPONSOR.SYNC", "PRUNE")
}

// TestPrune removes what is gone here, and nothing that is merely away.
func TestPrune(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, wildKeys)
		must(t, p.l, cmd("SADD", sponsorsKey, "8", "9", "10"))
		for _, id := range []string{"7", "8", "9", "10"} {
			fill(t, p.l, id)
		}
		var large []any
		for i := range 3000 {
			large = append(large, i)
		}
		must(t, p.l, append(cmd("SADD", "user:7:x:large"), large...))
		p.safe(t)
		must(t, p.r, cmd("SADD", "user:7:mnodes", "gone"), cmd("SADD", "user:7:x:large", "gone"), cmd("HSET", "user_details:7", "gone", "v"),
			cmd("SADD", "user:10:x:never-here", "a"))
		// 8 is away, 9 and 10 have stopped sponsoring, and 10 is away. What was
		// written in the moment in which its owner became a sponsor may be taken
		// for a part: 9 writes all of it anew.
		must(t, p.l, cmd("SREM", sponsorsKey, "9", "10"), cmd("DEL", "user_details:9", "user:9", "user:9:mnodes", "user:9:x:1"))
		fill(t, p.l, "9")
		p.safe(t)
		for _, id := range []string{"8", "10"} {
			for _, key := range []string{"user_details:" + id, "user:" + id, "user:" + id + ":mnodes", "user:" + id + ":x:1"} {
				must(t, p.l, cmd("EXPIRE", key, 1000))
			}
		}
		p.safe(t)
		must(t, p.l, cmd("CONFIG", "SET", "maxmemory-policy", "volatile-random"), cmd("CONFIG", "SET", "maxmemory", 1), cmd("PING"),
			cmd("CONFIG", "SET", "maxmemory", 0))
		// Without reading them, which would bring them back.
		if keys := strings.Join(allKeys(t, p.l), " "); strings.Contains(keys, "user:8") || strings.Contains(keys, "user:10") {
			t.Fatalf("keys = %s, want those of 8 and 10 evicted", keys)
		}
		before := allKeys(t, p.r)
		wantCounts(t, p.sync(t, "PRUNE", "DRYRUN"), map[string]int64{"pruned": 4})
		wantKeys(t, p.r, before...)
		wantCounts(t, p.sync(t, "PRUNE"), map[string]int64{"pruned": 4, "failed": 0})
		p.wantSame(t, "user:7:mnodes", "user:7:x:large", "user_details:7", sponsorsKey)
		if n := exist(t, p.r, "user_details:9", "user:9", "user:9:mnodes", "user:9:x:1"); n != 0 {
			t.Errorf("the remote has %d keys of somebody who is no sponsor and has them here, want none", n)
		}
		if n := exist(t, p.r, "user:8", "user:8:mnodes", "user:10", "user:10:mnodes", "user:10:x:never-here"); n != 5 {
			t.Errorf("the remote has %d of 5 keys that are merely away", n)
		}
	})
}
