package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A fault is one thing that is done to the world. When it returns, the world is well
// again; an error is something that must not be, and ends the soak.
type fault struct {
	name string
	do   func(f *faults, ctx context.Context) error
	calm bool // keys may expire meanwhile: see nothingDies
}

// kills happen by the clock, in turn.
var (
	kills = []fault{
		{"kill local", (*faults).killLocal, false},
		{"kill remote", (*faults).killRemote, false},
		{"kill API", (*faults).killAPI, true},
		{"kill local, remote", (*faults).killBoth, false},
	}
	// lesserKills leave the local server and the API alone.
	lesserKills = []fault{{"kill remote", (*faults).killRemote, false}}
)

// troubles happen one after the other, each once before one comes again, in an order
// that the dice give.
var troubles = []fault{
	{"cut requests", (*faults).cutRequests, false},
	{"cut replies", (*faults).cutReplies, false},
	{"reset links", (*faults).resetLinks, false},
	{"latency", (*faults).latency, false},
	{"no route", (*faults).refuse, false},
	{"silence", (*faults).silence, false},
	{"remote OOM", (*faults).remoteOOM, false},
	{"evict", (*faults).evict, false},
	{"FLUSHALL", (*faults).flush, false},
	{"rewrite AOF", (*faults).rewriteAOF, true},
	{"BGSAVE", (*faults).save, true},
	{"UNLOAD, LOAD", (*faults).reload, false},
	{"SYNC", (*faults).sync, false},
	{"PULL", (*faults).pull, true},
	{"VERIFY", (*faults).verify, true},
}

// faults are what goes wrong in one world.
type faults struct {
	w         *world
	dice      *dice
	killEvery time.Duration
	hold      time.Duration // how long a fault lasts, at most
	outsideID string        // a sponsor whose key is written while the module is not loaded
	added     state         // what was written so

	deck   []fault // those that are still to come
	killed int

	mu     sync.Mutex // guards what follows: the report looks at it
	tally  map[string]int
	last   string
	longer map[string]time.Duration // the longest time until all was well, by name
}

// longestHold is how long a fault lasts in a soak of many minutes. It must be much less
// than readTimeout.
const longestHold = 4 * time.Second

func newFaults(w *world, o options) *faults {
	return &faults{
		w: w, dice: newDice(o, 0), killEvery: o.killEvery, hold: min(longestHold, o.length/40),
		outsideID: "outside", added: make(state), tally: make(map[string]int), longer: make(map[string]time.Duration),
	}
}

// run lets faults happen until ctx ends. If spare is set, the local server and the API
// live on.
func (f *faults) run(ctx context.Context, spare bool) error {
	deaths := kills
	if spare {
		deaths = lesserKills
	}
	death := time.NewTicker(f.killEvery)
	defer death.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-death.C:
			f.killed++
			if err := f.happen(ctx, deaths[f.killed%len(deaths)]); err != nil {
				return err
			}
			continue
		default:
		}
		if len(f.deck) == 0 {
			f.deck = slices.Clone(troubles)
			f.dice.Shuffle(len(f.deck), func(i, j int) { f.deck[i], f.deck[j] = f.deck[j], f.deck[i] })
		}
		next := f.deck[0]
		f.deck = f.deck[1:]
		if err := f.happen(ctx, next); err != nil {
			return err
		}
		pause(ctx, time.Duration(f.dice.Int64N(int64(f.hold)+1)))
	}
}

// happen does one of them. The end of ctx shortens it, and does not break it off.
func (f *faults) happen(ctx context.Context, one fault) error {
	if !one.calm {
		f.w.nothingDies.Store(true)
		defer f.w.nothingDies.Store(false)
		pause(context.WithoutCancel(ctx), f.dice.dying)
	}
	f.note(one.name)
	begun := time.Now()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	if err := one.do(f, bounded); err != nil {
		return fmt.Errorf("%s: %w", one.name, err)
	}
	if err := f.w.connected(bounded); err != nil {
		return fmt.Errorf("after %s: %w", one.name, err)
	}
	f.w.ordeals.note(one.name + " is over")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.longer[one.name] = max(f.longer[one.name], time.Since(begun))
	return nil
}

