package replication

import (
	"cmp"
	"slices"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// take makes a mark of the journal known. The caller holds c.mu.
func (c *changes) take(k *keyChanges, text string) {
	k.read = true
	if text == "" {
		return
	}
	k.marked = true
	m, err := journal.Decode(text)
	if err != nil {
		c.number++
		m.Seq = c.number
	}
	c.number = max(c.number, m.Seq)
	if m.Partial {
		c.setStub(k, newStub())
		k.stub.asked = true
		k.stub.kind = m.Kind
		for name, element := range m.Elements {
			if m.Base != journal.Whole || !element.Present { // else it was added before
				k.stub.touch(map[string]journal.Element{name: element})
			}
		}
	}
	if m.Empty() {
		c.cleaned(k)
	} else {
		c.put(k, m)
	}
	k.old = m.Seq
}

// setNoted is told what the journal knows of the remote's record.
func (c *changes) setNoted(n noted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number, c.noted = max(c.number, n.high), n
}

func (c *changes) lastNoted() noted {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.noted
}

// progress tells up to which number all changes have ended, and the highest that has
// landed, ever. Dead letters have not ended: they may be sent again, with their
// numbers, after a restart.
func (c *changes) progress() (low, high uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	low = c.number
	if oldest, ok := c.oldest(); ok {
		low = oldest.first - 1
	}
	for _, k := range c.dead {
		low = min(low, k.dead.change.first-1)
	}
	high = max(c.noted.high, c.high)
	return min(low, high), high
}

// dropStale forgets marks that were read from an old journal, and of which the remote
// has more than they say: all changes up to low are there. high is the highest that
// it has. It counts them.
func (c *changes) dropStale(low, high uint64) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number = max(c.number, high)
	for _, k := range c.keys {
		if k.old == 0 || k.old > low || k.flying != nil {
			continue
		}
		n++
		c.setStub(k, nil)
		if next := k.next; next != nil {
			k.next = nil
			c.finish(k, next)
		} else {
			c.cleaned(k)
		}
	}
	c.tellWaiters()
	return n
}

// nothingKnown reports whether nothing is known of key, so that the remote's value is
// as good.
func (c *changes) nothingKnown(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k == nil || k.idle() && k.stub == nil
}

// readMark makes sure that the mark of key has been taken into account. old reads
// it. The caller has the data set to itself.
func (c *changes) readMark(key string, old func() string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unread {
		return
	}
	if k := c.at(key); !k.read {
		c.take(k, old())
	}
}

// recovered is told of a mark that was found in the journal.
func (c *changes) recovered(key, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.at(key); !k.read {
		c.take(k, text)
	}
}

func (c *changes) isRead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unread
}

// allRead is told that the journal has been read to its end.
func (c *changes) allRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unread {
		return
	}
	c.unread = false
	for _, k := range c.keys {
		k.read = true
	}
	all := make([]*change, 0, c.order.Len())
	for e := c.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*change))
	}
	slices.SortFunc(all, func(a, b *change) int { return cmp.Compare(a.first, b.first) })
	c.order.Init()
	for _, ch := range all {
		ch.place = c.order.PushBack(ch)
	}
	c.tellWaiters()
}

// readAgain is told that the journal may have other marks now.
func (c *changes) readAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = true
	for _, k := range c.keys {
		k.read = false
	}
}

// cleaned has the mark of k removed soon, if there is nothing it speaks of. The
// caller holds c.mu.
func (c *changes) cleaned(k *keyChanges) {
	switch {
	case !k.idle():
	case !k.marked && k.stub == nil && k.held == 0 && k.read:
		delete(c.keys, k.key)
	case k.marked:
		c.clean = append(c.clean, k.key)
		signal(c.sweep)
	}
}

func (k *keyChanges) idle() bool { return k.next == nil && k.flying == nil && k.dead == nil }

// gone is told that key has gone by itself: evicted or expired. What was to be
// sent as a whole cannot be sent any more. An expiry that the remote does not know
// of yet becomes a deletion there.
func (c *changes) gone(key string, expired bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil {
		return
	}
	c.setStub(k, nil)
	switch {
	case expired && (k.next != nil || k.flying != nil):
		c.number++
		c.put(k, journal.Mark{Seq: c.number, Base: journal.Deleted})
	case k.next != nil && k.next.Base == journal.Whole:
		c.lost++
		next := k.next
		c.grow(next, -next.size)
		if next.Unwhole() {
			return // it was deleted before, and that is still to be told
		}
		k.next = nil
		c.finish(k, next)
		c.tellWaiters()
	default:
		c.cleaned(k)
	}
}

// flushed is told that all keys have gone, and the journal with them. What is
// known of stubs counts no more.
func (c *changes) flushed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keys {
		c.setStub(k, nil)
		c.cleaned(k)
	}
}

// tidy takes some keys whose marks may have to go, and reports whether there are more.
func (c *changes) tidy(most int) (keys []string, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(most, len(c.clean))
	keys = slices.Clone(c.clean[:n])
	c.clean = c.clean[n:]
	if more = len(c.clean) > 0; more {
		signal(c.sweep)
	}
	return keys, more
}

// settled tells what is to become of key's mark: it goes, or it becomes mark, if
// that is not empty. ok is false if it stays. The caller has the data set to
// itself, and does so at once.
func (c *changes) settled(key string) (mark string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || !k.idle() || c.unread {
		return "", false
	}
	if k.stub != nil {
		return k.stub.note(c.number), true
	}
	if k.held == 0 {
		delete(c.keys, key)
	}
	return "", true
}

// marks are the marks that the journal should hold, of some keys.
func (c *changes) marks(keys []string) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	marks := make(map[string]string, len(keys))
	for _, key := range keys {
		k := c.keys[key]
		if k == nil {
			continue
		}
		var m journal.Mark
		for _, ch := range k.stack() {
			m.Add(ch.Mark)
		}
		m.Partial = k.stub != nil
		switch {
		case !m.Empty():
			k.marked = true
			marks[key] = m.Encode()
		case m.Partial:
			k.marked = true
			marks[key] = k.stub.note(c.number)
		}
	}
	return marks
}

// stack is all that is known of k's changes, the oldest first.
func (k *keyChanges) stack() []*change {
	var all []*change
	if k.dead != nil {
		all = append(all, k.dead.change)
	}
	if k.flying != nil {
		all = append(all, k.flying)
	}
	if k.next != nil {
		all = append(all, k.next)
	}
	return all
}

// names are all keys that something is known of.
func (c *changes) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]string, 0, len(c.keys))
	for key := range c.keys {
		keys = append(keys, key)
	}
	return keys
}
