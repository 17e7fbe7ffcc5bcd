package replication

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

const (
	senders     = 4                // goroutines that send changes; each has a batch under way
	flightKeys  = 512              // keys of a batch
	flightBytes = 256 << 10        // bytes of its elements, roughly
	gathering   = time.Millisecond // under load, changes are gathered for so long; a single one goes at once
	largeQueue  = 256              // large values that wait for their turn

	// What was sent over a connection that broke may still be on its way to the
	// remote, and must not arrive there after what is sent next: a failed batch
	// rests for so long at least, with its keys, and sendRetry at most.
	sendRest  = 100 * time.Millisecond
	sendRetry = time.Second
)

func sendPauses() *backoff.ExponentialBackOff {
	pauses := retryPauses()
	pauses.InitialInterval, pauses.MaxInterval, pauses.RandomizationFactor = sendRest, sendRetry, 0
	return pauses
}

// sendChanges sends what has changed, batch by batch.
func (s *session) sendChanges() {
	pauses := sendPauses()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.changes.wake:
		}
		if !s.maySend.Load() {
			continue // meetRemote wakes us
		}
		if wait := s.changes.gather(); wait > 0 {
			if pause(s.ctx, wait) != nil {
				signal(s.changes.wake) // for the next session
				return
			}
		}
		s.sendBatch(pauses)
	}
}

// sendBatch sends some changes, if there are any. If that fails, it rests.
func (s *session) sendBatch(pauses *backoff.ExponentialBackOff) {
	flights := s.changes.fly(flightKeys, flightBytes)
	ours := make(map[string]flight, len(flights))
	for _, f := range flights {
		ours[f.key] = f
	}
	// Whatever happens, no change must fly for ever.
	defer func() {
		for _, f := range ours {
			s.changes.back(f) // unless it has ended
		}
	}()
	if len(flights) == 0 {
		return
	}
	fault.Point("flying")
	err := s.send(flights, func(f flight) bool {
		select {
		case s.large <- f:
			delete(ours, f.key)
			return true
		default:
			return false
		}
	})
	s.rest(pauses, err)
}

// rest rests after a failure.
func (s *session) rest(pauses *backoff.ExponentialBackOff, err error) {
	if err == nil {
		pauses.Reset()
		return
	}
	if s.link.up() {
		s.fail("changes could not be sent; trying again", err)
	}
	rest(sendRest) // also at the end of a session: the next one goes on at once
	_ = pause(s.ctx, pauses.NextBackOff()-sendRest)
}

// send sends changes, and tells of each how it has ended. An error means that those
// of which it has not told may be tried again. handOver gives a change with a large
// value to somebody else, if there is room.
func (s *session) send(flights []flight, handOver func(flight) bool) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	var letters []*letter
	for _, f := range flights {
		known := s.sponsors.isKnown() // before it is asked who they are
		switch {
		case s.travels(f.key):
			letters = append(letters, &letter{flight: f})
		case f.Erase && (known || f.bare()):
			letters = append(letters, &letter{flight: f, eraseOnly: true})
		case known && !s.lapsing(f.key):
			s.changes.forget(f) // they are no sponsor
		default:
			s.changes.park(f)
			if s.sponsors.isKnown() && !s.lapsing(f.key) {
				s.changes.unpark() // it has been decided just now
			}
		}
	}
	letters, large, err := s.readWhole(letters)
	if err != nil {
		return err
	}
	for _, l := range large {
		if !handOver(l.flight) {
			s.changes.back(l.flight) // its turn will come
		}
	}
	if letters, err = s.settleDisputes(client, letters); err != nil {
		return err
	}
	if err := s.post(client, letters); err != nil {
		return err
	}
	fault.Point("posted")
	var sponsors *letter
	for _, l := range letters {
		if l.key == s.config.sponsorsKey() {
			sponsors = l
		} else if err := s.delivered(l); err != nil {
			return err
		}
	}
	if sponsors != nil {
		// Last, because what follows from it waits for the others.
		return s.delivered(sponsors)
	}
	return nil
}

// post sends letters: first what brings them, then, of those that the remote has
// taken to their ends, what makes stages the keys.
func (s *session) post(client *remote.Client, letters []*letter) error {
	var first, last commands
	finish := make([][]command, len(letters))
	for i, l := range letters {
		build, end := s.write(l, &first)
		first.add(l, build...)
		finish[i] = end
		if len(build) <= stageAtOnce {
			first.add(l, end...)
			finish[i] = nil
		}
	}
	if err := first.exec(s.ctx, client); err != nil {
		return err
	}
	for i, l := range letters {
		if l.refused == nil {
			last.add(l, finish[i]...)
		}
	}
	return last.exec(s.ctx, client)
}

// travels is R1: whether key may leave this server now.
func (s *session) travels(key string) bool {
	return key == s.config.sponsorsKey() || s.replicated(key)
}

// travelsNow is travels while the data set is ours: it tells also while our copy of the
// sponsors is not known to be whole.
func (s *session) travelsNow(d Data, key string) bool {
	known := s.sponsors.isKnown() // before it is asked who they are
	if s.travels(key) {
		return true
	}
	owner, ok := s.config.Templates.Match(key)
	if known || !ok || owner == "" {
		return false
	}
	is, err := isMember(d, s.config.sponsorsKey(), owner)
	return err == nil && is
}

