package main_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// proxied is a pair with write-behind, the sponsors 7 and 8, and a network that fails
// on demand.
func proxied(t *testing.T, conf ...string) (*pair, *redistest.Proxy) {
	t.Helper()
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: append(append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind), conf...)})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7", "8"))
	p.safe(t)
	return p, proxy
}

func (p *pair) cutOff(t *testing.T, proxy *redistest.Proxy) {
	t.Helper()
	proxy.Refuse()
	proxy.CloseAll()
	p.waitFor(t, "down")
}

func (p *pair) reconnect(t *testing.T, proxy *redistest.Proxy) {
	t.Helper()
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, "connected")
}

// loseAll flushes the local server, and waits for the sponsors to be back: all else is
// away.
func (p *pair) loseAll(t *testing.T) {
	t.Helper()
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7", "8")
}

// largeSet makes a set of n thousand members.
func largeSet(t *testing.T, c *redis.Client, key string, n int) {
	t.Helper()
	pipelined(t, c, func(yield func(...any)) {
		for i := range n {
			yield(append([]any{"SADD", key}, many(1000, fmt.Sprintf("member-%d-%%d", i))...)...)
		}
	})
}

// waitForDeadLetters waits until there are n.
func (p *pair) waitForDeadLetters(t *testing.T, n int64) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		if got := statusInt(t, p.l, "dead_letters"); got != n {
			return fmt.Errorf("dead_letters = %d, want %d", got, n)
		}
		return nil
	})
}

// stageOf waits until something of key is being put together on a server.
func stageOf(t *testing.T, c *redis.Client, key string) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		for _, name := range allKeys(t, c) {
			if strings.HasPrefix(name, "sponsor:stage:{"+key+"}") {
				return nil
			}
		}
		return errors.New("there is no stage yet")
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

// TestForgetDuringAPurge: what a purge is bringing here does not arrive after FORGET.
func TestForgetDuringAPurge(t *testing.T) {
	p, _ := proxied(t, "sponsor.on-lapse purge", "sponsor.read-through off")
	largeSet(t, p.l, "user:7:mnodes", 300)
	p.safe(t)
	p.loseAll(t)
	must(t, p.l, cmd("SREM", sponsorsKey, "7"))
	stageOf(t, p.l, "user:7:mnodes")
	must(t, p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute }), cmd("SPONSOR.FORGET", "7"))
	p.safe(t)
	if n := exist(t, p.l, "user:7:mnodes") + exist(t, p.r, "user:7:mnodes"); n != 0 {
		t.Errorf("%d servers have the key, want none", n)
	}
}

// TestForgetOutlivesALostValue: an erasure is carried out although a value was written after it, and lost.
func TestForgetOutlivesALostValue(t *testing.T) {
	p, proxy := proxied(t)
	must(t, p.l, cmd("SET", "user:7", "secret"))
	p.safe(t)
	p.cutOff(t, proxy)
	impatient := p.local.Client(func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 100*time.Millisecond, -1 })
	_ = impatient.Do(t.Context(), "SPONSOR.FORGET", "7").Err()
	redistest.Eventually(t, soon, func() error {
		if exist(t, p.l, "user:7") != 0 {
			return errors.New("still here")
		}
		return nil
	})
	must(t, p.l, cmd("SET", "user:7", "new"))
	p.loseAll(t)
	p.reconnect(t, proxy)
	p.safe(t)
	if got := p.r.Get(t.Context(), "user:7").Val(); got != "" {
		t.Errorf("WAIT says 0 left, and the remote still has the erased value %q", got)
	}
}

// TestForgetLeavesNoStage: also what was half sent goes.
func TestForgetLeavesNoStage(t *testing.T) {
	p, proxy := proxied(t)
	largeSet(t, p.l, "user:7:mnodes", 100)
	p.safe(t)
	proxy.Latency(3 * time.Millisecond)
	tx(t, p.l, cmd("SADD", "user:7:mnodes", "more")) // the whole is sent
	stageOf(t, p.r, "user:7:mnodes")
	must(t, p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute }), cmd("SPONSOR.FORGET", "7"))
	for _, key := range allKeys(t, p.r) {
		if strings.Contains(key, "user:7") {
			t.Errorf("the remote has %s", key)
		}
	}
}

