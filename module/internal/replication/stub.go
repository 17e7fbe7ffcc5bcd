package replication

import (
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// A stub is what is known of a key that was written while it was away, so that
// the local server may have a part of it only.
type stub struct {
	// touched are the elements that were written or removed here: of them, and
	// of no others, the local server knows the truth.
	touched map[string]struct{}
	asked   bool // the remote was asked whether it has the key
}

// maxTouched bounds a stub. One that has more touched elements forgets that those
// beyond were removed here.
const maxTouched = 10_000

// created is told that key has come to be, and whether it is certain that the
// remote does not have it either.
func (c *changes) created(key string, complete bool, old func() string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	if !k.read {
		c.take(k, old())
	}
	for _, ch := range k.stack() {
		if ch.Base != journal.Keep {
			complete = ch.Base == journal.Deleted // a whole value has been lost since
		}
	}
	if !complete {
		k.stub = newStub()
	}
}

// completed is told that the local server has all of key.
func (c *changes) completed(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil && k.stub != nil {
		k.stub = nil
		c.cleaned(k)
	}
}

func newStub() *stub { return &stub{touched: make(map[string]struct{})} }

// touch notes elements that were written or removed here.
func (s *stub) touch(elements map[string]journal.Element) {
	for name := range elements {
		if len(s.touched) < maxTouched {
			s.touched[name] = struct{}{}
		}
	}
}

// isStub reports whether the local server may have a part of key only.
func (c *changes) isStub(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k != nil && k.stub != nil
}

// touch notes elements that the local server has, if key is a stub.
func (c *changes) touch(key string, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil && k.stub != nil {
		for _, name := range names {
			if len(k.stub.touched) < maxTouched {
				k.stub.touched[name] = struct{}{}
			}
		}
	}
}

// touched are the elements of a stub that were written or removed here. ok is
// false if key is no stub.
func (c *changes) touched(key string) (names []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || k.stub == nil {
		return nil, false
	}
	names = make([]string, 0, len(k.stub.touched))
	for name := range k.stub.touched {
		names = append(names, name)
	}
	return names, true
}

// unasked reports whether key is a stub of which the remote has not answered yet
// whether it has the key.
func (c *changes) unasked(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k != nil && k.stub != nil && !k.stub.asked
}

// asked is told that the remote has key, beside what may have come from here.
func (c *changes) asked(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil && k.stub != nil {
		k.stub.asked = true
	}
}

// knows reports whether the local server knows better than the remote what became
// of an element of key: it is on its way, or was written or removed in a stub.
func (c *changes) knows(key, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil {
		return false
	}
	for _, ch := range k.stack() {
		if _, ok := ch.Elements[name]; ok {
			return true
		}
	}
	if k.stub != nil {
		_, ok := k.stub.touched[name]
		return ok
	}
	return false
}
