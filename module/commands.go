package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

const since = "0.1.0"

var userArg = redismodule.Arg{
	Name: "user", Type: redismodule.ArgString, Token: "USER", Optional: true, Multiple: true,
	Summary: "only the keys of these sponsors",
}

func (m *sponsor) commands() []redismodule.Command {
	list := []redismodule.Command{
		{
			Name:  "sponsor.sync",
			Flags: "readonly admin",
			Doc: redismodule.CommandDoc{
				Summary:    "Copies what the sponsors have on this server to the remote, and answers when it is there.",
				Complexity: "O(N) with N being the elements copied, in slices of half a millisecond; the server is not blocked",
				Since:      since,
				Arity:      -1,
				Args: []redismodule.Arg{
					userArg,
					{
						Name: "prune", Type: redismodule.ArgToken, Token: "PRUNE", Optional: true,
						Summary: "also remove, on the remote, what is gone here from keys that are here, and keys of people who are no sponsors, if they are here",
					},
					{
						Name: "dryrun", Type: redismodule.ArgToken, Token: "DRYRUN", Optional: true,
						Summary: "count, and copy nothing",
					},
					{
						Name: "nowait", Type: redismodule.ArgToken, Token: "NOWAIT", Optional: true,
						Summary: "answer at once; SPONSOR.STATUS shows the progress",
					},
				},
			},
			Run: m.runSync,
		},
		{
			Name:  "sponsor.pull",
			Flags: "write admin",
			Doc: redismodule.CommandDoc{
				Summary:    "Brings back what the remote has of the sponsors and is not here, and answers when it is.",
				Complexity: "O(N) with N being the elements brought back, in slices of half a millisecond; the server is not blocked",
				Since:      since,
				Arity:      -1,
				Args:       []redismodule.Arg{userArg},
			},
			Run: m.runPull,
		},
		{
			Name:  "sponsor.verify",
			Flags: "readonly admin",
			Doc: redismodule.CommandDoc{
				Summary:    "Compares what this server and the remote have of the sponsors, and names the first keys that differ.",
				Complexity: "O(N) with N being all their elements, in slices of half a millisecond; the server is not blocked",
				Since:      since,
				Arity:      -1,
				Args:       []redismodule.Arg{userArg},
			},
			Run: m.runVerify,
		},
		{
			Name:  "sponsor.status",
			Flags: "readonly fast allow-loading allow-stale",
			Doc: redismodule.CommandDoc{
				Summary:    "Shows what the module is about: its connection to the remote, and what it has done.",
				Complexity: "O(1)",
				Since:      since,
				Arity:      1,
			},
			Run: m.runStatus,
		},
		{
			Name:  "sponsor.wait",
			Flags: "readonly",
			Doc: redismodule.CommandDoc{
				Summary:    "Waits until the remote has acknowledged every change made before, and answers how many keys' changes it has not.",
				Complexity: "O(1), and O(N) with N being the keys left when the time is over",
				Since:      since,
				Arity:      2,
				Args: []redismodule.Arg{{
					Name: "timeout", Type: redismodule.ArgInteger,
					Summary: "in milliseconds; 0: for ever",
				}},
			},
			Run: m.runWait,
		},
		{
			Name:  "sponsor.errors",
			Flags: "readonly",
			Doc: redismodule.CommandDoc{
				Summary:    "Lists the changes that the remote has refused, the latest first: key, reason, unix time.",
				Complexity: "O(N) with N being all of them",
				Since:      since,
				Arity:      -1,
				Args: []redismodule.Arg{{
					Name: "count", Type: redismodule.ArgInteger, Optional: true,
					Summary: "how many at most; 100 if not given",
				}},
			},
			Run: m.runErrors,
		},
		{
			Name:  "sponsor.retry",
			Flags: "readonly admin",
			Doc: redismodule.CommandDoc{
				Summary:    "Sends changes again that the remote has refused, and answers how many.",
				Complexity: "O(N) with N being the changes that SPONSOR.ERRORS lists",
				Since:      since,
				Arity:      -1,
				Args: []redismodule.Arg{{
					Name: "key", Type: redismodule.ArgString, Optional: true, Multiple: true,
					Summary: "only those of these keys",
				}},
			},
			Run: m.runRetry,
		},
		{
			Name:  "sponsor.forget",
			Flags: "write admin",
			Doc: redismodule.CommandDoc{
				Summary:    "Erases a person's keys here and on the remote, sponsor or not, and answers how many there were when the remote has done so.",
				Complexity: "O(N) with N being their keys; with templates that end in *, being all keys of both servers",
				Since:      since,
				Arity:      2,
				Args: []redismodule.Arg{{
					Name: "id", Type: redismodule.ArgString,
					Summary: "the person's, as it stands in their keys",
				}},
			},
			Run: m.runForget,
		},
		{
			Name:  "sponsor.help",
			Flags: "readonly fast allow-loading allow-stale",
			Doc: redismodule.CommandDoc{
				Summary:    "Shows the commands of the module.",
				Complexity: "O(1)",
				Since:      since,
				Arity:      1,
			},
			Run: runHelp,
		},
	}
	return append(list, faultCommands()...)
}

