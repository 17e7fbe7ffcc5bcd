package main_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// many are n strings.
func many(n int, format string) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

// values are commands that make values of every type, from the smallest to large
// ones, under the key that stands in the place of KEY.
var values = map[string][][]any{
	"set":                {cmd("SADD", "KEY", "a", "\xff\x00\r\n", "")},
	"hash":               {cmd("HSET", "KEY", "f", "v", "\xff\x00\r\n", "")},
	"string":             {cmd("SET", "KEY", "\xff\x00\r\n")},
	"string, empty":      {cmd("SET", "KEY", "")},
	"string, number":     {cmd("INCRBY", "KEY", 41)},
	"string, bits":       {cmd("SETBIT", "KEY", 7000, 1)},
	"string, large":      {cmd("SET", "KEY", strings.Repeat("0123456789abcdef", 50_000))},
	"string, two pages":  {cmd("SET", "KEY", strings.Repeat("x", 512<<10))},
	"string, with time":  {cmd("SET", "KEY", "v", "PXAT", int64(4000000000000))},
	"hyperloglog":        {cmd("PFADD", "KEY", "a", "b", "c")},
	"list":               {cmd("RPUSH", "KEY", "a", "a", "\xff\x00\r\n", "")},
	"list, large":        {append(cmd("RPUSH", "KEY"), many(5000, "element %d")...)},
	"list, large pieces": {cmd("RPUSH", "KEY", strings.Repeat("x", 300<<10), "y", strings.Repeat("z", 300<<10))},
	"list, with time":    {cmd("RPUSH", "KEY", "a"), cmd("PEXPIREAT", "KEY", int64(4000000000000))},
	"zset":               {cmd("ZADD", "KEY", "1.5", "a", "-inf", "b", "inf", "\xff\x00\r\n", "0.1", "", "1e300", "c")},
	"zset, large": {append(cmd("ZADD", "KEY"), func() (args []any) {
		for i := range 3000 {
			args = append(args, float64(i)/3, fmt.Sprintf("member %d", i))
		}
		return args
	}()...)},
	"geo":           {cmd("GEOADD", "KEY", "13.361389", "38.115556", "Palermo")},
	"stream":        {cmd("XADD", "KEY", "1-1", "f", "v", "f", "w"), cmd("XADD", "KEY", "2-5", "\xff\x00\r\n", ""), cmd("XDEL", "KEY", "1-1")},
	"stream, empty": {cmd("XADD", "KEY", "7-0", "f", "v"), cmd("XTRIM", "KEY", "MAXLEN", 0)},
	"stream, never filled": {
		cmd("XGROUP", "CREATE", "KEY", "g", "$", "MKSTREAM"),
	},
	"stream, groups": {
		cmd("XADD", "KEY", "1-1", "f", "v"), cmd("XADD", "KEY", "2-1", "f", "v"), cmd("XADD", "KEY", "3-1", "f", "v"),
		cmd("XGROUP", "CREATE", "KEY", "\xff g", "0"), cmd("XGROUP", "CREATE", "KEY", "h", "2-1"),
		cmd("XREADGROUP", "GROUP", "\xff g", "c", "COUNT", 1, "STREAMS", "KEY", ">"), cmd("XDEL", "KEY", "2-1"),
	},
	"stream, large": func() (list [][]any) {
		for i := range 2500 {
			list = append(list, cmd("XADD", "KEY", fmt.Sprintf("%d-1", i+1), "field", strings.Repeat("v", 100), "n", i))
		}
		return append(list, cmd("XGROUP", "CREATE", "KEY", "g", "1000-1"))
	}(),
}

// withKey are commands for key.
func withKey(commands [][]any, key string) (list [][]any) {
	for _, args := range commands {
		args = slices.Clone(args)
		for i, arg := range args {
			if arg == "KEY" {
				args[i] = key
			}
		}
		list = append(list, args)
	}
	return list
}

