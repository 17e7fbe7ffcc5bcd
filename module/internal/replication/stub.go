package replication

import (
	"maps"
	"slices"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// A stub is what is known of a key that was written while it was away, so that
// the local server may have a part of it only.
type stub struct {
	// touched are the elements that were written or removed here: of them, and
	// of no others, the local server knows the truth.
	touched map[string]struct{}
	kind    journal.Kind // whose elements they are
	heard   *change      // whose removals are in touched: it need not be looked through again
	asked   bool         // the remote was asked whether it has the key
	emptied bool         // nothing of the key is here any more, by a command

	tries int       // how often the rest was asked for
	next  time.Time // when it may be asked for again
}

// maxTouched bounds a stub. One that has more touched elements forgets that those
// beyond were removed here.
const maxTouched = 10_000

// How often the rest of a stub is asked for: at first, and at last.
const (
	stubRetry    = 200 * time.Millisecond
	stubRetryMax = time.Minute
)

// setStub makes k a stub, or ends that. The caller holds c.mu.
func (c *changes) setStub(k *keyChanges, st *stub) {
	k.stub = st
	if st == nil {
		delete(c.stubs, k.key)
	} else {
		c.stubs[k.key] = st
	}
}

// created is told that key has come to be, and whether it is certain that the
// remote does not have it either.
func (c *changes) created(key string, complete bool, old func() string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	if !k.read {
		c.take(k, old())
	}
	// What is on its way was here before the key went away, and is not now.
	sent := false
	for _, ch := range k.stack() {
		if ch.Base != journal.Keep {
			complete, sent = ch.Base == journal.Deleted, ch.Base == journal.Whole
		}
		sent = sent || len(ch.Elements) > 0
	}
	if complete && !sent || k.stub != nil {
		return
	}
	c.setStub(k, newStub())
	k.stub.asked = sent // the remote will have the key, whatever it says now
}

// doubt makes key, of which nothing is on its way, a stub with these elements: whose it
// is has just become a sponsor, and the remote may have more from an earlier time.
func (c *changes) doubt(key string, of journal.Kind, names []string, old func() string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	if !k.read {
		c.take(k, old())
	}
	if !k.idle() {
		return
	}
	if k.stub == nil {
		c.setStub(k, newStub())
	}
	k.stub.kind = of
	k.stub.touchNames(names)
}

// undoubt ends that, if the remote was not asked yet. The caller holds c.mu.
func (c *changes) undoubt(k *keyChanges) {
	if k.stub != nil && !k.stub.asked {
		c.setStub(k, nil)
		c.cleaned(k)
	}
}

// suspect makes key a stub: the remote may have more of it. But if all of it is on
// its way, what the remote has more was removed here. It reports whether key is a
// stub now.
func (c *changes) suspect(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	if k.dead != nil {
		return false // it waits for somebody's decision already
	}
	for _, ch := range k.stack() {
		if ch.Base != journal.Keep {
			return k.stub != nil
		}
	}
	if k.stub == nil {
		c.setStub(k, newStub())
		k.stub.asked = true
	}
	return true
}

// completed is told that the local server has all of key. The caller has the data
// set to itself.
func (c *changes) completed(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil && k.stub != nil {
		c.setStub(k, nil)
		c.cleaned(k)
	}
}

// alone is told that the remote has nothing of key that does not come from here: if
// st is still what is known of it, it is no stub any more. If nothing of it is left
// here, it is deleted by that. alone reports whether the key's mark is another one now.
func (c *changes) alone(key string, st *stub) (remarked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || st == nil || k.stub != st {
		return false
	}
	c.setStub(k, nil)
	if st.emptied {
		c.number++
		c.put(k, journal.Mark{Seq: c.number, Base: journal.Deleted})
		return true
	}
	c.cleaned(k)
	return !k.idle()
}

// emptied is told that nothing of key is here any more, by a command.
func (c *changes) emptied(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil && k.stub != nil {
		k.stub.emptied = true
	}
}

// incomplete are the stubs whose rest may be asked for now, and notes that it is.
func (c *changes) incomplete(now time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for key, st := range c.stubs {
		if !st.asked || now.Before(st.next) || c.keys[key].dead != nil {
			continue
		}
		st.next = now.Add(min(stubRetry<<min(st.tries, 16), stubRetryMax))
		st.tries++
		keys = append(keys, key)
	}
	return keys
}

func newStub() *stub { return &stub{touched: make(map[string]struct{})} }

// elements are the touched ones, as a mark holds them.
func (s *stub) elements() map[string]journal.Element {
	m := make(map[string]journal.Element, len(s.touched))
	for name := range s.touched {
		m[name] = journal.Element{}
	}
	return m
}

// journaled are the touched ones that a mark has room for.
func (s *stub) journaled() map[string]journal.Element {
	if len(s.touched) > journal.MaxElements {
		return nil
	}
	return s.elements()
}

// note is the mark of a stub of which nothing is on its way.
func (s *stub) note(number uint64) string {
	m := journal.Mark{Seq: number, Partial: true, Noted: true, Kind: max(s.kind, journal.Set), Elements: s.journaled()}
	return m.Encode()
}

// touch notes elements that were written or removed here.
func (s *stub) touch(elements map[string]journal.Element) {
	s.touchNames(slices.Collect(maps.Keys(elements)))
}

func (s *stub) touchNames(names []string) {
	for _, name := range names {
		if len(s.touched) < maxTouched {
			s.touched[name] = struct{}{}
		}
	}
}

// isStub reports whether the local server may have a part of key only.
func (c *changes) isStub(key string) bool { return c.stubOf(key) != nil }

// stubOf is the stub that key is, or nil.
func (c *changes) stubOf(key string) *stub {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil {
		return k.stub
	}
	return nil
}

// touch notes elements that the local server has, if key is a stub, and of which kind
// they are.
func (c *changes) touch(key string, of journal.Kind, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil && k.stub != nil {
		k.stub.kind = of
		k.stub.touchNames(names)
	}
}

// touched are the elements of a stub that were written or removed here, and whose
// elements they are; nil: not known. ok is false if key is no stub.
func (c *changes) touched(key string) (names []string, of *kind, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || k.stub == nil {
		return nil, nil, false
	}
	names = make([]string, 0, len(k.stub.touched))
	for name := range k.stub.touched {
		names = append(names, name)
	}
	return names, kindOf(k.stub.kind), true
}

// removed are the elements of a stub, all as removed: it has gone from its name.
func (c *changes) removed(key string) (journal.Kind, map[string]journal.Element) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || k.stub == nil {
		return journal.NoKind, nil
	}
	return max(k.stub.kind, journal.Set), k.stub.elements()
}

