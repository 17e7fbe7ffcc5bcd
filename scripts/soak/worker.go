package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A worker is one client that writes and reads the keys of some people, which nobody
// else writes: so it knows at any time what must be in them.
type worker struct {
	w      *world
	db     *redis.Client // one connection; it sends nothing twice
	dice   *dice
	people []*person
}

// A person is somebody with keys. Only their worker uses it while that works.
type person struct {
	id    string
	state state
	large bool // has large values, too

	// Those who come and go.
	moves    bool
	standing standing
	losses   int64 // of the world, when state was last known to be right

	story []string // the last things that were done
}

// A standing is whether somebody sponsors.
type standing int

const (
	sponsor  standing = iota
	leaving           // has left; the remote may still have their keys
	stranger          // nothing of theirs is on the remote
)

const (
	// told is how many things of a person are remembered, for when one goes wrong.
	told = 200
	// margin is how long after its expiry nobody looks at a key.
	margin = 300 * time.Millisecond
	// answerTimeout is longer than any command waits for the remote.
	answerTimeout = time.Minute
	// settleTimeout is how long after a broken connection the outcome must be known:
	// until a server that was killed is back, and the remote is.
	settleTimeout = time.Minute
)

func newPerson(id string) *person { return &person{id: id, state: make(state)} }

func (p *person) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if len(line) > shown {
		line = line[:shown] + "…"
	}
	p.story = append(p.story, time.Now().Format(clock)+line)
	if len(p.story) > told {
		p.story = slices.Delete(p.story, 0, len(p.story)-told)
	}
}

// work does one thing after the other, in every so often, until ctx ends. Each is ended
// properly, and none begins while the gate is closed.
func (k *worker) work(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k.w.gate.RLock()
		if ctx.Err() == nil {
			k.step(context.WithoutCancel(ctx), pick(k.dice, k.people...))
		}
		k.w.gate.RUnlock()
	}
}

// step does one random thing for a person. The caller holds the gate open.
func (k *worker) step(ctx context.Context, p *person) {
	losing := k.w.losing.Load()
	switch {
	case p.standing == leaving:
		k.hasLeft(ctx, p)
		return
	case p.standing == stranger && losing:
		return // nothing is promised to them
	case p.standing == stranger && p.losses != k.w.losses.Load():
		k.adopt(ctx, p)
		return
	case p.moves && !losing && k.dice.IntN(60) == 0:
		k.move(ctx, p)
		return
	}
	switch n := k.dice.IntN(100); {
	case n < 25:
		k.check(ctx, p)
	case losing:
		k.do(ctx, p, plain, k.dice.byMember(p.id))
	case n < 35:
		k.transact(ctx, p)
	case n < 45:
		k.do(ctx, p, script, k.dice.script(p.id)...)
	case n < 47 && p.large:
		k.do(ctx, p, plain, k.dice.big(p.id, p.state["user:"+p.id+":big"].size()))
	default:
		k.do(ctx, p, plain, k.trimmed(p, k.dice.any(p.id)))
	}
}

// transact runs a transaction. If it removes something, its keys are read before: what a
// MULTI removes from a key of which only a part is here, which was written while the key
// was away, is not removed on the remote (README says it is), and comes back. When that
// is mended, this can go.
func (k *worker) transact(ctx context.Context, p *person) {
	commands := k.dice.transaction(p.id)
	if slices.ContainsFunc(commands, func(c command) bool { return c[0] == "SREM" || c[0] == "HDEL" }) {
		if _, err := k.see(ctx, p, keysOf(commands)); err != nil {
			k.w.wrong("%.300q cannot be read: %v\n%s", keysOf(commands), err, p.about(keysOf(commands)...))
			return
		}
	}
	k.do(ctx, p, transaction, commands...)
}

// trimmed is a command, or a milder one: it makes room if the key has grown enough, and
// lets nothing die when nothing may.
func (k *worker) trimmed(p *person, c command) command {
	switch size := p.state[c[1]].size(); {
	case c[0] == "PEXPIREAT" && k.w.nothingDies.Load():
		return command{"PERSIST", c[1]}
	case strings.HasSuffix(c[0], "PUSH") && size > 2*longMost:
		return command{"LTRIM", c[1], "0", "9"}
	case c[0] == "APPEND" && size > textMost:
		return command{"SET", c[1], c[2]}
	}
	return c
}

// A manner is how commands are sent.
type manner int

const (
	plain       manner = iota // there is one
	transaction               // MULTI and EXEC
	script                    // EVAL
)

func (m manner) String() string { return [...]string{"", "MULTI ", "EVAL "}[m] }

// luaScript runs commands, each of which stands behind its length.
const luaScript = `local i = 1
while i <= #ARGV do
	local n, command = tonumber(ARGV[i]), {}
	for j = 1, n do command[j] = ARGV[i + j] end
	redis.call(unpack(command))
	i = i + n + 1
end`

