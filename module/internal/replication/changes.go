package replication

import (
	"container/list"
	"slices"
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
	mu    sync.Mutex
	keys  map[string]*keyChanges
	order *list.List    // of *change: all on their way, by the number of their first write
	queue []*keyChanges // that may fly
	wake  chan struct{} // holds one token while the queue is not empty

	number uint64 // the last that was given
	bytes  int64  // of all elements
	limit  int64  // of bytes; what comes beyond it is sent as whole keys

	unread bool     // the journal may hold marks that were not read yet
	clean  []string // keys whose marks may go
	sweep  chan struct{}

	waiters []*waiter

	dead   int   // how many keys are dead letters
	landed int64 // how many changes have landed
	lost   int64 // how many could not be saved
}

// keyChanges are the changes to one key.
type keyChanges struct {
	key    string
	next   *change
	flying *change
	dead   *DeadLetter
	held   int  // by how many its value is being read; then nothing flies
	queued bool // is in the queue
	parked bool // waits until it is known who the sponsors are
	read   bool // its mark in the journal has been taken into account
	marked bool // the journal may hold a mark
	stub   *stub
}

// A change is a mark on its way.
type change struct {
	journal.Mark
	first uint64    // number of its first write
	since time.Time // of its first write
	place *list.Element

	// repair asks for the whole value, if the local server has it: the remote
	// may have lost what it refused this change for.
	repair bool
}

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

// A DeadLetter is a change that the remote has refused.
type DeadLetter struct {
	Key    string
	Reason string
	When   time.Time

	change *change
}

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
	c.queue, c.clean, c.bytes, c.dead = nil, nil, 0, 0
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
		k.stub.touch(m.Elements)
	}
	c.put(k, m)
	if c.bytes > c.limit {
		c.bytes += k.next.MakeWhole()
	}
	if k.flying == nil {
		return k.next.Encode()
	}
	return journal.EncodeBoth(&k.flying.Mark, &k.next.Mark)
}

// put makes m a part of what is next for k. The caller holds c.mu.
func (c *changes) put(k *keyChanges, m journal.Mark) {
	if k.next == nil {
		k.next = &change{first: m.Seq, since: time.Now()}
		if k.dead != nil {
			k.next, k.dead = k.dead.change, nil
			c.dead--
		}
		c.place(k.next)
	}
	c.bytes += k.next.Add(m)
	c.enqueue(k)
}

// place puts a change into the order. The caller holds c.mu.
func (c *changes) place(ch *change) {
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
		k.stub = newStub()
		k.stub.touch(m.Elements)
	}
	if m.Empty() {
		c.cleaned(k)
		return
	}
	c.put(k, m)
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
	c.unread = false
	for _, k := range c.keys {
		k.read = true
	}
	c.tellWaiters()
}

// readAgain is told that the journal may have other marks now.
func (c *changes) readAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = true
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

// A flight is a change that is being sent.
type flight struct {
	key string
	*change
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
		bytes -= k.flying.Size()
		flights = append(flights, flight{k.key, k.flying})
	}
	if len(c.queue) > 0 {
		signal(c.wake)
	}
	return flights
}

// ended finds what f belongs to, unless that was forgotten. The caller holds c.mu.
func (c *changes) ended(f flight) *keyChanges {
	k := c.keys[f.key]
	if k == nil || k.flying != f.change {
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
			c.finish(k, f.change)
		}
	}
	c.tellWaiters()
}

// drop is told that what was to be sent need not, or cannot be: then it is lost.
func (c *changes) drop(lost bool, flights ...flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range flights {
		if k := c.ended(f); k != nil {
			if lost {
				c.lost++
			}
			c.finish(k, f.change)
		}
	}
	c.tellWaiters()
}

// finish ends a change to k. The caller holds c.mu.
func (c *changes) finish(k *keyChanges, ch *change) {
	c.leave(ch)
	c.bytes -= ch.Size()
	c.enqueue(k)
	c.cleaned(k)
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
		k.parked = true
	}
}

func (c *changes) unpark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.keys {
		if k.parked {
			k.parked = false
			c.enqueue(k)
		}
	}
}

