package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Memory, goroutines and descriptors must be flat. But the local server is killed all the
// time, and a new one always holds little: a figure of the beginning and one of the end
// say nothing if one is of a server that is a second old, and the other of one that is a
// minute old and has read a big value. So there are three windows:
//
//	young, early: after a warm-up, the local server and the API are killed and started;
//	              then come a lap without faults, and a look while nobody writes
//	young, late:  the same, much later
//	old, late:    at the end, a lap and a look without the kill. Since young, late
//	              there have been all the other faults, kills of the remote too, and
//	              neither the local server nor the API was killed
//
// Young against young tells what grows and survives a restart: what is in the keyspace
// and in the AOF, and all that the remote holds. The processes have equal age and equal
// work behind them. Young, late against old, late tells what grows in a process that
// lives. It has lived through a third of the soak then, and through what connections that
// break, refusals, evictions and reloads leave behind.
//
// Before each look the data is made the same: all that is away is brought back, and what
// has no fixed size is written anew. The Go heap between two garbage collections is as
// large as chance has it, and nobody can ask for a collection; so before the look some
// VERIFY make the collector work, and its least value counts. (It comes to 8 MiB in the
// first minute, by buffers that have become as large as the largest value so far; hence its
// bound.) Of all else it is the median of the look.

// The names of what is measured.
const (
	localHeap       = "local: Go heap"
	localGo         = "local: Go memory in all"
	localTable      = "local: table of keys"
	localGoroutines = "local: goroutines"
	localUsed       = "local: used_memory"
	localRSS        = "local: RSS"
	localFiles      = "local: descriptors"
	remoteRSS       = "remote: RSS"
	remoteFiles     = "remote: descriptors"
	apiHeap         = "API: Go heap"
	apiGoroutines   = "API: goroutines"
	apiRSS          = "API: RSS"
	apiFiles        = "API: descriptors"
)

// A bound is how much something may grow from one window to the other and count as flat:
// by a part of itself, and by a number more.
type bound struct {
	name  string
	bytes bool
	least bool // the least value counts, not the median
	part  float64
	more  float64
}

const mib = 1 << 20

// What a leak of one connection a fault would leave is hundreds. The pools of connections,
// of which the API's to the local server may have 20, are as full as chance has it.

var bounds = []bound{
	{name: localHeap, bytes: true, least: true, part: 0.2, more: 8 * mib},
	{name: localGo, bytes: true, part: 0.3, more: 24 * mib},
	{name: localTable, bytes: true, part: 0.2, more: mib / 4},
	{name: localGoroutines, part: 0, more: 8},
	{name: localUsed, bytes: true, part: 0.15, more: 4 * mib},
	{name: localRSS, bytes: true, part: 0.25, more: 24 * mib},
	{name: localFiles, part: 0, more: 24},
	{name: remoteRSS, bytes: true, part: 0.25, more: 24 * mib},
	{name: remoteFiles, part: 0, more: 16},
	{name: apiHeap, bytes: true, least: true, part: 0.2, more: 8 * mib},
	{name: apiGoroutines, part: 0, more: 12},
	{name: apiRSS, bytes: true, part: 0.25, more: 16 * mib},
	{name: apiFiles, part: 0, more: 24},
}

// A window is the samples of a look, and those before it, while the collector worked.
type window struct {
	name            string
	collected, look []sample
}

