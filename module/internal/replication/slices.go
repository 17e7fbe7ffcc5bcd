package replication

import (
	"context"
	"strconv"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// How long we keep the server to ourselves, and how long we leave it alone in
// between: a client waits for one slice at most, and two thirds of the main
// thread's time are everybody else's. While nobody else does anything we go on at
// once; whoever comes waits for one slice at most all the same.
const (
	sliceBudget = 500 * time.Microsecond
	slicePause  = time.Millisecond
)

// inSlices calls step again and again on local's data set, until it is done or
// fails, in slices that keep the server responsive. After each slice it calls
// between, if not nil, while the server is free.
func inSlices(ctx context.Context, local Local, step func(Data) (done bool, err error), between func() error) error {
	commands := local.Commands()
	for {
		var (
			done    bool
			stepErr error
		)
		err := local.Do(func(d Data) {
			for start := time.Now(); !done && stepErr == nil && time.Since(start) < sliceBudget; {
				done, stepErr = step(d)
			}
		})
		if err != nil {
			return err
		}
		if stepErr != nil {
			return stepErr
		}
		if between != nil {
			if err := between(); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		now := local.Commands()
		quiet := now == commands
		commands = now
		if quiet && ctx.Err() == nil {
			continue
		}
		if err := pause(ctx, slicePause); err != nil {
			return err
		}
	}
}

// eachInSlices calls step with each item of list, in slices.
func eachInSlices[T any](ctx context.Context, local Local, list []T, step func(Data, T) error) error {
	return inSlices(ctx, local, func(d Data) (bool, error) {
		if len(list) == 0 {
			return true, nil
		}
		item := list[0]
		list = list[1:]
		return false, step(d, item)
	}, nil)
}

// scanHere calls found with the keys of local that match a glob, as SCAN lists them,
// in slices: a key may come twice.
func scanHere(ctx context.Context, local Local, glob string, found func(keys []string)) error {
	cursor := "0"
	return inSlices(ctx, local, func(d Data) (bool, error) {
		reply, err := d.Read("SCAN", cursor, "MATCH", glob, "COUNT", strconv.Itoa(pageSize))
		if err != nil {
			return false, err
		}
		next, keys, err := resp.Page(reply)
		if err != nil {
			return false, err
		}
		found(keys)
		cursor = next
		return next == "0", nil
	}, nil)
}

// rest waits for d, whatever happens.
func rest(d time.Duration) { <-time.After(d) }

// pause waits for d, or for ctx to end, which is an error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
