package main_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const recordKey = "sponsor:dataset:" + org

// recorded writes something, and waits until the remote's record says that all is there.
func (p *pair) recorded(t *testing.T) {
	t.Helper()
	now := time.Now().UnixMicro()
	must(t, p.l, cmd("HSET", "user_details:7", "at", now))
	p.safe(t)
	redistest.Eventually(t, soon, func() error {
		var (
			id              string
			epoch, low, top int64
		)
		text := p.r.Get(t.Context(), recordKey).Val()
		if _, err := fmt.Sscan(text, &id, &epoch, &low, &top); err != nil || low < now {
			return fmt.Errorf("record = %q, %w; want all up to %d", text, err, now)
		}
		return nil
	})
}

// dump is what a server has of keys.
func dump(t *testing.T, c *redis.Client, keys ...string) string {
	t.Helper()
	var lines []string
	for _, key := range keys {
		lines = append(lines, key+" "+contents(t, c, key))
	}
	return strings.Join(lines, "\n")
}

// crash kills a server, and starts it from what it has on its disk.
func crash(t *testing.T, s *redistest.Server) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestR5_OldSnapshot: a server that comes back from an old snapshot takes what the
// remote has, also where its marks speak of something older, and changes nothing there.
// What it has not sent is sent.
func TestR5_OldSnapshot(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor, Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "appendonly no", `save ""`),
		})
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7", "8", "9"))
		keys := []string{sponsorsKey}
		for _, id := range []string{"7", "8", "9", "10"} {
			keys = append(keys, fill(t, p.l, id)[:3]...)
		}
		p.safe(t)
		// The snapshot holds marks of what is sent later.
		p.cutOff(t, proxy)
		must(t, p.l, cmd("SADD", "user:8:mnodes", "stale"), cmd("SET", "user:8", "stale"), cmd("SAVE"))
		p.reconnect(t, proxy)
		p.recorded(t)
		must(t, p.l, cmd("SREM", "user:8:mnodes", "stale"), cmd("SET", "user:8", "new"),
			cmd("SADD", "user:7:mnodes", "new"), cmd("SREM", "user:7:mnodes", "a"), cmd("DEL", "user:7"),
			cmd("HSET", "user_details:7", "id", "new", "more", "v"), cmd("PEXPIREAT", "user_details:8", 4_000_000_000_000),
			cmd("SREM", sponsorsKey, "9"), cmd("SADD", sponsorsKey, "10"))
		p.recorded(t)
		want := dump(t, p.r, keys...)
		crash(t, p.local)
		p.safe(t)
		if got := dump(t, p.r, keys...); got != want {
			t.Errorf("the remote has\n%s\nwant\n%s", got, want)
		}
		// What belongs to who is no sponsor any more is no business of ours.
		var theirs []string
		for _, key := range keys {
			if !strings.Contains(key, "9") {
				theirs = append(theirs, key)
			}
		}
		want = dump(t, p.r, theirs...)
		redistest.Eventually(t, soon, func() error {
			if got := dump(t, p.l, theirs...); got != want {
				return fmt.Errorf("here is\n%s\nwant\n%s", got, want)
			}
			return nil
		})
	})
}

// TestR2_OldSnapshotWithWhatIsNew: marks of what the remote does not have count, also of
// somebody who has become a sponsor.
func TestR2_OldSnapshotWithWhatIsNew(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{
		Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "appendonly no", `save ""`),
	})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"), cmd("SADD", "user:9:mnodes", "theirs"))
	p.recorded(t)
	p.cutOff(t, proxy)
	must(t, p.l, cmd("SADD", "user:7:mnodes", "unsent"), cmd("SADD", sponsorsKey, "9"), cmd("SAVE"))
	if err := p.local.Kill(); err != nil {
		t.Fatal(err)
	}
	// As if a newer state had been sent by another server in the meantime.
	text := strings.Fields(p.r.Get(t.Context(), recordKey).Val())
	must(t, p.r, cmd("SET", recordKey, fmt.Sprintf("%s %s %s %d", text[0], text[1], text[2], time.Now().Add(time.Minute).UnixMicro())))
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := p.local.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.safe(t)
	for key, want := range map[string]string{"user:7:mnodes": `["a" "unsent"]`, "user:9:mnodes": `["theirs"]`} {
		if got := fmt.Sprintf("%q", members(t, p.r, key)); got != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
}

// TestRemoteGoesBack: a remote that comes back without what it had acknowledged gets all
// of it again, also if it comes back empty.
func TestRemoteGoesBack(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *pair){
		"an older state": func(t *testing.T, p *pair) { crash(t, p.remote) },
		"empty":          func(t *testing.T, p *pair) { must(t, p.r, cmd("FLUSHALL")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := following(t, redistest.Flavor{})
			must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
			p.recorded(t)
			must(t, p.r, cmd("SAVE"))
			must(t, p.l, cmd("SADD", "user:7:mnodes", "b"), cmd("SREM", "user:7:mnodes", "a"), cmd("SET", "user:7", "v"))
			p.recorded(t)
			lose(t, p)
			if n := exist(t, p.r, "user:7"); n != 0 {
				t.Fatal("the remote has lost nothing")
			}
			must(t, p.l, cmd("HSET", "user_details:7", "id", "7"))
			redistest.Eventually(t, soon, func() error {
				keys := []string{sponsorsKey, "user:7", "user:7:mnodes", "user_details:7"}
				if here, there := dump(t, p.l, keys...), dump(t, p.r, keys...); here != there {
					return fmt.Errorf("the remote has\n%s\nwant\n%s", there, here)
				}
				return nil
			})
			st, err := status(p.l)
			if err != nil || st["errors"] == int64(0) {
				t.Errorf("status = %v, %v: nobody is told", st, err)
			}
		})
	}
}

// TestOldMasterStops: after a failover that the old master has not heard of, it stops
// sending.
func TestOldMasterStops(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.recorded(t)
	replica := newLocal(t, p.remote, redistest.Config{Conf: append(remoteConf(p.remote, p.remote.Host(), p.remote.Port()),
		writeBehind, "replicaof 127.0.0.1 "+fmt.Sprint(p.local.Port()))})
	redistest.Eventually(t, soon, func() error {
		if n := exist(t, replica.l, "user:7:mnodes"); n == 0 {
			return errors.New("the replica has nothing yet")
		}
		return nil
	})
	must(t, replica.l, cmd("REPLICAOF", "NO", "ONE"))
	replica.waitFor(t, "connected")
	must(t, replica.l, cmd("SADD", "user:7:mnodes", "new"))
	replica.recorded(t)
	i := 0
	redistest.Eventually(t, soon, func() error {
		i++
		must(t, p.l, cmd("SADD", "user:7:mnodes", fmt.Sprint("old-", i)))
		st, err := status(p.l)
		if !strings.Contains(fmt.Sprint(st["last_error"]), "another server") {
			return fmt.Errorf("last_error = %v, %w; want that another server writes", st["last_error"], err)
		}
		return nil
	})
	p.waitFor(t, "down")
	wantError(t, p.l, []string{"another server", "restart it"}, "SPONSOR.SYNC")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "after"))
	must(t, replica.l, cmd("SADD", "user:7:mnodes", "newer"))
	replica.recorded(t)
	has, err := p.r.SMIsMember(t.Context(), "user:7:mnodes", "new", "newer", "after").Result()
	if err != nil || !has[0] || !has[1] || has[2] {
		t.Errorf("the remote has %q, %v; want what the new master has, and nothing of what the old one had after it knew", members(t, p.r, "user:7:mnodes"), err)
	}
}
