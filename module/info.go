package main

import (
	"runtime/metrics"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
)

// A field is one of an answer; those of SPONSOR.STATUS are INFO sponsor's too,
// with sponsor_ before their names.
type field struct {
	name   string
	text   string
	number int64
	isText bool
}

func textField(name, value string) field         { return field{name: name, text: value, isText: true} }
func numberField(name string, value int64) field { return field{name: name, number: value} }

// replyFields answers with a map.
func replyFields(ctx redismodule.Context, fields []field) {
	ctx.ReplyMap(len(fields))
	replyPairs(ctx, fields)
}

// replyPairs answers with what is in a map that was begun.
func replyPairs(ctx redismodule.Context, fields []field) {
	for _, f := range fields {
		ctx.ReplyBulk(f.name)
		if f.isText {
			ctx.ReplyBulk(f.text)
		} else {
			ctx.ReplyInt(f.number)
		}
	}
}

// status is what both show.
func (m *sponsor) status(role redismodule.Role) []field {
	st := m.engine.Status()
	state, roleName := st.State, "master"
	if !role.Master {
		roleName = "replica"
	}
	if role.Loading {
		state = "loading"
	}
	return []field{
		textField("state", state),
		textField("role", roleName),
		textField("org", st.Org),
		numberField("sponsors", int64(st.Sponsors)),
		numberField("pending_keys", int64(st.Pending)),
		numberField("lag_ms", st.Lag.Milliseconds()),
		numberField("acknowledged", st.Acknowledged),
		numberField("fetched", st.Fetched),
		numberField("misses", st.Misses),
		numberField("absent_hits", st.AbsentHits),
		numberField("waiting", st.Waiting),
		numberField("timeouts", st.Timeouts),
		numberField("dead_letters", int64(st.DeadLetters)),
		numberField("lost", st.Lost),
		numberField("buffer_bytes", st.BufferBytes),
		textField("self_test", m.checks.selfTest()),
		textField("users_without_grant", m.checks.usersWithoutGrant()),
		numberField("errors", st.Errors),
		textField("last_error", st.LastError),
		numberField("sync_done", st.SyncDone),
		numberField("sync_total", st.SyncTotal),
		numberField("pull_done", st.PullDone),
		numberField("pull_total", st.PullTotal),
		numberField("verify_done", st.VerifyDone),
		numberField("verify_total", st.VerifyTotal),
	}
}

func (m *sponsor) info(info *redismodule.Info) {
	fault.Point("info")
	for _, f := range append(m.status(redismodule.CurrentRole()), memory()...) {
		if f.isText {
			info.String(f.name, f.text)
		} else {
			info.Int(f.name, f.number)
		}
	}
}

// memory is what the module holds in memory of its own, which maxmemory does not
// count.
func memory() []field {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	return []field{
		numberField("go_heap_bytes", int64(samples[0].Value.Uint64())),
		numberField("go_total_bytes", int64(samples[1].Value.Uint64())),
		numberField("table_bytes", redismodule.TableBytes()),
		numberField("goroutines", int64(samples[2].Value.Uint64())),
	}
}
