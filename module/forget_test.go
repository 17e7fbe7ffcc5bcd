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

// TestForget erases people: a sponsor, a sponsor whose keys are away, somebody who is
// none, and nobody else.
func TestForget(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, wildKeys, "sponsor.read-through off")
		must(t, p.l, cmd("SADD", sponsorsKey, "8", "77", "*"))
		mine, away, others, odd := fill(t, p.l, "7"), fill(t, p.l, "8"), fill(t, p.l, "77"), fill(t, p.l, "*")
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		p.waitForSponsors(t, 4)
		fill(t, p.l, "7")
		p.safe(t)
		for id, want := range map[string]int{"7": 4, "8": 4, "*": 4, "nobody": 0} {
			got, err := p.l.Do(t.Context(), "SPONSOR.FORGET", id).Int()
			if err != nil || got != want {
				t.Errorf("FORGET %s = %d, %v; want %d", id, got, err, want)
			}
		}
		for _, keys := range [][]string{mine, away, odd} {
			if here, there := exist(t, p.l, keys...), exist(t, p.r, keys...); here+there > 0 {
				t.Errorf("%d keys like %s are here, and %d on the remote, want none", here, keys[0], there)
			}
		}
		if n := exist(t, p.r, others...); n != 4 {
			t.Errorf("the remote has %d keys of somebody else, want 4", n)
		}
		if members := members(t, p.l, sponsorsKey); len(members) != 4 {
			t.Errorf("sponsors = %q, want all as they were", members)
		}
		// Later writes are new data.
		must(t, p.l, cmd("SADD", "user:7:mnodes", "new"))
		p.safe(t)
		p.wantSame(t, "user:7:mnodes")

		// Somebody who was a sponsor once.
		must(t, p.l, cmd("SREM", sponsorsKey, "77"))
		p.safe(t)
		if n, err := p.l.Do(t.Context(), "SPONSOR.FORGET", "77").Int(); n != 4 || err != nil {
			t.Errorf("FORGET = %d, %v; want 4", n, err)
		}
		if n := exist(t, p.r, others...); n != 0 {
			t.Errorf("the remote has %d keys of somebody who was a sponsor, want none", n)
		}
	})
}

// TestForgetCancels: dead letters and what is on its way go with the rest.
func TestForgetCancels(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	must(t, p.r, cmd("SET", "user:7:mnodes", "no set"))
	must(t, p.l, cmd("SADD", "user:7:mnodes", "b"))
	redistest.Eventually(t, soon, func() error {
		if n := statusInt(t, p.l, "dead_letters"); n != 1 {
			return fmt.Errorf("dead_letters = %d, want 1", n)
		}
		return nil
	})
	if n, err := p.l.Do(t.Context(), "SPONSOR.FORGET", "7").Int(); n != 1 || err != nil {
		t.Errorf("FORGET = %d, %v; want 1", n, err)
	}
	if n := statusInt(t, p.l, "dead_letters"); n != 0 {
		t.Errorf("dead_letters = %d, want none", n)
	}
	if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
		t.Error("the remote has the key still")
	}
}

// TestForgetRefused: what the remote does not allow is an error, and can be tried
// again.
func TestForgetRefused(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "-unlink"))
	wantError(t, p.l, []string{"erased here", "NOPERM", "SPONSOR.RETRY"}, "SPONSOR.FORGET", "7")
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "+unlink"))
	must(t, p.l, cmd("SPONSOR.RETRY"))
	p.safe(t)
	if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
		t.Error("the remote has the key still")
	}
	wantError(t, p.l, []string{"cannot be the id"}, "SPONSOR.FORGET", "a:b")
	wantError(t, p.l, []string{"wrong number of arguments"}, "SPONSOR.FORGET")
	must(t, p.l, cmd("CONFIG", "SET", "sponsor.write-behind", "no"))
	wantError(t, p.l, []string{"sponsor.write-behind yes"}, "SPONSOR.FORGET", "7")
}

// TestForgetOutlivesACrash: the remote hears of it whatever happens to this server.
func TestForgetOutlivesACrash(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor,
			Conf:   append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, "appendonly yes", "appendfsync always"),
		})
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"), cmd("SADD", "user:7:mnodes", "a"))
		p.safe(t)
		must(t, p.l, cmd("SREM", sponsorsKey, "7"))
		p.safe(t)
		p.cutOff(t, proxy)
		impatient := p.local.Client(func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 100*time.Millisecond, -1 })
		_ = impatient.Do(t.Context(), "SPONSOR.FORGET", "7").Err() // waits longer than that
		redistest.Eventually(t, soon, func() error {
			if n := exist(t, p.l, "user:7:mnodes"); n != 0 {
				return fmt.Errorf("the key is still here")
			}
			return nil
		})
		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.local.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := proxy.Heal(); err != nil {
			t.Fatal(err)
		}
		p.safe(t)
		if n := exist(t, p.r, "user:7:mnodes"); n != 0 {
			t.Error("the remote has the key still")
		}
	})
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
