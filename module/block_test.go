package main_test

import (
	"context"
	"errors"
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

// wantReply compares what a command answers.
func wantReply(t *testing.T, c *redis.Client, want any, args ...any) {
	t.Helper()
	got, err := c.Do(t.Context(), args...).Result()
	var refused redis.Error
	switch {
	case err == nil || errors.Is(err, redis.Nil):
	case errors.As(err, &refused):
		got, _, _ = strings.Cut(refused.Error(), " ")
	default:
		t.Fatalf("%v: %v", args, err)
	}
	if list, ok := got.([]any); ok {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v = %v, want %v", args, got, want)
	}
}

// calls is how often a server has been sent a command.
func calls(t *testing.T, c *redis.Client, command string) int {
	t.Helper()
	stats := c.Info(t.Context(), "commandstats").Val()
	_, rest, ok := strings.Cut(stats, "cmdstat_"+command+":calls=")
	if !ok {
		return 0
	}
	text, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestR4_FirstReadIsFull: whatever command uses a key that is away finds it.
func TestR4_FirstReadIsFull(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		const set, hash, list, zset, text, stream = "user:7:x:set", "user:7:x:hash", "user:7:x:list", "user:7:x:zset", "user:7:x:text", "user:7:x:stream"
		p := following(t, flavor, `sponsor.keys "user:<id>:x:*"`, "sponsor.read-timeout-ms 10000")
		fill := func() {
			must(t, p.l, cmd("DEL", set, hash, list, zset, text, stream, "mine"),
				cmd("SADD", set, "a", "b"), cmd("HSET", hash, "f", "1"), cmd("RPUSH", list, "x", "y"), cmd("ZADD", zset, 1, "m", 2, "n"),
				cmd("SET", text, "hello"), cmd("XADD", stream, "1-1", "k", "v"), cmd("SADD", "mine", "b"))
			p.safe(t)
		}
		for _, test := range []struct {
			want any
			args []any
		}{
			{"[a b]", cmd("SMEMBERS", set)},
			{1, cmd("SISMEMBER", set, "a")},
			{2, cmd("SCARD", set)},
			{"set", cmd("TYPE", set)},
			{-1, cmd("TTL", set)},
			{2, cmd("EXISTS", set, hash)},
			{2, cmd("EXISTS", "nobody", text, zset)},
			{"[b]", cmd("SINTER", "mine", set)},
			{1, cmd("SINTERCARD", 2, "mine", set)},
			{1, cmd("SINTERSTORE", "mine", "mine", set)},
			{"1", cmd("HGET", hash, "f")},
			{2, cmd("HINCRBY", hash, "f", 1)},
			{0, cmd("HSETNX", hash, "f", 5)},
			{"[x y]", cmd("LRANGE", list, 0, -1)},
			{"y", cmd("RPOP", list)},
			{3, cmd("RPUSH", list, "z")},
			{"x", cmd("LMOVE", list, list, "LEFT", "RIGHT")},
			{"[m n]", cmd("ZRANGE", zset, 0, -1)},
			{3, cmd("ZINCRBY", zset, 2, "m")},
			{"[m n]", cmd("ZUNION", 2, "nobody", zset)},
			{"hello", cmd("GET", text)},
			{6, cmd("APPEND", text, "!")},
			{"hello", cmd("GETSET", text, "x")},
			{"hello", cmd("GETDEL", text)},
			{"[<nil> hello]", cmd("MGET", text, "nobody")},
			{"[1 <nil>]", cmd("HMGET", hash, "f", "g")},
			{"[[1-1 [k v]]]", cmd("XRANGE", stream, "-", "+")},
			{1, cmd("XLEN", stream)},
			{3, cmd("SADD", set, "a", "c", "d", "e")},
			{1, cmd("SREM", set, "a", "z")},
			{1, cmd("SMOVE", set, "user:7:x:other", "a")},
			{1, cmd("DEL", set)},
			{2, cmd("UNLINK", set, hash, "nobody")},
			{"OK", cmd("RENAME", set, "user:7:x:new")},
			{1, cmd("COPY", set, "user:7:x:new", "REPLACE")},
			{1, cmd("PEXPIREAT", set, 4_000_000_000_000)},
			{0, cmd("PERSIST", set)},
			{"listpack", cmd("OBJECT", "ENCODING", hash)},
			{"[a b]", cmd("SORT", set, "ALPHA")},
			{nil, cmd("SET", text, "new", "NX")},
			{"WRONGTYPE", cmd("GETDEL", set)},
			{"WRONGTYPE", cmd("GETSET", set, "x")},
			{"WRONGTYPE", cmd("HSET", set, "f", 1)},
			{1, cmd("BITCOUNT", text, 0, 0, "BIT")},
		} {
			t.Run(fmt.Sprint(test.args...), func(t *testing.T) {
				fill()
				must(t, p.l, cmd("FLUSHALL"), cmd("SADD", "mine", "b"))
				if test.args[0] == "BITCOUNT" {
					test.want = p.r.BitCount(t.Context(), text, &redis.BitCount{Start: 0, End: 0, Unit: "BIT"}).Val()
				}
				wantReply(t, p.l, test.want, test.args...)
				p.safe(t)
				for _, key := range []string{set, hash, list, zset, text, stream} {
					if local, remote := contents(t, p.l, key), contents(t, p.r, key); local != remote {
						t.Errorf("%s: local %s, remote %s", key, local, remote)
					}
				}
			})
		}
		if n := statusInt(t, p.l, "timeouts"); n != 0 {
			t.Errorf("timeouts = %d, want none", n)
		}
	})
}

