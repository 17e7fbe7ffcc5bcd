package main_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A linear is several clients that read and write the same keys of sponsors, while these
// keys are evicted, flushed, lost and restored, and the servers are killed: each key must
// seem to be one that is always there. So it is for clients that neither use MULTI nor
// scripts; those that do must find all again that they were told was written.
type linear struct {
	*pair
	proxy *redistest.Proxy
	once  *redis.Client // to the local server; it sends nothing twice
	begun time.Time

	mending sync.RWMutex // held by whoever restarts the local server; shared for one operation

	mu      sync.Mutex
	history []porcupine.Operation
	notes   []string
	logged  map[string][]any // members that were acknowledged within MULTI or a script, by key
	careful bool             // some use MULTI and scripts: see meet
	unmet   bool             // the local server has not met the remote since it was restarted
	old     string           // a copy of the local server's AOF; empty: none
}

// An operation of a client on a key.
type linearCall struct{ key, name, member, value string }

// What it answered; unknown: the connection broke before.
type linearAnswer struct {
	text    string
	unknown bool
}

// linearModel is a key as a set, or a hash: its state is the elements in order.
func linearModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := make(map[string][]porcupine.Operation)
			for _, op := range history {
				key := op.Input.(linearCall).key
				byKey[key] = append(byKey[key], op)
			}
			return slices.Collect(maps.Values(byKey))
		},
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			next, answer := step(state.(string), input.(linearCall))
			got := output.(linearAnswer)
			return got.unknown || got.text == answer, next
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%v = %v", input, output)
		},
	}
}

// step is what a call does to a value, and answers.
func step(state string, call linearCall) (next, answer string) {
	elements := make(map[string]string)
	for _, element := range strings.Fields(state) {
		name, value, _ := strings.Cut(element, "=")
		elements[name] = value
	}
	_, has := elements[call.member]
	count := len(elements)
	switch call.name {
	case "SADD":
		elements[call.member] = ""
		answer = fmt.Sprint(len(elements) - count)
	case "HSET":
		elements[call.member] = call.value
		answer = fmt.Sprint(len(elements) - count)
	case "SREM", "HDEL":
		delete(elements, call.member)
		answer = fmt.Sprint(count - len(elements))
	case "SISMEMBER", "HEXISTS":
		answer = fmt.Sprint(map[bool]int{true: 1}[has])
	case "HGET":
		if answer = elements[call.member]; !has {
			answer = "<nil>"
		}
	case "SCARD", "HLEN":
		answer = fmt.Sprint(count)
	case "DEL":
		clear(elements)
		answer = fmt.Sprint(min(1, count))
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(elements)) {
		list = append(list, name+"="+elements[name])
	}
	next = strings.Join(list, " ")
	if call.name == "SMEMBERS" || call.name == "HGETALL" {
		answer = next
	}
	return next, answer
}

// TestR4_Linearizable runs it. STORM_SEEDS says how many, STORM_SEED repeats one.
func TestR4_Linearizable(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		t.Parallel()
		for _, seed := range seeds(t, 6) {
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { runLinear(t, flavor, seed) })
		}
	})
}

func runLinear(t *testing.T, flavor redistest.Flavor, seed uint64) {
	remote := redistest.Remote(t, redistest.Config{Flavor: flavor, Conf: durable})
	proxy := redistest.NewProxy(t, remote.Addr())
	l := &linear{
		proxy: proxy, begun: time.Now(), careful: seed%2 == 1, logged: make(map[string][]any),
		pair: newLocal(t, remote, redistest.Config{
			Flavor: flavor, Modules: []string{redistest.FaultModule(t) + " org " + org},
			Conf: slices.Concat(durable, remoteConf(remote, proxy.Host(), proxy.Port()),
				[]string{
					"sponsor.read-timeout-ms 20000", "sponsor.absent-ttl-ms 200", "maxmemory-policy allkeys-random",
					`sponsor.keys "user_details:<id> user:<id> user:<id>:mnodes user:<id>:log"`,
				}),
		}),
	}
	l.once = l.local.Client(noRetries)
	l.waitFor(t, "connected")
	must(t, l.l, cmd("SADD", sponsorsKey, "7", "8"))
	l.safe(t)
	l.waitForSponsors(t, 2)

	const clients, steps = 5, 60
	var work sync.WaitGroup
	done := make(chan struct{})
	for n := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(n+1)))
		work.Go(func() {
			for range steps {
				l.step(t, rng, n)
			}
		})
	}
	go func() { work.Wait(); close(done) }()
	rng := rand.New(rand.NewPCG(seed, 0))
	for open := true; open; {
		select {
		case <-done:
			open = false
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond): // the rhythm of faults
			l.fail(t, rng)
		}
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	l.check(t)
}