func (m *sponsor) runStatus(ctx redismodule.Context, args []string) {
	if len(args) != 1 {
		replyArity(ctx, args)
		return
	}
	replyFields(ctx, m.status(ctx.Role()))
}

func runHelp(ctx redismodule.Context, args []string) {
	if len(args) != 1 {
		replyArity(ctx, args)
		return
	}
	lines := []string{
		"SPONSOR.<subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
		"SYNC [USER <id> [<id> ...]] [PRUNE] [DRYRUN] [NOWAIT]",
		"    Copy what the sponsors have on this server to the remote, and answer",
		"    with what was copied when it is there. USER: only these sponsors.",
		"    PRUNE: also remove there what is gone here from keys that are here, and",
		"    keys of people who are no sponsors, if they are here.",
		"    DRYRUN: count, and copy nothing. NOWAIT: answer at once.",
		"PULL [USER <id> [<id> ...]]",
		"    Bring back what the remote has of the sponsors and is not here.",
		"VERIFY [USER <id> [<id> ...]]",
		"    Compare what this server and the remote have of the sponsors, and name the",
		"    first keys that differ. A key that is merely away does not.",
		"WAIT <timeout-ms>",
		"    Wait until the remote has acknowledged every change made before; answer",
		"    how many keys' changes it has not (0: all are safe). 0: wait for ever.",
		"ERRORS [<count>]",
		"    List the changes that the remote has refused: key, reason, unix time.",
		"RETRY [<key> ...]",
		"    Send such changes again, of these keys or of all; answer how many.",
		"FORGET <id>",
		"    Erase a person's keys here and on the remote, sponsor or not; answer how",
		"    many there were when the remote has done so.",
		"STATUS",
		"    Show the connection to the remote, and what was done.",
		"HELP",
		"    Print this help.",
	}
	ctx.ReplyArray(len(lines))
	for _, line := range lines {
		ctx.ReplySimple(line)
	}
}

func (m *sponsor) runSync(ctx redismodule.Context, args []string) {
	fault.Point("command")
	request, nowait, err := parseSync(args[1:])
	if err != nil {
		ctx.ReplyError("ERR " + err.Error())
		return
	}
	if !nowait && !ctx.MayBlock() {
		ctx.ReplyError("ERR SPONSOR.SYNC waits, which MULTI and scripts do not allow: use SPONSOR.SYNC NOWAIT there")
		return
	}
	run, joined, err := m.engine.Sync(request)
	switch {
	case err != nil:
		ctx.ReplyError("ERR " + err.Error())
	case nowait && joined:
		ctx.ReplySimple("SYNC is under way already")
	case nowait:
		ctx.ReplySimple("SYNC started")
	default:
		client := ctx.Block()
		go func() {
			result, err := run.Wait()
			client.Unblock(func(ctx redismodule.Context) { replySync(ctx, request, result, err) })
		}()
	}
}

// parseSync reads the options of SPONSOR.SYNC, in any order. What stands behind
// USER and is no option is an id.
func parseSync(args []string) (request replication.SyncRequest, nowait bool, err error) {
	user := false
	for i, arg := range args {
		switch option := strings.ToUpper(arg); {
		case option == "USER" && !user:
			user = true
			if i+1 == len(args) {
				return request, false, errNoIDs
			}
		case option == "DRYRUN":
			request.DryRun = true
		case option == "NOWAIT":
			nowait = true
		case option == "PRUNE":
			request.Prune = true
		case user && !keyspace.ValidOwner(arg):
			return request, false, badOwner(arg)
		case user:
			request.Owners = append(request.Owners, arg)
		default:
			return request, false, fmt.Errorf("unknown option %.64q; SPONSOR.HELP shows them", arg)
		}
	}
	if user && len(request.Owners) == 0 {
		return request, false, errNoIDs
	}
	return request, nowait, nil
}

func badOwner(id string) error {
	return fmt.Errorf("%.64q cannot be the id of a sponsor: an id is not empty and holds no colon", id)
}

func replySync(ctx redismodule.Context, request replication.SyncRequest, result replication.SyncResult, err error) {
	fault.Point("answer")
	if err != nil {
		message := fmt.Sprintf("ERR SYNC has failed: %v", err)
		if result.Keys > 0 {
			message += fmt.Sprintf("; %d keys were copied before, and a new SYNC may copy them again without harm", result.Keys)
		}
		ctx.ReplyError(message)
		return
	}
	fields := []field{
		numberField("sponsors", result.Sponsors),
		numberField("keys", result.Keys),
		numberField("elements", result.Elements),
		numberField("bytes", result.Bytes),
		numberField("skipped", result.Skipped),
		numberField("failed", result.Failed),
		numberField("duration_ms", int64(result.Duration/time.Millisecond)),
	}
	if request.Prune {
		fields = append(fields, numberField("pruned", result.Pruned))
	}
	replyFields(ctx, fields)
}

func replyArity(ctx redismodule.Context, args []string) {
	ctx.ReplyError(fmt.Sprintf("ERR wrong number of arguments for '%s' command", strings.ToLower(args[0])))
}
