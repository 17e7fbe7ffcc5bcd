package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// runWait is SPONSOR.WAIT.
func (m *sponsor) runWait(ctx redismodule.Context, args []string) {
	if len(args) != 2 {
		replyArity(ctx, args)
		return
	}
	ms, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil || ms < 0 {
		ctx.ReplyError(fmt.Sprintf("ERR timeout %.64q is not a number of milliseconds, such as 1000, or 0 to wait for ever", args[1]))
		return
	}
	if !ctx.MayBlock() {
		ctx.ReplyError("ERR SPONSOR.WAIT waits, which MULTI and scripts do not allow: call it after them")
		return
	}
	waiting, err := m.engine.Wait()
	if err != nil {
		ctx.ReplyError("ERR " + err.Error())
		return
	}
	client := ctx.Block()
	go func() {
		left, err := waiting.Left(time.Duration(ms) * time.Millisecond)
		client.Unblock(func(ctx redismodule.Context) {
			if err != nil {
				ctx.ReplyError("ERR " + err.Error())
				return
			}
			ctx.ReplyInt(int64(left))
		})
	}()
}

// runForget is SPONSOR.FORGET.
func (m *sponsor) runForget(ctx redismodule.Context, args []string) {
	if len(args) != 2 {
		replyArity(ctx, args)
		return
	}
	if !keyspace.ValidOwner(args[1]) {
		ctx.ReplyError("ERR " + badOwner(args[1]).Error())
		return
	}
	if !ctx.MayBlock() {
		ctx.ReplyError("ERR SPONSOR.FORGET waits for the remote, which MULTI and scripts do not allow: call it outside of them")
		return
	}
	forgetting, err := m.engine.Forget(args[1])
	if err != nil {
		ctx.ReplyError("ERR " + err.Error())
		return
	}
	client := ctx.Block()
	go func() {
		keys, err := forgetting.Wait()
		client.Unblock(func(ctx redismodule.Context) {
			if err != nil {
				ctx.ReplyError("ERR FORGET has failed: " + err.Error())
				return
			}
			ctx.ReplyInt(int64(keys))
		})
	}()
}

// errorsShown is how many dead letters SPONSOR.ERRORS lists if it is not told.
const errorsShown = 100

// runErrors is SPONSOR.ERRORS.
func (m *sponsor) runErrors(ctx redismodule.Context, args []string) {
	count := errorsShown
	switch {
	case len(args) > 2:
		replyArity(ctx, args)
		return
	case len(args) == 2:
		n, err := strconv.ParseInt(args[1], 10, 32)
		if err != nil || n < 0 {
			ctx.ReplyError(fmt.Sprintf("ERR count %.64q is not a number", args[1]))
			return
		}
		count = int(n)
	}
	letters := m.engine.DeadLetters()
	letters = letters[:min(count, len(letters))]
	ctx.ReplyArray(len(letters))
	for _, letter := range letters {
		ctx.ReplyMap(3)
		ctx.ReplyBulk("key")
		ctx.ReplyBulk(letter.Key)
		ctx.ReplyBulk("reason")
		ctx.ReplyBulk(letter.Reason)
		ctx.ReplyBulk("when")
		ctx.ReplyInt(letter.When.Unix())
	}
}

// runRetry is SPONSOR.RETRY.
func (m *sponsor) runRetry(ctx redismodule.Context, args []string) {
	n, err := m.engine.Retry(args[1:])
	if err != nil {
		ctx.ReplyError("ERR " + err.Error())
		return
	}
	ctx.ReplyInt(int64(n))
}
