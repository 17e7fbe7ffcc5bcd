package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// tx runs commands in a transaction, whose arguments the module does not see.
func tx(t *testing.T, c *redis.Client, commands ...[]any) {
	t.Helper()
	_, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		for _, args := range commands {
			p.Do(t.Context(), args...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stubbed is a pair whose sponsor's set has a and b on the remote, and c alone here.
func stubbed(t *testing.T, flavor redistest.Flavor) *pair {
	t.Helper()
	p := following(t, flavor, "sponsor.read-through off")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
	p.safe(t)
	must(t, p.l, cmd("FLUSHALL"), cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "c"))
	p.waitForSponsors(t, 1)
	p.safe(t)
	eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b", "c")
	return p
}

// TestR4_StubStaysOne does to a stub what might make the module take it for the
// whole value, and then has it sent as a whole: nothing that was not here may go
// on the remote.
func TestR4_StubStaysOne(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		for name, do := range map[string]func(*pair){
			"FLUSHDB of another database": func(p *pair) {
				must(t, p.local.Client(func(o *redis.Options) { o.DB = 5 }), cmd("FLUSHDB"))
			},
			"SWAPDB of others": func(p *pair) { must(t, p.l, cmd("SWAPDB", 5, 6)) },
			"DEBUG RELOAD": func(p *pair) {
				must(t, p.l, cmd("DEBUG", "RELOAD"))
				p.waitForSponsors(t, 1)
			},
			"emptied and filled": func(p *pair) { must(t, p.l, cmd("SREM", "user:7:mnodes", "c"), cmd("SADD", "user:7:mnodes", "c")) },
			"SPOP of all":        func(p *pair) { must(t, p.l, cmd("SPOP", "user:7:mnodes", 10), cmd("SADD", "user:7:mnodes", "c")) },
		} {
			t.Run(name, func(t *testing.T) {
				p := stubbed(t, flavor)
				do(p)
				tx(t, p.l, cmd("SADD", "user:7:mnodes", "d"))
				p.safe(t)
				eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b", "c", "d")
			})
		}
	})
}

// TestR4_StubMovesAway: what was here gets the new name; the rest keeps the old one.
func TestR4_StubMovesAway(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := stubbed(t, flavor)
		must(t, p.l, cmd("RENAME", "user:7:mnodes", "user:7"))
		p.safe(t)
		eventuallyMembers(t, p.r, "user:7", "c")
		eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b")
	})
}

func TestR4_EmptiedHash(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.read-through off")
		must(t, p.l, cmd("HSET", "user:7", "f", "v"))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"), cmd("SADD", sponsorsKey, "7"), cmd("HSET", "user:7", "g", "w"))
		p.waitForSponsors(t, 1)
		p.safe(t)
		tx(t, p.l, cmd("HDEL", "user:7", "g"))
		p.safe(t)
		wantHash(t, p.r, "user:7", map[string]string{"f": "v"})
	})
}

// TestR6_NewSponsorsOldData: what the remote has of somebody who becomes a sponsor
// is merged on both sides, and later writes replace nothing of it.
func TestR6_NewSponsorsOldData(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.r, cmd("SADD", "user:8:mnodes", "old", "older"))
		must(t, p.l, cmd("SADD", "user:8:mnodes", "x"), cmd("SADD", sponsorsKey, "8"))
		p.safe(t)
		tx(t, p.l, cmd("SADD", "user:8:mnodes", "y"))
		eventuallyMembers(t, p.l, "user:8:mnodes", "old", "older", "x", "y")
		p.safe(t)
		eventuallyMembers(t, p.r, "user:8:mnodes", "old", "older", "x", "y")
	})
}