// restack puts an older change under what is next for k. The caller holds c.mu.
func (c *changes) restack(k *keyChanges, older *change) {
	if newer := k.next; newer != nil {
		c.bytes += older.Add(newer.Mark) - newer.Size()
		c.leave(newer)
	}
	k.next = older
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
	c.dead++
	k.dead = &DeadLetter{Key: f.key, Reason: reason.Error(), When: time.Now(), change: f.change}
	c.tellWaiters()
}

// hold keeps changes to key from flying until release, because its value is
// being read: what is read must not arrive at the other side after what was
// written later. It returns the change that flies already, if there is one.
func (c *changes) hold(key string) *change {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.at(key)
	k.held++
	return k.flying
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
	k.stub = nil
	switch {
	case expired && (k.next != nil || k.flying != nil):
		c.number++
		c.put(k, journal.Mark{Seq: c.number, Base: journal.Deleted})
	case k.next != nil && k.next.Base == journal.Whole:
		next := k.next
		k.next = nil
		c.lost++
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

// superseded reports whether what is next for key makes up for everything before.
func (c *changes) superseded(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	return k == nil || k.next != nil && k.next.Base != journal.Keep
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

// pending are the states of key's elements that are on their way, those of under
// beneath, which was flying before.
func (c *changes) pending(key string, under *change) journal.Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	var m journal.Mark
	list := []*change{under}
	if k := c.keys[key]; k != nil {
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

// tidy takes the keys whose marks may have to go.
func (c *changes) tidy(most int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(most, len(c.clean))
	keys := slices.Clone(c.clean[:n])
	c.clean = c.clean[n:]
	if len(c.clean) > 0 {
		signal(c.sweep)
	}
	return keys
}

// settled tells what is to become of key's mark: it goes, or it becomes mark, if
// that is not empty. ok is false if it stays. The caller has the data set to
// itself, and does so at once.
func (c *changes) settled(key string) (mark string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[key]
	if k == nil || !k.idle() {
		return "", false
	}
	if k.stub != nil {
		m := journal.Mark{Seq: c.number, Partial: true}
		return m.Encode(), true
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
		if m.Partial = k.stub != nil; m.Partial || !m.Empty() {
			k.marked = true
			marks[key] = m.Encode()
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

// deadLetters are what the remote has refused, the latest first.
func (c *changes) deadLetters() []DeadLetter {
	c.mu.Lock()
	defer c.mu.Unlock()
	var letters []DeadLetter
	for _, k := range c.keys {
		if k.dead != nil {
			letters = append(letters, *k.dead)
		}
	}
	slices.SortFunc(letters, func(a, b DeadLetter) int { return b.When.Compare(a.When) })
	return letters
}

// retry sends dead letters again, of keys, or of all if there are none, and
// returns how many.
func (c *changes) retry(keys []string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.keys {
		if k.dead == nil || len(keys) > 0 && !slices.Contains(keys, k.key) {
			continue
		}
		n++
		c.number++
		k.next, k.dead = k.dead.change, nil
		c.dead--
		k.next.first, k.next.since = c.number, time.Now() // they have left the numbering
		k.next.repair = k.next.Base == journal.Keep
		c.place(k.next)
		c.enqueue(k)
	}
	return n
}

// A waiter waits until what was written up to a number has landed.
type waiter struct {
	upTo uint64
	done chan error // gets one value
}

func (w *waiter) end(err error) { w.done <- err }

// wait begins to wait for all that has been written up to now.
func (c *changes) wait() *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &waiter{upTo: c.number, done: make(chan error, 1)}
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
	if len(c.waiters) == 0 || c.unread {
		return
	}
	oldest, some := c.oldest()
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if some && oldest.first <= w.upTo {
			return false
		}
		w.end(nil)
		return true
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
	for e := c.order.Front(); e != nil && e.Value.(*change).first <= upTo; e = e.Next() {
		n++
	}
	for _, k := range c.keys {
		if k.dead != nil && k.dead.change.first <= upTo {
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
	b := backlog{keys: c.order.Len(), deadLetters: c.dead, bytes: c.bytes, landed: c.landed, lost: c.lost}
	if oldest, ok := c.oldest(); ok {
		b.lag = time.Since(oldest.since)
	}
	return b
}

func (c *changes) setLimit(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = bytes
}
