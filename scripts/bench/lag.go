package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// Writes a second.
const (
	lagRate      = 2000
	lagLargeRate = 1000
)

// measureLag writes to the sets of random sponsors.
func measureLag(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.following(ctx, manySponsors)
	if err != nil {
		return "", err
	}
	if err := local.addSets(ctx, manySponsors, smallSet); err != nil {
		return "", err
	}
	return l.lag(ctx, local, e, lagRate, func() string {
		return keyspace.ExcludedNodesKey(owner(rand.IntN(manySponsors)))
	})
}

// measureLagLarge writes to one large set.
func measureLagLarge(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.following(ctx, 1)
	if err != nil {
		return "", err
	}
	key := keyspace.ExcludedNodesKey(owner(0))
	if err := local.addMembers(ctx, key, largeSet, node); err != nil {
		return "", err
	}
	return l.lag(ctx, local, e, lagLargeRate, func() string { return key })
}

// lag measures how long after the local server's acknowledgement a member can be
// seen on the remote. Key chooses where the next one goes.
func (l *lab) lag(ctx context.Context, local *server, e effort, perSecond int, key func() string) (string, error) {
	if err := local.safe(ctx); err != nil {
		return "", err
	}
	var p50, p99 []time.Duration
	for run := range e.runs + 1 {
		lags, err := l.lagOnce(ctx, local, run, perSecond, e.lag, key)
		if err != nil {
			return "", err
		}
		if run > 0 { // the first warms up
			p50, p99 = append(p50, percentile(0.50, lags)), append(p99, percentile(0.99, lags))
		}
	}
	return fmt.Sprintf("p50 %s, p99 %s", ms(median(p50)), ms(median(p99))), nil
}

// lagOnce writes members at a fixed rate for a while, and returns the lag of each.
func (l *lab) lagOnce(ctx context.Context, local *server, run, perSecond int, length time.Duration, key func() string) ([]time.Duration, error) {
	prefix := fmt.Sprintf("run-%d-", run)
	number := int(length.Seconds() * float64(perSecond))
	w, err := watch(ctx, l.remote, prefix, number)
	if err != nil {
		return nil, err
	}
	acknowledged, err := writeSteadily(ctx, local, prefix, number, perSecond, key)
	if err != nil {
		w.stop()
		return nil, err
	}
	seen, err := w.wait(ctx)
	if err != nil {
		return nil, err
	}
	lags := make([]time.Duration, number)
	for i := range lags {
		// A member may be seen there before the acknowledgement is read here.
		lags[i] = max(0, seen[i].Sub(acknowledged[i]))
	}
	return lags, nil
}

// writeSteadily adds numbered members, and returns when each was acknowledged. It
// makes up for a write that was late, so that the rate holds; if it cannot, that
// is an error.
func writeSteadily(ctx context.Context, s *server, prefix string, number, perSecond int, key func() string) ([]time.Time, error) {
	c, err := dial(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	acknowledged := make([]time.Time, number)
	interval := time.Second / time.Duration(perSecond)
	begun := time.Now()
	for i := range acknowledged {
		if err := pass(ctx, time.Until(begun.Add(time.Duration(i)*interval))); err != nil {
			return nil, err
		}
		if _, err := c.do(encode("SADD", key(), fmt.Sprint(prefix, i))); err != nil {
			return nil, fmt.Errorf("write steadily: %w", err)
		}
		acknowledged[i] = time.Now()
	}
	wanted := time.Duration(number) * interval
	if took := time.Since(begun); took > wanted*11/10 {
		return nil, fmt.Errorf("write steadily: %d writes took %v instead of %v", number, took, wanted)
	}
	return acknowledged, nil
}
