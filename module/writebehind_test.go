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

// safe waits until the remote has acknowledged every change.
func (p *pair) safe(t *testing.T) {
	t.Helper()
	c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
	defer c.Close()
	left, err := c.Do(t.Context(), "SPONSOR.WAIT", 30_000).Int()
	if err != nil || left != 0 {
		st, _ := status(c)
		t.Fatalf("SPONSOR.WAIT = %d, %v; want 0 (%v)", left, err, st)
	}
}

// wantSame compares keys on both servers.
func (p *pair) wantSame(t *testing.T, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if local, remote := contents(t, p.l, key), contents(t, p.r, key); local != remote {
			t.Errorf("%s is %.300s here, and %.300s on the remote", key, local, remote)
		}
	}
}

// following starts a pair with write-behind, and a sponsor 7.
func following(t *testing.T, flavor redistest.Flavor, conf ...string) *pair {
	t.Helper()
	p := newPair(t, flavor, append([]string{writeBehind, blocking}, conf...)...)
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"))
	p.safe(t)
	return p
}

// TestOneMemberOfMany: what is added to a large set costs what it would cost in
// a small one: the remote gets one command with one member.
func TestOneMemberOfMany(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		pipelined(t, p.l, func(yield func(...any)) {
			for i := range 50 {
				args := []any{"SADD", "user:7:mnodes"}
				for j := range 1000 {
					args = append(args, i*1000+j)
				}
				yield(args...)
			}
		})
		p.safe(t)
		p.wantSame(t, "user:7:mnodes")
		before := info(t, p.r, "stats", "total_net_input_bytes")
		for i := range 20 {
			must(t, p.l, cmd("SADD", "user:7:mnodes", fmt.Sprintf("new-%d", i)), cmd("SREM", "user:7:mnodes", i),
				cmd("HINCRBY", "user:7", "n", 1), cmd("SMOVE", "user:7:mnodes", "user:9:mnodes", 100+i))
			p.safe(t)
		}
		if bytes := info(t, p.r, "stats", "total_net_input_bytes") - before; bytes > 100_000 {
			t.Errorf("80 changes of one member each took %d bytes", bytes)
		}
		p.wantSame(t, "user:7:mnodes", "user:7")
	})
}

// TestR1_NobodyElseTravels watches the remote while strangers write everything.
func TestR1_NobodyElseTravels(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		watch := p.remote.Monitor(t)
		must(t, p.l,
			cmd("SADD", "user:8:mnodes", "secret"), cmd("HSET", "user:8", "secret", "secret"),
			cmd("SUNIONSTORE", "user:8:more", "user:8:mnodes"), cmd("RENAME", "user:8:mnodes", "user:80:mnodes"),
			cmd("SET", "secret", "secret"), cmd("SADD", "user:77:mnodes", "secret"), cmd("SADD", "user:7:mnodes:x", "secret"),
			cmd("EVAL", "return redis.call('sadd', 'user:8:mnodes', 'secret')", 0),
		)
		other := p.local.Client(func(o *redis.Options) { o.DB = 1 })
		must(t, other, cmd("SADD", "user:7:mnodes", "secret"), cmd("SADD", sponsorsKey, "8"))
		// Moved to a sponsor, it is the sponsor's.
		must(t, p.l, cmd("SADD", "user:7:mnodes", "of 7"), cmd("SMOVE", "user:77:mnodes", "user:7:mnodes", "secret"))
		p.safe(t)
		for _, line := range watch.Lines() {
			if strings.Contains(line, "user:8") || strings.Contains(line, `"secret" "secret"`) || strings.Contains(line, "user:77") {
				t.Errorf("the remote was sent %s", line)
			}
		}
		wantKeys(t, p.r, "sponsor:dataset:acme", sponsorsKey, "user:7:mnodes")
	})
}

