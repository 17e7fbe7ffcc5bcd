package main_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// load keeps a server and the module busy until the test ends: writes of all
// kinds, misses, SYNCs. It returns a function that stops it and tells how many
// rounds it has made.
func load(t *testing.T, p *pair) (stop func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var (
		work   sync.WaitGroup
		rounds atomic.Int64
	)
	worker := func(round func(c *redis.Client, i int) error) {
		c := p.local.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := round(c, i); err != nil && ctx.Err() == nil {
					t.Errorf("load: %v", err)
					return
				}
				rounds.Add(1)
			}
		})
	}
	for range 4 {
		worker(func(c *redis.Client, i int) error {
			_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for j := range 20 {
					id := (i*20 + j) % 1000
					pipe.SAdd(ctx, fmt.Sprintf("user:%d:mnodes", id), i)
					pipe.HSet(ctx, fmt.Sprintf("user_details:%d", id), "round", i)
					pipe.SMembers(ctx, fmt.Sprintf("user:%d:mnodes", id+1))
					pipe.HGetAll(ctx, fmt.Sprintf("user:%d", id)) // a miss
				}
				pipe.Unlink(ctx, fmt.Sprintf("user:%d:mnodes", i%1000))
				return nil
			})
			return err
		})
	}
	worker(func(c *redis.Client, _ int) error { return c.Do(ctx, "SPONSOR.SYNC").Err() })
	worker(func(c *redis.Client, _ int) error {
		return c.Info(ctx, "everything").Err()
	})
	var once sync.Once
	stop = func() int64 {
		once.Do(func() { cancel(); work.Wait() })
		return rounds.Load()
	}
	t.Cleanup(func() { stop() })
	return stop
}

// info is one number of INFO.
func info(t *testing.T, c *redis.Client, section, field string) int64 {
	t.Helper()
	text, err := c.Info(t.Context(), section).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO %s has no %s", section, field)
	return 0
}

// TestForksUnderLoad forks the server in every way it forks by itself.
func TestForksUnderLoad(t *testing.T) {
	const saves, rewrites, fullSyncs = 300, 50, 50
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, writeBehind, "hz 100", "appendonly yes", "repl-diskless-sync yes", "repl-diskless-sync-delay 0")
		p.waitFor(t, "connected")
		pipelined(t, p.l, func(yield func(...any)) {
			for id := range 1000 {
				yield("SADD", sponsorsKey, id)
			}
		})
		replica := redistest.New(t, redistest.Config{
			Flavor: flavor, Name: "replica", Modules: []string{redistest.Module(t) + " org " + org}, Conf: []string{"hz 100"},
		})
		rc := replica.Client()
		stop := load(t, p)
		forked := func(begin []any, running string) {
			t.Helper()
			redistest.Eventually(t, soon, func() error {
				if info(t, p.l, "persistence", running) != 0 {
					return fmt.Errorf("%v has not ended", begin)
				}
				return p.l.Do(t.Context(), begin...).Err()
			})
		}
		for range saves {
			forked(cmd("BGSAVE"), "rdb_bgsave_in_progress")
		}
		for range rewrites {
			forked(cmd("BGREWRITEAOF"), "aof_rewrite_in_progress")
		}
		for range fullSyncs {
			must(t, rc, cmd("REPLICAOF", p.local.Host(), p.local.Port()))
			redistest.Eventually(t, soon, func() error {
				if text := rc.Info(t.Context(), "replication").Val(); !strings.Contains(text, "master_link_status:up") {
					return fmt.Errorf("the replica is not in sync: %s", text)
				}
				return nil
			})
			must(t, rc, cmd("REPLICAOF", "NO", "ONE"), cmd("FLUSHALL"))
		}
		if rounds := stop(); rounds < 100 {
			t.Errorf("only %d rounds of load ran beside", rounds)
		}
		if n := info(t, p.l, "persistence", "rdb_saves"); n < saves {
			t.Errorf("%d BGSAVEs ended, want %d", n, saves)
		}
		if text := p.l.Info(t.Context(), "persistence").Val(); !strings.Contains(text, "rdb_last_bgsave_status:ok") ||
			!strings.Contains(text, "aof_last_bgrewrite_status:ok") {
			t.Errorf("a fork has failed: %s", text)
		}
		p.sync(t)
	})
}

