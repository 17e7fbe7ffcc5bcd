package main

import (
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
)

// local is the server as the engine sees it: replication.Local.
type local struct{ thread *redismodule.MainThread }

func (l local) Do(f func(replication.Data)) error {
	var refused error
	err := l.thread.Do(func(ctx redismodule.Context) {
		fault.Point("turn")
		switch role := ctx.Role(); {
		case !role.Master:
			refused = replication.ErrReplica
		case role.Loading:
			refused = replication.ErrLoading
		default:
			f(newData(ctx))
		}
	})
	if err != nil {
		return err
	}
	return refused
}

func (l local) Unsettle() { redismodule.Unsettle() }

func (l local) Commands() uint64 { return redismodule.Commands() }

// data is replication.Data.
type data struct {
	redismodule.Context
	known uint64 // of what is settled, when the data set became ours
}

func newData(ctx redismodule.Context) data { return data{ctx, redismodule.Knowledge()} }

func (d data) Settle(key string) { redismodule.Settle(key, time.Time{}, d.known) }

var typeNames = map[redismodule.KeyType]string{
	redismodule.KeyNone:   "none",
	redismodule.KeyString: "string",
	redismodule.KeyList:   "list",
	redismodule.KeyHash:   "hash",
	redismodule.KeySet:    "set",
	redismodule.KeyZSet:   "zset",
	redismodule.KeyStream: "stream",
	redismodule.KeyModule: "a module's type",
}

func (d data) Stat(key string) replication.Stat {
	stat := d.Context.Stat(key)
	return replication.Stat{Type: typeNames[stat.Type], Length: stat.Length, ExpireAt: stat.ExpireAt}
}