// TestR3_NotDeletions: what nobody means does not travel.
func TestR3_NotDeletions(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.read-through off")
		must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"), cmd("HSET", "user:7", "f", "v"))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		must(t, p.l, cmd("SADD", sponsorsKey, "7")) // it may be back already
		p.safe(t)
		eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b")

		// A stub adds, and removes only what was removed here.
		must(t, p.l, cmd("SADD", "user:7:mnodes", "c", "d"), cmd("SPOP", "user:7:mnodes"))
		p.safe(t)
		left := members(t, p.l, "user:7:mnodes")
		eventuallyMembers(t, p.r, "user:7:mnodes", append(left, "a", "b")...)
		must(t, p.l, cmd("SREM", "user:7:mnodes", left[0])) // the last one that is here
		p.safe(t)
		eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b")

		// Meant deletions do.
		must(t, p.l, cmd("HSET", "user:7", "g", "w"))
		p.safe(t)
		wantHash(t, p.r, "user:7", map[string]string{"f": "v", "g": "w"})
		must(t, p.l, cmd("DEL", "user:7"))
		p.safe(t)
		if n := p.r.Exists(t.Context(), "user:7").Val(); n != 0 {
			t.Error("a deleted key is still on the remote")
		}
	})
}

// TestR6_FirstContact: what is here when the module comes, and what people have
// when they become sponsors, is copied; it merges.
func TestR6_FirstContact(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor) // without write-behind
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"), cmd("SADD", "user:8:mnodes", "b"))
		must(t, p.r, cmd("SADD", "user:7:mnodes", "old"), cmd("SADD", "user:8:mnodes", "older"))
		must(t, p.l, cmd("CONFIG", "SET", "sponsor.write-behind", "yes"))
		eventuallyMembers(t, p.r, "user:7:mnodes", "a", "old")
		eventuallyMembers(t, p.r, sponsorsKey, "7")
		eventuallyMembers(t, p.r, "user:8:mnodes", "older")
		must(t, p.l, cmd("SADD", sponsorsKey, "8"))
		p.safe(t)
		eventuallyMembers(t, p.r, "user:8:mnodes", "b", "older")
		// Who has left is not followed any more, and the remote keeps what it has.
		must(t, p.l, cmd("SREM", sponsorsKey, "8"), cmd("SADD", "user:8:mnodes", "secret"))
		p.safe(t)
		eventuallyMembers(t, p.r, "user:8:mnodes", "b", "older")
		eventuallyMembers(t, p.r, sponsorsKey, "7")
	})
}

// TestR7_DeadLetters: a key that the remote refuses stops nobody, is listed, and is
// healed by RETRY.
func TestR7_DeadLetters(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		for reason, tt := range map[string]struct{ break_, mend []any }{
			"WRONGTYPE": {cmd("SET", "user:7:mnodes", "text"), cmd("DEL", "user:7:mnodes")},
			"NOPERM":    {cmd("ACL", "SETUSER", redistest.EnterpriseUser, "resetkeys", "~user:7", "~sponsor*"), cmd("ACL", "SETUSER", redistest.EnterpriseUser, "~*")},
			"OOM":       {cmd("CONFIG", "SET", "maxmemory", "1"), cmd("CONFIG", "SET", "maxmemory", "0")},
		} {
			t.Run(reason, func(t *testing.T) {
				p := following(t, flavor)
				must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
				p.safe(t)
				must(t, p.r, tt.break_)
				must(t, p.l, cmd("SADD", "user:7:mnodes", "c"), cmd("SREM", "user:7:mnodes", "a"))
				redistest.Eventually(t, soon, func() error {
					if n := statusInt(t, p.l, "dead_letters"); n != 1 {
						return fmt.Errorf("dead_letters = %d, want 1", n)
					}
					return nil
				})
				letters, err := p.l.Do(t.Context(), "SPONSOR.ERRORS").Slice()
				if err != nil || len(letters) != 1 {
					t.Fatalf("SPONSOR.ERRORS = %v, %v; want one", letters, err)
				}
				letter := fields(letters[0])
				if letter["key"] != "user:7:mnodes" || !strings.Contains(fmt.Sprint(letter["reason"]), reason) {
					t.Errorf("the letter is %v, want user:7:mnodes and %s", letter, reason)
				}
				if left := p.l.Do(t.Context(), "SPONSOR.WAIT", 100).Val(); left != int64(1) {
					t.Errorf("SPONSOR.WAIT = %v, want 1", left)
				}
				if reason != "OOM" { // that concerns all
					must(t, p.l, cmd("HSET", "user:7", "f", "v"))
					redistest.Eventually(t, soon, func() error {
						if got := p.r.HGet(t.Context(), "user:7", "f").Val(); got != "v" {
							return fmt.Errorf("user:7 has not come through: %q", got)
						}
						return nil
					})
				}
				must(t, p.r, tt.mend)
				if n := p.l.Do(t.Context(), "SPONSOR.RETRY").Val(); n != int64(1) {
					t.Errorf("SPONSOR.RETRY = %v, want 1", n)
				}
				p.safe(t)
				p.wantSame(t, "user:7:mnodes")
			})
		}
	})
}

