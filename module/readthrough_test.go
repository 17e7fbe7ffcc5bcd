package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// seed has one sponsor, 7, and one who is none, 8, both with keys on local and
// on the remote: the remote's would be a mistake for 8, and must not be found.
func (p *pair) seed(t *testing.T) {
	t.Helper()
	p.waitFor(t, "connected")
	must(t, p.l,
		cmd("SADD", sponsorsKey, "7"),
		cmd("SADD", "user:7:mnodes", "C1", "C2"),
		cmd("HSET", "user_details:7", "id", "7"),
		cmd("SADD", "user:8:mnodes", "C3"),
	)
	p.sync(t)
	must(t, p.r, cmd("SADD", "user:8:mnodes", "not yours"))
	p.waitForSponsors(t, 1)
}

// evict makes the server evict all keys but the last written ones, by filling its
// memory, and gives it room again.
func evict(t *testing.T, c *redis.Client, keys ...string) {
	t.Helper()
	must(t, c, cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), cmd("CONFIG", "SET", "maxmemory", "40mb"))
	filler := strings.Repeat("x", 100_000)
	for i := 0; ; i++ {
		must(t, c, cmd("SET", fmt.Sprintf("filler:%d", i), filler))
		if i%50 != 0 {
			continue
		}
		here := allKeys(t, c)
		gone := true
		for _, key := range keys {
			gone = gone && !contains(here, key)
		}
		if gone {
			break
		}
		if i > 100_000 {
			t.Fatalf("%q are not evicted", keys)
		}
	}
	must(t, c, cmd("CONFIG", "SET", "maxmemory", "0"))
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

func TestEvictedKeyIsBackAfterOneMissedRead(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.seed(t)
		seen := p.remote.Monitor(t)
		evict(t, p.l, "user:7:mnodes", "user_details:7", "user:8:mnodes")

		// One read, and no more: what follows does not read the key.
		if got := members(t, p.l, "user:7:mnodes"); len(got) != 0 {
			t.Errorf("the evicted key has %q", got)
		}
		redistest.Eventually(t, soon, func() error {
			if n := statusInt(t, p.l, "fetched"); n < 1 {
				return fmt.Errorf("fetched = %d", n)
			}
			return nil
		})
		wantMembers(t, p.l, "user:7:mnodes", "C1", "C2")

		must(t, p.l, cmd("HGETALL", "user_details:7"))
		redistest.Eventually(t, soon, func() error {
			if n := statusInt(t, p.l, "fetched"); n < 2 {
				return fmt.Errorf("fetched = %d", n)
			}
			return nil
		})
		wantHash(t, p.l, "user_details:7", map[string]string{"id": "7"})
		wantMembers(t, p.r, "user:7:mnodes", "C1", "C2")

		if lines := seen.Matching("user:7:mnodes"); len(lines) == 0 {
			t.Error("MONITOR on the remote has not seen the fetch: the test could not see a mistake either")
		}
	})
}

func wantMembers(t *testing.T, c *redis.Client, key string, want ...string) {
	t.Helper()
	if got := fmt.Sprintf("%q", members(t, c, key)); got != fmt.Sprintf("%q", want) {
		t.Errorf("SMEMBERS %s = %s, want %q", key, got, want)
	}
}

// TestR8_MissesOfOthersNeverReachTheRemote reads what is not here, and not ours,
// in every way that fires a miss.
func TestR8_MissesOfOthersNeverReachTheRemote(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.seed(t)
		must(t, p.l, cmd("DEL", "user:8:mnodes"), cmd("SELECT", 0))
		seen := p.remote.Monitor(t)
		for range 100 {
			must(t, p.l,
				cmd("SMEMBERS", "user:8:mnodes"), cmd("EXISTS", "user:8", "user_details:8"), cmd("HGETALL", "user_details:8"),
				cmd("SMEMBERS", "user:70:mnodes"), cmd("TYPE", "user:7:other"), cmd("TTL", "other"),
				cmd("SMEMBERS", "sponsors:other"), cmd("SINTER", "user:8:mnodes", "user:9:mnodes"),
			)
		}
		// The sponsor's own keys, but of another database.
		other := p.local.Client(func(o *redis.Options) { o.DB = 1 })
		must(t, other, cmd("SMEMBERS", "user:7:mnodes"), cmd("HGETALL", "user:7"))

		// A miss of the sponsor comes through, and after all the others.
		must(t, p.l, cmd("HGETALL", "user:7"))
		redistest.Eventually(t, soon, func() error {
			if len(seen.Matching(`"user:7"`)) == 0 {
				return fmt.Errorf("the sponsor's miss has not come to the remote yet")
			}
			return nil
		})
		for _, line := range seen.Lines() {
			if !strings.Contains(line, `"user:7"`) && !strings.Contains(strings.ToUpper(line), `"PING"`) && !strings.Contains(line, `"hello"`) {
				t.Errorf("the remote has seen %s", line)
			}
		}
		if got := members(t, p.l, "user:8:mnodes"); len(got) != 0 {
			t.Errorf("somebody who is no sponsor has got %q from the remote", got)
		}
	})
}