// TestR12_EveryType: values of every type travel as they are written, by SYNC, and
// back.
func TestR12_EveryType(t *testing.T) {
	names := slices.Sorted(maps.Keys(values))
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, writeBehind, `sponsor.keys "user:<id>:*"`, "sponsor.absent-ttl-ms 1")
		p.readmesRights(t)
		p.waitFor(t, "connected")
		must(t, p.l, cmd("SADD", sponsorsKey, "7"))
		keys, want := make([]string, len(names)), make(map[string]string)
		for i, name := range names {
			keys[i] = fmt.Sprintf("user:7:%d", i)
			must(t, p.l, withKey(values[name], keys[i])...)
			want[keys[i]] = contents(t, p.l, keys[i])
		}
		check := func(t *testing.T, how string, c *redis.Client) {
			t.Helper()
			for i, key := range keys {
				if got := contents(t, c, key); got != want[key] {
					t.Errorf("%s, %s = %.300s, want %.300s", names[i], how, got, want[key])
				}
			}
		}
		p.safe(t)
		check(t, "written behind", p.r)

		t.Run("SYNC", func(t *testing.T) {
			for _, key := range keys {
				must(t, p.r, cmd("DEL", key))
			}
			wantCounts(t, p.sync(t), map[string]int64{"keys": int64(len(keys) + 1), "skipped": 0, "failed": 0})
			check(t, "by SYNC", p.r)
			wantCounts(t, p.sync(t), map[string]int64{"keys": int64(len(keys) + 1), "failed": 0})
			check(t, "by a second SYNC", p.r)
		})
		t.Run("comes back", func(t *testing.T) {
			must(t, p.l, cmd("FLUSHALL"))
			p.waitForSponsors(t, 1)
			redistest.Eventually(t, soon, func() error {
				for i, key := range keys {
					p.l.Dump(t.Context(), key) // a miss
					if got := contents(t, p.l, key); got != want[key] {
						return fmt.Errorf("%s came back as %.300s, want %.300s", names[i], got, want[key])
					}
				}
				return nil
			})
		})
		t.Run("by any command", func(t *testing.T) {
			for _, args := range [][]any{
				cmd("RENAME", "user:7:0", "user:7:moved"), cmd("COPY", "user:7:1", "user:7:copied"), cmd("DEL", "user:7:2"),
				cmd("PERSIST", "user:7:3"), cmd("PEXPIREAT", "user:7:4", int64(4000000000001)),
				cmd("SET", "user:7:s", "1"), cmd("APPEND", "user:7:s", "2"), cmd("SETRANGE", "user:7:s", 1, "x"), cmd("GETSET", "user:7:s", "4"),
				cmd("INCR", "user:7:s"), cmd("INCRBYFLOAT", "user:7:s", "0.5"), cmd("GETEX", "user:7:s", "PXAT", int64(4000000000000)), cmd("SETEX", "user:7:e", 100000, "v"),
				cmd("MSET", "user:7:m", "1", "user:7:n", "2"), cmd("BITFIELD", "user:7:b", "SET", "u8", "8", "200"), cmd("BITOP", "NOT", "user:7:c", "user:7:b"),
				cmd("GETDEL", "user:7:n"), cmd("PFMERGE", "user:7:p", "user:7:p2"),
				cmd("LPUSH", "user:7:l", "1", "2", "3"), cmd("LINSERT", "user:7:l", "BEFORE", "2", "x"), cmd("LSET", "user:7:l", 0, "y"), cmd("LREM", "user:7:l", 1, "x"),
				cmd("LMOVE", "user:7:l", "user:7:k", "LEFT", "RIGHT"), cmd("RPOP", "user:7:l"), cmd("LTRIM", "user:7:l", 0, 1), cmd("BLPOP", "user:7:k", 1),
				cmd("SORT", "user:7:l", "ALPHA", "STORE", "user:7:sorted"),
				cmd("ZADD", "user:7:z", 1, "a", 2, "b", 3, "c"), cmd("ZINCRBY", "user:7:z", 5, "a"), cmd("ZREM", "user:7:z", "b"), cmd("ZPOPMIN", "user:7:z"),
				cmd("ZRANGESTORE", "user:7:y", "user:7:z", 0, -1), cmd("ZUNIONSTORE", "user:7:u", 2, "user:7:z", "user:7:y"),
				cmd("XADD", "user:7:x", "1-1", "f", "v"), cmd("XADD", "user:7:x", "2-1", "f", "v"), cmd("XDEL", "user:7:x", "1-1"), cmd("XGROUP", "CREATE", "user:7:x", "g", "0"),
				cmd("XSETID", "user:7:x", "9-9"), cmd("XGROUP", "SETID", "user:7:x", "g", "2-1"), cmd("XTRIM", "user:7:x", "MAXLEN", 0),
			} {
				must(t, p.l, args)
				p.safe(t)
				for _, key := range allKeys(t, p.l) {
					if strings.HasPrefix(key, "user:") {
						p.wantSame(t, key)
					}
				}
				if t.Failed() {
					t.Fatalf("after %v", args)
				}
			}
			here := slices.DeleteFunc(allKeys(t, p.l), func(key string) bool { return strings.HasPrefix(key, "sponsor:") })
			wantKeys(t, p.r, append(here, "sponsor:dataset:acme")...)
		})
	})
}
