package replication_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestChaos does everything to an engine at once for two seconds, as several
// clients, an operator and a bad network would, and then wants it to work, and to
// end. CHAOS_SEED repeats a seed; the threads' order it cannot repeat.
func TestChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CHAOS_SEED=%d", seed)
	p := newPair(t, nil)
	p.sponsors(t, ids(20)...)
	configs := chaosConfigs(t, p.config)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()

	// What a server's main thread does, it does one after the other.
	var mainThread sync.Mutex
	var workers sync.WaitGroup
	number := uint64(0)
	work := func(f func(*rand.Rand)) {
		number++
		rng := rand.New(rand.NewPCG(seed, number))
		workers.Go(func() {
			for ctx.Err() == nil {
				f(rng)
			}
		})
	}
	onMainThread := func(f func()) {
		mainThread.Lock()
		defer mainThread.Unlock()
		f()
	}
	anyKey := func(rng *rand.Rand) string {
		return fmt.Sprintf([]string{"user:%d", "user:%d:mnodes", "user_details:%d", "other:%d"}[rng.IntN(4)], rng.IntN(30))
	}
	for range 4 {
		work(func(rng *rand.Rand) { // clients that SYNC and wait
			request := replication.SyncRequest{DryRun: rng.IntN(4) == 0}
			if rng.IntN(2) == 0 {
				request.Owners = []string{strconv.Itoa(rng.IntN(25))}
			}
			var run *replication.SyncRun
			var err error
			onMainThread(func() { run, _, err = p.engine.Sync(request) })
			if err == nil {
				_, _ = run.Wait() // may fail: much is broken on purpose
			}
		})
	}
	work(func(rng *rand.Rand) { // the operator
		switch rng.IntN(6) {
		case 0:
			onMainThread(func() { p.engine.SetMaster(rng.IntN(2) == 0) })
		case 1:
			onMainThread(func() {
				if err := p.engine.Close(soon); err != nil {
					t.Error(err)
				}
				if rng.IntN(2) == 0 {
					p.engine.Reopen()
				}
			})
		default:
			onMainThread(func() { p.engine.Configure(configs[rng.IntN(len(configs))]) })
		}
		pauseFor(ctx, time.Duration(rng.IntN(50))*time.Millisecond)
	})
	work(func(rng *rand.Rand) { // a storm of events
		key := anyKey(rng)
		onMainThread(func() { p.event(replication.KeyEvent(rng.IntN(8)), key) })
		if rng.IntN(1000) == 0 {
			onMainThread(p.engine.DataSetReplaced)
		}
	})
	for range 2 {
		work(func(rng *rand.Rand) { // clients that read and write
			key, element := anyKey(rng), strconv.Itoa(rng.IntN(100))
			command := [][]string{{"SADD", key, element}, {"HSET", key, element, "v"}, {"SMEMBERS", key}, {"HGETALL", key}, {"DEL", key}}
			args := command[rng.IntN(len(command))]
			if _, err := p.local.client(args[0], args[1:]...); err != nil {
				t.Error(err)
			}
		})
	}
	work(func(*rand.Rand) { // people who look
		_ = p.engine.Status()
		_ = p.engine.Syncing()
		pauseFor(ctx, time.Millisecond)
	})
	work(func(rng *rand.Rand) { // the network
		switch rng.IntN(4) {
		case 0:
			p.proxy.CutAfter(rng.Int64N(5000))
		case 1:
			p.proxy.CutReplyAfter(rng.Int64N(5000))
		case 2:
			p.proxy.CloseAll()
		case 3:
			p.proxy.Latency(time.Duration(rng.IntN(5)) * time.Millisecond)
		}
		pauseFor(ctx, time.Duration(rng.IntN(100))*time.Millisecond)
	})
	workers.Wait()

	if err := p.proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	p.engine.Configure(p.config)
	p.engine.SetMaster(true)
	p.engine.Reopen()
	p.waitFor(t, replication.StateConnected)
	// A removed set of sponsors comes back from nowhere, neither from memory nor
	// from the remote.
	p.flushRemote(t)
	key := keyspace.SponsorsKey(p.config.Org)
	p.local.must(t, "SADD", key, "somebody")
	p.local.must(t, "DEL", key)
	redistest.Eventually(t, soon, func() error {
		if n := p.engine.Status().Sponsors; n != 0 {
			return fmt.Errorf("the engine knows %d sponsors, want none", n)
		}
		return nil
	})
	p.local.must(t, "FLUSHALL")
	p.sponsors(t, "7")
	p.add(t, "user:7:mnodes", nodes(3))
	p.sync(t)
	p.wantRemoteSet(t, "user:7:mnodes", nodes(3))
	p.local.lose(t, "user:7:mnodes")
	p.wantLocalSet(t, "user:7:mnodes", nodes(3))
}

// chaosConfigs are configurations that work, and that do not.
func chaosConfigs(t *testing.T, good replication.Config) []replication.Config {
	noOrg, otherOrg, noRemote, nobody, noFile, tuned := good, good, good, good, good, good
	noOrg.Org, otherOrg.Org = "", "other"
	noRemote.Remote = replication.Remote{}
	nobody.Remote.Username = "nobody"
	noFile.Remote.PasswordFile += ".missing"
	tuned.Tuning = replication.Tuning{ReadThrough: replication.ReadAsync, AbsentTTL: time.Millisecond, BufferLimit: 1}
	wild := good
	wild.Templates, wild.Unfiltered = templates(t, "user:<id> user:<id>:*"), templates(t, "other:<id>")
	return []replication.Config{good, good, good, tuned, tuned, wild, noOrg, otherOrg, noRemote, nobody, noFile}
}

// pauseFor waits for d, or for ctx to end: it is the rhythm of a worker, and
// waits for nothing else.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
