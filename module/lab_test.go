package main_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	org         = "acme"
	sponsorsKey = "sponsors:" + org
)

// soon is how long a test waits for what takes milliseconds on an idle machine.
const soon = 20 * time.Second

// A pair is a local server with the module, and a remote one with TLS, a
// password, and a user with the rights that Redis Enterprise gives.
type pair struct {
	local, remote *redistest.Server
	l, r          *redis.Client // as the default user, on the unix socket
}

// remoteConf is redistest.RemoteConf.
var remoteConf = redistest.RemoteConf

// writeBehind is the line of redis.conf by which every change of a pair is sent.
// Without it SYNC and misses can be watched by themselves, and so can misses without
// blocking, by which commands wait for what is away.
const (
	writeBehind = "sponsor.write-behind yes"
	blocking    = "sponsor.read-through block"
)

// newPair starts a pair. conf comes after what every pair needs.
func newPair(t *testing.T, flavor redistest.Flavor, conf ...string) *pair {
	t.Helper()
	remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
	return newLocal(t, remote, redistest.Config{
		Flavor: flavor, Conf: slices.Concat(remoteConf(remote, remote.Host(), remote.Port()), conf),
	})
}

// newLocal starts a local server beside remote.
func newLocal(t *testing.T, remote *redistest.Server, cfg redistest.Config) *pair {
	t.Helper()
	cfg.Name = "local"
	if cfg.Modules == nil {
		cfg.Modules = []string{redistest.Module(t) + " org " + org + " write-behind no read-through async"}
	}
	local := redistest.New(t, cfg)
	return &pair{local: local, remote: remote, l: local.Client(), r: remote.Client()}
}

// waitFor waits until the module says that it is in state.
func (p *pair) waitFor(t *testing.T, state string) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		got, err := status(p.l)
		if err != nil {
			return err
		}
		if got["state"] != state {
			return fmt.Errorf("state = %v, want %s (%v)", got["state"], state, got)
		}
		return nil
	})
}

// waitForSponsors waits until the module knows of n sponsors.
func (p *pair) waitForSponsors(t *testing.T, n int64) {
	t.Helper()
	redistest.Eventually(t, soon, func() error {
		if got := statusInt(t, p.l, "sponsors"); got != n {
			return fmt.Errorf("the module knows %d sponsors, want %d", got, n)
		}
		return nil
	})
}

// status is SPONSOR.STATUS.
func status(c *redis.Client) (map[string]any, error) {
	reply, err := c.Do(context.Background(), "SPONSOR.STATUS").Result()
	if err != nil {
		return nil, err
	}
	return fields(reply), nil
}

// statusInt is a number of SPONSOR.STATUS.
func statusInt(t *testing.T, c *redis.Client, field string) int64 {
	t.Helper()
	st, err := status(c)
	if err != nil {
		t.Fatal(err)
	}
	n, ok := st[field].(int64)
	if !ok {
		t.Fatalf("STATUS has no number %s: %v", field, st)
	}
	return n
}

// fields makes a map of a reply in RESP3 or RESP2.
func fields(reply any) map[string]any {
	m := make(map[string]any)
	switch reply := reply.(type) {
	case map[any]any:
		for k, v := range reply {
			m[k.(string)] = v
		}
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			m[reply[i].(string)] = reply[i+1]
		}
	}
	return m
}

// sync runs SPONSOR.SYNC and returns its counts.
func (p *pair) sync(t *testing.T, args ...any) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = 2 * time.Minute })
	defer c.Close()
	reply, err := c.Do(ctx, append([]any{"SPONSOR.SYNC"}, args...)...).Result()
	if err != nil {
		t.Fatalf("SPONSOR.SYNC %v: %v", args, err)
	}
	return fields(reply)
}

// wantCounts compares some counts of a SYNC.
func wantCounts(t *testing.T, got map[string]any, want map[string]int64) {
	t.Helper()
	for field, n := range want {
		if got[field] != n {
			t.Errorf("%s = %v, want %d (%v)", field, got[field], n, got)
		}
	}
}

// must runs commands.
func must(t *testing.T, c *redis.Client, commands ...[]any) {
	t.Helper()
	for _, args := range commands {
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
}

func cmd(args ...any) []any { return args }

// allKeys are the names of all keys of database 0, in order.
func allKeys(t *testing.T, c *redis.Client) []string {
	t.Helper()
	var keys []string
	iter := c.Scan(t.Context(), 0, "*", 10000).Iterator()
	for iter.Next(t.Context()) {
		keys = append(keys, iter.Val())
	}
	if err := iter.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func wantKeys(t *testing.T, c *redis.Client, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := allKeys(t, c); !slices.Equal(got, want) {
		t.Errorf("keys = %q, want %q", got, want)
	}
}

func members(t *testing.T, c *redis.Client, key string) []string {
	t.Helper()
	got, err := c.SMembers(t.Context(), key).Result()
	if err != nil {
		t.Fatalf("SMEMBERS %s: %v", key, err)
	}
	slices.Sort(got)
	return got
}

// eventuallyMembers reads key until it has the members want.
func eventuallyMembers(t *testing.T, c *redis.Client, key string, want ...string) {
	t.Helper()
	slices.Sort(want)
	redistest.Eventually(t, soon, func() error {
		if got := members(t, c, key); !slices.Equal(got, want) {
			return fmt.Errorf("SMEMBERS %s = %.200q, want %.200q", key, got, want)
		}
		return nil
	})
}

func wantHash(t *testing.T, c *redis.Client, key string, want map[string]string) {
	t.Helper()
	got, err := c.HGetAll(t.Context(), key).Result()
	if err != nil {
		t.Fatalf("HGETALL %s: %v", key, err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("HGETALL %s = %.300v, want %.300v", key, got, want)
	}
}

// wantError runs a command that must fail, with each of parts in the error.
func wantError(t *testing.T, c *redis.Client, parts []string, args ...any) {
	t.Helper()
	err := c.Do(t.Context(), args...).Err()
	if err == nil {
		t.Errorf("%v has worked, want an error with %q", args, parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: %v; want %q in it", args, err, part)
		}
	}
}

// pipelined runs commands in batches.
func pipelined(t *testing.T, c *redis.Client, commands func(yield func(args ...any))) {
	t.Helper()
	pipe := c.Pipeline()
	flush := func() {
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		pipe = c.Pipeline()
	}
	commands(func(args ...any) {
		pipe.Do(t.Context(), args...)
		if pipe.Len() >= 2000 {
			flush()
		}
	})
	if pipe.Len() > 0 {
		flush()
	}
}

// proxied is a pair with write-behind, the sponsors 7 and 8, and a network that fails
// on demand.
func proxied(t *testing.T, conf ...string) (*pair, *redistest.Proxy) {
	t.Helper()
	return proxiedOn(t, redistest.Flavor{}, conf...)
}

func proxiedOn(t *testing.T, flavor redistest.Flavor, conf ...string) (*pair, *redistest.Proxy) {
	t.Helper()
	remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
	proxy := redistest.NewProxy(t, remote.Addr())
	p := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: append(append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, blocking), conf...)})
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

func exist(t *testing.T, c *redis.Client, keys ...string) int64 {
	t.Helper()
	n, err := c.Exists(t.Context(), keys...).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