// unasked is the stub that key is, if the remote has not answered yet whether it has
// the key; else nil.
func (c *changes) unasked(key string) *stub {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || k.stub == nil || k.stub.asked {
		return nil
	}
	return k.stub
}

// asked is told that the remote has the key of st, perhaps from here.
func (c *changes) asked(st *stub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.asked = true
}

// knows reports whether the local server, which has key, knows better than the
// remote what became of an element.
func (c *changes) knows(key, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil {
		return false
	}
	if k.stub != nil {
		// What else is on its way was here before the key went away.
		_, ok := k.stub.touched[name]
		return ok
	}
	for _, ch := range k.stack() {
		if _, ok := ch.Elements[name]; ok {
			return true
		}
	}
	return false
}

// makeWhole has everything that is on its way sent as whole values: it may be
// older than what is copied next. merging says that the remote may have more.
func (c *changes) makeWhole(merging bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keys {
		next := k.next
		if next == nil || len(next.Elements) == 0 {
			continue
		}
		if merging && k.stub == nil && next.Base == journal.Keep {
			c.setStub(k, newStub())
			k.stub.kind = next.Kind
			k.stub.touch(next.Elements)
		}
		c.grow(next, next.MakeWhole())
		if k.stub != nil {
			next.Partial, next.Kind, next.Elements = true, max(k.stub.kind, journal.Set), k.stub.elements()
			c.grow(next, next.Size())
		}
	}
}
