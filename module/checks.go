package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// checks look at what reading through needs of the server: whether it shows us commands
// and misses, and whether users have the grants for our commands. They may be used
// concurrently.
type checks struct {
	module *sponsor
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	result  string   // of the self-test
	without []string // users without the grant
}

// grantsPause is how often the users are looked at.
const grantsPause = 10 * time.Second

// namesShown is how many users STATUS names.
const namesShown = 20

func (m *sponsor) startChecks() *checks {
	ctx, cancel := context.WithCancel(context.Background())
	c := &checks{module: m, cancel: cancel, ended: make(chan struct{}), result: "not run yet"}
	go func() {
		defer close(c.ended)
		defer func() {
			if r := recover(); r != nil {
				m.log.Error("a check has panicked", "panic", r, "stack", string(debug.Stack()))
			}
		}()
		c.run(ctx)
	}()
	return c
}

// stop ends the checks. MainThread.Do does not wait any more.
func (c *checks) stop() {
	c.cancel()
	<-c.ended
}

func (c *checks) selfTest() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}

func (c *checks) usersWithoutGrant() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.without[:min(len(c.without), namesShown)], " ")
}

func (c *checks) run(ctx context.Context) {
	c.test()
	for ctx.Err() == nil {
		c.look()
		select {
		case <-ctx.Done():
		case <-time.After(grantsPause):
		}
	}
}

// test reads a key of ours that is not there.
func (c *checks) test() {
	var command, miss bool
	err := redismodule.Main().Do(func(ctx redismodule.Context) {
		command, miss = ctx.Probe(replication.JournalKey + ":probe")
	})
	result := "ok"
	switch {
	case errors.Is(err, redismodule.ErrUnloading):
		return
	case err != nil:
		result = "failed: " + err.Error()
	case !command:
		result = "failed: the server does not show commands to the module"
	case !miss && c.module.engine.Status().Org != "":
		result = "failed: the server reports no key misses to the module"
	}
	if result != "ok" {
		c.module.log.Warn("keys that are away are not brought back when they are read", "reason", result)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result = result
}

// look finds the users who may use keys of sponsors and lack the grant for the commands
// of ours that this becomes when such a key is away.
func (c *checks) look() {
	var (
		without []string
		users   []string
		keys    []string
	)
	err := redismodule.Main().Do(func(ctx redismodule.Context) {
		keys = c.module.sampleKeys()
		users, _ = stringsOf(ctx.Read("ACL", "USERS"))
	})
	for _, user := range users {
		if err != nil || len(keys) == 0 {
			break
		}
		err = redismodule.Main().Do(func(ctx redismodule.Context) {
			if lacksGrant(ctx, user, keys) {
				without = append(without, user)
			}
		})
	}
	if err != nil {
		return
	}
	slices.Sort(without)
	c.mu.Lock()
	changed := !slices.Equal(without, c.without)
	c.without = without
	c.mu.Unlock()
	if changed && len(without) > 0 {
		c.module.log.Warn("users lack the grant for the commands by which what is away is waited for; "+
			"without it a server that does not tell who sends a command (Redis 7.0) refuses theirs when a key is away, and others do not wait",
			"users", strings.Join(without, " "), "do", fmt.Sprintf("ACL SETUSER <user> +%s +%s", redismodule.ThroughRead, redismodule.ThroughWrite))
	}
}

func stringsOf(reply string, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return resp.Strings(reply)
}

// sampleKeys are keys as somebody's could be, or none if nobody waits for anything.
func (m *sponsor) sampleKeys() []string {
	config, err := m.settings.config()
	if err != nil || !config.Blocks() {
		return nil
	}
	var keys []string
	for _, t := range slices.Concat(config.Templates, config.Unfiltered) {
		keys = append(keys, t.Key("1"))
	}
	return keys
}

// samples are commands that people use on keys, by the command of ours that they become.
var samples = map[string][][]string{
	redismodule.ThroughRead: {
		{"SMEMBERS"},
		{"HGETALL"},
		{"GET"},
		{"SISMEMBER", "m"},
		{"HGET", "f"},
		{"SCARD"},
		{"HLEN"},
		{"EXISTS"},
		{"TYPE"},
		{"TTL"},
		{"MGET"},
		{"HMGET", "f"},
		{"HKEYS"},
		{"SINTER"},
		{"SUNION"},
		{"STRLEN"},
		{"LRANGE", "0", "-1"},
		{"ZRANGE", "0", "-1"},
		{"ZSCORE", "m"},
		{"XRANGE", "-", "+"},
		{"SSCAN", "0"},
		{"HSCAN", "0"},
		{"DUMP"},
	},
	redismodule.ThroughWrite: {
		{"SADD", "m"},
		{"HSET", "f", "v"},
		{"SET", "v"},
		{"SREM", "m"},
		{"HDEL", "f"},
		{"DEL"},
		{"UNLINK"},
		{"SPOP"},
		{"HINCRBY", "f", "1"},
		{"HSETNX", "f", "v"},
		{"EXPIRE", "1"},
		{"PERSIST"},
		{"INCR"},
		{"APPEND", "v"},
		{"GETDEL"},
		{"RPUSH", "v"},
		{"LPUSH", "v"},
		{"ZADD", "1", "m"},
		{"ZREM", "m"},
		{"XADD", "*", "f", "v"},
	},
}

// lacksGrant reports whether user may run some command on one of keys, but not as the
// command of ours that it becomes.
func lacksGrant(ctx redismodule.Context, user string, keys []string) bool {
	may := func(command ...string) bool {
		reply, err := ctx.Read("ACL", append([]string{"DRYRUN", user}, command...)...)
		return err == nil && reply == "+OK\r\n"
	}
	for ours, commands := range samples {
		for _, command := range commands {
			for _, key := range keys {
				whole := append([]string{command[0], key}, command[1:]...)
				if may(whole...) {
					if !may(append([]string{ours}, whole...)...) {
						return true
					}
					break // of this command, one key tells enough
				}
			}
		}
	}
	return false
}
