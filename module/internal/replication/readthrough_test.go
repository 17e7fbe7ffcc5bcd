package replication_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestFetch(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7")
	for name, n := range map[string]int{"small": 3, "large": 3500} {
		t.Run(name, func(t *testing.T) {
			const key = "user:7:mnodes"
			p.addRemote(t, key, nodes(n))
			if err := p.r.Do(t.Context(), "PEXPIREAT", key, 4000000000000).Err(); err != nil {
				t.Fatal(err)
			}
			p.wantLocalSet(t, key, nodes(n))
			if got := strings.TrimSpace(p.local.must(t, "PEXPIRETIME", key)); got != ":4000000000000" {
				t.Errorf("expiry = %s, want the remote's", got)
			}
			if got := p.local.items(t, "KEYS", "sponsor:*"); len(got) != 0 {
				t.Errorf("keys of our own are left: %q", got)
			}
			p.local.lose(t, key)
			if err := p.r.Del(t.Context(), key).Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMissStorm: a thousand readers that miss one key cause one fetch.
func TestMissStorm(t *testing.T) {
	const key, readers = "user:7:mnodes", 1000
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.addRemote(t, key, nodes(3))
	seen := p.remote.Monitor(t)
	p.proxy.Latency(500 * time.Millisecond) // so that they all miss
	before := p.engine.Status()
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			if _, err := p.local.client("SMEMBERS", key); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p.proxy.Latency(0)
	p.wantLocalSet(t, key, nodes(3))
	for _, command := range []string{`"type"`, `"sscan"`} {
		lines := slices.DeleteFunc(seen.Matching(`"`+key+`"`), func(line string) bool {
			return !strings.Contains(strings.ToLower(line), command)
		})
		if len(lines) != 1 {
			t.Errorf("%d times %s of the key, want one:\n%.2000s", len(lines), command, strings.Join(lines, "\n"))
		}
	}
	after := p.engine.Status()
	if got := after.Misses - before.Misses; got < readers/2 {
		t.Errorf("%d misses: hardly a storm", got)
	}
	if got := after.Fetched - before.Fetched; got != 1 {
		t.Errorf("%d keys fetched, want 1", got)
	}
}

// TestManyMissesAtOnce: every key is back after one miss, however many there are
// at a time.
func TestManyMissesAtOnce(t *testing.T) {
	const owners = 20_000
	p := newPair(t, nil)
	p.local.must(t, "SADD", append([]string{sponsorsKey}, ids(owners)...)...)
	p.knows(t, owners)
	pipe := p.r.Pipeline()
	for _, id := range ids(owners) {
		pipe.SAdd(t.Context(), "user:"+id+":mnodes", "of "+id)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.proxy.Latency(time.Second)
	for _, id := range ids(owners) {
		p.miss("user:" + id + ":mnodes")
	}
	p.proxy.Latency(0)
	redistest.Eventually(t, soon, func() error {
		if n := p.engine.Status().Fetched; n != owners {
			return fmt.Errorf("%d keys are back, want %d (%+v)", n, owners, p.engine.Status())
		}
		return nil
	})
	for _, id := range []string{"1", "4097", "20000"} {
		p.wantLocalSet(t, "user:"+id+":mnodes", []string{"of " + id})
	}
}

// TestFetchIsWholeOrNot cuts the answers to a fetch at every so many bytes. The
// key may come late, and never in part.
func TestFetchIsWholeOrNot(t *testing.T) {
	const key, members = "user:7:mnodes", 3500
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.addRemote(t, key, nodes(members))
	p.local.afterEach(func() { // nobody else has the data set
		reply, err := p.local.run(untold, "SCARD", key)
		if err == nil && reply != ":0\r\n" && reply != fmt.Sprintf(":%d\r\n", members) {
			err = fmt.Errorf("a part of %s is here: SCARD says %q", key, reply)
		}
		if err != nil {
			t.Error(err)
		}
	})
	_, before := p.proxy.Forwarded()
	p.wantLocalSet(t, key, nodes(members))
	_, after := p.proxy.Forwarded()
	const cuts = 12
	for i := range int64(cuts) {
		p.local.lose(t, key)
		p.proxy.CutReplyAfter(i * (after - before) / cuts)
		p.wantLocalSet(t, key, nodes(members))
	}
}

// TestFetchMerges: what is written while a key is on its way is newer than what
// comes, and is kept beside it.
func TestFetchMerges(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7", "8")
	p.addRemote(t, "user:7:mnodes", nodes(3500))
	if err := p.r.HSet(t.Context(), "user:8", "old", "remote", "both", "remote").Err(); err != nil {
		t.Fatal(err)
	}
	p.proxy.Latency(200 * time.Millisecond)
	p.local.must(t, "SMEMBERS", "user:7:mnodes")
	p.local.must(t, "HGETALL", "user:8")
	p.local.must(t, "SADD", "user:7:mnodes", "new")
	p.local.must(t, "HSET", "user:8", "both", "local", "new", "local")
	p.proxy.Latency(0)
	p.wantLocalSet(t, "user:7:mnodes", append(nodes(3500), "new"))
	redistest.Eventually(t, soon, func() error {
		items := p.local.items(t, "HGETALL", "user:8")
		got := make(map[string]string)
		for i := 0; i+1 < len(items); i += 2 {
			got[items[i]] = items[i+1]
		}
		if len(got) != 3 || got["old"] != "remote" || got["both"] != "local" || got["new"] != "local" {
			return fmt.Errorf("user:8 = %v, want the remote's old, and the local both and new", got)
		}
		return nil
	})
}

// TestFetchLosesAgainstDelete: a key that is deleted on purpose while it is on its
// way does not come back, now or when it is missed again.
func TestFetchLosesAgainstDelete(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7", "8")
	p.addRemote(t, "user:7:mnodes", nodes(3))
	p.addRemote(t, "user:8:mnodes", nodes(3))
	p.proxy.Latency(200 * time.Millisecond)
	p.local.must(t, "SMEMBERS", "user:7:mnodes")
	p.local.must(t, "SADD", "user:7:mnodes", "x")
	p.local.must(t, "DEL", "user:7:mnodes")
	p.proxy.Latency(0)
	p.local.must(t, "SMEMBERS", "user:7:mnodes")
	p.wantLocalSet(t, "user:8:mnodes", nodes(3)) // came later, so 7 would be here
	p.local.must(t, "SMEMBERS", "user:7:mnodes")
	p.local.lose(t, "user:8:mnodes")
	p.wantLocalSet(t, "user:8:mnodes", nodes(3))
	if got := p.local.items(t, "SMEMBERS", "user:7:mnodes"); len(got) != 0 {
		t.Errorf("a deleted key is back: %q", got)
	}
	p.local.must(t, "SADD", "user:7:mnodes", "new")
	p.local.lose(t, "user:7:mnodes")
	p.wantLocalSet(t, "user:7:mnodes", nodes(3)) // written again, and then lost: it may come
}

// TestAbsentIsRemembered: a key that the remote does not have is asked for once,
// until it is written or its time has passed.
func TestAbsentIsRemembered(t *testing.T) {
	const key = "user:7:mnodes"
	p := newPair(t, nil)
	p.sponsors(t, "7")
	redistest.Eventually(t, soon, func() error {
		p.local.must(t, "SMEMBERS", key)
		if st := p.engine.Status(); st.AbsentHits == 0 {
			return fmt.Errorf("no hit: %+v", st)
		}
		return nil
	})
	seen := p.remote.Monitor(t)
	for range 100 {
		p.local.must(t, "SMEMBERS", key)
	}
	if lines := seen.Matching(key); len(lines) != 0 {
		t.Errorf("the remote was asked again: %q", lines)
	}
	p.addRemote(t, key, nodes(3))
	p.local.must(t, "SADD", key, "x")
	p.local.lose(t, key)
	p.wantLocalSet(t, key, nodes(3))

	p.config.AbsentTTL = time.Millisecond
	p.engine.Configure(p.config)
	redistest.Eventually(t, soon, func() error {
		p.local.must(t, "HGETALL", "user:7")
		if n := len(seen.Matching(`"TYPE" "user:7"`)); n < 2 {
			return fmt.Errorf("the remote was asked %d times for user:7, want again: absence is believed for ever", n)
		}
		return nil
	})
}

// TestOnlySponsorsAreFetched: a miss of anybody else's key, or of a key of ours,
// never reaches the remote.
func TestOnlySponsorsAreFetched(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7")
	seen := p.remote.Monitor(t)
	for _, key := range []string{"user:8:mnodes", "user:8", "user:7:other", "user:", "sponsor:journal", "other"} {
		p.addRemote(t, key, nodes(3))
		p.local.must(t, "SMEMBERS", key)
		p.miss(key)
	}
	p.addRemote(t, "user:7:mnodes", nodes(3))
	p.wantLocalSet(t, "user:7:mnodes", nodes(3))
	for _, line := range seen.Lines() {
		if !strings.Contains(line, "unix:") && strings.Contains(line, `"user:8`) {
			t.Errorf("the remote was asked: %s", line)
		}
	}
	if got := p.local.items(t, "KEYS", "*"); len(got) != 2 {
		t.Errorf("keys here = %q, want the sponsors and the one key", got)
	}
}

// TestSponsorsAreFetchedBack: an empty server learns from the remote who its
// sponsors are, but not if somebody has removed them on purpose.
func TestSponsorsAreFetchedBack(t *testing.T) {
	p := newPair(t, nil)
	p.sponsors(t, "7")
	p.sync(t)
	p.local.must(t, "FLUSHALL")
	p.engine.DataSetReplaced()
	p.wantLocalSet(t, sponsorsKey, []string{"7"})
	p.knows(t, 1)

	p.local.must(t, "DEL", sponsorsKey)
	p.knows(t, 0)
	if got := p.local.items(t, "SMEMBERS", sponsorsKey); len(got) != 0 {
		t.Errorf("the sponsors are back: %q", got)
	}
}

// TestReadThroughOff: nothing is fetched, and it can be switched while work goes
// on.
func TestReadThroughOff(t *testing.T) {
	p := newPair(t, func(c *replication.Config) { c.ReadThrough = replication.ReadOff })
	p.sponsors(t, "7")
	p.addRemote(t, "user:7:mnodes", nodes(3))
	seen := p.remote.Monitor(t)
	for range 100 {
		p.local.must(t, "SMEMBERS", "user:7:mnodes")
	}
	if lines := seen.Matching("user:7:mnodes"); len(lines) != 0 {
		t.Errorf("the remote was asked: %q", lines)
	}
	if got := p.engine.Status().Misses; got < 100 {
		t.Errorf("%d misses counted, want 100", got)
	}
	p.config.ReadThrough = replication.ReadAsync
	p.engine.Configure(p.config)
	p.wantLocalSet(t, "user:7:mnodes", nodes(3))
}
