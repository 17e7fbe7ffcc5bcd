package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Unrelated is the traffic of the project's other keys, and of people who are nobody's
// sponsors, in keys like the sponsors'. Nothing is promised to it, except that none of
// it reaches the remote.
type unrelated struct {
	w    *world
	db   *redis.Client
	dice *dice
}

const (
	unrelatedKeys = 4000
	// outsider begins the ids of people who never sponsor.
	outsider = "outsider-"
)

// rush sends a batch of commands in every so often, until ctx ends.
func (u *unrelated) rush(ctx context.Context, every time.Duration, batch int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		u.w.gate.RLock()
		pipe := u.db.Pipeline()
		for range batch {
			pipe.Do(ctx, words(u.command(u.dice.IntN(unrelatedKeys)))...)
		}
		_, _ = pipe.Exec(ctx) // whatever they answer
		u.w.gate.RUnlock()
		u.w.counts.unrelated.Add(int64(batch))
	}
}

func (u *unrelated) command(n int) command {
	switch u.dice.IntN(4) {
	case 0:
		return command{"GET", fmt.Sprintf("graph:%d", n)}
	case 1:
		return command{"SMEMBERS", fmt.Sprintf("user:%s%d:mnodes", outsider, n)}
	}
	return fillCommand(n)
}

// fillCommand writes the key with that number, always the same.
func fillCommand(n int) command {
	if n%4 == 0 {
		return command{"SADD", fmt.Sprintf("user:%s%d:mnodes", outsider, n), "a", "b", "c"}
	}
	return command{"SET", fmt.Sprintf("graph:%d", n), strings.Repeat("x", 100+n%900)}
}

// fill writes all of them.
func (w *world) fill(ctx context.Context) error {
	for n := 0; n < unrelatedKeys; {
		pipe := w.local.db.Pipeline()
		for range 1000 {
			pipe.Do(ctx, words(fillCommand(n))...)
			n++
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("write the unrelated keys: %w", err)
		}
	}
	return nil
}
