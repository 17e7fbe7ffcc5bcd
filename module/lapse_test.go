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

// TestPruneKeepsTheOnlyCopy: what somebody wrote after they had lapsed, while their key was away, is a part.
func TestPruneKeepsTheOnlyCopy(t *testing.T) {
	p, _ := proxied(t)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
	p.safe(t)
	p.loseAll(t) // away
	must(t, p.l, cmd("SREM", sponsorsKey, "7"))
	p.safe(t)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "new")) // R4: a part
	p.safe(t)
	p.sync(t, "PRUNE")
	if n := exist(t, p.r, "user:7:mnodes"); n == 0 {
		t.Error("PRUNE removed the only full copy {a b}; here is only a part")
	}
}

// TestPruneKeepsTheRestOfAStub: a key that was known to be a part when its owner lapsed.
func TestPruneKeepsTheRestOfAStub(t *testing.T) {
	p, proxy := proxied(t, "sponsor.read-through off")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
	p.safe(t)
	p.loseAll(t)
	p.cutOff(t, proxy)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "new"), cmd("SREM", sponsorsKey, "7"))
	p.reconnect(t, proxy)
	p.safe(t)
	p.sync(t, "PRUNE")
	if n := exist(t, p.r, "user:7:mnodes"); n == 0 {
		t.Errorf("PRUNE removed the only full copy; local %q", members(t, p.l, "user:7:mnodes"))
	}
}

// TestPurgeKeepsTheOnlyCopy: what is written between the lapse and the purge is merged.
func TestPurgeKeepsTheOnlyCopy(t *testing.T) {
	p, proxy := proxied(t, "sponsor.on-lapse purge")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
	p.safe(t)
	p.loseAll(t)
	p.cutOff(t, proxy)
	must(t, p.l, cmd("SREM", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "new"))
	p.reconnect(t, proxy)
	p.safe(t)
	if got := members(t, p.l, "user:7:mnodes"); len(got) != 3 {
		t.Errorf("local = %q, remote exists = %d: a and b are lost on both sides", got, exist(t, p.r, "user:7:mnodes"))
	}
}

// TestPurgeBringsBackNothingDeleted: a key that was deleted between the lapse and the purge goes on the remote, and does not come back.
func TestPurgeBringsBackNothingDeleted(t *testing.T) {
	p, proxy := proxied(t, "sponsor.on-lapse purge")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
	p.safe(t)
	p.cutOff(t, proxy)
	must(t, p.l, cmd("SREM", sponsorsKey, "7"), cmd("DEL", "user:7:mnodes"))
	p.reconnect(t, proxy)
	p.safe(t)
	if n := exist(t, p.l, "user:7:mnodes"); n != 0 {
		t.Errorf("deleted by a client, and back: %q", members(t, p.l, "user:7:mnodes"))
	}
}

// TestR1_LargeAfterLapse: a large value that waits for its turn, or is half sent, stays
// here when its owner lapses. So it is in SYNC.
func TestR1_LargeAfterLapse(t *testing.T) {
	for name, send := range map[string]func(*pair) (done func()){
		"write-behind": func(p *pair) func() {
			must(t, p.l, cmd("RPUSH", "user:7:l", "last"))
			return func() { p.safe(t) }
		},
		"SYNC": func(p *pair) func() {
			done := make(chan map[string]any)
			go func() { done <- p.sync(t) }()
			return func() { <-done }
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, proxy := proxied(t, `sponsor.keys "user:<id>:*"`)
			elements := append(cmd("RPUSH", "user:7:l"), many(1500, "element-%d")...)
			for range 20 {
				must(t, p.l, elements)
			}
			p.safe(t)
			must(t, p.r, cmd("DEL", "user:7:l"))
			proxy.Latency(10 * time.Millisecond)
			done := send(p)
			stageOf(t, p.r, "user:7:l")
			must(t, p.l, cmd("SREM", sponsorsKey, "7"), cmd("DEL", "user:7:l"), elements)
			done()
			p.safe(t)
			for _, key := range allKeys(t, p.r) {
				if strings.Contains(key, "user:7") {
					t.Errorf("the remote has %s, whose owner is no sponsor any more", key)
				}
			}
		})
	}
}

// TestPurgeRefused: changes of who lapses do not wait for ever when the remote refuses
// to hear of it.
func TestPurgeRefused(t *testing.T) {
	p, proxy := proxied(t, "sponsor.on-lapse purge")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "-srem"))
	p.cutOff(t, proxy)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "b"), cmd("SREM", sponsorsKey, "7"))
	p.reconnect(t, proxy)
	redistest.Eventually(t, soon, func() error {
		st, err := status(p.l)
		if st["pending_keys"] != int64(0) || st["dead_letters"] != int64(1) {
			return fmt.Errorf("status = %v, want one dead letter and nothing pending (%w)", st, err)
		}
		return nil
	})
}

// TestPurgeWithoutScan: a purge that the remote does not allow stops nobody else.
func TestPurgeWithoutScan(t *testing.T) {
	p, _ := proxied(t, "sponsor.on-lapse purge", wildKeys)
	fill(t, p.l, "7")
	p.safe(t)
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "-scan"))
	must(t, p.l, cmd("SREM", sponsorsKey, "7"), cmd("SADD", "user:9:mnodes", "x"), cmd("SADD", sponsorsKey, "9"))
	p.safe(t)
	p.wantSame(t, sponsorsKey, "user:9:mnodes")
}

// TestPruneAfterMeetingLarge: a large set is a part as well, if the remote had more of it at first.
func TestPruneAfterMeetingLarge(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	must(t, p.r, cmd("SADD", "user:7:mnodes", "theirs"))
	must(t, p.l, cmd("SADD", sponsorsKey, "7"))
	largeSet(t, p.l, "user:7:mnodes", 2)
	p.waitForSponsors(t, 1)
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.write-behind", "yes"))
	p.safe(t)
	p.sync(t, "PRUNE")
	if !p.r.SIsMember(t.Context(), "user:7:mnodes", "theirs").Val() {
		t.Error("PRUNE removed a member that has never been here")
	}
}

// TestPurgeAfterSremInMulti: as the API does it.
func TestPurgeAfterSremInMulti(t *testing.T) {
	p, _ := proxied(t, "sponsor.on-lapse purge")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	tx(t, p.l, cmd("SREM", sponsorsKey, "7"))
	p.safe(t)
	if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
		t.Error("SREM inside MULTI has purged nothing")
	}
}