// TestR8_AbsentKeysAreRemembered misses a key that the remote does not have
// either.
func TestR8_AbsentKeysAreRemembered(t *testing.T) {
	p := newPair(t, redistest.Flavor{}, "sponsor.absent-ttl-ms 3600000")
	p.seed(t)
	seen := p.remote.Monitor(t)
	must(t, p.l, cmd("HGETALL", "user:7"))
	redistest.Eventually(t, soon, func() error {
		must(t, p.l, cmd("HGETALL", "user:7"))
		if statusInt(t, p.l, "absent_hits") == 0 {
			return fmt.Errorf("the absence is not known yet")
		}
		return nil
	})
	pipelined(t, p.l, func(yield func(...any)) {
		for range 10_000 {
			yield("HGETALL", "user:7")
		}
	})
	if lines := seen.Matching(`"TYPE" "user:7"`); len(lines) != 1 {
		t.Errorf("the remote was asked %d times, want once: %q", len(lines), lines)
	}

	// A write makes it forget.
	must(t, p.l, cmd("HSET", "user:7", "theme", "dark"))
	p.sync(t)
	must(t, p.l, cmd("FLUSHALL"))
	redistest.Eventually(t, soon, func() error {
		if got := p.l.HGetAll(t.Context(), "user:7").Val(); got["theme"] != "dark" {
			return fmt.Errorf("user:7 = %v", got)
		}
		return nil
	})
}

func TestDeletedKeyStaysDeleted(t *testing.T) {
	for name, remove := range map[string][]any{
		"DEL":              cmd("DEL", "user:7:mnodes"),
		"UNLINK":           cmd("UNLINK", "user:7:mnodes"),
		"the last members": cmd("SREM", "user:7:mnodes", "C1", "C2"),
		"RENAME":           cmd("RENAME", "user:7:mnodes", "elsewhere"),
		"an empty result":  cmd("SINTERSTORE", "user:7:mnodes", "nothing"),
		"in a script":      cmd("EVAL", "return redis.call('del', KEYS[1])", 1, "user:7:mnodes"),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, redistest.Flavor{})
			p.seed(t)
			seen := p.remote.Monitor(t)
			must(t, p.l, remove)
			for range 10 {
				wantMembers(t, p.l, "user:7:mnodes")
			}
			// Another miss, which goes the same way, comes back: so would have the
			// first.
			must(t, p.l, cmd("HGETALL", "user:7"))
			redistest.Eventually(t, soon, func() error {
				if len(seen.Matching(`"user:7"`)) == 0 {
					return fmt.Errorf("not yet")
				}
				return nil
			})
			if lines := seen.Matching("mnodes"); len(lines) != 0 {
				t.Errorf("a deleted key was asked for: %q", lines)
			}
			wantMembers(t, p.l, "user:7:mnodes")

			// It is a new key once it is written again.
			must(t, p.l, cmd("SADD", "user:7:mnodes", "C9"))
			wantMembers(t, p.l, "user:7:mnodes", "C9")
		})
	}
}

func TestFetchMergesWithWhatWasWrittenMeanwhile(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.seed(t)
	must(t, p.r, cmd("HSET", "user_details:7", "email", "old", "login", "seven"))
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7")
	p.waitForSponsors(t, 1)
	fetched := statusInt(t, p.l, "fetched")

	proxy.Latency(300 * time.Millisecond)
	must(t, p.l,
		cmd("SMEMBERS", "user:7:mnodes"), cmd("HGETALL", "user_details:7"), // missed, and on their way
		cmd("SADD", "user:7:mnodes", "C9"), cmd("HSET", "user_details:7", "email", "new"),
	)
	redistest.Eventually(t, soon, func() error {
		if n := statusInt(t, p.l, "fetched"); n != fetched+2 {
			return fmt.Errorf("fetched = %d, want %d", n, fetched+2)
		}
		return nil
	})
	wantMembers(t, p.l, "user:7:mnodes", "C1", "C2", "C9")
	wantHash(t, p.l, "user_details:7", map[string]string{"id": "7", "email": "new", "login": "seven"})
}

func TestFetchLosesAgainstDelete(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Conf: remoteConf(remote, proxy.Host(), proxy.Port())})
	p.seed(t)
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7")
	p.waitForSponsors(t, 1)
	proxy.Latency(300 * time.Millisecond)
	seen := p.remote.Monitor(t)
	must(t, p.l, cmd("SMEMBERS", "user:7:mnodes"), cmd("SADD", "user:7:mnodes", "C9"), cmd("DEL", "user:7:mnodes"))
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
	wantMembers(t, p.l, "user:7:mnodes")
}

func eventuallyHash(t *testing.T, c *redis.Client, key string, want map[string]string) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		if got := c.HGetAll(t.Context(), key).Val(); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("HGETALL %s = %v, want %v", key, got, want)
		}
		return nil
	})
}

func TestReadThroughOff(t *testing.T) {
	p := newPair(t, redistest.Flavor{}, "sponsor.read-through off")
	p.seed(t)
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7")
	redistest.Eventually(t, soon, func() error {
		wantMembers(t, p.l, "user:7:mnodes")
		if statusInt(t, p.l, "misses") == 0 {
			return fmt.Errorf("no miss was counted")
		}
		return nil
	})
	seen := p.remote.Monitor(t)
	for range 100 {
		wantMembers(t, p.l, "user:7:mnodes")
	}
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.read-through", "async"))
	if lines := seen.Matching("mnodes"); len(lines) != 0 {
		t.Errorf("read-through is off, and yet: %q", lines)
	}
	eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2")
}

// TestEmptyServerComesBack is the disaster that the project exists for.
func TestEmptyServerComesBack(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.seed(t)
		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.local.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.l = p.local.Client()
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2")
		eventuallyHash(t, p.l, "user_details:7", map[string]string{"id": "7"})
		wantKeys(t, p.l, sponsorsKey, "user:7:mnodes", "user_details:7")
		wantMembers(t, p.r, "user:7:mnodes", "C1", "C2")
	})
}

func TestErasedSponsorsSetIsNotFetchedBack(t *testing.T) {
	p := newPair(t, redistest.Flavor{})
	p.seed(t)
	must(t, p.l, cmd("DEL", sponsorsKey))
	p.waitForSponsors(t, 0)
	wantMembers(t, p.l, sponsorsKey)
	p.sync(t)
	wantMembers(t, p.l, sponsorsKey)
}
