package main_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A storm is several clients that write at random to a local server with
// write-behind, while everything around it fails. Each client has owners of its
// own, a sponsor and somebody who is none, and does the same to an oracle, a server
// without the module: at the end the local server, the oracle and the remote must
// agree about the sponsors, and the remote must know of nobody else.
type storm struct {
	seed          uint64
	local, remote *redistest.Server
	oracle        *redistest.Server
	proxy         *redistest.Proxy
	l, r, o       *redis.Client

	// mending is held by whoever restarts the local server, and shared by
	// clients for the time of one step.
	mending sync.RWMutex

	mu      sync.Mutex
	history []string
}

// seeds are those that a test runs: STORM_SEED repeats one, STORM_SEEDS says how
// many. The order of threads it cannot repeat.
func seeds(t *testing.T, most int) []uint64 {
	t.Helper()
	number := func(name string) (uint64, bool) {
		text, ok := os.LookupEnv(name)
		if !ok {
			return 0, false
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n, true
	}
	if seed, ok := number("STORM_SEED"); ok {
		return []uint64{seed}
	}
	if n, ok := number("STORM_SEEDS"); ok {
		most = int(n)
	}
	list := make([]uint64, most)
	for i := range list {
		list[i] = uint64(i)
	}
	return list
}

const stormKeys = "user_details:<id> user:<id> user:<id>:mnodes user:<id>:more user:<id>:x:*"

func newStorm(t *testing.T, flavor redistest.Flavor) *storm {
	t.Helper()
	durable := []string{"appendonly yes", "appendfsync always"}
	s := &storm{
		remote: redistest.Remote(t, redistest.Config{Flavor: flavor, Conf: durable}),
		oracle: redistest.New(t, redistest.Config{Flavor: flavor, Name: "oracle"}),
	}
	s.proxy = redistest.NewProxy(t, s.remote.Addr())
	s.local = redistest.New(t, redistest.Config{
		Flavor: flavor, Name: "local",
		Modules: []string{redistest.Module(t) + " org " + org},
		Conf: slices.Concat(durable, remoteConf(s.remote, s.proxy.Host(), s.proxy.Port()),
			[]string{fmt.Sprintf("sponsor.keys %q", stormKeys)}),
	})
	s.l, s.r, s.o = s.local.Client(noRetries), s.remote.Client(), s.oracle.Client()
	return s
}

func noRetries(o *redis.Options) { o.MaxRetries = -1 }

// TestR2_Storm is write-behind through everything that can fail.
func TestR2_Storm(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		s := newStorm(t, flavor)
		for _, seed := range seeds(t, 12) {
			ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { s.run(t, seed) })
			if !ok {
				return
			}
		}
	})
}

func (s *storm) run(t *testing.T, seed uint64) {
	const clients, steps = 4, 150
	s.seed, s.history = seed, nil
	rng := rand.New(rand.NewPCG(seed, 0))
	var work sync.WaitGroup
	done := make(chan struct{})
	for n := range clients {
		c := &stormClient{
			storm: s, t: t, rng: rand.New(rand.NewPCG(seed, uint64(n+1))),
			sponsor: fmt.Sprintf("%d-%d-%d", seed, n, time.Now().UnixMicro()), joins: -1,
		}
		c.stranger = c.sponsor + "-stranger"
		c.joins = c.rng.IntN(steps)
		work.Go(func() {
			for i := range steps {
				c.step(i)
			}
		})
		defer c.check()
	}
	go func() { work.Wait(); close(done) }()
	for open := true; open; {
		select {
		case <-done:
			open = false
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond): // the rhythm of faults
			s.fail(t, rng)
		}
	}
	s.mend(t)
}

