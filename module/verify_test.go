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

// run is a command of ours that answers with a map.
func (p *pair) run(t *testing.T, args ...any) map[string]any {
	t.Helper()
	c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
	defer c.Close()
	reply, err := c.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return fields(reply)
}

// findings are the keys that VERIFY names, with how they differ.
func findings(got map[string]any) string {
	var list []string
	for _, one := range got["keys"].([]any) {
		f := fields(one)
		list = append(list, fmt.Sprintf("%v %v", f["key"], f["difference"]))
	}
	return strings.Join(list, ", ")
}

// TestVerify: what differs is counted and named, and what is merely away is not.
func TestVerify(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.keys \"user:<id>:x:*\"", "sponsor.keys-unfiltered news:*")
		must(t, p.l, cmd("SADD", sponsorsKey, "8"), cmd("SADD", "user:9:x:stranger", "a"), cmd("SET", "news:1", "hello"))
		for _, id := range []string{"7", "8"} {
			user := "user:" + id + ":x:"
			must(t, p.l, cmd("SADD", user+"set", "a", "\xff\x00"), cmd("HSET", user+"hash", "f", 1), cmd("RPUSH", user+"list", "a", "a"),
				cmd("ZADD", user+"zset", 1.5, "m"), cmd("SET", user+"text", strings.Repeat("x", 300_000)), cmd("XADD", user+"stream", "1-1", "k", "v"))
			largeSet(t, p.l, user+"large", 3)
		}
		p.safe(t)
		got := p.run(t, "SPONSOR.VERIFY")
		wantCounts(t, got, map[string]int64{
			"checked": 2*7 + 2, "same": 2*7 + 2, "missing_remote": 0, "missing_local": 0, "different": 0, "ttl_differs": 0, "away": 0, "busy": 0,
		})
		must(t, p.r, cmd("SREM", "user:7:x:set", "a"), cmd("HSET", "user:7:x:hash", "f", 2), cmd("RPUSH", "user:7:x:list", "b"),
			cmd("ZADD", "user:7:x:zset", 2, "m"), cmd("APPEND", "user:7:x:text", "y"), cmd("XADD", "user:7:x:stream", "2-1", "k", "v"),
			cmd("PEXPIRE", "user:8:x:set", 100_000_000), cmd("DEL", "user:8:x:hash"), cmd("SADD", "user:8:x:large", "one more"),
			cmd("SET", "user:8:x:only there", "away"))
		want := "user:7:x:hash different, user:7:x:list different, user:7:x:set different, user:7:x:stream different, " +
			"user:7:x:text different, user:7:x:zset different, user:8:x:hash missing_remote, user:8:x:large different, user:8:x:set ttl_differs"
		got = p.run(t, "SPONSOR.VERIFY")
		wantCounts(t, got, map[string]int64{
			"checked": 2*7 + 2, "same": 2*7 + 2 - 9, "missing_remote": 1, "missing_local": 0, "different": 7, "ttl_differs": 1, "away": 1, "busy": 0,
		})
		if got := findings(got); got != want {
			t.Errorf("VERIFY names %s\nwant %s", got, want)
		}
		if got := findings(p.run(t, "SPONSOR.VERIFY", "USER", "8")); !strings.Contains(want, got) || strings.Count(got, ",") != 2 {
			t.Errorf("VERIFY USER 8 names %s", got)
		}
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7", "8")
		wantCounts(t, p.run(t, "SPONSOR.VERIFY"), map[string]int64{"checked": 1, "same": 1, "away": 2*7 + 1})
		wantError(t, p.l, []string{"not in " + sponsorsKey, "9"}, "SPONSOR.VERIFY", "USER", "9")
		wantError(t, p.l, []string{"unknown option"}, "SPONSOR.VERIFY", "7")
		wantError(t, p.l, []string{"USER wants the ids"}, "SPONSOR.VERIFY", "USER")
		wantError(t, p.l, []string{"cannot be the id"}, "SPONSOR.PULL", "USER", "a:b")
	})
}

// TestVerifyUnderWrites: keys that are written all the time do not differ.
func TestVerifyUnderWrites(t *testing.T) {
	p, proxy := proxied(t)
	proxy.Latency(2 * time.Millisecond)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				p.l.SAdd(t.Context(), "user:7:mnodes", i%50)
				p.l.SRem(t.Context(), "user:7:mnodes", (i+25)%50)
				p.l.HIncrBy(t.Context(), "user:8", "n", 1)
				p.l.Set(t.Context(), "user:7", i, 0)
			}
		}
	}()
	for range 5 {
		got := p.run(t, "SPONSOR.VERIFY")
		if findings(got) != "" {
			t.Errorf("VERIFY = %v", got)
		}
	}
	close(stop)
	<-stopped
	p.safe(t)
	wantCounts(t, p.run(t, "SPONSOR.VERIFY"), map[string]int64{"checked": 4, "same": 4})
}

// TestPull: after all was lost, everything comes back at once; what is here stays.
func TestPull(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.keys \"user:<id> user:<id>:mnodes user:<id>:x:*\"", "sponsor.keys-unfiltered news:*")
		var keys []string
		for _, id := range ids(50) {
			must(t, p.l, cmd("SADD", sponsorsKey, id), cmd("HSET", "user:"+id, "id", id), cmd("SADD", "user:"+id+":mnodes", "a", id),
				cmd("SET", "user:"+id+":x:text", id))
			keys = append(keys, "user:"+id, "user:"+id+":mnodes", "user:"+id+":x:text")
		}
		largeSet(t, p.l, "user:7:x:large", 5)
		must(t, p.l, cmd("SET", "news:1", "hello"), cmd("PEXPIREAT", "user:8", 4_000_000_000_000))
		keys = append(keys, "user:7:x:large", "news:1")
		p.safe(t)
		want := dump(t, p.r, keys...)
		must(t, p.l, cmd("FLUSHALL"))
		got := p.run(t, "SPONSOR.PULL", "USER", "7")
		wantCounts(t, got, map[string]int64{"sponsors": 1, "keys": 4, "elements": 1 + 2 + 1 + 5000, "failed": 0})
		must(t, p.l, cmd("SADD", "user:7:mnodes", "newer"), cmd("DEL", "user:9"))
		got = p.run(t, "SPONSOR.PULL")
		wantCounts(t, got, map[string]int64{"sponsors": 50, "keys": 3*50 - 3 - 1 + 1, "present": 1 + 4, "failed": 0})
		if n := exist(t, p.l, "user:9"); n != 0 {
			t.Error("PULL has brought back what was deleted")
		}
		must(t, p.l, cmd("SREM", "user:7:mnodes", "newer"), cmd("HSET", "user:9", "id", 9))
		p.safe(t)
		must(t, p.l, cmd("CONFIG", "SET", "sponsor.read-through", "off"))
		if got := dump(t, p.l, keys...); got != want {
			t.Errorf("here is\n%s\nwant\n%s", got, want)
		}
		if got := dump(t, p.r, keys...); got != want {
			t.Errorf("the remote has\n%s\nwant\n%s", got, want)
		}
		if done, total := statusInt(t, p.l, "pull_done"), statusInt(t, p.l, "pull_total"); done != total || total == 0 {
			t.Errorf("pull_done, pull_total = %d, %d", done, total)
		}
	})
}

func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i + 1)
	}
	return slices.Clip(list)
}
