package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// runPull is SPONSOR.PULL.
func (m *sponsor) runPull(ctx redismodule.Context, args []string) {
	runJob(ctx, args, m.engine.Pull, func(ctx redismodule.Context, r replication.PullResult) {
		replyFields(ctx, []field{
			numberField("sponsors", r.Sponsors),
			numberField("keys", r.Keys),
			numberField("elements", r.Elements),
			numberField("bytes", r.Bytes),
			numberField("present", r.Present),
			numberField("failed", r.Failed),
			numberField("duration_ms", int64(r.Duration/time.Millisecond)),
		})
	})
}

// runVerify is SPONSOR.VERIFY.
func (m *sponsor) runVerify(ctx redismodule.Context, args []string) {
	runJob(ctx, args, m.engine.Verify, func(ctx redismodule.Context, r replication.VerifyResult) {
		fields := []field{
			numberField("checked", r.Checked),
			numberField("same", r.Same),
		}
		for _, difference := range []replication.Difference{
			replication.MissingRemote, replication.MissingLocal, replication.Different, replication.TTLDiffers,
		} {
			fields = append(fields, numberField(string(difference), r.Counts[difference]))
		}
		fields = append(fields,
			numberField("away", r.Away),
			numberField("busy", r.Busy),
			numberField("failed", r.Failed),
			numberField("duration_ms", int64(r.Duration/time.Millisecond)),
		)
		ctx.ReplyMap(len(fields) + 1)
		replyPairs(ctx, fields)
		ctx.ReplyBulk("keys")
		ctx.ReplyArray(len(r.Findings))
		for _, finding := range r.Findings {
			ctx.ReplyMap(2)
			replyPairs(ctx, []field{textField("key", finding.Key), textField("difference", string(finding.Difference))})
		}
	})
}

// runJob begins a job for the people that a command names, or for all, and answers when
// it has ended.
func runJob[R any](ctx redismodule.Context, args []string,
	start func(owners []string) (*replication.Job[R], error), reply func(redismodule.Context, R),
) {
	name := strings.ToUpper(args[0])
	owners, err := parseOwners(args[1:])
	if err == nil && !ctx.MayBlock() {
		err = fmt.Errorf("%s waits, which MULTI and scripts do not allow: call it outside of them", name)
	}
	var job *replication.Job[R]
	if err == nil {
		job, err = start(owners)
	}
	if err != nil {
		ctx.ReplyError("ERR " + err.Error())
		return
	}
	client := ctx.Block()
	go func() {
		result, err := job.Wait()
		client.Unblock(func(ctx redismodule.Context) {
			if err != nil {
				ctx.ReplyError("ERR " + strings.TrimPrefix(name, "SPONSOR.") + " has failed: " + err.Error())
				return
			}
			reply(ctx, result)
		})
	}()
}

// parseOwners reads [USER id [id ...]].
func parseOwners(args []string) (owners []string, err error) {
	if len(args) == 0 {
		return nil, nil
	}
	if !strings.EqualFold(args[0], "USER") {
		return nil, fmt.Errorf("unknown option %.64q; SPONSOR.HELP shows them", args[0])
	}
	if len(args) == 1 {
		return nil, errNoIDs
	}
	for _, id := range args[1:] {
		if !keyspace.ValidOwner(id) {
			return nil, badOwner(id)
		}
	}
	return args[1:], nil
}

var errNoIDs = errors.New("USER wants the ids of sponsors behind it")