// fail does one thing to the world.
func (s *storm) fail(t *testing.T, rng *rand.Rand) {
	switch rng.IntN(12) {
	case 0, 1, 2:
		s.proxy.CutAfter(rng.Int64N(4000))
	case 3, 4, 5:
		s.proxy.CutReplyAfter(rng.Int64N(1000))
	case 6:
		s.proxy.CloseAll()
	case 7:
		s.proxy.Latency(time.Duration(rng.IntN(10)) * time.Millisecond)
	case 8:
		s.proxy.Refuse()
	case 9:
		if err := s.proxy.Heal(); err != nil {
			t.Error(err)
		}
	case 10:
		if rng.IntN(3) > 0 {
			return
		}
		s.note("kill local")
		s.mending.Lock()
		defer s.mending.Unlock()
		if err := errors.Join(s.local.Kill(), s.local.Restart(t.Context())); err != nil {
			t.Error(err)
		}
	case 11:
		if rng.IntN(3) > 0 {
			return
		}
		s.note("kill remote")
		if err := errors.Join(s.remote.Kill(), s.remote.Restart(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

// mend ends all faults, and waits until every change is safe.
func (s *storm) mend(t *testing.T) {
	t.Helper()
	if err := s.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	c := s.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
	defer c.Close()
	left, err := c.Do(t.Context(), "SPONSOR.WAIT", 30_000).Int()
	if err != nil || left != 0 {
		st, _ := status(s.l)
		letters := c.Do(t.Context(), "SPONSOR.ERRORS").Val()
		t.Errorf("SPONSOR.WAIT = %d, %v; want 0\n%v\n%v", left, err, st, letters)
	}
}

func (s *storm) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, fmt.Sprintf(format, args...))
}

// about is the history as far as it may concern somebody.
func (s *storm) about(owner string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, line := range s.history {
		if strings.Contains(line, owner) || strings.HasPrefix(line, "kill") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

type stormClient struct {
	*storm
	t                 *testing.T
	rng               *rand.Rand
	sponsor, stranger string
	joins             int // the step in which the sponsor becomes one
}

// keys are all that the client uses of somebody.
func keysOf(owner string) []string {
	return []string{"user:" + owner + ":mnodes", "user:" + owner + ":more", "user:" + owner, "user_details:" + owner, "user:" + owner + ":x:1"}
}

// step does one random thing.
func (c *stormClient) step(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if i == c.joins {
		c.do(ctx, []string{sponsorsKey}, []any{"SADD", sponsorsKey, c.sponsor})
		return
	}
	owner := c.sponsor
	if c.rng.IntN(5) == 0 {
		owner = c.stranger
	}
	keys := keysOf(owner)
	switch c.rng.IntN(8) {
	case 0: // a transaction
		var commands [][]any
		for range 1 + c.rng.IntN(4) {
			command := c.command(keys)
			if command[0] == "PEXPIREAT" {
				// Valkey reports this as an expiry, and within MULTI we
				// cannot tell it from one.
				command = []any{"DEL", command[1]}
			}
			commands = append(commands, command)
		}
		c.do(ctx, keys, commands...)
	case 1: // a script
		args := []any{"EVAL", script, len(keys)}
		for _, key := range keys {
			args = append(args, key)
		}
		for range 1 + c.rng.IntN(3) {
			command := c.command(keys)
			args = append(append(args, len(command)), command...)
		}
		c.do(ctx, keys, args)
	default:
		c.do(ctx, keys, c.command(keys))
	}
}

// script runs commands, each of which stands behind its length.
const script = `local i = 1
while i <= #ARGV do
	local n, command = tonumber(ARGV[i]), {}
	for j = 1, n do command[j] = ARGV[i + j] end
	redis.pcall(unpack(command))
	i = i + n + 1
end`

// command is a random write.
func (c *stormClient) command(keys []string) []any {
	rng := c.rng
	set, other := keys[0], keys[1]
	if rng.IntN(2) == 0 {
		set, other = other, set
	}
	hash := keys[2+rng.IntN(2)]
	some := keys[rng.IntN(4)]
	member := func() string { return []string{"a", "b", "c", "\xff\x00", "e", "f", ""}[rng.IntN(7)] }
	members := func(args ...any) []any {
		for range 1 + rng.IntN(3) {
			args = append(args, member())
		}
		return args
	}
	value := strconv.Itoa(rng.IntN(1000))
	switch rng.IntN(24) {
	case 0, 1, 2:
		return members("SADD", set)
	case 3, 4:
		return members("SREM", set)
	case 5:
		return []any{"SMOVE", set, other, member()}
	case 6:
		return []any{"SPOP", set}
	case 7:
		return []any{"SPOP", set, 1 + rng.IntN(3)}
	case 8:
		return []any{[]string{"SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"}[rng.IntN(3)], set, set, other}
	case 9, 10:
		return []any{"HSET", hash, member(), value, member(), value}
	case 11:
		return []any{"HMSET", hash, member(), value}
	case 12:
		return []any{"HSETNX", hash, member(), value}
	case 13:
		return members("HDEL", hash)
	case 14:
		return []any{"HINCRBY", hash, "n", rng.IntN(10)}
	case 15:
		return []any{"HINCRBYFLOAT", hash, "n", 2}
	case 16:
		return []any{[]string{"DEL", "UNLINK"}[rng.IntN(2)], some}
	case 17:
		return []any{[]string{"RENAME", "RENAMENX"}[rng.IntN(2)], set, other}
	case 18:
		return []any{"COPY", set, other, "REPLACE"}
	case 19:
		return []any{"EXPIRE", some, 10_000 + rng.IntN(1000)}
	case 20:
		return []any{"PERSIST", some}
	case 21:
		return []any{"SADD", keys[4], value}
	case 22:
		return []any{"PEXPIREAT", some, 1} // in the past: gone at once
	default:
		return []any{"DEL", some, hash}
	}
}

// do runs commands, in a transaction if there are several, and the same on the
// oracle: what cannot be repeated, and what was not acknowledged, is copied there
// as it is.
func (c *stormClient) do(ctx context.Context, keys []string, commands ...[]any) {
	c.mending.RLock()
	c.note("%s", strings.ReplaceAll(fmt.Sprintf("%q", commands), fmt.Sprintf("%q", script), "script"))
	var err error
	if len(commands) == 1 {
		err = c.l.Do(ctx, commands[0]...).Err()
	} else {
		_, err = c.l.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for _, command := range commands {
				p.Do(ctx, command...)
			}
			return nil
		})
	}
	c.mending.RUnlock()
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		c.note("not acknowledged: %v %v", keys, err)
	}
	c.mending.RLock()
	defer c.mending.RUnlock()
	// What is here now is what the oracle must find at the end, whatever happens.
	for _, key := range keys {
		if key == sponsorsKey {
			continue
		}
		if err := c.copyToOracle(ctx, key); err != nil {
			c.t.Errorf("copy %s to the oracle: %v", key, err)
		}
	}
}

func (c *stormClient) copyToOracle(ctx context.Context, key string) error {
	dump, err := c.l.Dump(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return c.o.Del(ctx, key).Err()
	}
	if err != nil {
		return err
	}
	at := c.l.Do(ctx, "PEXPIRETIME", key).Val().(int64)
	return c.o.Do(ctx, "RESTORE", key, max(0, at), dump, "REPLACE", "ABSTTL").Err()
}

// check compares the three servers.
func (c *stormClient) check() {
	t := c.t
	t.Helper()
	for _, key := range keysOf(c.sponsor) {
		local, oracle, remote := contents(t, c.l, key), contents(t, c.o, key), contents(t, c.r, key)
		if local != oracle || local != remote {
			t.Errorf("%s:\nlocal  %s\noracle %s\nremote %s\n%s", key, local, oracle, remote, c.about(c.sponsor))
		}
	}
	keys := allKeys(t, c.r)
	for _, key := range keys {
		if strings.Contains(key, c.stranger) {
			t.Errorf("the remote has %q, of somebody who is no sponsor", key)
		}
	}
}

// contents is all of a key, as text.
func contents(t *testing.T, c *redis.Client, key string) string {
	t.Helper()
	typ := c.Type(t.Context(), key).Val()
	at := c.Do(t.Context(), "PEXPIRETIME", key).Val()
	switch typ {
	case "none":
		return typ
	case "set":
		return fmt.Sprintf("set %q until %v", members(t, c, key), at)
	case "hash":
		m := c.HGetAll(t.Context(), key).Val()
		var pairs []string
		for _, field := range slices.Sorted(maps.Keys(m)) {
			pairs = append(pairs, field, m[field])
		}
		return fmt.Sprintf("hash %q until %v", pairs, at)
	case "zset":
		return fmt.Sprintf("zset %v until %v", c.ZRangeWithScores(t.Context(), key, 0, -1).Val(), at)
	case "list":
		return fmt.Sprintf("list %q until %v", c.LRange(t.Context(), key, 0, -1).Val(), at)
	case "string":
		return fmt.Sprintf("string %q until %v", c.Get(t.Context(), key).Val(), at)
	case "stream":
		about := c.XInfoStream(t.Context(), key).Val()
		text := fmt.Sprintf("stream %v, last %s, added %d, deleted %s", c.XRange(t.Context(), key, "-", "+").Val(),
			about.LastGeneratedID, about.EntriesAdded, about.MaxDeletedEntryID)
		for _, group := range c.XInfoGroups(t.Context(), key).Val() {
			text += fmt.Sprintf(", group %q at %s after %d", group.Name, group.LastDeliveredID, group.EntriesRead)
		}
		return fmt.Sprintf("%s until %v", text, at)
	default:
		return typ
	}
}
