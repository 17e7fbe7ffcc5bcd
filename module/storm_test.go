package main_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A storm is several clients that write at random to a local server with
// write-behind, while everything around it fails. Each client has owners of its
// own, a sponsor and somebody who is none, and does the same to an oracle, a server
// without the module: at the end the local server, the oracle and the remote must
// agree about the sponsors, and the remote must know of nobody else.
type storm struct {
	owner         *testing.T // for as long as the servers run
	seed          uint64
	flavor        redistest.Flavor
	local, remote *redistest.Server
	oracle        *redistest.Server
	proxy         *redistest.Proxy
	l, r, o       *redis.Client

	// mending is held by whoever restarts the local server, and shared by
	// clients for the time of one step.
	mending sync.RWMutex

	mu      sync.Mutex
	history []string
}

// seeds are those that a test runs: STORM_SEED repeats one, STORM_SEEDS says how
// many. The order of threads it cannot repeat.
func seeds(t *testing.T, most int) []uint64 {
	t.Helper()
	if seed := number(t, "STORM_SEED", -1); seed >= 0 {
		return []uint64{uint64(seed)}
	}
	list := make([]uint64, number(t, "STORM_SEEDS", most))
	for i := range list {
		list[i] = uint64(i)
	}
	return list
}

// number is one that the environment may set.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

const stormKeys = "user_details:<id> user:<id> user:<id>:mnodes user:<id>:more user:<id>:x:*"

func newStorm(t *testing.T, flavor redistest.Flavor) *storm {
	t.Helper()
	s := &storm{
		owner: t, flavor: flavor,
		remote: redistest.Remote(t, redistest.Config{Flavor: flavor, Conf: durable}),
		oracle: redistest.New(t, redistest.Config{Flavor: flavor, Name: "oracle"}),
	}
	s.proxy = redistest.NewProxy(t, s.remote.Addr())
	s.r, s.o = s.remote.Client(), s.oracle.Client()
	s.use(s.newLocal())
	must(t, s.l, cmd("FUNCTION", "LOAD", "#!lua name=storm\nredis.register_function('storm', function(KEYS, ARGV)\n"+script+"\nend)"))
	return s
}

var durable = []string{"appendonly yes", "appendfsync always", "repl-diskless-sync-delay 0"}

func (s *storm) newLocal(conf ...string) *redistest.Server {
	return redistest.New(s.owner, redistest.Config{
		Flavor: s.flavor, Name: "local",
		Modules: []string{redistest.FaultModule(s.owner) + " org " + org},
		Conf: slices.Concat(durable, remoteConf(s.remote, s.proxy.Host(), s.proxy.Port()),
			[]string{fmt.Sprintf("sponsor.keys %q", stormKeys), "sponsor.read-timeout-ms 30"}, conf),
	})
}

// use makes server the local one.
func (s *storm) use(server *redistest.Server) {
	s.local, s.l = server, server.Client(noRetries)
}

func noRetries(o *redis.Options) { o.MaxRetries = -1 }

// TestR2_Storm is write-behind through everything that can fail. When a seed fails,
// it is repeated with fewer clients and steps, for a history that a person can read.
func TestR2_Storm(t *testing.T) {
	clients, steps := number(t, "STORM_CLIENTS", 4), number(t, "STORM_STEPS", 150)
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		t.Parallel() // most of a storm is waiting
		s := newStorm(t, flavor)
		for _, seed := range seeds(t, 24) {
			ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { s.run(t, seed, clients, steps) })
			if !ok {
				shrink(t, flavor, seed, clients, steps)
				return
			}
		}
	})
}

// shrink repeats a seed that has failed, on servers of its own: half as long as long
// as it fails still. The order of threads is another one each time, so that it may
// take some tries.
func shrink(t *testing.T, flavor redistest.Flavor, seed uint64, clients, steps int) {
	t.Helper()
	const tries = 4
	fails := func(clients, steps int) bool {
		for range tries {
			ok := t.Run(fmt.Sprintf("seed %d, %d clients, %d steps", seed, clients, steps), func(t *testing.T) {
				newStorm(t, flavor).run(t, seed, clients, steps)
			})
			if !ok {
				return true
			}
		}
		return false
	}
	for clients > 1 && fails(clients/2, steps) {
		clients /= 2
	}
	for steps > 1 && fails(clients, steps/2) {
		steps /= 2
	}
	t.Logf("the shortest that has failed: STORM_SEED=%d STORM_CLIENTS=%d STORM_STEPS=%d", seed, clients, steps)
}

func (s *storm) run(t *testing.T, seed uint64, clients, steps int) {
	s.seed, s.history = seed, nil
	rng := rand.New(rand.NewPCG(seed, 0))
	var work sync.WaitGroup
	done := make(chan struct{})
	for n := range clients {
		c := &stormClient{
			storm: s, t: t, rng: rand.New(rand.NewPCG(seed, uint64(n+1))),
			sponsor: fmt.Sprintf("%d-%d-%d", seed, n, time.Now().UnixMicro()), joins: -1,
		}
		c.stranger = c.sponsor + "-stranger"
		c.joins = c.rng.IntN(steps)
		work.Go(func() {
			for i := range steps {
				c.step(i)
			}
		})
		defer c.check()
	}
	go func() { work.Wait(); close(done) }()
	failover := seed%4 == 3
	for open := true; open; {
		select {
		case <-done:
			open = false
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond): // the rhythm of faults
			if failover && rng.IntN(20) == 0 {
				failover = false
				s.failOver(t)
				continue
			}
			s.fail(t, rng)
		}
	}
	s.mend(t)
}