// TestR1_WhoLeavesIsNotFollowed: however somebody leaves the set of sponsors, what
// they write in the next moment stays here.
func TestR1_WhoLeavesIsNotFollowed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		for i, leave := range [][]any{
			cmd("SREM", sponsorsKey, "9"), cmd("DEL", sponsorsKey), cmd("SET", sponsorsKey, "x"),
			cmd("RENAME", sponsorsKey, "elsewhere"), cmd("SDIFFSTORE", sponsorsKey, sponsorsKey, sponsorsKey),
		} {
			key := fmt.Sprintf("user:9:mnodes:%d", i)
			must(t, p.l, cmd("CONFIG", "SET", "sponsor.keys", "user:<id>:*"), cmd("DEL", sponsorsKey), cmd("SADD", sponsorsKey, "9", "10"))
			p.waitForSponsors(t, 2)
			tx(t, p.l, leave, cmd("SADD", key, "secret"))
			redistest.Eventually(t, soon, func() error {
				if n := statusInt(t, p.l, "pending_keys"); n != 0 {
					return fmt.Errorf("after %v: %d keys are pending", leave, n)
				}
				return nil
			})
			if n := p.r.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("after %v: what was written then is on the remote", leave)
			}
		}
		// And the set works again.
		must(t, p.l, cmd("DEL", sponsorsKey), cmd("SADD", sponsorsKey, "9"), cmd("SADD", "user:9:mnodes", "a"))
		p.safe(t)
		eventuallyMembers(t, p.r, "user:9:mnodes", "a")
	})
}

// TestPauseInATransaction: a mark must not be written while clients are paused, or
// Redis 8 ends itself; it is written when they go on.
func TestPauseInATransaction(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "appendonly yes")
		tx(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("CLIENT", "PAUSE", 300, "WRITE"), cmd("SADD", "user:7:mnodes", "b"))
		p.safe(t)
		eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b")
	})
}

// TestDeletionBeyondTheLimit: a deletion needs no memory, and is never lost for
// want of it.
func TestDeletionBeyondTheLimit(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind)})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	proxy.Refuse()
	for i := range 4 {
		must(t, p.l, cmd("HSET", "user:7", fmt.Sprint(i), strings.Repeat("x", 600_000)))
	}
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.buffer-limit-mb", 1), cmd("DEL", "user:7:mnodes"))
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	p.safe(t)
	p.wantSame(t, "user:7:mnodes", "user:7")
	if n := statusInt(t, p.l, "lost"); n != 0 {
		t.Errorf("lost = %d", n)
	}
}

// TestJournalOfAnotherType: somebody puts another value in place of the journal.
func TestJournalOfAnotherType(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.l, cmd("SET", "sponsor:journal", "x"), cmd("SADD", "user:7:mnodes", "a"))
		p.safe(t)
		eventuallyMembers(t, p.r, "user:7:mnodes", "a")
		redistest.Eventually(t, soon, func() error {
			if typ := p.l.Type(t.Context(), "sponsor:journal").Val(); typ != "hash" {
				return fmt.Errorf("the journal is a %s", typ)
			}
			return nil
		})
	})
}

// TestMergedValueKeepsItsExpiry: a stub gets the expiry of the rest.
func TestMergedValueKeepsItsExpiry(t *testing.T) {
	p := following(t, redistest.Flavors(t)[0])
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("PEXPIREAT", "user:7:mnodes", time.Now().Add(time.Hour).UnixMilli()))
	p.safe(t)
	must(t, p.l, cmd("FLUSHALL"))
	p.waitForSponsors(t, 1)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "c"))
	eventuallyMembers(t, p.l, "user:7:mnodes", "a", "c")
	tx(t, p.l, cmd("SADD", "user:7:mnodes", "d"))
	p.safe(t)
	p.wantSame(t, "user:7:mnodes")
	if ttl := p.r.TTL(t.Context(), "user:7:mnodes").Val(); ttl < time.Minute {
		t.Errorf("the remote's TTL is %v", ttl)
	}
}

// TestR2_TouchedIsNotRemoved: what was written to a key while it was away, sent, and
// evicted with it, is not taken for removed when the key comes back.
func TestR2_TouchedIsNotRemoved(t *testing.T) {
	p, proxy := proxied(t)
	must(t, p.l, cmd("ZADD", "user:7", 1, "x", 2, "y"))
	p.safe(t)
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.read-through", "off"))
	p.loseAll(t)
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.read-through", "async"))
	proxy.Latency(60 * time.Millisecond)
	must(t, p.l, cmd("ZADD", "user:7", 3, "a"))
	redistest.Eventually(t, soon, func() error {
		if n := p.r.ZCard(t.Context(), "user:7").Val(); n != 3 {
			return fmt.Errorf("the remote has %d members, want 3", n)
		}
		return nil
	})
	p.loseAll(t) // the answer is still on its way
	redistest.Eventually(t, soon, func() error {
		here, there := p.l.ZRange(t.Context(), "user:7", 0, -1).Val(), p.r.ZRange(t.Context(), "user:7", 0, -1).Val()
		if len(there) != 3 || !slices.Equal(here, there) {
			return fmt.Errorf("%q are here, and %q there, want x y a", here, there)
		}
		return nil
	})
}

