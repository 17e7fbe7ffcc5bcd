package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollInterval is the pause between two looks at a condition.
const pollInterval = 10 * time.Millisecond

// finalError is one that waiting does not mend.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// final marks err as one that waiting does not mend.
func final(err error) error { return finalError{err} }

// eventually calls f until it returns nil or a final error, for d at most, and
// then returns the last error.
func eventually(ctx context.Context, d time.Duration, f func() error) error {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := f()
		if err == nil || errors.As(err, new(finalError)) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("not within %v: %w", d, err)
		case <-tick.C:
		}
	}
}
