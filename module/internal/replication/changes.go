package replication

import (
	"container/list"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// changes are what has happened to replicated keys and is not acknowledged by
// the remote: the journal, as the server's memory has it. A change is at first
// next in its key's line; then it is flying, which one change of a key is at a
// time; then it has landed, or is next again, or is a dead letter. It may be used
// concurrently, and outlives sessions: what one has not sent, the next one sends.
type changes struct {
	mu     sync.Mutex
	keys   map[string]*keyChanges
	order  *list.List    // of *change: all on their way, by the number of their first write
	queue  []*keyChanges // that may fly
	parked []*keyChanges // that wait for unpark, and perhaps others
	wake   chan struct{} // holds one token while the queue is not empty

	number  uint64 // the last that was given to a write
	flights uint64 // the last that was given to a flight
	noted   noted  // what the journal knows of the remote's record
	high    uint64 // the highest that has landed

	lastFlight time.Time // when a batch has flown last, or will
	bytes      int64     // of all elements
	limit      int64     // of bytes; what comes beyond it is sent as whole keys

	unread bool     // the journal may hold marks that were not read yet
	clean  []string // keys whose marks may go
	sweep  chan struct{}

	stubs   map[string]*stub
	dead    map[string]*keyChanges // that are dead letters
	waiters []*waiter

	met     bool  // what was here before has been copied
	pending int   // how many keys have changes on their way
	landed  int64 // how many changes have landed
	lost    int64 // how many could not be saved
}

// keyChanges are the changes to one key.
type keyChanges struct {
	key    string
	next   *change
	flying *change
	flight uint64 // the number of flying's flight
	dead   *DeadLetter
	held   int    // by how many its value is being read; then nothing flies
	queued bool   // is in the queue
	parked bool   // waits until it is known who the sponsors are
	read   bool   // its mark in the journal has been taken into account
	old    uint64 // the number of that mark, if nothing has been written since; else 0
	marked bool   // the journal may hold a mark
	stub   *stub
	torn   int // how often its value has become another one while it was read

	pending bool // is counted as pending
}

// maxChange is how many bytes of elements a change may have: what is larger is sent
// page by page, as a whole.
const maxChange = 1 << 20

// A change is a mark on its way.
type change struct {
	journal.Mark
	first uint64    // number of its first write
	since time.Time // of its first write
	place *list.Element

	size int64 // about how many bytes its elements take

	// disowned says that the key has changed since, while its owner was no sponsor: this
	// is not to be sent again.
	disowned bool

	// repair asks for the whole value, if the local server has it: the remote
	// may have lost what it refused this change for.
	repair bool
}

// bare reports whether ch is an erasure, and nothing was written since.
func (ch *change) bare() bool { return ch.Base == journal.Deleted && len(ch.Elements) == 0 }

func newChanges() *changes {
	c := &changes{wake: make(chan struct{}, 1), sweep: make(chan struct{}, 1), limit: 64 << 20}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	return c
}

// clear forgets everything. The caller holds c.mu.
func (c *changes) clear() {
	c.keys = make(map[string]*keyChanges)
	c.order = list.New()
	c.stubs = make(map[string]*stub)
	c.dead = make(map[string]*keyChanges)
	c.queue, c.parked, c.clean, c.bytes, c.pending = nil, nil, nil, 0, 0
	c.noted, c.high = noted{}, 0
	c.unread = true
	for _, w := range c.waiters {
		w.end(ErrReplica)
	}
	c.waiters = nil
}

// reset forgets everything: the journal is somebody else's now, or another one.
func (c *changes) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
}

// at is what is known of key. The caller holds c.mu.
func (c *changes) at(key string) *keyChanges {
	k := c.keys[key]
	if k == nil {
		k = &keyChanges{key: key, read: !c.unread}
		c.keys[key] = k
	}
	return k
}

// add notes a change to key, and returns the mark that the journal has to hold
// from now on. old reads the mark that it holds; it is called if that is not known
// yet. The caller has the data set to itself.
func (c *changes) add(key string, m journal.Mark, old func() string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	if !k.read {
		c.take(k, old())
	}
	c.number = max(c.number+1, uint64(time.Now().UnixMicro()))
	m.Seq, m.Partial = c.number, k.stub != nil
	k.marked = true
	if k.stub != nil {
		k.stub.kind, k.stub.emptied = max(m.Kind, k.stub.kind), false
		k.stub.touch(m.Elements)
		if m.Base == journal.Whole {
			k.touchRemoved()
			m.Elements = k.stub.journaled() // they must outlive a crash
			m.Kind = max(k.stub.kind, journal.Set)
		}
	}
	c.put(k, m)
	if len(k.next.Elements) > 0 && (c.bytes > c.limit || k.next.size > maxChange) {
		c.grow(k.next, k.next.MakeWhole())
	}
	if k.flying == nil {
		return k.next.Encode()
	}
	return journal.EncodeBoth(&k.flying.Mark, &k.next.Mark)
}