// TestR6_SuspectOutlivesACrash: that the remote has more of a new sponsor's key is known
// also after a crash.
func TestR6_SuspectOutlivesACrash(t *testing.T) {
	p := following(t, redistest.Flavor{}, "appendonly yes", "appendfsync always", "sponsor.read-through off")
	must(t, p.r, cmd("SADD", "user:9:mnodes", "b", "c"))
	must(t, p.l, cmd("SADD", "user:9:mnodes", "a"), cmd("SADD", sponsorsKey, "9"))
	p.safe(t)
	crash(t, p.local)
	p.safe(t)
	tx(t, p.l, cmd("SADD", "user:9:mnodes", "d"))
	p.safe(t)
	eventuallyMembers(t, p.r, "user:9:mnodes", "a", "b", "c", "d")
}

// TestR2_PendingBeforeAWhole: what was added and removed before a key went away travels
// although the key is written as a whole when it is here again.
func TestR2_PendingBeforeAWhole(t *testing.T) {
	for name, restart := range map[string]bool{"": false, "and a crash": true} {
		t.Run(name, func(t *testing.T) {
			p, proxy := proxied(t, "sponsor.read-through off", "appendonly yes", "appendfsync always")
			must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "x"), cmd("HSET", "user:7", "a", "1", "x", "1"), cmd("SADD", "user:8:mnodes", "old"))
			p.safe(t)
			p.cutOff(t, proxy)
			must(t, p.l, cmd("SADD", "user:7:mnodes", "added"), cmd("SREM", "user:7:mnodes", "x"),
				cmd("HSET", "user:7", "added", "2"), cmd("HDEL", "user:7", "x"), cmd("DEL", "user:8:mnodes"), cmd("SADD", "user:8:mnodes", "new"))
			p.loseAll(t)
			must(t, p.l, cmd("SADD", "user:7:mnodes", "y"), cmd("HSET", "user:7", "y", "3"), cmd("SADD", "user:8:mnodes", "y"))
			tx(t, p.l, cmd("SADD", "user:7:mnodes", "z"), cmd("HSET", "user:7", "z", "4"), cmd("SADD", "user:8:mnodes", "z"))
			if restart {
				// The journal was flushed, and has to be back first.
				redistest.Eventually(t, soon, func() error {
					if n := p.l.HLen(t.Context(), "sponsor:journal").Val(); n < 4 {
						return fmt.Errorf("the journal has %d marks", n)
					}
					return nil
				})
				crash(t, p.local)
			}
			p.reconnect(t, proxy)
			p.safe(t)
			eventuallyMembers(t, p.r, "user:7:mnodes", "a", "added", "y", "z")
			eventuallyMembers(t, p.r, "user:8:mnodes", "new", "y", "z")
			wantHash(t, p.r, "user:7", map[string]string{"a": "1", "added": "2", "y": "3", "z": "4"})
		})
	}
}

// TestDelBehindARemoval: inside MULTI, DEL is meant also behind a removal that has left
// something.
func TestDelBehindARemoval(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := stubbed(t, flavor)
		must(t, p.l, cmd("SADD", "user:7:mnodes", "d"))
		p.safe(t)
		tx(t, p.l, cmd("SREM", "user:7:mnodes", "c"), cmd("DEL", "user:7:mnodes"))
		p.safe(t)
		if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
			t.Errorf("the remote has %q", members(t, p.r, "user:7:mnodes"))
		}
		must(t, p.l, cmd("SADD", sponsorsKey, "8", "9"))
		p.safe(t)
		tx(t, p.l, cmd("SREM", sponsorsKey, "8"), cmd("DEL", sponsorsKey))
		p.safe(t)
		if n := exist(t, p.r, sponsorsKey); n != 0 {
			t.Errorf("the remote has the sponsors %q", members(t, p.r, sponsorsKey))
		}
	})
}
