//go:build fault

// Package fault makes named places fail on demand, so that tests can walk over
// them. This is the build for tests.
package fault

import "sync"

var (
	mu    sync.Mutex
	armed = map[string]int{}
)

// Point panics if Arm has named it. It may be called from any goroutine.
func Point(name string) {
	mu.Lock()
	n := armed[name]
	if n > 0 {
		armed[name] = n - 1
	}
	mu.Unlock()
	if n > 0 {
		panic("injected at " + name)
	}
}

// Arm makes the next n passes of the point name panic.
func Arm(name string, n int) {
	mu.Lock()
	defer mu.Unlock()
	armed[name] = n
}