// TestR4_WhereNobodyMayWait: in transactions and scripts, what is written to a key that is
// away is merged with what the remote has, and what is removed goes there.
func TestR4_WhereNobodyMayWait(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		const key, hash = "user:7:mnodes", "user:7"
		for name, test := range map[string]struct {
			do   [][]any
			want []string
		}{
			"added in MULTI":    {[][]any{cmd("MULTI"), cmd("SADD", key, "c"), cmd("EXEC")}, []string{"a", "b", "c"}},
			"added by a script": {[][]any{cmd("EVAL", "return redis.call('SADD', KEYS[1], 'c')", 1, key)}, []string{"a", "b", "c"}},
			"removed in MULTI":  {[][]any{cmd("MULTI"), cmd("SREM", key, "a", "z"), cmd("EXEC")}, []string{"b"}},
			"deleted in MULTI":  {[][]any{cmd("MULTI"), cmd("DEL", key), cmd("EXEC")}, nil},
			"both in MULTI":     {[][]any{cmd("MULTI"), cmd("SREM", key, "a"), cmd("SADD", key, "c"), cmd("EXEC")}, []string{"b", "c"}},
		} {
			t.Run(name, func(t *testing.T) {
				p := following(t, flavor)
				must(t, p.l, cmd("SADD", key, "a", "b"), cmd("HSET", hash, "f", 1))
				p.safe(t)
				must(t, p.l, cmd("FLUSHALL"))
				eventuallyMembers(t, p.l, sponsorsKey, "7")
				_, err := p.l.Pipelined(t.Context(), func(c redis.Pipeliner) error {
					for _, args := range test.do {
						c.Do(t.Context(), args...)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				eventuallyMembers(t, p.l, key, test.want...)
				p.safe(t)
				eventuallyMembers(t, p.r, key, test.want...)
				p.wantSame(t, key)
			})
		}
	})
}

// TestR8_OneFetchForAll: a thousand clients who miss one key at once cause one fetch.
func TestR8_OneFetchForAll(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		const clients, key = 1000, "user:7:mnodes"
		p := following(t, flavor, "sponsor.read-timeout-ms 60000", "maxclients 2000")
		must(t, p.l, cmd("SADD", key, "a", "b"))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		before := calls(t, p.r, "sscan")
		fetched := statusInt(t, p.l, "fetched")
		c := p.local.Client(func(o *redis.Options) {
			o.PoolSize, o.MaxActiveConns, o.ReadTimeout, o.PoolTimeout = clients, clients, time.Minute, time.Minute
		})
		defer c.Close()
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				if got := c.SMembers(context.Background(), key).Val(); len(got) != 2 {
					t.Errorf("SMEMBERS = %q, want both", got)
				}
			})
		}
		all.Wait()
		if n := calls(t, p.r, "sscan") - before; n != 1 {
			t.Errorf("the remote was asked %d times, want once", n)
		}
		if n := statusInt(t, p.l, "fetched") - fetched; n != 1 {
			t.Errorf("fetched = %d, want 1", n)
		}
	})
}

// TestR8_AbsentKeysCostNothing: a hundred thousand misses of keys that the remote does not
// have cause one request for each key.
func TestR8_AbsentKeysCostNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor, "sponsor.absent-ttl-ms 60000", `sponsor.keys "user:<id>:x:*"`)
		const keys, rounds = 100, 1000
		before := calls(t, p.r, "type")
		for range rounds {
			pipelined(t, p.l, func(yield func(...any)) {
				for i := range keys {
					yield("EXISTS", fmt.Sprintf("user:7:x:%d", i))
				}
			})
		}
		if n := calls(t, p.r, "type") - before; n > keys || n == 0 {
			t.Errorf("the remote was asked %d times for %d keys", n, keys)
		}
	})
}