// TestUnloadUnderLoad unloads the module while it works, or is told why not.
func TestUnloadUnderLoad(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		local := redistest.New(t, redistest.Config{Flavor: flavor, Conf: []string{"latency-tracking no"}})
		p := &pair{local: local, remote: remote, l: local.Client(), r: remote.Client()}
		args := append(cmd("MODULE", "LOADEX", redistest.Module(t), "CONFIG", "sponsor.org", org), loadexConf(remote)...)
		must(t, p.l, args)
		p.seed(t)
		// Nobody waits for a SYNC here, so that only the module itself can refuse.
		ctx, cancel := context.WithCancel(context.Background())
		var work sync.WaitGroup
		for range 4 {
			c := local.Client()
			work.Go(func() {
				defer c.Close()
				for ctx.Err() == nil {
					// Fails while the module is not there.
					_ = c.Do(ctx, "SPONSOR.SYNC", "NOWAIT").Err()
					_ = c.Unlink(ctx, "user:8:mnodes").Err()
					_ = c.HGetAll(ctx, "user:7").Err()
					_ = c.SMembers(ctx, "user:7:mnodes").Err()
				}
			})
		}
		refused := 0
		for range 60 {
			redistest.Eventually(t, soon, func() error {
				err := p.l.Do(t.Context(), "MODULE", "UNLOAD", "sponsor").Err()
				if err != nil {
					refused++
				}
				return err
			})
			if n := threads(t, local); n > 40 {
				t.Errorf("%d threads after MODULE UNLOAD", n)
			}
			must(t, p.l, args)
		}
		cancel()
		work.Wait()
		if refused > 0 && !local.LogContains("not unloaded: ") {
			t.Error("MODULE UNLOAD was refused without a reason in the log")
		}
		t.Logf("refused %d times", refused)
		redistest.Eventually(t, soon, func() error { return p.l.Do(t.Context(), "MODULE", "UNLOAD", "sponsor").Err() })
		// Nothing talks to the remote any more.
		redistest.Eventually(t, soon, func() error {
			if list := p.r.ClientList(t.Context()).Val(); strings.Contains(list, "user="+redistest.EnterpriseUser) {
				return fmt.Errorf("still connected: %s", list)
			}
			return nil
		})
		must(t, p.l, args)
		p.waitFor(t, "connected")
		p.sync(t)
	})
}

// TestUnloadSparesClients refuses MODULE UNLOAD while the server would crash by
// it.
func TestUnloadSparesClients(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		local := redistest.New(t, redistest.Config{Flavor: flavor, Modules: []string{redistest.Module(t)}})
		c := local.Client()
		unload := func() error { return c.Do(t.Context(), "MODULE", "UNLOAD", "sponsor").Err() }
		conn := local.Client().Conn()
		defer conn.Close()
		for name, hold := range map[string][][]any{
			"last command": {cmd("SPONSOR.STATUS")},
			"transaction":  {cmd("MULTI"), cmd("SPONSOR.STATUS"), cmd("GET", "x")},
		} {
			for _, command := range hold {
				if err := conn.Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if err := unload(); err == nil {
				t.Fatalf("%s: MODULE UNLOAD was not refused", name)
			}
			if !local.LogContains("not unloaded: 1 clients have run a command of this module last") {
				t.Errorf("%s: the log does not say why", name)
			}
		}
		if err := conn.Do(t.Context(), "EXEC").Err(); err != nil {
			t.Fatal(err)
		}
		must(t, c, cmd("PING"))
		if err := conn.Do(t.Context(), "PING").Err(); err != nil {
			t.Fatal(err)
		}
		if err := unload(); err != nil {
			t.Errorf("MODULE UNLOAD: %v", err)
		}
		must(t, c, cmd("PING"), cmd("CLIENT", "LIST"))
	})
}

// loadexConf is remoteConf for MODULE LOADEX.
func loadexConf(remote *redistest.Server) []any {
	var args []any
	for _, line := range remoteConf(remote, remote.Host(), remote.Port()) {
		name, value, _ := strings.Cut(line, " ")
		args = append(args, "CONFIG", name, value)
	}
	return args
}

