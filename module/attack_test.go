package main_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestNobodyTakesATurn has clients send the module's own command, from another
// database, in transactions and while clients are paused.
func TestNobodyTakesATurn(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, "appendonly yes")
		p.waitFor(t, "connected")
		const sponsors = 3000
		pipelined(t, p.l, func(yield func(...any)) {
			for id := range sponsors {
				yield("SADD", sponsorsKey, id)
				yield("SADD", fmt.Sprintf("user:%d:mnodes", id), "right")
			}
		})
		other := p.local.Client(func(o *redis.Options) { o.DB = 1 })
		pipelined(t, other, func(yield func(...any)) {
			for id := range sponsors {
				yield("SADD", fmt.Sprintf("user:%d:mnodes", id), "of another database")
			}
		})
		ctx, cancel := context.WithCancel(context.Background())
		var work sync.WaitGroup
		defer work.Wait()
		defer cancel()
		for range 2 {
			work.Go(func() {
				for ctx.Err() == nil {
					cmds, _ := other.TxPipelined(ctx, func(tx redis.Pipeliner) error {
						for range 20 {
							tx.Do(ctx, "SPONSOR.TURN")
						}
						return nil
					})
					for _, c := range cmds {
						if c.Err() == nil && ctx.Err() == nil {
							t.Error("a client has got a turn")
							return
						}
					}
				}
			})
		}
		for range 3 {
			wantCounts(t, p.sync(t), map[string]int64{"sponsors": sponsors, "keys": sponsors + 1, "failed": 0})
		}
		for id := range sponsors {
			if got := members(t, p.r, fmt.Sprintf("user:%d:mnodes", id)); !slices.Equal(got, []string{"right"}) {
				t.Fatalf("user %d has %q on the remote", id, got)
			}
		}
	})
}

// TestR4_LargeValueIsLostWhileItIsPutTogether disturbs the restoring of a large
// set: what appears is complete, or nothing does.
func TestR4_LargeValueIsLostWhileItIsPutTogether(t *testing.T) {
	const n = 200_000
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"))
		pipelined(t, p.r, func(yield func(...any)) {
			for i := range n {
				yield("SADD", "user:7:mnodes", i)
			}
		})
		p.waitForSponsors(t, 1)
		const stage = "sponsor:stage:{user:7:mnodes}"
		for name, disturb := range map[string][][]any{
			"removed": {cmd("UNLINK", stage)},
			"flushed": {cmd("FLUSHALL")},
			"swapped": {cmd("SWAPDB", 0, 1), cmd("SWAPDB", 0, 1)},
			"expired": {cmd("PEXPIRE", stage, 1)},
		} {
			t.Run(name, func(t *testing.T) {
				must(t, p.l, cmd("FLUSHALL"))
				disturbed := false
				redistest.Eventually(t, soon, func() error {
					// Not a miss: SCAN and RANDOMKEY do not read the key.
					if !slices.Contains(allKeys(t, p.l), "user:7:mnodes") {
						must(t, p.l, cmd("SCARD", "user:7:mnodes"))
					}
					if !disturbed && slices.Contains(allKeys(t, p.l), stage) {
						must(t, p.l, disturb...)
						disturbed = true
					}
					got := p.l.SCard(t.Context(), "user:7:mnodes").Val()
					switch {
					case got == n && disturbed:
						return nil
					case got != 0 && got != n:
						t.Fatalf("local shows %d of %d members", got, n)
					case got == n: // too fast for us
						must(t, p.l, cmd("FLUSHALL"))
					}
					return fmt.Errorf("%d of %d members, disturbed: %v", got, n, disturbed)
				})
			})
		}
	})
}

// TestEvictedSponsorsSetIsWrittenBack: what this server knows is newer than what
// the remote has.
func TestEvictedSponsorsSetIsWrittenBack(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "old"), cmd("SADD", "user:old:mnodes", "a"))
		p.sync(t)
		must(t, p.r, cmd("DEL", "user:old:mnodes"))
		must(t, p.l, cmd("SADD", sponsorsKey, "new", "newer"), cmd("SREM", sponsorsKey, "old"))
		p.waitForSponsors(t, 2)
		for name, lose := range map[string]func(){
			"evicted": func() { evict(t, p.l, sponsorsKey) },
			"expired": func() { must(t, p.l, cmd("PEXPIRE", sponsorsKey, 1)) },
			"flushed": func() { must(t, p.l, cmd("FLUSHALL")) },
		} {
			t.Run(name, func(t *testing.T) {
				lose()
				eventuallyMembers(t, p.l, sponsorsKey, "new", "newer")
				must(t, p.l, cmd("SADD", "user:old:mnodes", "private now"))
				p.sync(t)
				if got := members(t, p.r, "user:old:mnodes"); len(got) != 0 {
					t.Errorf("%q of somebody who has stopped sponsoring is on the remote", got)
				}
			})
		}
	})
}

