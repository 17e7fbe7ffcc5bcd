package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// restartPause is how long work that has panicked rests before it goes on.
const restartPause = time.Second

// A session is the work by one Config, while the server is a master. It owns
// every goroutine of that work.
type session struct {
	config Config // but for its Tuning, which may have changed
	tuning atomic.Pointer[Tuning]
	local  Local
	log    *slog.Logger
	count  *counters

	number int64 // counts sessions

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	link      *link
	sponsors  *sponsors
	residency *residency
	misses    *misses
	kinds     sync.Map // of values that were fetched last, by template
	paging    pageWatch
	syncs     *syncs
	pulls     *jobs[PullResult]
	verifies  *jobs[VerifyResult]

	changes     *changes
	large       chan flight            // changes that want a large value
	journalLost chan struct{}          // holds one token if the journal is to be written anew
	journalNew  chan struct{}          // holds one token if the journal is to be read again
	emptied     emptying               // the main thread's own
	met         atomic.Pointer[string] // what this data set has noted of the remote; nil: nothing yet

	// See record.go.
	epoch     atomic.Uint64          // of the session; set before maySend is
	recordID  atomic.Pointer[string] // of this data set; nil: they have not met yet
	greeted   atomic.Bool            // the remote's record has been seen, or cannot be
	maySend   atomic.Bool            // so that changes may be sent
	old       atomic.Bool            // the remote has what is newer
	afresh    atomic.Bool            // the remote has lost something: all here takes the place of what is there
	estranged chan struct{}          // holds one token when they have to meet again

	generation atomic.Int64 // of the data set: it changes when that is replaced
}

func openSession(e *Engine, c Config, number int64) *session {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &session{
		config: c, local: e.local, log: e.log, count: &e.count,
		number: number, ctx: ctx, cancel: cancel,
		link: newLink(c.Remote), sponsors: newSponsors(e.local.Unsettle), residency: newResidency(e.deleted),
		misses: newMisses(), syncs: newSyncs(),
		pulls: newJobs[PullResult]("PULL"), verifies: newJobs[VerifyResult]("VERIFY"),
		changes: e.changes, large: make(chan flight, largeQueue),
		journalLost: make(chan struct{}, 1), journalNew: make(chan struct{}, 1),
		estranged: make(chan struct{}, 1),
	}
	s.tuning.Store(&c.Tuning)
	s.local.Unsettle()
	s.changes.setMet(false)
	s.forever("sponsors", s.watchSponsors)
	if c.Remote.Host != "" {
		s.forever("link", s.watchLink)
		for range fetchers {
			s.forever("fetch", s.fetchMisses)
		}
		if c.WriteBehind {
			s.forever("contact", s.meetRemote)
			s.forever("record", s.keepRecord)
			s.forever("journal", s.keepJournal)
			s.forever("large", s.sendLargeChanges)
			s.forever("stubs", s.completeStubs)
			for range senders {
				s.forever("send", s.sendChanges)
			}
		}
	}
	if c.Remote.Host == "" || !c.WriteBehind {
		s.forever("contact", s.forgetMeeting)
	}
	return s
}

// close waits until all work has ended. Cancel first.
func (s *session) close() {
	s.link.close()
	s.work.Wait()
	for {
		select {
		case f := <-s.large:
			s.changes.back(f)
		default:
			return
		}
	}
}

// forever runs f in a goroutine until the session ends. If f panics, it is run
// again after a while.
func (s *session) forever(name string, f func()) {
	s.work.Go(func() {
		for s.ctx.Err() == nil {
			if err := guard(name, func() error { f(); return nil }); err != nil {
				s.count.fail(err)
				s.log.Error("work has panicked; it goes on", "error", err)
				_ = pause(s.ctx, restartPause)
			}
		}
	})
}

// guard turns a panic of f into an error: a panic that nobody recovers would
// end the whole server.
func guard(name string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in %s: %v\n%s", name, r, debug.Stack())
		}
	}()
	fault.Point(name)
	return f()
}

// fail counts and logs an error of the work, unless the work is being ended.
func (s *session) fail(message string, err error) {
	if s.ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	s.count.fail(err)
	s.log.Warn(message, "error", err)
}