// step does one random thing.
func (l *linear) step(t *testing.T, rng *rand.Rand, client int) {
	t.Helper()
	if l.careful && rng.IntN(6) == 0 {
		l.log(t, rng, client)
		return
	}
	call := linearCall{key: pick(rng, "user:7:mnodes", "user:8:mnodes", "user:7", "user:8")}
	call.member = pick(rng, "a", "b", "c")
	if strings.HasSuffix(call.key, "mnodes") {
		call.name = pick(rng, "SADD", "SADD", "SREM", "SISMEMBER", "SMEMBERS", "SMEMBERS", "SCARD", "DEL")
	} else {
		call.name = pick(rng, "HSET", "HSET", "HDEL", "HEXISTS", "HGET", "HGETALL", "HGETALL", "HLEN", "DEL")
		call.value = fmt.Sprint(rng.IntN(1000))
	}
	args := []any{call.name, call.key}
	switch call.name {
	case "SADD", "SREM", "SISMEMBER", "HDEL", "HEXISTS", "HGET":
		args = append(args, call.member)
	case "HSET":
		args = append(args, call.member, call.value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.mending.RLock()
	defer l.mending.RUnlock()
	begun := time.Since(l.begun)
	reply, err := l.once.Do(ctx, args...).Result()
	op := porcupine.Operation{ClientId: client, Input: call, Call: begun.Nanoseconds(), Return: time.Since(l.begun).Nanoseconds()}
	var refused redis.Error
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		op.Output = linearAnswer{text: answerText(reply)}
	case errors.As(err, &refused):
		for _, code := range []string{"TRYAGAIN ", "OOM ", "LOADING "} { // it was not run
			if strings.HasPrefix(err.Error(), code) {
				l.note("%v: %v", args, err)
				return
			}
		}
		t.Errorf("%v: %v", args, err)
		return
	default:
		op.Output, op.Return = linearAnswer{unknown: true}, time.Hour.Nanoseconds()
	}
	l.note("%v = %v", args, op.Output)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, op)
}

// answerText is a reply as the model has it.
func answerText(reply any) string {
	switch reply := reply.(type) {
	case []any: // a set
		var list []string
		for _, member := range reply {
			list = append(list, fmt.Sprint(member)+"=")
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	case map[any]any:
		var list []string
		for field, value := range reply {
			list = append(list, fmt.Sprintf("%v=%v", field, value))
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	default:
		return fmt.Sprint(reply)
	}
}

// log adds a member where nobody may wait, and remembers it if that was acknowledged.
func (l *linear) log(t *testing.T, rng *rand.Rand, client int) {
	t.Helper()
	key := pick(rng, "user:7:log", "user:8:log")
	member := fmt.Sprintf("%d-%d", client, rng.Int64())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.mending.RLock()
	defer l.mending.RUnlock()
	var err error
	if rng.IntN(2) == 0 {
		_, err = l.once.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.SAdd(ctx, key, member)
			return nil
		})
	} else {
		err = l.once.Do(ctx, "EVAL", "return redis.call('SADD', KEYS[1], ARGV[1])", 1, key, member).Err()
	}
	l.note("log %s %s: %v", key, member, err)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.logged[key] = append(l.logged[key], member)
	}
}

func (l *linear) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, fmt.Sprintf("%6d ", time.Since(l.begun).Milliseconds())+fmt.Sprintf(format, args...))
}