// do sends commands, and notes what must be there after that.
func (k *worker) do(ctx context.Context, p *person, how manner, commands ...command) {
	keys := keysOf(commands)
	if slices.ContainsFunc(keys, p.dying) {
		return
	}
	p.note("%s%q", how, commands)
	replies, err := k.send(ctx, how, commands)
	k.w.counts.commands.Add(1)
	switch {
	case err == nil:
		for i, c := range commands {
			p.state.apply(c, replies[i])
		}
	case notRun(err):
		p.note("not run: %v", err)
		k.w.counts.refused.Add(1)
	case isReply(err):
		k.w.wrong("%s%.300q: %v\n%s", how, commands, err, p.about(keys...))
	default:
		p.note("the connection broke: %v", err)
		k.w.counts.broken.Add(1)
		k.settle(ctx, p, commands)
	}
}

// send returns what each of the commands answers, those in a script nothing.
func (k *worker) send(ctx context.Context, how manner, commands []command) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	replies := make([]any, len(commands))
	switch how {
	case transaction:
		got, err := k.db.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, c := range commands {
				pipe.Do(ctx, words(c)...)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i, c := range got {
			replies[i] = c.(*redis.Cmd).Val()
		}
		return replies, nil
	case script:
		args := []any{"EVAL", luaScript, 0}
		keys := keysOf(commands)
		args[2] = len(keys)
		for _, key := range keys {
			args = append(args, key)
		}
		for _, c := range commands {
			args = append(append(args, len(c)), words(c)...)
		}
		err := k.db.Do(ctx, args...).Err()
		return replies, ignoreNothing(err)
	}
	reply, err := k.db.Do(ctx, words(commands[0])...).Result()
	if err = ignoreNothing(err); err != nil && commands[0][0] == "RENAME" && strings.HasPrefix(err.Error(), "ERR no such key") {
		err = nil
	}
	replies[0] = reply
	return replies, err
}

func words(c command) []any {
	list := make([]any, len(c))
	for i, word := range c {
		list[i] = word
	}
	return list
}

func ignoreNothing(err error) error {
	if err == redis.Nil { //nolint:errorlint // it is never wrapped, and an answer
		return nil
	}
	return err
}

// settle finds out what became of commands whose answer was lost.
func (k *worker) settle(ctx context.Context, p *person, commands []command) {
	before := p.state.of(keysOf(commands))
	seen, err := k.see(ctx, p, keysOf(commands))
	if err != nil {
		k.w.wrong("after the connection broke, %.300q cannot be read: %v\n%s", keysOf(commands), err, p.about(keysOf(commands)...))
		return
	}
	if !settle(before, commands, seen, time.Now()) {
		k.w.wrong("after the connection broke in %.300q:\nbefore %v\nnow    %v\n%s", commands, before, seen, p.about(keysOf(commands)...))
	}
	for key, v := range seen {
		p.note("settled: %s is %v", key, v)
		p.state[key] = v
	}
}

// see reads keys, again and again until the server lets it.
func (k *worker) see(ctx context.Context, p *person, keys []string) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	kinds := keysFor(p.id)
	seen := make(state)
	for _, key := range keys {
		err := until(ctx, 20*time.Millisecond, func() (err error) {
			seen[key], err = look(ctx, k.db, key, kinds[key])
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// check reads one key.
func (k *worker) check(ctx context.Context, p *person) {
	kinds := keysFor(p.id)
	keys := slices.DeleteFunc(slices.Collect(maps.Keys(kinds)), func(key string) bool { return !p.large && isLarge(key) })
	slices.Sort(keys)
	key := pick(k.dice, keys...)
	if p.dying(key) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	got, err := look(ctx, k.db, key, kinds[key])
	k.w.counts.reads.Add(1)
	switch want := p.state[key]; {
	case err != nil && (notRun(err) || !isReply(err)):
		k.w.counts.refused.Add(1)
	case err != nil:
		k.w.wrong("read %s: %v\n%s", key, err, p.about(key))
	case !got.equal(want):
		k.w.wrong("read %s:\nwant %v\ngot  %v\n%s\n%s", key, want, got, difference(want, got), p.about(key))
		p.state[key] = got // once is enough
	}
}

// dying tells whether a key expires about now. One that has expired is forgotten.
func (p *person) dying(key string) bool {
	v := p.state[key]
	if v.at == 0 {
		return false
	}
	left := time.Until(time.UnixMilli(v.at))
	if left < -margin {
		p.state[key] = value{}
		return false
	}
	return left < 2*longestDying
}

// about is what was done last for a person, as far as it has to do with some keys.
func (p *person) about(keys ...string) string {
	var lines []string
	for _, line := range p.story {
		if !strings.Contains(line, "user") || slices.ContainsFunc(keys, func(key string) bool { return mentions(line, key) }) {
			lines = append(lines, line)
		}
	}
	return "what was done last:\n  " + strings.Join(lines, "\n  ")
}

// mentions tells whether a line of a story has that key, and not just a longer one.
func mentions(line, key string) bool {
	return strings.Contains(line, `"`+key+`"`) || strings.Contains(line, " "+key+" ")
}

// until calls f until it returns nil, or ctx ends; then the last error is returned.
func until(ctx context.Context, every time.Duration, f func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