// A letter is a change on its way, and what the remote says to it.
type letter struct {
	flight
	// eraseOnly says that the owner is no sponsor: nothing but the erasure of the
	// key is sent.
	eraseOnly bool

	whole   *wholeValue     // to be sent in place of the elements
	exists  *remote.Command // whether the remote has the key; nil: not asked
	of      *stub           // that it was asked for
	refused error
}

// states are the elements of l that are present, as items, and the names of those that
// are not. Those of touched, which a stub knows better, are left out: the others were
// written before its key went away.
func (l *letter) states(touched []string) (added, removed []string) {
	is := make(map[string]bool, len(touched))
	for _, name := range touched {
		is[name] = true
	}
	for name, element := range l.Elements {
		switch {
		case is[name]:
		case !element.Present:
			removed = append(removed, name)
		case l.Kind == journal.Hash:
			added = append(added, name, element.Value)
		default:
			added = append(added, name)
		}
	}
	return added, removed
}

func (l *letter) refuse(operation string, err error) {
	if l.refused == nil {
		l.refused = keyError(operation, l.key, err)
	}
}

// A wholeValue is what the local server has of a key.
type wholeValue struct {
	kind     *kind
	items    []string
	expireAt int64    // unix milliseconds; 0: never
	stub     bool     // it may be a part; then it only adds, and removes what is gone
	gone     []string // of a stub: elements that were removed here
}

// delivered tells how the sending of l has ended.
func (s *session) delivered(l *letter) error {
	if l.key == s.config.sponsorsKey() {
		defer s.changes.unpark() // of those who have gone, however it has ended
	}
	if l.refused != nil {
		if isWrongType(l.refused) && s.changes.isStub(l.key) {
			l.refused = keyError("send", l.key, errDisputed)
		}
		s.fail("the remote has refused a change; SPONSOR.ERRORS lists it", l.refused)
		s.changes.die(l.flight, l.refused)
		return nil // it has been told
	}
	if l.exists != nil {
		if n, err := l.exists.Int64(); err == nil && n == 0 {
			s.alone(l.key, l.of)
		} else {
			s.changes.asked(l.of)
			s.wantRest(l.key)
		}
	}
	if l.key == s.config.sponsorsKey() {
		if err := errors.Join(s.welcome(l), s.bidFarewell(l)); err != nil {
			return err
		}
	}
	s.changes.land(l.flight)
	return nil
}

// alone is told that the remote has nothing of key that does not come from here.
func (s *session) alone(key string, st *stub) {
	if s.changes.alone(key, st) {
		// What the remote gets next would be a reason for a dispute after a crash,
		// if the mark still spoke of a part. When the server takes another turn,
		// the AOF has it.
		err := s.rewriteMark(key)
		if err == nil {
			err = s.local.Do(func(Data) {})
		}
		if err != nil {
			s.fail("a mark stays as it was until it goes", err)
		}
	}
	if key == s.config.sponsorsKey() {
		s.sponsors.refresh()
	}
}

// welcome copies what new sponsors have here already. It merges.
func (s *session) welcome(l *letter) error {
	if !s.sponsors.isKnown() {
		return errSponsorsUnknown
	}
	members := s.sponsors.memberships()
	maps.DeleteFunc(members, func(id string, m *membership) bool {
		told := l.whole != nil || l.Elements[id].Present
		return !told || m.copied.Load() || !keyspace.ValidOwner(id)
	})
	for len(members) > 0 {
		_, err := s.copyBy(SyncRequest{Owners: slices.Collect(maps.Keys(members))}, false)
		if err == nil {
			break
		}
		var strangers *notSponsorsError
		if !errors.As(err, &strangers) {
			return err
		}
		for _, id := range strangers.owners {
			if s.sponsors.has(id) {
				return errSponsorsUnknown // the set is away
			}
			delete(members, id) // they have left again
		}
	}
	for _, m := range members {
		m.copied.Store(true)
	}
	return nil
}

// askWhetherThere asks the remote whether it has a key that is here in part, unless
// that is known.
func (s *session) askWhetherThere(l *letter, cmds *commands) {
	if l.of = s.changes.unasked(l.key); l.of != nil {
		l.exists = remote.NewCommand("EXISTS", l.key)
		cmds.ask(l, l.exists)
	}
}

// write is what brings a change to the remote, and what makes it count there. What
// has to be asked before comes into first.
func (s *session) write(l *letter, first *commands) (build, finish []command) {
	if l.Erase {
		build = append(build, append(command{"UNLINK"}, stages(l.key)...))
	}
	if l.Base == journal.Deleted || l.eraseOnly {
		build = append(build, command{"UNLINK", l.key})
		if l.eraseOnly {
			return build, nil
		}
	} else {
		s.askWhetherThere(l, first)
	}
	if l.whole != nil {
		if l.whole.stub && l.Cleared {
			build = append(build, command{"UNLINK", l.key}) // what was there before that
		}
		whole, finish := l.whole.commands(l.key, s.stager(byChange))
		return append(build, whole...), finish
	}
	add, remove := l.states(nil)
	if k := kindOf(l.Kind); k != nil {
		build = append(build, k.adds(l.key, add)...)
		build = append(build, k.removes(l.key, remove)...)
	}
	if l.HasExpiry {
		build = append(build, expiryCommand(l.key, l.ExpireAt))
	}
	return build, nil
}
