package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

var throughDoc = redismodule.CommandDoc{
	Summary:    "Internal: a command of a client that uses a key which may have to be brought back. Users need the grant for it.",
	Complexity: "that of the command",
	Since:      since,
	Arity:      -2,
}

// filter says what becomes of a command that uses keys which are not settled. It must
// not touch the keyspace.
func (m *sponsor) filter(u redismodule.Use) redismodule.Verdict {
	fault.Point("filter")
	known := redismodule.Knowledge()
	doubtful := false
	for _, key := range u.Keys {
		look, until := m.engine.Look(key)
		if look == replication.Settled {
			redismodule.Settle(key, until, known)
		} else {
			doubtful = true
		}
	}
	if !doubtful {
		return redismodule.PassBy
	}
	how := m.table.how(u)
	if how.verdict != redismodule.PassBy {
		if may, _ := u.UserMay(how.verdict); may {
			return how.verdict
		}
	}
	m.fetchBeside(u, how)
	return redismodule.PassBy
}

// fetchBeside brings back what a command uses that cannot wait. Where the server does not
// tell whose it is, the user may not be logged in: then a miss will tell, which comes when
// that was looked at, unless the command is one that waits by itself.
func (m *sponsor) fetchBeside(u redismodule.Use, how passing) {
	if removes[u.Name] {
		return
	}
	if may, known := u.UserMay(redismodule.PassBy); !may || !known && !how.blocks {
		return
	}
	for _, key := range u.Keys {
		m.engine.Miss(key)
	}
}

// through lets a command run when what it uses is here.
func (m *sponsor) through(p redismodule.Passage) {
	fault.Point("through")
	if !p.InDatabase0() || !p.MayRun() {
		m.exec(p, false) // is refused, or none of our business
		return
	}
	need := m.engine.Need(p.Keys, p.MayBlock() && caches(p), newData(p.Context))
	switch {
	case need == nil:
		m.run(p, true)
	case !p.MayBlock():
		m.run(p, false) // what is missing is fetched beside it
	default:
		client := p.Block()
		go func() {
			var err error
			defer func() {
				if r := recover(); r != nil {
					m.log.Error("waiting for a key has panicked", "panic", r, "stack", string(debug.Stack()))
				}
				client.Unblock(func(p redismodule.Passage) { m.goOn(p, need, err) })
			}()
			err = need.Wait()
		}()
	}
}

// goOn runs a command that has waited. Anything may have happened meanwhile.
func (m *sponsor) goOn(p redismodule.Passage, need *replication.Need, err error) {
	fault.Point("go-on")
	d := newData(p.Context)
	names, ok := need.Apart(d)
	switch {
	case !p.MayRun():
		m.exec(p, false) // is refused
	case p.Write && !p.Role().Master:
		p.ReplyError("READONLY You can't write against a read only replica.")
	case p.Write && redismodule.Paused():
		p.ReplyError("TRYAGAIN clients have been paused while the command waited for a key; it was not run")
	case err != nil:
		p.ReplyError("OOM " + err.Error())
	case !ok:
		p.ReplyError("TRYAGAIN a key was written while it was brought back; the command was not run")
	case len(names) > 0:
		p.RunRenamed(names)
	case need.Met() && m.engine.Away(p.Keys, d):
		p.ReplyError("TRYAGAIN a key was evicted as soon as it was here; the command was not run")
	default:
		m.run(p, true)
	}
	if p.Role().Master && !redismodule.Paused() { // else it goes by its expiry
		need.Install(d)
	}
}

// caches reports whether the client of a command caches what it reads by it. The answers of
// these commands tell of more than the value, which is beside its place until then.
func caches(p redismodule.Passage) bool {
	switch p.Name {
	case "ttl", "pttl", "expiretime", "pexpiretime", "object", "memory":
		return false
	}
	return !p.Write && p.Tracks()
}