// TestForgetReachesDeadLetters: of keys that nobody can list.
func TestForgetReachesDeadLetters(t *testing.T) {
	p, _ := proxied(t, wildKeys)
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "-sadd"))
	must(t, p.l, cmd("SADD", "user:7:x:1", "secret"))
	p.waitForDeadLetters(t, 1)
	p.loseAll(t)
	must(t, p.l, cmd("SPONSOR.FORGET", "7"))
	if n := statusInt(t, p.l, "dead_letters"); n != 0 {
		t.Errorf("dead_letters = %d after FORGET: %v", n, p.l.Do(t.Context(), "SPONSOR.ERRORS").Val())
	}
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "+sadd"))
	must(t, p.l, cmd("SPONSOR.RETRY"))
	p.safe(t)
	if n := exist(t, p.r, "user:7:x:1"); n != 0 {
		t.Errorf("the erased person's data has come to the remote after FORGET: %q", members(t, p.r, "user:7:x:1"))
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

// TestDelInMultiOfAStub: DEL is meant also behind another write.
func TestDelInMultiOfAStub(t *testing.T) {
	p, _ := proxied(t, "sponsor.read-through off")
	must(t, p.l, cmd("SET", "user:7", "41"))
	p.safe(t)
	p.loseAll(t)
	tx(t, p.l, cmd("INCR", "user:7"), cmd("DEL", "user:7"))
	p.safe(t)
	if got := p.r.Get(t.Context(), "user:7").Val(); got != "" {
		t.Errorf("DEL has not travelled: the remote has %q", got)
	}
}

// TestRetryDecidesNoDispute: RETRY without names.
func TestRetryDecidesNoDispute(t *testing.T) {
	p, _ := proxied(t, "sponsor.read-through off")
	must(t, p.l, cmd("RPUSH", "user:7", "1", "2", "3"))
	p.safe(t)
	p.loseAll(t)
	must(t, p.l, cmd("RPUSH", "user:7", "4"))
	must(t, p.r, cmd("SET", "user:8", "wrong type"))
	must(t, p.l, cmd("SADD", "user:8", "a"))
	p.waitForDeadLetters(t, 2)
	must(t, p.r, cmd("DEL", "user:8"))
	must(t, p.l, cmd("SPONSOR.RETRY"))
	p.waitForDeadLetters(t, 1)
	if n := p.r.LLen(t.Context(), "user:7").Val(); n != 3 {
		t.Errorf("the remote's list has %d elements, want the 3 that it had", n)
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

// TestR2_DelOutlivesALostValue: DEL travels although a value was written after it, and
// lost.
func TestR2_DelOutlivesALostValue(t *testing.T) {
	p, proxy := proxied(t, "sponsor.read-through off")
	must(t, p.l, cmd("SET", "user:7", "old"))
	p.safe(t)
	p.cutOff(t, proxy)
	must(t, p.l, cmd("DEL", "user:7"), cmd("SET", "user:7", "new"))
	p.loseAll(t)
	p.reconnect(t, proxy)
	p.safe(t)
	if n := exist(t, p.r, "user:7"); n != 0 {
		t.Error("the remote has the key still")
	}
}

// TestPartOfTheSponsors: whoever adds a sponsor, inside MULTI, to a set that is away
// removes nobody.
func TestPartOfTheSponsors(t *testing.T) {
	p, _ := proxied(t, "sponsor.on-lapse purge")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("SADD", "user:8:mnodes", "b"))
	p.safe(t)
	_, err := p.l.Pipelined(t.Context(), func(c redis.Pipeliner) error {
		for _, args := range [][]any{cmd("FLUSHALL"), cmd("MULTI"), cmd("SADD", sponsorsKey, "9"), cmd("EXEC")} {
			c.Do(t.Context(), args...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	eventuallyMembers(t, p.l, sponsorsKey, "7", "8", "9")
	p.safe(t)
	p.wantSame(t, sponsorsKey)
	if n := exist(t, p.r, "user:7:mnodes", "user:8:mnodes"); n != 2 {
		t.Errorf("the remote has %d of 2 sponsors' keys", n)
	}
}

// TestLastSponsorLeaves: however the last one goes, the remote's set goes too, and on-lapse
// purge removes their keys if they were removed by name.
func TestLastSponsorLeaves(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		for name, test := range map[string]struct {
			leave  [][]any
			purged bool
		}{
			"SREM":         {[][]any{cmd("SREM", sponsorsKey, "7")}, true},
			"SPOP of many": {[][]any{cmd("SPOP", sponsorsKey, 5)}, false},
			"DEL":          {[][]any{cmd("DEL", sponsorsKey)}, false},
			"SREM in MULTI": {
				[][]any{cmd("MULTI"), cmd("SREM", sponsorsKey, "7"), cmd("EXEC")}, true,
			},
		} {
			t.Run(name, func(t *testing.T) {
				p := following(t, flavor, "sponsor.on-lapse purge")
				must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
				p.safe(t)
				_, err := p.l.Pipelined(t.Context(), func(c redis.Pipeliner) error {
					for _, args := range test.leave {
						c.Do(t.Context(), args...)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				p.safe(t)
				if n := exist(t, p.r, sponsorsKey); n != 0 {
					t.Errorf("the remote has the sponsors %q", members(t, p.r, sponsorsKey))
				}
				if n := exist(t, p.r, "user:7:mnodes"); test.purged != (n == 0) {
					t.Errorf("the remote has %d keys of who has left", n)
				}
				if n := statusInt(t, p.l, "lost"); n != 0 {
					t.Errorf("lost = %d, want none", n)
				}
			})
		}
	})
}

// TestNoFalseDispute: one more sponsor, added in MULTI, makes nobody doubt the strings
// of the others.
func TestNoFalseDispute(t *testing.T) {
	p, proxy := proxied(t)
	const n = 500
	pipelined(t, p.l, func(yield func(...any)) {
		for i := range n {
			yield("SADD", sponsorsKey, fmt.Sprintf("s%d", i))
			yield("SET", fmt.Sprintf("user:s%d", i), 41)
		}
	})
	p.safe(t)
	proxy.Latency(3 * time.Millisecond)
	tx(t, p.l, cmd("SADD", sponsorsKey, "9"))
	for i := range n {
		must(t, p.l, cmd("INCR", fmt.Sprintf("user:s%d", i)))
	}
	p.safe(t)
}
