//go:build fault

package main

import (
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
)

// faultCommands are commands for tests: SPONSOR.FAULT point times.
func faultCommands() []redismodule.Command {
	return []redismodule.Command{{
		Name:  "sponsor.fault",
		Flags: "admin",
		Doc:   redismodule.CommandDoc{Summary: "Makes the next passes of a point panic.", Since: since, Arity: 3},
		Run: func(ctx redismodule.Context, args []string) {
			times, err := strconv.Atoi(args[2])
			if err != nil {
				ctx.ReplyError("ERR not a number")
				return
			}
			fault.Arm(args[1], times)
			ctx.ReplySimple("OK")
		},
	}}
}