func threads(t *testing.T, s *redistest.Server) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestPanicsLeaveTheServerUp injects a panic into every place where the server
// enters our code, and where our goroutines begin.
func TestPanicsLeaveTheServerUp(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor})
		p := newLocal(t, remote, redistest.Config{
			Flavor: flavor, Conf: remoteConf(remote, remote.Host(), remote.Port()),
			Modules: []string{redistest.FaultModule(t) + " org " + org},
		})
		p.seed(t)
		arm := func(point string) { must(t, p.l, cmd("SPONSOR.FAULT", point, 1)) }
		for point, provoke := range map[string]func(){
			"command": func() { wantError(t, p.l, []string{"ERR internal error", "injected at command"}, "SPONSOR.SYNC") },
			"key-event": func() {
				must(t, p.l, cmd("SADD", "user:7:mnodes", "C5"))
			},
			"server-event": func() { must(t, p.l, cmd("SWAPDB", 0, 6), cmd("SWAPDB", 0, 6)) },
			"info":         func() { must(t, p.l, cmd("INFO", "sponsor")) },
			"apply":        func() { wantError(t, p.l, []string{"internal error"}, "CONFIG", "SET", "sponsor.absent-ttl-ms", 1234) },
			"turn": func() {
				// Some other work may take the turn.
				redistest.Eventually(t, soon, func() error {
					arm("turn")
					err := p.l.Do(t.Context(), "SPONSOR.SYNC").Err()
					if err == nil || !strings.Contains(err.Error(), "injected at turn") {
						return fmt.Errorf("SYNC: %w, want what was injected", err)
					}
					return nil
				})
			},
			"sync":   func() { wantError(t, p.l, []string{"ERR SYNC has failed", "injected at sync"}, "SPONSOR.SYNC") },
			"writer": func() { wantError(t, p.l, []string{"ERR SYNC has failed", "injected at writer"}, "SPONSOR.SYNC") },
			"answer": func() { wantError(t, p.l, []string{"ERR internal error", "injected at answer"}, "SPONSOR.SYNC") },
			"restore": func() {
				must(t, p.l, cmd("FLUSHALL"))
				redistest.Eventually(t, soon, func() error {
					must(t, p.l, cmd("SMEMBERS", "user:7:mnodes"))
					if !p.local.LogContains("injected at restore") {
						return fmt.Errorf("no panic yet")
					}
					return nil
				})
			},
		} {
			t.Run(point, func(t *testing.T) {
				arm(point)
				provoke()
				redistest.Eventually(t, soon, func() error {
					if !p.local.LogContains("injected at " + point) {
						return fmt.Errorf("the log has no panic")
					}
					return nil
				})
				must(t, p.l, cmd("PING"))
				// The module is well again.
				p.waitFor(t, "connected")
				wantCounts(t, p.sync(t), map[string]int64{"failed": 0})
				must(t, p.l, cmd("FLUSHALL"))
				eventuallyMembers(t, p.l, sponsorsKey, "7")
				eventuallyHash(t, p.l, "user_details:7", map[string]string{"id": "7"})
			})
		}
		for _, goroutine := range []string{"sponsors", "link", "fetch", "contact", "journal", "send", "large", "stubs"} {
			t.Run("goroutine "+goroutine, func(t *testing.T) {
				arm(goroutine)
				// A new session starts the goroutine anew.
				must(t, p.l, cmd("CONFIG", "SET", "sponsor.remote-server-name", "localhost"))
				must(t, p.l, cmd("CONFIG", "SET", "sponsor.remote-server-name", ""))
				redistest.Eventually(t, soon, func() error {
					if !p.local.LogContains("panic in " + goroutine + ": injected") {
						return fmt.Errorf("the log has no panic")
					}
					return nil
				})
				p.waitFor(t, "connected")
				wantCounts(t, p.sync(t), map[string]int64{"failed": 0})
				must(t, p.l, cmd("FLUSHALL"))
				eventuallyMembers(t, p.l, sponsorsKey, "7")
				eventuallyHash(t, p.l, "user_details:7", map[string]string{"id": "7"})
			})
		}
	})
}