// touchRemoved notes that elements of k, a stub, were removed before it went away, as far
// as the remote does not know. The caller holds c.mu.
func (k *keyChanges) touchRemoved() {
	for _, ch := range k.stack() {
		if ch.Base == journal.Whole || ch == k.stub.heard {
			continue // what its elements are says the stub
		}
		k.stub.heard = ch
		for name, element := range ch.Elements {
			if !element.Present {
				k.stub.touch(map[string]journal.Element{name: element})
			}
		}
	}
}

// put makes m a part of what is next for k. The caller holds c.mu.
func (c *changes) put(k *keyChanges, m journal.Mark) {
	if k.next == nil {
		k.next = &change{first: m.Seq, since: time.Now()}
		if k.dead != nil {
			k.next = c.revive(k)
		}
		c.place(k.next)
	}
	k.old = 0
	c.grow(k.next, k.next.Add(m))
	c.enqueue(k)
	c.count(k)
}

// grow notes that a change takes more memory, or less. The caller holds c.mu.
func (c *changes) grow(ch *change, bytes int64) {
	ch.size += bytes
	c.bytes += bytes
}

// count counts k as pending, or not any more. The caller holds c.mu.
func (c *changes) count(k *keyChanges) {
	now := k.next != nil || k.flying != nil
	switch {
	case now && !k.pending:
		c.pending++
	case !now && k.pending:
		c.pending--
	}
	k.pending = now
}

// place puts a change into the order. The caller holds c.mu.
func (c *changes) place(ch *change) {
	if c.unread {
		ch.place = c.order.PushBack(ch) // allRead puts them in order
		return
	}
	// Nearly always at the end.
	for e := c.order.Back(); e != nil; e = e.Prev() {
		if e.Value.(*change).first <= ch.first {
			ch.place = c.order.InsertAfter(ch, e)
			return
		}
	}
	ch.place = c.order.PushFront(ch)
}

// leave takes a change out of the order. The caller holds c.mu.
func (c *changes) leave(ch *change) {
	c.order.Remove(ch.place)
	ch.place = nil
}

// enqueue lets k fly if it can. The caller holds c.mu.
func (c *changes) enqueue(k *keyChanges) {
	if k.next == nil || k.queued || k.parked || k.flying != nil || k.held > 0 {
		return
	}
	k.queued = true
	c.queue = append(c.queue, k)
	signal(c.wake)
}

// gather tells how long to wait before changes fly, so that many of them share what a
// batch costs: not at all if none has flown for a while, or there are many already.
func (c *changes) gather() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	wait := c.lastFlight.Add(gathering).Sub(now)
	if wait <= 0 || len(c.queue) >= flightKeys {
		c.lastFlight = now
		return 0
	}
	c.lastFlight = now.Add(wait)
	return wait
}

// A flight is a change that is being sent.
type flight struct {
	key string
	*change
	number uint64 // a change may fly more than once
}

// fly takes some changes that are to be sent, or none if there are none. The
// caller tells of each how it has ended: land, back or die.
func (c *changes) fly(most int, bytes int64) []flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	var flights []flight
	for len(c.queue) > 0 && len(flights) < most && bytes > 0 {
		k := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		k.queued = false
		if c.keys[k.key] != k || k.next == nil || k.flying != nil || k.held > 0 {
			continue // it will be queued again, or is forgotten
		}
		k.flying, k.next = k.next, nil
		bytes -= k.flying.size
		c.flights++
		k.flight = c.flights
		flights = append(flights, flight{k.key, k.flying, k.flight})
	}
	if len(c.queue) > 0 {
		signal(c.wake)
	}
	return flights
}

// ended finds what f belongs to, unless that was forgotten. The caller holds c.mu.
func (c *changes) ended(f flight) *keyChanges {
	k := c.keys[f.key]
	if k == nil || k.flying != f.change || k.flight != f.number {
		return nil
	}
	k.flying = nil
	return k
}

// land is told that the remote has what was sent.
func (c *changes) land(flights ...flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range flights {
		if k := c.ended(f); k != nil {
			c.landed++
			c.high = max(c.high, f.Seq)
			k.torn = 0
			if f.disowned && k.stub == nil {
				c.repair(k)
			}
			c.finish(k, f.change)
		}
	}
	c.tellWaiters()
}

// repair has the value of k, if it is here, take the place of what the remote has: that
// is older. If the owner is no sponsor by then, it does not travel. The caller holds
// c.mu.
func (c *changes) repair(k *keyChanges) {
	c.number = max(c.number+1, uint64(time.Now().UnixMicro()))
	c.put(k, journal.Mark{Seq: c.number, Base: journal.Whole})
	k.next.repair = true
}

// drop is told that a whole value cannot be sent, because it is not here; unless
// something newer makes up for that, it is lost. What was deleted before is still to
// be told.
func (c *changes) drop(lost bool, f flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.ended(f)
	if k == nil {
		return
	}
	if lost {
		c.lost++
	}
	c.grow(f.change, -f.size)
	if f.Unwhole() {
		c.restack(k, f.change)
		c.enqueue(k)
		return
	}
	c.finish(k, f.change)
	c.tellWaiters()
}

