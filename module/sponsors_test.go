package main_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

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

// TestSponsorsByStore: somebody who comes by a change of the whole set, while the change
// before it is still on its way, is copied too.
func TestSponsorsByStore(t *testing.T) {
	p, proxy := proxied(t)
	must(t, p.l, cmd("SADD", "user:9:mnodes", "a"), cmd("SADD", "more", "7", "8", "9"))
	proxy.Latency(30 * time.Millisecond)
	must(t, p.l, cmd("SADD", sponsorsKey, "10"), cmd("SUNIONSTORE", sponsorsKey, sponsorsKey, "more"))
	p.safe(t)
	p.wantSame(t, sponsorsKey, "user:9:mnodes")
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

// TestCopiedAfterARefusal: whose coming the remote has refused is copied when that is
// tried again, also after a restart.
func TestCopiedAfterARefusal(t *testing.T) {
	p := following(t, redistest.Flavor{}, "appendonly yes", "appendfsync always")
	must(t, p.l, cmd("SADD", "user:9:mnodes", "a"))
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "resetkeys", "~user*", "~sponsor:*"))
	must(t, p.l, cmd("SADD", sponsorsKey, "9"))
	p.waitForDeadLetters(t, 1)
	crash(t, p.local)
	p.waitForDeadLetters(t, 1)
	p.waitFor(t, "connected")
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "~*"))
	must(t, p.l, cmd("SPONSOR.RETRY"))
	p.safe(t)
	p.wantSame(t, sponsorsKey, "user:9:mnodes")
}

// TestR6_FirstContactUnderWrites: what the remote has of a key is merged although it is
// written before the two have met.
func TestR6_FirstContactUnderWrites(t *testing.T) {
	const key = "user:9:mnodes"
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	proxy.Refuse()
	p := newLocal(t, remote, redistest.Config{Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind)})
	must(t, p.r, cmd("SADD", key, "b", "c", "x"), cmd("SADD", sponsorsKey, "8"))
	must(t, p.l, cmd("SADD", sponsorsKey, "9"), cmd("SADD", key, "d", "x"))
	p.waitForSponsors(t, 1)
	must(t, p.l, cmd("SADD", key, "e"), cmd("SREM", key, "x"))
	p.reconnect(t, proxy)
	p.safe(t)
	eventuallyMembers(t, p.r, key, "b", "c", "d", "e")
	eventuallyMembers(t, p.l, key, "b", "c", "d", "e")
}

// TestNothingStaleForWhoComesBack: what was on its way when somebody left, and has
// changed since, does not count when they come back: neither what waited, nor what
// arrives late.
func TestNothingStaleForWhoComesBack(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(*testing.T, *pair, *redistest.Proxy)
	}{
		"waiting": {
			func(t *testing.T, p *pair, proxy *redistest.Proxy) { t.Helper(); p.cutOff(t, proxy) },
			func(t *testing.T, p *pair, proxy *redistest.Proxy) { t.Helper(); p.reconnect(t, proxy) },
		},
		"late": {
			func(_ *testing.T, _ *pair, proxy *redistest.Proxy) { proxy.Latency(50 * time.Millisecond) },
			func(*testing.T, *pair, *redistest.Proxy) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, proxy := proxied(t, "sponsor.read-through async") // else the writes wait
			fault.begin(t, p, proxy)
			must(t, p.l, cmd("HSET", "user:7", "f", 1), cmd("SADD", "user:7:mnodes", "a", "b"),
				cmd("SREM", sponsorsKey, "7"), cmd("DEL", "user:7"), cmd("HSET", "user:7", "g", 2), cmd("SREM", "user:7:mnodes", "a"),
				cmd("SADD", sponsorsKey, "7"))
			fault.end(t, p, proxy)
			p.safe(t)
			wantHash(t, p.r, "user:7", map[string]string{"g": "2"})
			eventuallyMembers(t, p.r, "user:7:mnodes", "b")
			p.wantSame(t, sponsorsKey, "user:7", "user:7:mnodes")
		})
	}
}

// TestR6_WrittenAsAWholeBeforeItIsCopied: what a transaction, or SPOP, writes to somebody's
// key as soon as they are a sponsor is no reason to remove what the remote has of it from
// an earlier time; what it removes goes.
func TestR6_WrittenAsAWholeBeforeItIsCopied(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		const key = "user:9:mnodes"
		for name, test := range map[string]struct {
			commands [][]any
			want     []string
		}{
			"transaction": {
				[][]any{cmd("SADD", sponsorsKey, "9"), cmd("MULTI"), cmd("SADD", key, "c"), cmd("SREM", key, "a"), cmd("EXEC")},
				[]string{"b", "c", "old"},
			},
			"in one transaction": {
				[][]any{cmd("MULTI"), cmd("SADD", sponsorsKey, "9"), cmd("SADD", key, "c"), cmd("SREM", key, "a"), cmd("EXEC")},
				[]string{"b", "c", "old"},
			},
			"SPOP of all": {
				[][]any{cmd("SADD", sponsorsKey, "9"), cmd("SPOP", key, 10), cmd("SADD", key, "c")},
				[]string{"c", "old"},
			},
			"added and popped": {
				[][]any{cmd("SADD", sponsorsKey, "9"), cmd("SADD", key, "c"), cmd("SPOP", key, 10)},
				[]string{"old"},
			},
			"overwritten": {
				[][]any{cmd("SADD", sponsorsKey, "9"), cmd("SUNIONSTORE", key, key)},
				[]string{"a", "b"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				p := following(t, flavor, "sponsor.read-through async") // else the writes wait for the rest
				must(t, p.l, cmd("SADD", key, "a", "b"))
				must(t, p.r, cmd("SADD", key, "a", "b", "old"))
				_, err := p.l.Pipelined(t.Context(), func(c redis.Pipeliner) error {
					for _, args := range test.commands {
						c.Do(t.Context(), args...)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				p.safe(t)
				eventuallyMembers(t, p.r, key, test.want...)
				if len(test.want) > 1 { // else it is not here, and not missed yet
					eventuallyMembers(t, p.l, key, test.want...)
				}
			})
		}
	})
}
