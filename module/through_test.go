package main_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestHostileThroughCommands: our commands, sent by somebody, do nothing, however they are
// nested.
func TestHostileThroughCommands(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		args := make([]any, 0, 100_002)
		for range 100_000 {
			args = append(args, "SPONSOR.READ")
		}
		args = append(args, "GET", "user:7")
		wantError(t, p.l, []string{"for the module itself"}, args...)
		_ = p.l.Do(t.Context(), append(cmd("COMMAND", "GETKEYS"), args...)...).Err() // whatever it is
		must(t, p.l, cmd("PING"))
	})
}

// TestOtherDatabases: a command on a key of the same name elsewhere is as ever.
func TestOtherDatabases(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.l, cmd("SET", "user:7", "ours"))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		other := p.local.Client(func(o *redis.Options) { o.DB = 1 })
		wantReply(t, other, nil, "GET", "user:7")
		must(t, other, cmd("SADD", "user:7", "m"))
		for range 3 { // Valkey 8.1 loses such answers
			wantReply(t, other, "WRONGTYPE", "GETDEL", "user:7")
			wantReply(t, other, "WRONGTYPE", "GETSET", "user:7", "x")
			wantReply(t, other, "PONG", "PING")
		}
		wantReply(t, p.l, "ours", "GET", "user:7")
		wantReply(t, p.r, "ours", "GET", "user:7")
	})
}

// TestPausedThroughCommands: what is put off by CLIENT PAUSE is run then, and nothing is
// written before.
func TestPausedThroughCommands(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, `sponsor.keys "user:<id> user:<id>:mnodes user:<id>:x:*"`, "sponsor.read-timeout-ms 20000")
		must(t, p.l, cmd("PFADD", "user:7:x:hll", "a", "b"), cmd("SADD", "user:7:mnodes", "a"), cmd("SET", "user:7", "x"))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		must(t, p.l, cmd("CLIENT", "PAUSE", 700, "WRITE"))
		begun := time.Now()
		wantReply(t, p.l, 2, "PFCOUNT", "user:7:x:hll")
		if took := time.Since(begun); took < 500*time.Millisecond {
			t.Errorf("PFCOUNT, which may write, took %v while writes are paused", took)
		}
		must(t, p.l, cmd("CLIENT", "PAUSE", 300, "ALL"))
		wantReply(t, p.l, 1, "SADD", "user:7:mnodes", "b")
		must(t, p.l, cmd("DEBUG", "RELOAD"), cmd("CLIENT", "PAUSE", 300, "ALL"))
		wantReply(t, p.l, "[a b]", "SMEMBERS", "user:7:mnodes")
		wantReply(t, p.l, "x", "GET", "user:7")
	})
}

// TestAbsentForNoTime: where it is not believed for long that the remote does not have a key,
// commands run nevertheless.
func TestAbsentForNoTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.absent-ttl-ms 0")
		for i := range 20 {
			wantReply(t, p.l, nil, "GET", "user:7")
			wantReply(t, p.l, 1, "SADD", "user:7:mnodes", i)
			p.safe(t)
			wantReply(t, p.l, 1, "DEL", "user:7:mnodes")
		}
	})
}

// TestRemovalsWithoutRoom: what is away and does not fit is not removed, since it is not known
// what the command would answer; it is when there is room again.
func TestRemovalsWithoutRoom(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a", "b"))
	p.safe(t)
	must(t, p.l, cmd("FLUSHALL"))
	eventuallyMembers(t, p.l, sponsorsKey, "7")
	must(t, p.l, cmd("CONFIG", "SET", "maxmemory", 1))
	wantReply(t, p.l, "OOM", "SREM", "user:7:mnodes", "a")
	p.safe(t)
	eventuallyMembers(t, p.r, "user:7:mnodes", "a", "b")
	must(t, p.l, cmd("CONFIG", "SET", "maxmemory", 0))
	redistest.Eventually(t, soon, func() error { // it is not asked again at once
		return p.l.SRem(t.Context(), "user:7:mnodes", "a").Err()
	})
	p.safe(t)
	eventuallyMembers(t, p.r, "user:7:mnodes", "b")
}

// TestRightsAreTakenWhileACommandWaits: then it is refused, and removes nothing.
func TestRightsAreTakenWhileACommandWaits(t *testing.T) {
	p, proxy := proxied(t, "sponsor.read-timeout-ms 20000")
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("ACL", "SETUSER", "u", "on", ">pass", "~user:*", "+del", "+sponsor.write"))
	p.safe(t)
	p.loseAll(t)
	proxy.Latency(500 * time.Millisecond)
	u := p.local.Client(func(o *redis.Options) { o.Username, o.Password = "u", "pass" })
	answer := make(chan error)
	go func() { answer <- u.Del(context.Background(), "user:7:mnodes").Err() }()
	redistest.Eventually(t, soon, func() error {
		if n := statusInt(t, p.l, "waiting"); n != 1 {
			return fmt.Errorf("waiting = %d", n)
		}
		return nil
	})
	must(t, p.l, cmd("ACL", "SETUSER", "u", "-del"))
	if err := <-answer; err == nil {
		t.Error("DEL has worked")
	}
	proxy.Latency(0)
	p.safe(t)
	eventuallyMembers(t, p.r, "user:7:mnodes", "a")
}

// TestVerifyOfWhatCannotBeRead: one key that the remote does not show stops nobody.
func TestVerifyOfWhatCannotBeRead(t *testing.T) {
	p := following(t, redistest.Flavor{})
	must(t, p.l, cmd("XADD", "user:7", "1-1", "k", "v"), cmd("SADD", "user:7:mnodes", "a"))
	p.safe(t)
	must(t, p.r, cmd("ACL", "SETUSER", redistest.EnterpriseUser, "-xrange"))
	wantCounts(t, p.run(t, "SPONSOR.VERIFY"), map[string]int64{"checked": 2, "same": 2, "failed": 1})
}