// TestPausedServer writes nothing while clients are paused: Redis would end
// itself.
func TestPausedServer(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, writeBehind)
		p.seed(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		p.waitForSponsors(t, 1)
		fetched := statusInt(t, p.l, "fetched")
		seen := p.remote.Monitor(t)
		must(t, p.l, cmd("CLIENT", "PAUSE", 600_000, "WRITE"), cmd("SMEMBERS", "user:7:mnodes"))
		redistest.Eventually(t, soon, func() error {
			if len(seen.Matching("SSCAN")) == 0 {
				return fmt.Errorf("not fetched yet")
			}
			return nil
		})
		for range 20 {
			wantMembers(t, p.l, "user:7:mnodes")
		}
		if got := statusInt(t, p.l, "fetched"); got != fetched {
			t.Errorf("%d keys were put back while clients were paused", got-fetched)
		}
		must(t, p.l, cmd("CLIENT", "UNPAUSE"))
		eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2")
	})
}

// TestLongScript does nothing in the midst of a script.
func TestLongScript(t *testing.T) {
	p := newPair(t, redistest.Flavor{}, writeBehind, "busy-reply-threshold 10")
	p.seed(t)
	// The script misses the key, works on for long enough that the key could have
	// come back, and looks again.
	script := `
		local before = redis.call('SCARD', KEYS[1])
		local t = redis.call('TIME')
		local begun = t[1] * 1000000 + t[2]
		repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > begun + 1000000
		return {before, redis.call('SCARD', KEYS[1])}`
	redistest.Eventually(t, soon, func() error {
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		got, err := p.l.Eval(t.Context(), script, []string{"user:7:mnodes"}).Int64Slice()
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != got[1] {
			t.Errorf("a script saw %v members: the key appeared in its midst", got)
		}
		if got[0] != 0 {
			return fmt.Errorf("the key was back before the script: an earlier fetch")
		}
		return nil
	})
	eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2")
}

// TestR10_ReplicaIsQuiet lets a replica live, promotes it, sees it work, and
// makes it a replica again. Its remote is one of its own, so that it can be told
// who talks.
func TestR10_ReplicaIsQuiet(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, "repl-diskless-sync-delay 0")
		p.seed(t)
		remote := redistest.Remote(t, redistest.Config{Flavor: flavor, Name: "the replica's remote"})
		q := newLocal(t, remote, redistest.Config{
			Flavor: flavor,
			Conf: append(remoteConf(remote, remote.Host(), remote.Port()),
				fmt.Sprintf("replicaof %s %d", p.local.Host(), p.local.Port())),
		})
		eventuallyMembers(t, q.l, "user:7:mnodes", "C1", "C2")
		st, err := status(q.l)
		if err != nil {
			t.Fatal(err)
		}
		if st["state"] != "replica" || st["role"] != "replica" {
			t.Errorf("STATUS = %v, want a replica", st)
		}
		wantError(t, q.l, []string{"ERR", "replica"}, "SPONSOR.SYNC")
		must(t, q.l, cmd("HGETALL", "user:7")) // a miss

		// What is fetched on the master comes to the replica too.
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2")
		eventuallyMembers(t, q.l, "user:7:mnodes", "C1", "C2")
		if list := q.r.ClientList(t.Context()).Val(); strings.Contains(list, "user="+redistest.EnterpriseUser) {
			t.Errorf("a replica has talked to the remote: %s", list)
		}
		wantKeys(t, q.r)

		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		must(t, q.l, cmd("REPLICAOF", "NO", "ONE"))
		q.waitFor(t, "connected")
		must(t, q.l, cmd("SADD", "user:7:mnodes", "C3"))
		q.sync(t)
		wantMembers(t, q.r, "user:7:mnodes", "C1", "C2", "C3")

		must(t, q.l, cmd("REPLICAOF", p.local.Host(), p.local.Port()))
		q.waitFor(t, "replica")
		redistest.Eventually(t, soon, func() error {
			if list := q.r.ClientList(t.Context()).Val(); strings.Contains(list, "user="+redistest.EnterpriseUser) {
				return fmt.Errorf("still connected as a replica: %s", list)
			}
			return nil
		})
	})
}

