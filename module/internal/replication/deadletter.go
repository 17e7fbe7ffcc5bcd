package replication

import (
	"errors"
	"slices"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// A DeadLetter is a change that the remote has refused.
type DeadLetter struct {
	Key    string
	Reason string
	When   time.Time

	change   *change
	disputed bool // the remote has another value; ours may be a part only
}

// die is told that the remote refuses what was sent.
func (c *changes) die(f flight, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.ended(f)
	if k == nil {
		return
	}
	if k.next != nil {
		c.restack(k, f.change) // it is tried again with what has been written since
		c.enqueue(k)
		return
	}
	c.leave(f.change)
	c.count(k)
	c.dead[k.key] = k
	k.dead = &DeadLetter{
		Key: f.key, Reason: reason.Error(), When: time.Now(), change: f.change, disputed: errors.Is(reason, errDisputed),
	}
	c.tellWaiters()
}

// revive makes k no dead letter any more, and returns what was one. The caller holds c.mu.
func (c *changes) revive(k *keyChanges) *change {
	ch := k.dead.change
	k.dead = nil
	delete(c.dead, k.key)
	return ch
}

// deadLetters are what the remote has refused, the latest first.
func (c *changes) deadLetters() []DeadLetter {
	c.mu.Lock()
	defer c.mu.Unlock()
	var letters []DeadLetter
	for _, k := range c.dead {
		letters = append(letters, *k.dead)
	}
	slices.SortFunc(letters, func(a, b DeadLetter) int { return b.When.Compare(a.When) })
	return letters
}

// retry sends dead letters again, of keys, or of all if there are none, and
// returns how many. Naming the key of a dispute decides it.
func (c *changes) retry(keys []string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.dead {
		if len(keys) > 0 && !slices.Contains(keys, k.key) {
			continue
		}
		n++
		if k.dead.disputed && len(keys) > 0 {
			c.setStub(k, nil) // somebody has decided
			c.grow(k.dead.change, k.dead.change.MakeWhole())
		}
		c.number++
		k.next = c.revive(k)
		k.next.first, k.next.since = c.number, time.Now() // they have left the numbering
		k.next.repair = k.next.Base == journal.Keep
		c.place(k.next)
		c.enqueue(k)
		c.count(k)
	}
	return n
}