// fail does one thing to the world.
func (s *storm) fail(t *testing.T, rng *rand.Rand) {
	switch rng.IntN(13) {
	case 12:
		if s.seed%4 != 1 {
			return
		}
		// A panic where the engine or the journal is at work.
		point := pick(rng, "flying", "posted", "sweep", "read-journal", "rewrite-journal", "large-page", "suspect", "restore", "turn")
		s.note("kill %s by a panic", point)
		s.mending.RLock()
		defer s.mending.RUnlock()
		if err := s.l.Do(t.Context(), "SPONSOR.FAULT", point, 1).Err(); err != nil {
			t.Error(err)
		}
	case 0, 1, 2:
		s.proxy.CutAfter(rng.Int64N(4000))
	case 3, 4, 5:
		s.proxy.CutReplyAfter(rng.Int64N(1000))
	case 6:
		s.proxy.CloseAll()
	case 7:
		s.proxy.Latency(time.Duration(rng.IntN(10)) * time.Millisecond)
	case 8:
		s.proxy.Refuse()
	case 9:
		if err := s.proxy.Heal(); err != nil {
			t.Error(err)
		}
	case 10:
		if rng.IntN(3) > 0 {
			return
		}
		s.note("kill local")
		s.mending.Lock()
		defer s.mending.Unlock()
		if err := errors.Join(s.local.Kill(), s.local.Restart(t.Context())); err != nil {
			t.Error(err)
		}
	case 11:
		if rng.IntN(3) > 0 {
			return
		}
		s.note("kill remote")
		if err := errors.Join(s.remote.Kill(), s.remote.Restart(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

// failOver kills the local server and promotes a replica, which has all that was
// acknowledged.
func (s *storm) failOver(t *testing.T) {
	s.note("kill local, and fail over")
	s.mending.Lock()
	defer s.mending.Unlock()
	replica := s.newLocal(fmt.Sprintf("replicaof %s %d", s.local.Host(), s.local.Port()))
	// What the remote has, the replica must know: nothing is sent from here on.
	s.proxy.Refuse()
	s.proxy.CloseAll()
	redistest.Eventually(t, soon, func() error {
		if n := s.l.Do(t.Context(), "WAIT", 1, 1000).Val(); n != int64(1) {
			return fmt.Errorf("the replica is behind")
		}
		return nil
	})
	// Until a replica has written its first AOF, it would lose all at a kill.
	promoted := replica.Client()
	redistest.Eventually(t, soon, func() error {
		info := promoted.Info(t.Context(), "persistence").Val()
		for _, want := range []string{"aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"} {
			if !strings.Contains(info, want) {
				return fmt.Errorf("the replica's AOF is not ready")
			}
		}
		return nil
	})
	if err := errors.Join(s.l.Close(), s.local.Kill()); err != nil {
		t.Error(err)
	}
	s.use(replica)
	if err := s.proxy.Heal(); err != nil {
		t.Error(err)
	}
	must(t, s.l, cmd("REPLICAOF", "NO", "ONE"), cmd("CONFIG", "REWRITE")) // it stays a master
}

// mend ends all faults, and waits until every change is safe.
func (s *storm) mend(t *testing.T) {
	t.Helper()
	if err := s.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	c := s.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
	defer c.Close()
	left, err := c.Do(t.Context(), "SPONSOR.WAIT", 30_000).Int()
	if err != nil || left != 0 {
		st, _ := status(s.l)
		letters := c.Do(t.Context(), "SPONSOR.ERRORS").Val()
		t.Errorf("SPONSOR.WAIT = %d, %v; want 0\n%v\n%v", left, err, st, letters)
	}
}

func (s *storm) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, fmt.Sprintf(format, args...))
}

// about is the history as far as it may concern somebody.
func (s *storm) about(owner string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, line := range s.history {
		if strings.Contains(line, owner) || strings.HasPrefix(line, "kill") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// contents is all of a key, as text.
func contents(t *testing.T, c *redis.Client, key string) string {
	t.Helper()
	typ := c.Type(t.Context(), key).Val()
	at := c.Do(t.Context(), "PEXPIRETIME", key).Val()
	switch typ {
	case "none":
		return typ
	case "set":
		return fmt.Sprintf("set %q until %v", members(t, c, key), at)
	case "hash":
		m := c.HGetAll(t.Context(), key).Val()
		var pairs []string
		for _, field := range slices.Sorted(maps.Keys(m)) {
			pairs = append(pairs, field, m[field])
		}
		return fmt.Sprintf("hash %q until %v", pairs, at)
	case "zset":
		return fmt.Sprintf("zset %v until %v", c.ZRangeWithScores(t.Context(), key, 0, -1).Val(), at)
	case "list":
		return fmt.Sprintf("list %q until %v", c.LRange(t.Context(), key, 0, -1).Val(), at)
	case "string":
		return fmt.Sprintf("string %q until %v", c.Get(t.Context(), key).Val(), at)
	case "stream":
		about := c.XInfoStream(t.Context(), key).Val()
		text := fmt.Sprintf("stream %v, last %s, added %d, deleted %s", c.XRange(t.Context(), key, "-", "+").Val(),
			about.LastGeneratedID, about.EntriesAdded, about.MaxDeletedEntryID)
		for _, group := range c.XInfoGroups(t.Context(), key).Val() {
			text += fmt.Sprintf(", group %q at %s after %d", group.Name, group.LastDeliveredID, group.EntriesRead)
		}
		return fmt.Sprintf("%s until %v", text, at)
	default:
		return typ
	}
}