// forget is told that a key does not travel.
func (c *changes) forget(f flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.ended(f); k != nil {
		c.setStub(k, nil)
		c.finish(k, f.change)
	}
	c.tellWaiters()
}

// finish ends a change to k. The caller holds c.mu.
func (c *changes) finish(k *keyChanges, ch *change) {
	c.leave(ch)
	c.bytes -= ch.size
	c.enqueue(k)
	c.count(k)
	c.cleaned(k)
}

// back is told that it is not known whether the remote has what was sent.
func (c *changes) back(flights ...flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range flights {
		if k := c.ended(f); k != nil {
			c.restack(k, f.change)
			c.enqueue(k)
		}
	}
}

// park is told that it cannot be known yet whether what was to be sent may leave
// this server. It is sent, or not, after unpark.
func (c *changes) park(f flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.ended(f); k != nil {
		c.restack(k, f.change)
		if k.parked = k.next != nil; k.parked {
			c.parked = append(c.parked, k)
		}
	}
}

func (c *changes) unpark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.parked {
		if c.keys[k.key] == k && k.parked {
			k.parked = false
			c.enqueue(k)
		}
	}
	c.parked = nil
}

// disown is told that key, which is somebody's who is no sponsor, has changed.
func (c *changes) disown(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil {
		return
	}
	c.undoubt(k)
	if k.flying != nil {
		k.flying.disowned = true
	}
	if k.dead != nil && !k.dead.change.Erase {
		c.revive(k)
		c.cleaned(k)
	}
	if next := k.next; next != nil && !next.Erase {
		k.next, k.parked = nil, false
		c.finish(k, next)
		c.tellWaiters()
	}
}

// restack puts an older change under what is next for k, if it is still to be sent. The
// caller holds c.mu.
func (c *changes) restack(k *keyChanges, older *change) {
	if older.disowned && !older.Erase {
		c.finish(k, older)
		c.tellWaiters()
		return
	}
	if newer := k.next; newer != nil {
		c.bytes -= newer.size
		c.grow(older, older.Add(newer.Mark))
		c.leave(newer)
	}
	k.next = older
}

// hold keeps changes to key from flying until release, because its value is
// being read: what is read must not arrive at the other side after what was
// written later. It returns the change that flies already, if there is one, and the
// stub that key is, if it is one.
func (c *changes) hold(key string) (flying *change, st *stub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	k.held++
	return k.flying, k.stub
}

// flies reports whether a change of key is under way.
func (c *changes) flies(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k != nil && k.flying != nil
}

// moves reports whether a change of key is under way, or waits to be; a dead letter does
// not.
func (c *changes) moves(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k != nil && (k.flying != nil || k.next != nil)
}

// fliesOpaque reports whether ch is flying to key still, and does not tell what the
// remote will have then: it is a whole value, or one that will be repaired.
func (c *changes) fliesOpaque(key string, ch *change) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k != nil && ch != nil && k.flying == ch && (ch.Base == journal.Whole || ch.disowned)
}

func (c *changes) release(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || k.held == 0 {
		return // forgotten meanwhile
	}
	if k.held--; k.held == 0 {
		c.enqueue(k)
		c.cleaned(k)
	}
}

// superseded reports whether what is next for key makes up for everything before.
func (c *changes) superseded(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k == nil || k.next != nil && k.next.Base != journal.Keep
}

// onItsWay are the states of key's elements that are on their way, those of under
// beneath, which was flying before.
func (c *changes) onItsWay(key string, under *change) journal.Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	var m journal.Mark
	k := c.keys[key]
	list := []*change{under}
	if under != nil && under.Base == journal.Whole && (k == nil || k.next != under) {
		list = nil // it has landed before the remote was read
	}
	if k != nil {
		if k.flying != under {
			list = append(list, k.flying)
		}
		list = append(list, k.next)
	}
	for _, ch := range list {
		if ch != nil {
			m.Add(ch.Mark)
		}
	}
	return m
}

// unsent is all that the remote does not have of key, with what it has refused.
func (c *changes) unsent(key string) journal.Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	var m journal.Mark
	if k := c.keys[key]; k != nil {
		for _, ch := range k.stack() {
			m.Add(ch.Mark)
		}
	}
	return m
}

// elementOnItsWay is the state of one element that is on its way, if there is one.
func (c *changes) elementOnItsWay(key, name string) (state Element, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil {
		return Element{}, false
	}
	for _, ch := range []*change{k.next, k.flying} { // the newest first
		if ch == nil {
			continue
		}
		if state, ok = ch.Elements[name]; ok || ch.Base != journal.Keep {
			break
		}
	}
	return state, ok
}

// torn is told that the value of key has become another one while it was read.
func (c *changes) torn(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[key]; k != nil {
		k.torn++
	}
}

// tornOften reports whether that has happened more often than can be borne.
func (c *changes) tornOften(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k != nil && k.torn >= maxTorn
}

// maxTorn is how often a large list that is written all the time is read in vain,
// page by page, before it is read in one go.
const maxTorn = 3

func (c *changes) setLimit(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = bytes
}