// TestR4_RESP2: the answer is in the client's own protocol.
func TestR4_RESP2(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.l, cmd("HSET", "user:7", "f", "1"))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		old := p.local.Client(func(o *redis.Options) { o.Protocol = 2 })
		wantReply(t, old, "[1 f]", "HGETALL", "user:7")
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		wantReply(t, p.l, "map[f:1]", "HGETALL", "user:7")
	})
}

// TestWatch: a transaction on a watched key that is away works, after one that was disturbed
// by its coming back, at most.
func TestWatch(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		const key = "user:7"
		p := following(t, flavor)
		for range 20 {
			must(t, p.l, cmd("SET", key, "old"))
			p.safe(t)
			must(t, p.l, cmd("FLUSHALL"))
			eventuallyMembers(t, p.l, sponsorsKey, "7")
			tries := 0
			redistest.Eventually(t, soon, func() error {
				tries++
				return p.l.Watch(t.Context(), func(tx *redis.Tx) error {
					got, err := tx.Get(t.Context(), key).Result()
					if err != nil {
						return err
					}
					_, err = tx.TxPipelined(t.Context(), func(c redis.Pipeliner) error {
						return c.Set(t.Context(), key, got+" and new", 0).Err()
					})
					return err
				}, key)
			})
			if tries > 3 {
				t.Errorf("the transaction has worked at the try %d", tries)
			}
			wantReply(t, p.l, "old and new", "GET", key)
		}
		p.safe(t)
		p.wantSame(t, key)
	})
}

// TestSlowRemoteDelaysNobodyElse: whoever asks for what is here does not wait, and who asks
// for what is away waits for read-timeout-ms and gets what is here.
func TestSlowRemoteDelaysNobodyElse(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		for name, tracking := range map[string]bool{"plain": false, "tracking": true} {
			t.Run(name, func(t *testing.T) { slowRemote(t, flavor, tracking) })
		}
	})
}

func slowRemote(t *testing.T, flavor redistest.Flavor, tracking bool) {
	t.Helper()
	p, proxy := proxiedOn(t, flavor, "sponsor.read-timeout-ms 300", "sponsor.absent-ttl-ms 1")
	reader := p.l.Conn()
	defer reader.Close()
	if tracking {
		if err := reader.Do(t.Context(), "CLIENT", "TRACKING", "ON").Err(); err != nil {
			t.Fatal(err)
		}
	}
	must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("SADD", "user:8:mnodes", "b"))
	p.safe(t)
	p.loseAll(t)
	wantReply(t, p.l, "[b]", "SMEMBERS", "user:8:mnodes")
	proxy.Latency(5 * time.Second)
	defer proxy.Latency(0)
	begin := time.Now()
	if got, err := reader.SMembers(t.Context(), "user:7:mnodes").Result(); len(got) != 0 || err != nil {
		t.Errorf("SMEMBERS = %q, %v", got, err)
	}
	if took := time.Since(begin); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("a read of a key that is away took %v, want 300 ms", took)
	}
	waiting := make(chan error)
	go func() { waiting <- p.l.SMembers(context.Background(), "user:7:mnodes").Err() }()
	for range 100 {
		begin := time.Now()
		wantReply(t, p.l, "[b]", "SMEMBERS", "user:8:mnodes")
		wantReply(t, p.l, nil, "GET", "nobody")
		if took := time.Since(begin); took > 200*time.Millisecond {
			t.Errorf("others took %v", took)
		}
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if n := statusInt(t, p.l, "timeouts"); n < 2 {
		t.Errorf("timeouts = %d, want 2", n)
	}
}

// TestBlockedClients: clients that wait can be ended and unblocked, and go away.
func TestBlockedClients(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		proxy := redistest.NewProxy(t, remote.Addr())
		p := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: append(remoteConf(remote, proxy.Host(), proxy.Port()), writeBehind, blocking, "sponsor.read-timeout-ms 20000")})
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7", "8"), cmd("SADD", "user:7:mnodes", "a"))
		p.safe(t)
		p.loseAll(t)
		proxy.Latency(time.Second)
		for name, end := range map[string]func(id int64) [][]any{
			"CLIENT UNBLOCK": func(id int64) [][]any { return [][]any{cmd("CLIENT", "UNBLOCK", id, "ERROR")} },
			"CLIENT KILL":    func(id int64) [][]any { return [][]any{cmd("CLIENT", "KILL", "ID", id)} },
		} {
			conn := p.local.Client(noRetries).Conn()
			id := conn.ClientID(t.Context()).Val()
			failed := make(chan error)
			go func() { failed <- conn.SAdd(context.Background(), "user:7:mnodes", name).Err() }()
			redistest.Eventually(t, soon, func() error {
				if n := statusInt(t, p.l, "waiting"); n != 1 {
					return fmt.Errorf("waiting = %d", n)
				}
				return nil
			})
			must(t, p.l, end(id)...)
			if err := <-failed; err == nil {
				t.Errorf("%s: the command has worked", name)
			}
			conn.Close()
			proxy.Latency(0)
			redistest.Eventually(t, soon, func() error {
				if n := statusInt(t, p.l, "waiting"); n != 0 {
					return fmt.Errorf("waiting = %d", n)
				}
				return nil
			})
			wantReply(t, p.l, "[a]", "SMEMBERS", "user:7:mnodes")
			must(t, p.l, cmd("FLUSHALL"))
			eventuallyMembers(t, p.l, sponsorsKey, "7", "8")
			proxy.Latency(time.Second)
		}
		proxy.Latency(0)
	})
}