// fail does one thing to the world.
func (l *linear) fail(t *testing.T, rng *rand.Rand) {
	t.Helper()
	quietly := func(what string, do func() error) {
		l.note("%s", what)
		l.mending.Lock()
		defer l.mending.Unlock()
		l.unmet = true
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	aof := filepath.Join(l.local.Dir(), "appendonlydir")
	switch rng.IntN(24) {
	case 0, 1, 2, 3, 4, 5:
		l.evict(t, rng.Int64N(4000))
	case 6, 7:
		l.evict(t, 1<<40)
	case 8, 9, 10:
		defer l.losing(t)()
		l.note("flush")
		must(t, l.l, cmd("FLUSHALL"))
	case 11, 12:
		l.proxy.CutAfter(rng.Int64N(3000))
	case 13, 14:
		l.proxy.CutReplyAfter(rng.Int64N(1000))
	case 15, 16:
		l.proxy.Latency(time.Duration(rng.IntN(5)) * time.Millisecond)
	case 17, 18:
		quietly("kill", func() error { return errors.Join(l.local.Kill(), l.local.Restart(t.Context())) })
	case 19:
		l.note("kill remote")
		if err := errors.Join(l.remote.Kill(), l.remote.Restart(t.Context())); err != nil {
			t.Error(err)
		}
	case 20:
		quietly("lose all", func() error {
			l.recorded(t)
			return errors.Join(l.local.Kill(), os.RemoveAll(aof), l.local.Restart(t.Context()))
		})
	case 21:
		quietly("take a copy", func() error {
			if l.old != "" {
				return nil
			}
			l.recorded(t)
			l.old = filepath.Join(t.TempDir(), "old")
			return os.CopyFS(l.old, os.DirFS(aof))
		})
	case 22:
		quietly("go back to the copy", func() error {
			if l.old == "" {
				return nil
			}
			l.recorded(t)
			err := errors.Join(l.local.Kill(), os.RemoveAll(aof), os.CopyFS(aof, os.DirFS(l.old)), l.local.Restart(t.Context()))
			l.old = ""
			return err
		})
	}
}

// recorded waits until all is safe, and the remote has noted that.
func (l *linear) recorded(t *testing.T) {
	t.Helper()
	if err := l.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	l.pair.recorded(t)
}

// losing prepares for keys to go: it waits for what travels as a whole, and would be lost,
// such as what is written within MULTI and scripts, and anything until the local server
// has met the remote. done tells that they have gone.
func (l *linear) losing(t *testing.T) (done func()) {
	t.Helper()
	if !l.unmet && !l.careful {
		l.mending.RLock()
		return l.mending.RUnlock
	}
	l.mending.Lock()
	if err := l.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	l.safe(t)
	l.unmet = false
	return l.mending.Unlock
}

// evict has the server evict at random until it has bytes less, for an instant.
func (l *linear) evict(t *testing.T, bytes int64) {
	t.Helper()
	defer l.losing(t)()
	l.note("evict %d bytes", bytes)
	info := l.l.InfoMap(t.Context(), "memory").Val()
	var used int64
	_, _ = fmt.Sscan(info["Memory"]["used_memory"], &used)
	must(t, l.l, cmd("CONFIG", "SET", "maxmemory", max(1, used-bytes)), cmd("EXISTS", "nobody"), cmd("CONFIG", "SET", "maxmemory", 0))
}

func (l *linear) check(t *testing.T) {
	t.Helper()
	story := func(key string) string {
		var lines []string
		for _, line := range l.notes {
			if strings.Contains(line, key+" ") || strings.Contains(line, key+"]") || !strings.Contains(line, "user") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n")
	}
	l.safe(t)
	model := linearModel()
	for _, history := range model.Partition(l.history) {
		key := history[0].Input.(linearCall).key
		one := model
		one.Partition = nil
		if result := porcupine.CheckOperationsTimeout(one, history, 30*time.Second); result != porcupine.Ok {
			t.Errorf("%s: %d operations: %v\n%s\n%s", key, len(history), result, shortest(one, history), story(key))
		}
	}
	for key, members := range l.logged {
		for where, c := range map[string]*redis.Client{"here": l.l, "on the remote": l.r} {
			has := c.SMIsMember(t.Context(), key, members...).Val()
			if i := slices.Index(has, false); i >= 0 {
				t.Errorf("%s, which was acknowledged, is not in %s %s\n%s", members[i], key, where, story(key))
			}
		}
	}
	reply, err := l.l.Do(t.Context(), "SPONSOR.VERIFY").Result()
	if err != nil {
		t.Fatal(err)
	}
	if got := fields(reply); got["checked"] != got["same"] || got["busy"] != int64(0) {
		t.Errorf("VERIFY = %v", got)
	}
	for _, count := range []string{"timeouts", "lost", "dead_letters"} {
		if n := statusInt(t, l.l, count); n != 0 {
			t.Errorf("%s = %d, want none", count, n)
		}
	}
}

// shortest is the history up to the first answer that cannot be, the last operations of it.
func shortest(model porcupine.Model, history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Return - b.Return) })
	n := 1
	for ; n < len(history); n++ {
		// What has begun before may have had its effect.
		until := history[n-1].Return
		begun := slices.Clone(history[:n])
		for _, op := range history[n:] {
			if op.Call < until {
				op.Output, op.Return = linearAnswer{unknown: true}, time.Hour.Nanoseconds()
				begun = append(begun, op)
			}
		}
		if porcupine.CheckOperationsTimeout(model, begun, 10*time.Second) == porcupine.Illegal {
			break
		}
	}
	var lines []string
	for _, op := range history[max(0, n-25):min(n+3, len(history))] {
		call := op.Input.(linearCall)
		lines = append(lines, fmt.Sprintf("%d: %9.3f to %9.3f ms: %s %s %s = %v", op.ClientId,
			float64(op.Call)/1e6, float64(op.Return)/1e6, call.name, call.member, call.value, op.Output))
	}
	return fmt.Sprintf("the first answer that cannot be is that of operation %d:\n%s", n, strings.Join(lines, "\n"))
}