// TestOutage: the remote is away for 100,000 writes. Memory is bounded, nobody
// waits, and all is there soon after the remote is.
func TestOutage(t *testing.T) {
	const writes, owners = 100_000, 200
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor,
			Conf:   append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "sponsor.buffer-limit-mb 1"),
		})
		p.waitFor(t, "connected")
		pipelined(t, p.l, func(yield func(...any)) {
			for id := range owners {
				yield("SADD", sponsorsKey, id)
			}
		})
		p.safe(t)
		proxy.Refuse()
		slowest := time.Duration(0)
		pipelined(t, p.l, func(yield func(...any)) {
			for i := range writes {
				if i%1000 == 0 {
					begun := time.Now()
					must(t, p.l, cmd("PING"))
					slowest = max(slowest, time.Since(begun))
				}
				yield("SADD", fmt.Sprintf("user:%d:mnodes", i%owners), i)
			}
		})
		if slowest > time.Second { // any wait for the network would take longer
			t.Errorf("a PING took %v while the remote was away", slowest)
		}
		if n := statusInt(t, p.l, "pending_keys"); n != owners {
			t.Errorf("pending_keys = %d, want %d", n, owners)
		}
		if n := statusInt(t, p.l, "buffer_bytes"); n > 1<<20 {
			t.Errorf("buffer_bytes = %d, more than the limit", n)
		}
		if n := p.l.MemoryUsage(t.Context(), "sponsor:journal").Val(); n > owners*4096 {
			t.Errorf("the journal takes %d bytes", n)
		}
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		p.safe(t)
		t.Logf("slowest PING %v; all safe %v after the remote was back", slowest, time.Since(begun))
		for id := range owners {
			p.wantSame(t, fmt.Sprintf("user:%d:mnodes", id))
		}
		if n := statusInt(t, p.l, "lost"); n != 0 {
			t.Errorf("lost = %d", n)
		}
	})
}

// TestR10_Failover: a replica that becomes the master goes on where the old one's
// journal stood.
func TestR10_Failover(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		conf := append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "repl-diskless-sync-delay 0")
		p := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: conf})
		p.waitFor(t, "connected")
		second := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: slices.Concat(conf, []string{fmt.Sprintf("replicaof %s %d", p.local.Host(), p.local.Port())})})
		second.waitFor(t, "replica")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a", "b", "c"))
		p.safe(t)
		proxy.Refuse()
		must(t, p.l,
			cmd("SADD", "user:7:mnodes", "d"), cmd("SREM", "user:7:mnodes", "a"), cmd("HSET", "user:7", "f", "v"),
			cmd("SADD", sponsorsKey, "8"), cmd("HSET", "user_details:8", "id", "8"), cmd("SPOP", "user:7:mnodes"))
		redistest.Eventually(t, soon, func() error {
			if n := p.l.Do(t.Context(), "WAIT", 1, 1000).Val(); n != int64(1) {
				return fmt.Errorf("the replica is behind")
			}
			return nil
		})
		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		must(t, second.l, cmd("REPLICAOF", "NO", "ONE"))
		second.safe(t)
		second.wantSame(t, sponsorsKey, "user:7:mnodes", "user:7", "user_details:8")
		must(t, second.l, cmd("SADD", "user:7:mnodes", "e"))
		second.safe(t)
		second.wantSame(t, "user:7:mnodes")
	})
}

// TestJournalIsLost: whoever takes the journal away does no harm as long as the
// server runs.
func TestJournalIsLost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor, Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "appendonly yes", "appendfsync always"),
		})
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"))
		p.safe(t)
		proxy.Refuse()
		must(t, p.l, cmd("SADD", "user:7:mnodes", "b"), cmd("DEL", "sponsor:journal"))
		redistest.Eventually(t, soon, func() error {
			if ok := p.l.HExists(t.Context(), "sponsor:journal", "user:7:mnodes").Val(); !ok {
				return fmt.Errorf("the journal is not back")
			}
			return nil
		})
		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		if err := p.local.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.safe(t)
		eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b")
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
