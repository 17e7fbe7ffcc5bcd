package main

import (
	"context"
	"sync"
	"time"
)

// openLoop calls send a number of times at a fixed rate, in turns on lanes of which each
// has one call under way at most, and returns how long each call took. A call that comes
// late because the one before it on its lane did not end counts from when it was due, as
// somebody who waited would count; so does one that a timer wakes late. The first error
// ends it.
func openLoop(ctx context.Context, number, perSecond, lanes int, send func(lane, i int) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		took  = make([]time.Duration, number)
		all   sync.WaitGroup
		begun = time.Now()
	)
	for lane := range lanes {
		all.Go(func() {
			for i := lane; i < number; i += lanes {
				due := begun.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
				if pass(ctx, time.Until(due)) != nil {
					return
				}
				if err := send(lane, i); err != nil {
					cancel(err)
					return
				}
				took[i] = time.Since(due)
			}
		})
	}
	all.Wait()
	return took, context.Cause(ctx)
}
