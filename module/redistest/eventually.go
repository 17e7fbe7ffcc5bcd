package redistest

import (
	"testing"
	"time"
)

// pollInterval is the pause between two looks at a condition.
const pollInterval = 5 * time.Millisecond

// Eventually calls f until it returns nil, for d at most, and then fails the
// test with the last error. Call it from the test's own goroutine.
func Eventually(t testing.TB, d time.Duration, f func() error) {
	t.Helper()
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %v", d, err)
		case <-tick.C:
		}
	}
}