// TestRefusedKeyKeepsItsExpiry: what the remote refuses is not touched in any
// other way either.
func TestRefusedKeyKeepsItsExpiry(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"),
		cmd("HSET", "user:7", "a", "b"), cmd("PEXPIRE", "user:7", 3_600_000), cmd("SADD", "user:7:mnodes", "a"))
	must(t, p.r, cmd("SET", "user:7", "precious"), cmd("SET", "user:7:mnodes", "precious", "EX", 1000))
	wantCounts(t, p.sync(t), map[string]int64{"failed": 2})
	if got := p.r.PTTL(t.Context(), "user:7").Val(); got != -1 {
		t.Errorf("a key that the remote has refused to change expires in %v", got)
	}
	if got := p.r.PTTL(t.Context(), "user:7:mnodes").Val(); got <= 0 {
		t.Errorf("a key that the remote has refused to change expires never: %v", got)
	}
}

// TestSyncOfWhatGoesMeanwhile counts no key that is not there, or not wholly.
func TestSyncOfWhatGoesMeanwhile(t *testing.T) {
	const n = 300_000
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		for name, disturb := range map[string][][]any{
			"removed":          {cmd("UNLINK", "user:7:mnodes")},
			"removed and anew": {cmd("UNLINK", "user:7:mnodes"), cmd("SADD", "user:7:mnodes", "other")},
			"another type":     {cmd("SET", "user:7:mnodes", "x")},
			"renamed over":     {cmd("SADD", "other", "x"), cmd("RENAME", "other", "user:7:mnodes")},
		} {
			t.Run(name, func(t *testing.T) {
				p := newPair(t, flavor)
				p.waitFor(t, "connected")
				must(t, p.l, cmd("SADD", sponsorsKey, "7", "8"), cmd("SADD", "user:8:mnodes", "a"))
				pipelined(t, p.l, func(yield func(...any)) {
					for i := range n {
						yield("SADD", "user:7:mnodes", i)
					}
				})
				must(t, p.l, cmd("SPONSOR.SYNC", "NOWAIT"))
				redistest.Eventually(t, soon, func() error {
					if p.r.SCard(t.Context(), "user:7:mnodes").Val() == 0 {
						return fmt.Errorf("the large key is not on its way yet")
					}
					return nil
				})
				must(t, p.l, disturb...)
				redistest.Eventually(t, soon, func() error {
					st, err := status(p.l)
					if err != nil {
						return err
					}
					if st["sync_total"] == int64(0) || st["sync_done"] != st["sync_total"] {
						return fmt.Errorf("under way: %v", st)
					}
					return nil
				})
				redistest.Eventually(t, soon, func() error {
					if !p.local.LogContains("removed or replaced while it was being read") {
						return fmt.Errorf("the log does not say that a key was not copied")
					}
					return nil
				})
				if got := p.sync(t); got["failed"] != int64(0) {
					t.Errorf("the next SYNC = %v, want it to copy what is there now", got)
				}
			})
		}
		t.Run("flushed", func(t *testing.T) {
			p := newPair(t, flavor)
			p.waitFor(t, "connected")
			pipelined(t, p.l, func(yield func(...any)) {
				for id := range 50_000 {
					yield("SADD", sponsorsKey, id)
					yield("SADD", "user:"+strconv.Itoa(id)+":mnodes", "a")
				}
			})
			c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
			result := make(chan error, 1)
			go func() { result <- c.Do(context.Background(), "SPONSOR.SYNC").Err() }()
			redistest.Eventually(t, soon, func() error {
				if p.r.DBSize(t.Context()).Val() == 0 {
					return fmt.Errorf("nothing is on the remote yet")
				}
				return nil
			})
			must(t, p.l, cmd("FLUSHALL"))
			if err := <-result; err == nil || !strings.Contains(err.Error(), "flushed, loaded or swapped") {
				t.Errorf("SYNC of a data set that was flushed: %v", err)
			}
		})
	})
}

// TestDeletionIsForgotten: a deletion says nothing of a key that was written
// since, whoever its owner was then.
func TestDeletionIsForgotten(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.seed(t)
	must(t, p.l, cmd("DEL", "user:7:mnodes"), cmd("SADD", sponsorsKey, "other", "another"), cmd("SREM", sponsorsKey, "7"))
	p.waitForSponsors(t, 2)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "C5"))
	must(t, p.l, cmd("SADD", sponsorsKey, "7"))
	p.waitForSponsors(t, 3)
	p.sync(t)
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2", "C5")
}