// TestLinearModelFindsFaults: what the test above could find is found.
func TestLinearModelFindsFaults(t *testing.T) {
	op := func(call, ret int64, name, member, answer string) porcupine.Operation {
		return porcupine.Operation{
			ClientId: int(call), Input: linearCall{key: "k", name: name, member: member}, Output: linearAnswer{text: answer}, Call: call, Return: ret,
		}
	}
	unknown := op(3, 1<<40, "SADD", "b", "")
	unknown.Output = linearAnswer{unknown: true}
	for name, test := range map[string]struct {
		history []porcupine.Operation
		ok      bool
	}{
		"right":              {[]porcupine.Operation{op(1, 2, "SADD", "a", "1"), op(3, 4, "SMEMBERS", "", "a=")}, true},
		"empty read":         {[]porcupine.Operation{op(1, 2, "SADD", "a", "1"), op(3, 4, "SMEMBERS", "", "")}, false},
		"at the same time":   {[]porcupine.Operation{op(1, 4, "SADD", "a", "1"), op(2, 3, "SMEMBERS", "", "")}, true},
		"partial read":       {[]porcupine.Operation{op(1, 2, "SADD", "a", "1"), op(3, 4, "SADD", "b", "1"), op(5, 6, "SMEMBERS", "", "b=")}, false},
		"comes back":         {[]porcupine.Operation{op(1, 2, "SADD", "a", "1"), op(3, 4, "SREM", "a", "1"), op(5, 6, "SCARD", "", "1")}, false},
		"perhaps written":    {[]porcupine.Operation{op(1, 2, "SADD", "a", "1"), unknown, op(5, 6, "SMEMBERS", "", "a= b=")}, true},
		"perhaps not":        {[]porcupine.Operation{op(1, 2, "SADD", "a", "1"), unknown, op(5, 6, "SMEMBERS", "", "a=")}, true},
		"now it is, now not": {[]porcupine.Operation{unknown, op(5, 6, "SCARD", "", "1"), op(7, 8, "SCARD", "", "0")}, false},
	} {
		if got := porcupine.CheckOperations(linearModel(), test.history); got != test.ok {
			t.Errorf("%s: linearizable = %v, want %v", name, got, test.ok)
		}
	}
}