func (f *faults) note(name string) {
	f.w.ordeals.note(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tally[name]++
	f.last = name
}

// happened are the faults so far, by name, and the last one.
func (f *faults) happened() (tally map[string]int, last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.tally), f.last
}

// killLocal ends the local server by SIGKILL and starts it again, from its AOF.
func (f *faults) killLocal(ctx context.Context) error {
	return errors.Join(f.w.local.Kill(), f.w.local.Restart(ctx))
}

func (f *faults) killRemote(ctx context.Context) error {
	return errors.Join(f.w.remote.Kill(), f.w.remote.Restart(ctx))
}

func (f *faults) killBoth(ctx context.Context) error {
	return errors.Join(f.w.local.Kill(), f.w.remote.Kill(), f.w.local.Restart(ctx), f.w.remote.Restart(ctx))
}

func (f *faults) killAPI(ctx context.Context) error {
	return errors.Join(f.w.api.kill(), f.w.api.start(ctx))
}

// again does something to the network many times.
func (f *faults) again(ctx context.Context, do func()) error {
	for end := time.Now().Add(f.hold); time.Now().Before(end); {
		do()
		pause(ctx, time.Duration(f.dice.IntN(100))*time.Millisecond)
	}
	return f.w.proxy.Heal()
}

func (f *faults) cutRequests(ctx context.Context) error {
	return f.again(ctx, func() { f.w.proxy.CutAfter(f.dice.Int64N(20_000)) })
}

func (f *faults) cutReplies(ctx context.Context) error {
	return f.again(ctx, func() { f.w.proxy.CutReplyAfter(f.dice.Int64N(4000)) })
}

func (f *faults) resetLinks(ctx context.Context) error { return f.again(ctx, f.w.proxy.CloseAll) }

func (f *faults) latency(ctx context.Context) error {
	return f.again(ctx, func() { f.w.proxy.Latency(time.Duration(f.dice.IntN(30)) * time.Millisecond) })
}

func (f *faults) refuse(ctx context.Context) error {
	f.w.proxy.Refuse()
	pause(ctx, f.hold)
	return f.w.proxy.Heal()
}

func (f *faults) silence(ctx context.Context) error {
	f.w.proxy.Silent()
	pause(ctx, f.hold)
	return f.w.proxy.Heal()
}

// remoteOOM fills the remote up for a while. What it refused is tried again. Nobody
// leaves meanwhile: see allSent.
func (f *faults) remoteOOM(ctx context.Context) error {
	limit := func(bytes string) error { return f.w.remote.db.ConfigSet(ctx, "maxmemory", bytes).Err() }
	return f.w.stay(ctx, func() error {
		if err := limit("1"); err != nil {
			return err
		}
		pause(ctx, f.hold)
		return errors.Join(limit("0"), f.w.retried(ctx))
	})
}

// retried tries the dead letters again, until there are none.
func (w *world) retried(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return until(ctx, 100*time.Millisecond, func() error {
		if err := w.local.db.Do(ctx, "SPONSOR.RETRY").Err(); err != nil {
			return err
		}
		if err := w.safe(ctx); err != nil {
			letters, _ := w.local.db.Do(ctx, "SPONSOR.ERRORS", 3).Result()
			return fmt.Errorf("%w; SPONSOR.ERRORS: %v", err, letters)
		}
		return nil
	})
}

// lose has keys go away while the clients go on, with what survives that.
func (f *faults) lose(ctx context.Context, how func() error) error {
	begin := func() error {
		f.w.losing.Store(true)
		f.w.losses.Add(1)
		return nil
	}
	if err := f.w.standstill(ctx, begin); err != nil {
		return err
	}
	err := how()
	f.w.gate.Lock()
	defer f.w.gate.Unlock()
	f.w.losing.Store(false)
	return err
}