// TestOverwriteWinsAgainstFetch replaces a key while it is on its way back.
func TestOverwriteWinsAgainstFetch(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.seed(t)
	for name, overwrite := range map[string][][]any{
		"RENAME":      {cmd("SADD", "other", "C9"), cmd("RENAME", "other", "user:7:mnodes")},
		"SUNIONSTORE": {cmd("SADD", "other", "C9"), cmd("SUNIONSTORE", "user:7:mnodes", "other")},
		"COPY":        {cmd("SADD", "other", "C9"), cmd("COPY", "other", "user:7:mnodes")},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, p.l, cmd("FLUSHALL"))
			eventuallyMembers(t, p.l, sponsorsKey, "7")
			proxy.Latency(300 * time.Millisecond)
			seen := p.remote.Monitor(t)
			must(t, p.l, cmd("SMEMBERS", "user:7:mnodes"))
			must(t, p.l, overwrite...)
			redistest.Eventually(t, soon, func() error {
				if len(seen.Matching("SSCAN")) == 0 {
					return fmt.Errorf("not fetched yet")
				}
				return nil
			})
			if err := proxy.Heal(); err != nil {
				t.Fatal(err)
			}
			// What was missed later has come: so has the first.
			eventuallyHash(t, p.l, "user_details:7", map[string]string{"id": "7"})
			wantMembers(t, p.l, "user:7:mnodes", "C9")
		})
	}
}

// TestValuesAreNotLogged: an error of the remote may quote what it was sent.
func TestValuesAreNotLogged(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{Conf: []string{`rename-command HSET ""`}})
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, remote.Host(), remote.Port())})
	p.waitFor(t, "connected")
	const secret = "private@example.org"
	must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("HSET", "user_details:7", "email", secret))
	wantCounts(t, p.sync(t), map[string]int64{"failed": 1})
	st, err := status(p.l)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(st["last_error"]), "unknown command") {
		t.Errorf("last_error = %v, want what the remote said", st["last_error"])
	}
	if strings.Contains(fmt.Sprint(st)+p.local.Log(), secret) {
		t.Error("the log or STATUS shows somebody's e-mail address")
	}
}

// TestRefusedUnloadDoesNoHarm: a SYNC NOWAIT goes on.
func TestRefusedUnloadDoesNoHarm(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.waitFor(t, "connected")
	const sponsors = 10_000
	pipelined(t, p.l, func(yield func(...any)) {
		for id := range sponsors {
			yield("SADD", sponsorsKey, id)
			yield("SADD", "user:"+strconv.Itoa(id)+":mnodes", "a")
		}
	})
	proxy.Latency(300 * time.Millisecond) // so that it does not end too soon
	must(t, p.l, cmd("SPONSOR.SYNC", "NOWAIT"))
	for range 50 {
		if err := p.l.Do(t.Context(), "MODULE", "UNLOAD", "sponsor").Err(); err == nil {
			t.Fatal("MODULE UNLOAD was not refused during a SYNC")
		}
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, func() error {
		if got := statusInt(t, p.l, "acknowledged"); got != sponsors+1 {
			return fmt.Errorf("acknowledged = %d of %d", got, sponsors+1)
		}
		return nil
	})
	if n := statusInt(t, p.l, "errors"); n != 0 {
		t.Errorf("%d errors", n)
	}
}

// TestFetchWithoutMemory: a key that does not fit stays away, and writes go on.
func TestFetchWithoutMemory(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, "maxmemory-policy noeviction")
		p.waitFor(t, "connected")
		big := strings.Repeat("x", 1<<20)
		pipelined(t, p.r, func(yield func(...any)) {
			for id := range 50 {
				yield("SADD", fmt.Sprintf("user:%d:mnodes", id), big)
			}
		})
		pipelined(t, p.l, func(yield func(...any)) {
			for id := range 50 {
				yield("SADD", sponsorsKey, id)
			}
		})
		p.waitForSponsors(t, 50)
		used := info(t, p.l, "memory", "used_memory")
		must(t, p.l, cmd("CONFIG", "SET", "maxmemory", used+10<<20))
		redistest.Eventually(t, soon, func() error {
			for id := range 50 {
				_ = p.l.Do(t.Context(), "SCARD", fmt.Sprintf("user:%d:mnodes", id)).Err()
			}
			st, err := status(p.l)
			if err != nil {
				return err
			}
			if !strings.Contains(fmt.Sprint(st["last_error"]), "OOM") && !strings.Contains(fmt.Sprint(st["last_error"]), "space") {
				return fmt.Errorf("nothing was refused: %v", st)
			}
			return nil
		})
		if now := info(t, p.l, "memory", "used_memory"); now > used+20<<20 {
			t.Errorf("fetches have filled the server with %d MiB, 10 were left", (now-used)>>20)
		}
	})
}