// run runs a command. What it removes of keys that are away still is removed on the
// remote.
func (m *sponsor) run(p redismodule.Passage, asked bool) {
	if p.Write {
		for _, key := range p.Keys {
			kind, names, removes := removal(p, key)
			if !removes {
				continue
			}
			if mark := m.engine.Removal(key, kind, names, newData(p.Context)); mark != "" {
				m.marks[key] = mark
			}
		}
		if len(m.marks) > 0 {
			m.writeMarksNow(p.Context)
		}
	}
	m.exec(p, asked)
}

// exec runs a command as its client would.
func (m *sponsor) exec(p redismodule.Passage, asked bool) {
	if losesError(p) {
		p.ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
		return
	}
	p.Run(asked)
}

// losesError reports whether a command ends with an error that Valkey 8.1 loses, and adds
// to the answer of whoever comes next, if a module calls the command: GETDEL and GETSET
// begin to hold their answer back there, and do not end that when the value is no string.
func losesError(p redismodule.Passage) bool {
	if p.Name != "getdel" && p.Name != "getset" || len(p.Keys) == 0 || !p.MayRun() {
		return false
	}
	typ := newData(p.Context).Stat(p.Keys[0]).Type
	return typ != typeNames[redismodule.KeyNone] && typ != typeNames[redismodule.KeyString]
}

// removes are the commands that remove what they name, of whatever type it is.
var removes = map[string]bool{"del": true, "unlink": true, "srem": true, "hdel": true}

// removal tells which elements of key a command removes, if its arguments tell; NoKind:
// all of it.
func removal(p redismodule.Passage, key string) (kind replication.Kind, names []string, ok bool) {
	switch p.Name {
	case "del", "unlink":
		return replication.NoKind, nil, true
	case "srem", "hdel":
		args := p.Args()
		if len(args) < 3 || args[1] != key {
			return replication.NoKind, nil, false
		}
		kind = replication.Set
		if p.Name == "hdel" {
			kind = replication.Hash
		}
		return kind, args[2:], true
	}
	return replication.NoKind, nil, false
}

// A commandTable tells by the names of commands, container|subcommand among them, how
// they can pass through us.
type commandTable map[string]passing

type passing struct {
	verdict redismodule.Verdict
	blocks  bool // it waits by itself
}

// how is how a command can pass through us: not at all if it is not known.
func (t commandTable) how(u redismodule.Use) passing {
	if how, ok := t[u.Name]; ok {
		return how
	}
	return t[u.Name+"|"+u.Sub()]
}

// readCommandTable asks the server. Commands that block, that are not allowed in
// scripts, such as WATCH and EVAL, and MIGRATE do not pass through us: they cannot be
// run for somebody else.
func readCommandTable(ctx redismodule.Context) (commandTable, error) {
	reply, err := ctx.Read("COMMAND")
	if err != nil {
		return nil, err
	}
	list, err := resp.Any(reply)
	if err != nil {
		return nil, fmt.Errorf("COMMAND: %w", err)
	}
	commands, ok := list.([]any)
	if !ok {
		return nil, errors.New("COMMAND: no list of commands")
	}
	t := make(commandTable)
	t.add(commands)
	return t, nil
}

// subcommandsAt is where the subcommands stand in an entry of COMMAND
// (https://redis.io/docs/latest/commands/command/).
const subcommandsAt = 9

func (t commandTable) add(commands []any) {
	for _, one := range commands {
		entry, ok := one.([]any)
		if !ok || len(entry) < 3 {
			continue
		}
		name, _ := entry[0].(string)
		flags, _ := entry[2].([]any)
		if len(entry) > subcommandsAt {
			if subcommands, ok := entry[subcommandsAt].([]any); ok && len(subcommands) > 0 {
				t.add(subcommands)
				continue
			}
		}
		switch has := func(flag string) bool { return slices.Contains(flags, any(flag)) }; {
		case has("blocking"):
			t[name] = passing{blocks: true}
		case has("noscript"), name == "migrate", strings.HasPrefix(name, "sponsor."):
		case has("write"), has("may_replicate"): // such as PFCOUNT
			t[name] = passing{verdict: redismodule.AsWrite}
		case has("readonly"):
			t[name] = passing{verdict: redismodule.AsRead}
		}
	}
}
