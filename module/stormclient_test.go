package main_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

type stormClient struct {
	*storm
	t                 *testing.T
	rng               *rand.Rand
	sponsor, stranger string
	joins             int // the step in which the sponsor becomes one
}

// stormKeysOf are all keys that a client uses of somebody.
type stormKeysOf struct {
	sets, hashes, zsets, lists [2]string
	text, stream               string
}

func keysOf(owner string) stormKeysOf {
	user := "user:" + owner
	return stormKeysOf{
		sets: [2]string{user + ":mnodes", user + ":more"}, hashes: [2]string{user, "user_details:" + owner},
		zsets: [2]string{user + ":x:z1", user + ":x:z2"}, lists: [2]string{user + ":x:l1", user + ":x:l2"},
		text: user + ":x:text", stream: user + ":x:stream",
	}
}

func (k stormKeysOf) all() []string {
	return []string{
		k.sets[0], k.sets[1], k.hashes[0], k.hashes[1], k.zsets[0], k.zsets[1], k.lists[0], k.lists[1], k.text, k.stream,
	}
}

// step does one random thing.
func (c *stormClient) step(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if i == c.joins {
		c.do(ctx, nil, []any{"SADD", sponsorsKey, c.sponsor})
		return
	}
	owner := c.sponsor
	if c.rng.IntN(5) == 0 {
		owner = c.stranger
	}
	keys := keysOf(owner)
	switch c.rng.IntN(10) {
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
		c.do(ctx, keys.all(), commands...)
	case 1, 2: // a script, or a function
		args := []any{"EVAL", script}
		if c.rng.IntN(2) == 0 {
			args = []any{"FCALL", "storm"}
		}
		args = append(args, len(keys.all()))
		for _, key := range keys.all() {
			args = append(args, key)
		}
		for range 1 + c.rng.IntN(3) {
			command := c.command(keys)
			args = append(append(args, len(command)), command...)
		}
		c.do(ctx, keys.all(), args)
	case 3: // somebody who waits for an element, and somebody who brings it
		c.wait(ctx, keys)
	case 4: // a value of one key for another
		all := keys.all()
		c.mending.RLock()
		dump := c.l.Dump(ctx, all[c.rng.IntN(len(all))]).Val()
		c.mending.RUnlock()
		c.do(ctx, all, []any{"RESTORE", all[c.rng.IntN(len(all))], 0, dump, "REPLACE"})
	default:
		c.do(ctx, keys.all(), c.command(keys))
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

func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

// command is a random write.
func (c *stormClient) command(keys stormKeysOf) []any {
	rng := c.rng
	all := keys.all()
	some, other := pick(rng, all...), pick(rng, all...)
	switch rng.IntN(16) {
	case 0, 1, 2, 3:
		return c.setCommand(shuffled(rng, keys.sets))
	case 4, 5, 6:
		return c.hashCommand(pick(rng, keys.hashes[:]...))
	case 7:
		return c.zsetCommand(shuffled(rng, keys.zsets))
	case 8:
		return c.listCommand(shuffled(rng, keys.lists))
	case 9:
		return c.textCommand(keys.text)
	case 10:
		return c.streamCommand(keys.stream)
	case 11:
		return []any{pick(rng, "DEL", "UNLINK"), some}
	case 12:
		return []any{pick(rng, "RENAME", "RENAMENX"), some, other}
	case 13:
		return []any{"COPY", some, other, "REPLACE"}
	case 14:
		return pick(rng, []any{"EXPIRE", some, 10_000 + rng.IntN(1000)}, []any{"PERSIST", some})
	default:
		return pick(rng, []any{"PEXPIREAT", some, 1}, []any{"DEL", some, other}) // the first: in the past, gone at once
	}
}

func shuffled(rng *rand.Rand, pair [2]string) (a, b string) {
	if rng.IntN(2) == 0 {
		return pair[0], pair[1]
	}
	return pair[1], pair[0]
}

func (c *stormClient) member() string { return pick(c.rng, "a", "b", "c", "\xff\x00", "e", "f", "") }

// members are args, and some members.
func (c *stormClient) members(args ...any) []any {
	for range 1 + c.rng.IntN(3) {
		args = append(args, c.member())
	}
	return args
}

func (c *stormClient) setCommand(set, other string) []any {
	switch c.rng.IntN(9) {
	case 0, 1, 2:
		return c.members("SADD", set)
	case 3, 4:
		return c.members("SREM", set)
	case 5:
		return []any{"SMOVE", set, other, c.member()}
	case 6:
		return []any{"SPOP", set}
	case 7:
		return []any{"SPOP", set, 1 + c.rng.IntN(3)}
	default:
		return []any{pick(c.rng, "SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"), set, set, other}
	}
}

func (c *stormClient) hashCommand(hash string) []any {
	value := strconv.Itoa(c.rng.IntN(1000))
	switch c.rng.IntN(8) {
	case 0, 1, 2:
		return []any{"HSET", hash, c.member(), value, c.member(), value}
	case 3:
		return []any{"HMSET", hash, c.member(), value}
	case 4:
		return []any{"HSETNX", hash, c.member(), value}
	case 5:
		return c.members("HDEL", hash)
	case 6:
		return []any{"HINCRBY", hash, "n", c.rng.IntN(10)}
	default:
		return []any{"HINCRBYFLOAT", hash, "n", 2}
	}
}

func (c *stormClient) zsetCommand(zset, other string) []any {
	score := c.rng.IntN(100)
	switch c.rng.IntN(7) {
	case 0, 1:
		return []any{"ZADD", zset, score, c.member(), float64(score) / 3, c.member()}
	case 2:
		return []any{"ZINCRBY", zset, score, c.member()}
	case 3:
		return c.members("ZREM", zset)
	case 4:
		return []any{pick(c.rng, "ZPOPMIN", "ZPOPMAX"), zset}
	case 5:
		return []any{"ZRANGESTORE", zset, other, 0, c.rng.IntN(3)}
	default:
		return []any{pick(c.rng, "ZUNIONSTORE", "ZINTERSTORE"), zset, 2, zset, other}
	}
}

func (c *stormClient) listCommand(list, other string) []any {
	switch c.rng.IntN(8) {
	case 0, 1:
		return c.members(pick(c.rng, "RPUSH", "LPUSH"), list)
	case 2:
		return []any{pick(c.rng, "RPOP", "LPOP"), list}
	case 3:
		return []any{"LSET", list, 0, c.member()}
	case 4:
		return []any{"LREM", list, 1, c.member()}
	case 5:
		return []any{"LTRIM", list, 0, c.rng.IntN(4)}
	case 6:
		return []any{"LMOVE", list, other, "LEFT", "RIGHT"}
	default:
		return []any{"LINSERT", list, "BEFORE", c.member(), c.member()}
	}
}

func (c *stormClient) textCommand(key string) []any {
	switch c.rng.IntN(8) {
	case 0:
		return []any{"SET", key, c.member()}
	case 1:
		return []any{"APPEND", key, c.member()}
	case 2:
		return []any{"SETRANGE", key, c.rng.IntN(20), c.member()}
	case 3:
		return []any{"INCRBY", key, c.rng.IntN(10)}
	case 4:
		return []any{"SETBIT", key, c.rng.IntN(200), 1}
	case 5:
		return []any{"GETDEL", key}
	case 6:
		return []any{"MSET", key, c.member()}
	default:
		return []any{"GETEX", key, "EX", 10_000}
	}
}

func (c *stormClient) streamCommand(key string) []any {
	switch c.rng.IntN(6) {
	case 0, 1:
		return []any{"XADD", key, "*", c.member(), c.member()}
	case 2:
		return []any{"XADD", key, "MAXLEN", c.rng.IntN(3), "*", "f", "v"}
	case 3:
		return []any{"XTRIM", key, "MAXLEN", c.rng.IntN(3)}
	case 4:
		return []any{"XGROUP", "CREATE", key, c.member() + "g", "$", "MKSTREAM"}
	default:
		return []any{"XGROUP", "DESTROY", key, c.member() + "g"}
	}
}

// wait has one connection wait for an element that another one brings.
func (c *stormClient) wait(ctx context.Context, keys stormKeysOf) {
	list, otherList := shuffled(c.rng, keys.lists)
	zset, _ := shuffled(c.rng, keys.zsets)
	const patience = "0.01" // seconds: nobody may come
	waits := pick(c.rng,
		[]any{"BLPOP", list, patience}, []any{"BRPOP", list, patience}, []any{"BLMOVE", list, otherList, "LEFT", "RIGHT", patience},
		[]any{"BLMPOP", patience, 2, list, otherList, "LEFT", "COUNT", 2}, []any{"BZPOPMIN", zset, patience})
	brings := c.members("RPUSH", list)
	if waits[0] == "BZPOPMIN" {
		brings = []any{"ZADD", zset, 1, c.member()}
	}
	var waiting sync.WaitGroup
	c.mending.RLock()
	c.note("%q while %q", brings, waits)
	waiting.Go(func() { c.run(ctx, waits) })
	c.run(ctx, brings)
	waiting.Wait()
	c.mending.RUnlock()
	c.copyToOracle(ctx, keys.all())
}

// do runs commands, in a transaction if there are several, and the same on the
// oracle: what cannot be repeated, and what was not acknowledged, is copied there
// as it is.
func (c *stormClient) do(ctx context.Context, keys []string, commands ...[]any) {
	c.mending.RLock()
	c.note("%s", strings.ReplaceAll(fmt.Sprintf("%q", commands), fmt.Sprintf("%q", script), "script"))
	c.run(ctx, commands...)
	c.mending.RUnlock()
	c.copyToOracle(ctx, keys)
}

func (c *stormClient) run(ctx context.Context, commands ...[]any) {
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
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		c.note("%s: not acknowledged: %v", c.sponsor, err)
	}
}

// copyToOracle makes what is here now what must be found at the end, whatever
// happens.
func (c *stormClient) copyToOracle(ctx context.Context, keys []string) {
	c.mending.RLock()
	defer c.mending.RUnlock()
	for _, key := range keys {
		if err := c.copyOne(ctx, key); err != nil {
			c.t.Errorf("copy %s to the oracle: %v\n%s", key, err, c.about(c.sponsor))
		}
	}
}

func (c *stormClient) copyOne(ctx context.Context, key string) error {
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
	for _, key := range keysOf(c.sponsor).all() {
		local, oracle, remote := contents(t, c.l, key), contents(t, c.o, key), contents(t, c.r, key)
		if local != oracle || local != remote {
			st, _ := status(c.l)
			st["here"], st["there"] = c.l.SIsMember(t.Context(), sponsorsKey, c.sponsor).Val(), c.r.SIsMember(t.Context(), sponsorsKey, c.sponsor).Val()
			t.Errorf("%s:\nlocal  %s\noracle %s\nremote %s\n%v\n%s", key, local, oracle, remote, st, c.about(c.sponsor))
		}
	}
	keys := allKeys(t, c.r)
	for _, key := range keys {
		if strings.Contains(key, c.stranger) {
			t.Errorf("the remote has %q, of somebody who is no sponsor", key)
		}
	}
}