// figure is what counts of a window.
func (b bound) figure(w window) (float64, bool) {
	samples := w.look
	if b.least {
		samples = slices.Concat(w.collected, w.look)
	}
	var values []float64
	for _, s := range samples {
		if v, ok := s[b.name]; ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	if b.least {
		return values[0], true
	}
	return values[len(values)/2], true
}

// A growth is how something has grown from one window to another.
type growth struct {
	bound
	before, after float64
	known         bool // it was measured in both
}

// flat is whether it has not grown more than it may.
func (g growth) flat() bool { return g.known && g.after <= g.before*(1+g.part)+g.more }

func (g growth) text(v float64) string {
	if g.bytes {
		return fmt.Sprintf("%.1f MiB", v/mib)
	}
	return fmt.Sprintf("%.0f", v)
}

// allowed is the bound for people.
func (g growth) allowed() string { return g.text(g.before*(1+g.part) + g.more) }

// compare is how everything has grown.
func compare(before, after window) []growth {
	list := make([]growth, len(bounds))
	for i, b := range bounds {
		x, okBefore := b.figure(before)
		y, okAfter := b.figure(after)
		list[i] = growth{bound: b, before: x, after: y, known: okBefore && okAfter}
	}
	return list
}

// laps are how long the parts of a window last.
type laps struct{ lap, look time.Duration }

func lapsOf(length time.Duration) laps {
	return laps{
		lap:  min(20*time.Second, max(length/24, 300*time.Millisecond)),
		look: min(10*time.Second, max(length/36, 200*time.Millisecond)),
	}
}

// watch is one window. If young, the local server and the API are started anew. Nothing
// else goes wrong meanwhile.
func (s *soak) watch(ctx context.Context, name string, young bool) (window, error) {
	w := window{name: name}
	if young {
		if err := s.faults.happen(ctx, fault{"kill local (window)", (*faults).killLocal, false}); err != nil {
			return w, err
		}
		if err := s.faults.happen(ctx, fault{"kill API (window)", (*faults).killAPI, true}); err != nil {
			return w, err
		}
	}
	if err := s.level(ctx); err != nil {
		return w, err
	}
	l := lapsOf(s.length)
	pause(ctx, l.lap)
	err := s.world.standstill(ctx, func() error {
		if err := s.levelAll(ctx); err != nil {
			return err
		}
		var err error
		w.collected, err = s.collected(ctx)
		w.look = s.samples(ctx, l.look)
		return err
	})
	if err != nil {
		err = fmt.Errorf("window %s: %w", name, err)
	}
	return w, err
}

// The collector has done its work when the heap has become smaller that often; if it does
// not, that many VERIFY are enough.
const (
	collections = 8
	mostAsked   = 200
)

// collected has the module work until its collector has run some times, and returns what
// was seen.
func (s *soak) collected(ctx context.Context) (list []sample, err error) {
	smaller := 0
	for len(list) < mostAsked && smaller < collections {
		if _, err := s.world.asked(ctx, "SPONSOR.VERIFY"); err != nil {
			return list, err
		}
		list = append(list, s.sampler.take(ctx))
		if n := len(list); n > 1 && list[n-1][localHeap] < list[n-2][localHeap] {
			smaller++
		}
	}
	return list, nil
}

// samples are taken for d, many of them, and one at least.
func (s *soak) samples(ctx context.Context, d time.Duration) []sample {
	var list []sample
	for end := time.Now().Add(d); len(list) == 0 || time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		list = append(list, s.sampler.take(context.WithoutCancel(ctx)))
	}
	return list
}

// level brings everything back that is away, before a lap.
func (s *soak) level(ctx context.Context) error {
	_, err := s.world.asked(ctx, "SPONSOR.PULL")
	return err
}

// levelAll gives what has no fixed size the same size every time. Nobody writes.
func (s *soak) levelAll(ctx context.Context) error {
	for _, k := range s.workers {
		if err := k.levelLarge(ctx); err != nil {
			return err
		}
	}
	if err := s.world.fill(ctx); err != nil {
		return err
	}
	if err := s.world.safe(ctx); err != nil {
		return err
	}
	return s.level(ctx)
}

// levelLarge writes the large keys anew.
func (k *worker) levelLarge(ctx context.Context) error {
	for _, p := range k.people {
		if !p.large {
			continue
		}
		user := "user:" + p.id
		commands := []command{{"DEL", user + ":big"}, {"SET", user + ":page", string(make([]byte, pageBytes))}}
		for i := range 4 {
			commands = append(commands, chunk("SADD", user+":big", i*bigChunk))
		}
		for _, c := range commands {
			if err := k.db.Do(ctx, words(c)...).Err(); err != nil {
				return fmt.Errorf("%s %s: %w", c[0], c[1], err)
			}
			p.state.apply(c, nil)
		}
		p.note("large keys are level")
	}
	return nil
}