func (s *session) keyEvent(ev Event, d Data) (mark string) {
	emptied := s.emptied
	s.emptied = emptying{}
	if ev.Key == s.config.sponsorsKey() {
		return s.sponsorsEvent(ev, emptied, d)
	}
	if ev.What == Deleted && emptied == (emptying{ev.Key, ev.Unit}) && s.changes.isStub(ev.Key) {
		ev.What = Emptied
	}
	if ev.What == MovedAway {
		// What the remote has more of a stub stays where it is.
		if ev.What = Deleted; s.changes.isStub(ev.Key) {
			ev.What = Emptied
			ev.Kind, ev.Elements = s.changes.removed(ev.Key)
		}
	}
	s.paging.keyEvent(ev.What, ev.Key)
	replicated := s.replicated(ev.Key)
	if ev.What == Missed {
		if replicated {
			s.missed(ev.Key)
		}
		return ""
	}
	mark = s.capture(ev, d)
	// Also of people who are no sponsors, or not any more: their keys may be on
	// their way, or known to be deleted.
	s.residency.changed(ev.What, ev.Key, replicated || s.lapsing(ev.Key))
	return mark
}

// sponsorsEvent is told what has happened to the set of sponsors.
func (s *session) sponsorsEvent(ev Event, emptied emptying, d Data) (mark string) {
	seen := ev
	if ev.What == Deleted && emptied == (emptying{ev.Key, ev.Unit}) && s.changes.onItsWay(ev.Key, nil).Base == journal.Keep &&
		(len(s.sponsors.list()) == 0 || s.changes.isStub(ev.Key)) {
		seen.What = Emptied // who was removed is known; the set was not deleted
	}
	if ev.What == MovedAway {
		ev.What, seen.What = Deleted, Deleted
	}
	if ev.What == Written && len(ev.Elements) == 0 {
		// As in a transaction, whose commands we do not see.
		seen.Kind, seen.Elements = Set, s.whoChanged(d)
	}
	s.paging.keyEvent(seen.What, ev.Key)
	mark = s.capture(seen, d)
	ev.Elements = seen.Elements
	if s.config.WriteBehind && s.config.Remote.Host != "" {
		s.doubtNew(ev, d)
	}
	if ev.What != Missed {
		s.residency.changed(ev.What, ev.Key, true)
	}
	s.sponsors.keyEvent(ev)
	return mark
}

// How much is noted of what new sponsors have here, while the data set is ours.
const (
	doubtedPeople   = 64
	doubtedElements = partElements
)

// doubtNew notes that the remote may have more than what somebody whom ev makes a
// sponsor has here, from an earlier time: until that is known, the value as a whole is no
// reason to remove anything there but what is here now.
func (s *session) doubtNew(ev Event, d Data) {
	people, room := 0, doubtedElements
	for id, element := range ev.Elements {
		if !element.Present || s.sponsors.has(id) {
			continue
		}
		if people++; people > doubtedPeople {
			return
		}
		keys, _ := ownedBy(id, s.config.Templates)
		for _, key := range keys {
			stat := d.Stat(key)
			k := kinds[stat.Type]
			if k == nil || !k.merges() {
				continue
			}
			var names []string
			if stat.Length <= room {
				names = namesOf(d, key, k)
				room -= len(names)
			}
			s.changes.doubt(key, k.mark, names, func() string { return readMark(d, key) })
		}
	}
}

// whoChanged tells who has come and who has gone since the sponsors were known last;
// nil: that cannot be told.
func (s *session) whoChanged(d Data) map[string]Element {
	key := s.config.sponsorsKey()
	stat := d.Stat(key)
	if stat.Type != "set" && stat.Type != typeNone || stat.Length > partElements || !s.sponsors.isKnown() {
		return nil
	}
	reply, err := d.Read("SMEMBERS", key)
	if err != nil {
		return nil
	}
	now, err := resp.Strings(reply)
	if err != nil {
		return nil
	}
	changed := make(map[string]Element)
	before := s.sponsors.list()
	for _, id := range without(now, before) {
		changed[id] = Element{Present: true}
	}
	if !s.changes.isStub(key) { // else who is missing here is away
		for _, id := range without(before, now) {
			changed[id] = Element{}
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return changed
}

// journalEvent is told what somebody else has done to the journal.
func (s *session) journalEvent(what KeyEvent) {
	switch what {
	case Deleted, Evicted, Expired, Replaced:
		signal(s.journalLost)
	}
}

// replicated reports whether key may travel.
func (s *session) replicated(key string) bool {
	if owner, ok := s.config.Templates.Match(key); ok && s.sponsors.has(owner) {
		return true
	}
	_, ok := s.config.Unfiltered.Match(key)
	return ok
}
