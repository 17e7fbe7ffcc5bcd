package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// A pace says how long a prober waits before each GET.
type pace func() time.Duration

// restless does not wait, so that nothing that the server does escapes it. Most of
// its GETs come when the server has nothing else to do, because while it has, they
// wait; so they say little of what clients feel in general.
func restless() time.Duration { return 0 }

// random comes when it comes, as clients do: a SYNC works in slices, with the
// server left alone between them, and a GET must meet the one as readily as the
// other.
func random() time.Duration { return rand.N(time.Millisecond) }

// probe reads a key that is nobody's again and again, one GET after the other,
// while f runs, and returns how long each took.
func probe(ctx context.Context, s *server, wait pace, f func() error) ([]time.Duration, error) {
	c, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if _, err := c.do(encode("SET", "other", "value")); err != nil {
		return nil, err
	}
	var (
		get     = encode("GET", "other")
		took    = make([]time.Duration, 0, 1<<18)
		failed  error
		done    = make(chan struct{})
		probing sync.WaitGroup
	)
	probing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if failed = pass(ctx, wait()); failed != nil {
				return
			}
			begun := time.Now()
			if _, failed = c.do(get); failed != nil {
				return
			}
			took = append(took, time.Since(begun))
		}
	})
	err = f()
	close(done)
	probing.Wait()
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("read %s all the time: %w", s.Config().Name, err)
	}
	return took, nil
}

// probeSync compares GETs while a SYNC of keys runs with GETs while nothing else
// happens, for as long. Summary makes a figure of the GETs of a run.
func probeSync(ctx context.Context, l *lab, local *server, turns, keys int, wait pace, summary func([]time.Duration) time.Duration) (outcome, error) {
	length := time.Second // until it is known
	side := func(f func() error) (float64, error) {
		took, err := probe(ctx, local, wait, f)
		if err != nil {
			return 0, err
		}
		return summary(took).Seconds(), nil
	}
	return inTurns(turns,
		func() (float64, error) {
			if err := l.remote.flush(ctx); err != nil {
				return 0, err
			}
			return side(func() (err error) {
				length, err = local.sync(ctx, keys)
				return err
			})
		},
		func() (float64, error) {
			return side(func() error { return pass(ctx, length) })
		})
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measureLatency looks at what clients feel of a SYNC of many keys.
func measureLatency(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.bulk(ctx)
	if err != nil {
		return "", err
	}
	o, err := probeSync(ctx, l, local, e.runs, 2*bulkOwners, random,
		func(took []time.Duration) time.Duration { return percentile(0.99, took) })
	if err != nil {
		return "", err
	}
	during, without := seconds(median(o.ours)), seconds(median(o.theirs))
	return fmt.Sprintf("%s more (%s against %s)", ms(during-without), ms(during), ms(without)), nil
}

// measureStall looks at the worst that a client meets while one large value is
// copied.
func measureStall(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.startLocal(ctx, "no")
	if err != nil {
		return "", err
	}
	if err := local.addSponsors(ctx, 1); err != nil {
		return "", err
	}
	if err := local.addMembers(ctx, keyspace.ExcludedNodesKey(owner(0)), largeSet, node); err != nil {
		return "", err
	}
	o, err := probeSync(ctx, l, local, e.runs, 1, restless, slices.Max[[]time.Duration])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s without SYNC)", ms(seconds(median(o.ours))), ms(seconds(median(o.theirs)))), nil
}
