package replication

import (
	"slices"
	"time"
)

// A waiter waits until what was written up to a number has landed.
type waiter struct {
	upTo uint64
	keys []string   // of these keys; nil: of all
	done chan error // gets one value
}

func (w *waiter) end(err error) { w.done <- err }

// wait begins to wait for all that has been written up to now.
func (c *changes) wait() *waiter { return c.waitFor(nil) }

// waitFor begins to wait for what has been written to keys up to now.
func (c *changes) waitFor(keys []string) *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Numbers are of the clock, so that those in a journal that was not read
	// yet are not higher.
	c.number = max(c.number, uint64(time.Now().UnixMicro()))
	w := &waiter{upTo: c.number, keys: keys, done: make(chan error, 1)}
	c.waiters = append(c.waiters, w)
	c.tellWaiters()
	return w
}

// stop ends waiting, if it has not ended.
func (c *changes) stop(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiters = slices.DeleteFunc(c.waiters, func(other *waiter) bool { return other == w })
}

// tellWaiters ends the waiting of those whose changes have landed. The caller
// holds c.mu.
func (c *changes) tellWaiters() {
	if len(c.waiters) == 0 {
		return
	}
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if c.isWaiting(w) {
			return false
		}
		w.end(nil)
		return true
	})
}

// isWaiting reports whether what w waits for is still on its way. The caller holds
// c.mu.
func (c *changes) isWaiting(w *waiter) bool {
	if w.keys == nil {
		oldest, some := c.oldest()
		return c.unread || !c.met || some && oldest.first <= w.upTo
	}
	return slices.ContainsFunc(w.keys, func(key string) bool {
		k := c.keys[key]
		if k == nil {
			return false
		}
		return k.flying != nil && k.flying.first <= w.upTo || k.next != nil && k.next.first <= w.upTo
	})
}

// oldest is the change that has been on its way for the longest time. The caller
// holds c.mu.
func (c *changes) oldest() (*change, bool) {
	front := c.order.Front()
	if front == nil {
		return nil, false
	}
	return front.Value.(*change), true
}

// left counts the changes up to a number that the remote has not acknowledged,
// dead letters among them.
func (c *changes) left(upTo uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if c.unread || !c.met {
		n++ // something, we do not know how much
	}
	for _, k := range c.keys {
		if all := k.stack(); len(all) > 0 && all[0].first <= upTo {
			n++
		}
	}
	return n
}

// A backlog is how much is on its way.
type backlog struct {
	keys        int
	lag         time.Duration // how long the oldest change has waited
	deadLetters int
	bytes       int64
	landed      int64
	lost        int64
}

func (c *changes) backlog() backlog {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := backlog{keys: c.pending, deadLetters: len(c.dead), bytes: c.bytes, landed: c.landed, lost: c.lost}
	if oldest, ok := c.oldest(); ok {
		b.lag = time.Since(oldest.since)
	}
	return b
}

func (c *changes) isMet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.met
}

// setMet tells whether what was here before has been copied, so that nothing but
// changes has to travel.
func (c *changes) setMet(met bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met = met
	c.tellWaiters()
}