// TestR11_UsersWithoutTheGrant: where the server tells who it is, a client whose user may
// not run our commands gets its answer at once, and finds the key the next time; where it
// does not, it is told what is missing.
func TestR11_UsersWithoutTheGrant(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.l, cmd("SADD", "user:7:mnodes", "a"), cmd("ACL", "SETUSER", "reader", "on", ">pass", "~user:*", "+smembers"),
			cmd("ACL", "SETUSER", "granted", "on", ">pass", "~user:*", "+smembers", "+sponsor.read"),
			cmd("ACL", "SETUSER", "other", "on", ">pass", "~user:*", "+get", "+sponsor.read"))
		p.safe(t)
		as := func(user string) *redis.Client {
			return p.local.Client(func(o *redis.Options) { o.Username, o.Password = user, "pass" })
		}
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		wantError(t, as("other"), []string{"NOPERM", "smembers"}, "SMEMBERS", "user:7:mnodes")
		wantError(t, as("granted"), []string{"NOPERM"}, "SMEMBERS", "sponsors:acme")
		wantReply(t, as("granted"), "[a]", "SMEMBERS", "user:7:mnodes")
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		reader := as("reader")
		if flavor.Name == "redis-7.0" {
			wantError(t, reader, []string{"NOPERM", "sponsor.read"}, "SMEMBERS", "user:7:mnodes")
			return
		}
		must(t, reader, cmd("SMEMBERS", "user:7:mnodes"))
		eventuallyMembers(t, reader, "user:7:mnodes", "a")
	})
}

// TestR4_NoRoom: a fetch that does not fit is an error, and not a loop.
func TestR4_NoRoom(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := following(t, flavor)
		must(t, p.l, cmd("SET", "user:7", strings.Repeat("x", 100_000)))
		p.safe(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		must(t, p.l, cmd("CONFIG", "SET", "maxmemory", 1))
		wantError(t, p.l, []string{"OOM", "does not fit"}, "GET", "user:7")
		must(t, p.l, cmd("CONFIG", "SET", "maxmemory", 0))
		redistest.Eventually(t, soon, func() error {
			got, err := p.l.Get(t.Context(), "user:7").Result()
			if err != nil || len(got) != 100_000 {
				return fmt.Errorf("GET = %d bytes, %w", len(got), err)
			}
			return nil
		})
	})
}

// TestR11_ChecksAtLoad: STATUS tells whether the server shows the module what it needs, and
// who lacks the grant for its commands.
func TestR11_ChecksAtLoad(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, blocking,
			"user reader on >pass ~user:* +smembers", "user writer on >pass ~user:* +sadd +sponsor.read",
			"user granted on >pass ~user:* +@all -@admin", "user stranger on >pass ~other:* +@read", "user exact on >pass ~user:* +hget +hset +sponsor.read +sponsor.write")
		redistest.Eventually(t, soon, func() error {
			st, err := status(p.l)
			if err != nil {
				return err
			}
			if st["self_test"] != "ok" || st["users_without_grant"] != "reader writer" {
				return fmt.Errorf("self_test = %v, users_without_grant = %v", st["self_test"], st["users_without_grant"])
			}
			return nil
		})
		// Our commands tell their keys, and are nobody's but ours.
		wantReply(t, p.l, "[user:7]", "COMMAND", "GETKEYS", "SPONSOR.READ", "HGET", "user:7", "f")
		wantReply(t, p.l, "[user:7 user:8]", "COMMAND", "GETKEYS", "SPONSOR.WRITE", "SMOVE", "user:7", "user:8", "m")
		wantError(t, p.l, []string{"for the module itself"}, "SPONSOR.READ", "GET", "user:7")
		wantError(t, p.l, []string{"for the module itself"}, "SPONSOR.WRITE", "FLUSHALL")
		if !p.local.LogContains("+sponsor.read +sponsor.write") {
			t.Error("the log does not say what to do")
		}
	})
}