// TestFetchedKeysAreDurable loses the remote and the process after a key has been
// brought back.
func TestFetchedKeysAreDurable(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor, "appendonly yes", "appendfsync always")
		p.seed(t)
		must(t, p.l, cmd("FLUSHALL"))
		eventuallyMembers(t, p.l, sponsorsKey, "7")
		eventuallyMembers(t, p.l, "user:7:mnodes", "C1", "C2")
		if err := p.remote.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.local.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.local.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.l = p.local.Client()
		wantMembers(t, p.l, sponsorsKey, "7")
		wantMembers(t, p.l, "user:7:mnodes", "C1", "C2")
	})
}

// TestAnswers compares what RESP2 and RESP3 clients see.
func TestAnswers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		p := newPair(t, flavor)
		p.seed(t)
		for protocol, isMap := range map[int]bool{2: false, 3: true} {
			c := p.local.Client(func(o *redis.Options) { o.Protocol = protocol })
			for _, command := range [][]any{cmd("SPONSOR.STATUS"), cmd("SPONSOR.SYNC"), cmd("SPONSOR.SYNC", "DRYRUN")} {
				reply, err := c.Do(t.Context(), command...).Result()
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := reply.(map[any]any); ok != isMap {
					t.Errorf("RESP%d: %v answers %T", protocol, command, reply)
				}
			}
			help, err := c.Do(t.Context(), "SPONSOR.HELP").StringSlice()
			if err != nil || len(help) < 5 {
				t.Errorf("RESP%d: HELP = %q, %v", protocol, help, err)
			}
		}
		// STATUS and INFO are the same.
		st, err := status(p.l)
		if err != nil {
			t.Fatal(err)
		}
		text := p.l.Info(t.Context(), "sponsor").Val()
		for name, value := range st {
			if line := fmt.Sprintf("sponsor_%s:%v\r\n", name, value); !strings.Contains(text, line) && !strings.HasPrefix(name, "acknowledged") {
				t.Errorf("INFO sponsor has no %q: %s", line, text)
			}
		}
		for _, name := range []string{"sync", "status", "help"} {
			docs := fmt.Sprint(p.l.Do(t.Context(), "COMMAND", "DOCS", "sponsor."+name).Val())
			for _, part := range []string{"summary", "since", "complexity"} {
				if !strings.Contains(docs, part) {
					t.Errorf("COMMAND DOCS sponsor.%s has no %s: %s", name, part, docs)
				}
			}
		}
		docs := fmt.Sprint(p.l.Do(t.Context(), "COMMAND", "DOCS", "sponsor.sync").Val())
		for _, token := range []string{"USER", "DRYRUN", "NOWAIT"} {
			if !strings.Contains(docs, token) {
				t.Errorf("COMMAND DOCS sponsor.sync has no %s: %s", token, docs)
			}
		}
		wantError(t, p.l, []string{"for the module itself"}, "SPONSOR.TURN")
	})
}

// TestPanicHoldsNoKey: a panic while a new sponsor's key is copied keeps no later change
// from being sent.
func TestPanicHoldsNoKey(t *testing.T) {
	remote := redistest.Remote(t, redistest.Config{})
	p := newLocal(t, remote, redistest.Config{
		Modules: []string{redistest.FaultModule(t) + " org " + org + " write-behind yes"},
		Conf:    remoteConf(remote, remote.Host(), remote.Port()),
	})
	p.waitFor(t, "connected")
	must(t, p.l, cmd("SADD", sponsorsKey, "7"))
	p.safe(t)
	must(t, p.l, append(cmd("RPUSH", "user:9"), many(3000, "element-%d")...))
	must(t, p.l, cmd("SPONSOR.FAULT", "large-page", 1), cmd("SADD", sponsorsKey, "9"))
	p.safe(t)
	must(t, p.l, cmd("RPUSH", "user:9", "last"))
	p.safe(t)
	p.wantSame(t, sponsorsKey, "user:9")
}