// evict lowers maxmemory, again and again, so far that a part of all keys must go. While
// it is so low, the server also refuses commands.
func (f *faults) evict(ctx context.Context) error {
	limit := func(bytes int64) error {
		return f.w.local.db.ConfigSet(ctx, "maxmemory", strconv.FormatInt(bytes, 10)).Err()
	}
	return f.lose(ctx, func() error {
		for end := time.Now().Add(f.hold); time.Now().Before(end); {
			info, err := f.w.info(ctx)
			if err != nil {
				return err
			}
			used, err := strconv.ParseInt(info["used_memory"], 10, 64)
			if err != nil {
				return err
			}
			if err := limit(used - used/int64(3+f.dice.IntN(20))); err != nil {
				return err
			}
			pause(ctx, time.Duration(20+f.dice.IntN(80))*time.Millisecond)
			if err := limit(0); err != nil {
				return err
			}
			pause(ctx, time.Duration(f.dice.IntN(200))*time.Millisecond)
		}
		return nil
	})
}

func (f *faults) flush(ctx context.Context) error {
	return f.lose(ctx, func() error {
		pause(ctx, f.hold/8)
		if err := f.w.local.db.FlushAll(ctx).Err(); err != nil {
			return err
		}
		pause(ctx, f.hold/8)
		return nil
	})
}

func (f *faults) rewriteAOF(ctx context.Context) error {
	return busy(f.w.local.db.BgRewriteAOF(ctx).Err())
}

func (f *faults) save(ctx context.Context) error { return busy(f.w.local.db.BgSave(ctx).Err()) }

// busy makes nothing of a server that has a child already.
func busy(err error) error {
	if err != nil && isReply(err) {
		return nil
	}
	return err
}

// sync copies all while clients write.
func (f *faults) sync(ctx context.Context) error {
	return f.answer(ctx, []string{"failed", "skipped"}, "SPONSOR.SYNC")
}

func (f *faults) pull(ctx context.Context) error {
	return f.answer(ctx, []string{"failed"}, "SPONSOR.PULL")
}

// verify compares all while clients write.
func (f *faults) verify(ctx context.Context) error {
	return f.answer(ctx, []string{"missing_remote", "missing_local", "different", "ttl_differs", "failed"}, "SPONSOR.VERIFY")
}

// answer runs a command, of whose counts some must be 0.
func (f *faults) answer(ctx context.Context, zero []string, args ...any) error {
	got, err := f.w.asked(ctx, args...)
	if err != nil {
		return err
	}
	for _, name := range zero {
		if got[name] != "0" {
			f.w.wrong("%v while clients write: %s = %s: %v", args, name, got[name], got)
		}
	}
	return nil
}

// asked is the answer of a command of the module, as text.
func (w *world) asked(ctx context.Context, args ...any) (map[string]string, error) {
	reply, err := w.local.db.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", args, err)
	}
	pairs, ok := reply.(map[any]any)
	if !ok {
		return nil, fmt.Errorf("%v answers %v, which is no map", args, reply)
	}
	fields := make(map[string]string, len(pairs))
	for name, value := range pairs {
		fields[fmt.Sprint(name)] = fmt.Sprint(value)
	}
	return fields, nil
}

// reload unloads the module and loads it again, if the server lets us, and adds what was
// written in between by SYNC, as the README says.
func (f *faults) reload(ctx context.Context) error {
	key := "user:" + f.outsideID + ":mnodes"
	return f.w.standstill(ctx, func() error {
		// A key that is away when the module goes would not be away for the next one:
		// what is written to it then is all there is.
		if err := f.w.local.db.Exists(ctx, key).Err(); err != nil {
			return err
		}
		one := f.w.client()
		defer one.Close()
		refused := f.unload(ctx, one)
		if refused != nil {
			f.note("UNLOAD refused")
			return nil
		}
		add := command{"SADD", key, "outside-" + strconv.Itoa(f.dice.IntN(1000))}
		f.added.apply(add, nil)
		load := append([]any{"MODULE", "LOAD"}, words(f.w.module)...)
		if err := errors.Join(one.Do(ctx, words(add)...).Err(), one.Do(ctx, load...).Err(), f.w.connected(ctx)); err != nil {
			return err
		}
		return f.sync(ctx)
	})
}

// unload has some tries: what was the last to run a command of the module must be ended,
// and the API may do so again at any time.
func (f *faults) unload(ctx context.Context, one *redis.Client) error {
	var err error
	for range 5 {
		if err = one.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
			return err
		}
		if err = one.Do(ctx, "MODULE", "UNLOAD", "sponsor").Err(); err == nil {
			return nil
		}
	}
	return err
}
