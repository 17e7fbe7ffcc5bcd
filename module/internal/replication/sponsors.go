package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cenkalti/backoff/v5"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

func (c Config) sponsorsKey() string { return keyspace.SponsorsKey(c.Org) }

// sponsors is our copy of the set sponsors:<org>, for places where the data set
// must not be touched. It follows the set within milliseconds. It may be used
// concurrently.
type sponsors struct {
	unsettle func() // is called when somebody may have come or gone

	stale chan struct{} // holds one token if the copy is to be made anew

	mu     sync.Mutex
	ids    map[string]*membership
	known  bool // ids are the sponsors; false: nobody could be asked yet
	erased bool // somebody has removed the set: it must not come back
	age    int  // how often something has happened to the set
}

// A membership is somebody's being a sponsor, from when they come until they leave.
type membership struct {
	copied atomic.Bool // the remote has what they had here already when they came
}

func newSponsors(unsettle func()) *sponsors {
	s := &sponsors{unsettle: unsettle, stale: make(chan struct{}, 1)}
	s.refresh()
	return s
}

func (s *sponsors) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids[id]
	return ok && s.known
}

func (s *sponsors) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

func (s *sponsors) isKnown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// none reports whether it is certain that nobody is a sponsor.
func (s *sponsors) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.erased || s.known && len(s.ids) == 0
}

// keyEvent is told what happened to the set. Who has come or gone is known at
// once, where the event tells.
func (s *sponsors) keyEvent(ev Event) {
	if ev.What == Missed || ev.What == Created {
		return
	}
	s.note(ev)
	s.refresh()
}

// note makes of the copy what ev tells.
func (s *sponsors) note(ev Event) {
	defer s.unsettle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erased = ev.What == Deleted
	s.age++
	switch {
	case s.erased:
		s.ids = make(map[string]*membership)
	case len(ev.Elements) == 0 && (ev.What == Written || ev.What == Replaced):
		s.known = false // until it has been read again
	case s.known:
		for id, element := range ev.Elements {
			if !element.Present {
				delete(s.ids, id)
			} else if s.ids[id] == nil {
				s.ids[id] = new(membership)
			}
		}
	}
}

// lost tells that the set may have gone without anybody meaning it.
func (s *sponsors) lost() { s.keyEvent(Event{What: Evicted}) }

// forget tells that the data set is another one: what was known of the old one
// says nothing of it.
func (s *sponsors) forget() {
	s.mu.Lock()
	s.ids, s.known = nil, false
	s.age++
	s.mu.Unlock()
	s.lost()
}

// refresh has the copy made anew.
func (s *sponsors) refresh() { signal(s.stale) }

// now tells replace whether what was found out since is still true.
func (s *sponsors) now() (age int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.age
}

// replace makes ids the copy, which is whole or lacks some, unless something has happened since age: then the
// copy is stale already, and is made anew once more.
func (s *sponsors) replace(ids []string, age int, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.age != age {
		return
	}
	m := make(map[string]*membership, len(ids))
	for _, id := range ids {
		// Whoever has left and come back unnoticed has lost nothing: while it is
		// not known who the sponsors are, everybody's changes are kept.
		if m[id] = s.ids[id]; m[id] == nil {
			m[id] = new(membership)
		}
	}
	if s.known != whole || !maps.Equal(s.ids, m) {
		defer s.unsettle()
	}
	s.ids, s.known = m, whole
}

func (s *sponsors) mayComeBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.erased
}

func (s *sponsors) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.ids))
}

// memberships are those of all sponsors.
func (s *sponsors) memberships() map[string]*membership {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ids)
}

// watchSponsors makes the copy anew whenever it is stale.
func (s *session) watchSponsors() {
	pauses, told := retryPauses(), ""
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.sponsors.stale:
		}
		wait := slicePause // many changes in a row are one
		if err := s.refreshSponsors(); err != nil {
			if err.Error() != told {
				s.fail("the sponsors are not known; trying again", err)
			}
			told, wait = err.Error(), pauses.NextBackOff()
			s.sponsors.refresh()
		} else {
			told = ""
			pauses.Reset()
		}
		_ = pause(s.ctx, wait)
	}
}

// refreshSponsors reads the set. If it is not here, and nobody has removed it, it
// is put back: from our copy, or else from the remote. Without it nobody's keys
// would come back after a disaster.
func (s *session) refreshSponsors() error {
	age := s.sponsors.now()
	ids, err := s.readSponsors(s.ctx)
	if errors.Is(err, errNoSet) {
		s.learn(nil, age) // nobody's data travels
		return nil
	}
	if errors.Is(err, ErrLoading) || errors.Is(err, ErrReplica) {
		return nil // an event will follow
	}
	if err != nil {
		return err
	}
	if len(ids) > 0 || !s.sponsors.mayComeBack() || s.config.Remote.Host == "" {
		s.learn(ids, age)
		return nil
	}
	lost := value{key: s.config.sponsorsKey(), kind: kinds["set"], items: s.sponsors.list()}
	if len(lost.items) == 0 {
		if !s.link.up() {
			return nil // watchLink will call when it is
		}
		values, err := s.fetch(s.ctx, []string{lost.key})
		if err != nil {
			return err
		}
		if lost = values[0]; lost.err != nil {
			return lost.err
		}
	}
	if lost.kind == kinds["set"] {
		installed, err := s.restore(s.ctx, lost, nil, s.sponsors.mayComeBack)
		if err != nil {
			return err
		}
		if installed {
			s.log.Info("the set of sponsors was away and is back", "sponsors", len(lost.items))
		}
	}
	if ids, err = s.readSponsors(s.ctx); err != nil {
		return err
	}
	if len(ids) == 0 && len(lost.items) > 0 && s.sponsors.mayComeBack() {
		// Lost again already: what we know must not be forgotten for that.
		s.sponsors.refresh()
		return nil
	}
	s.learn(ids, age)
	return nil
}

// learn notes who the sponsors are. While the set may be here in part only, others
// may be sponsors too.
func (s *session) learn(ids []string, age int) {
	s.sponsors.replace(ids, age, !s.changes.isStub(s.config.sponsorsKey()))
	if s.sponsors.isKnown() {
		s.changes.unpark()
	}
}

// askSponsors lists sponsors:<org>. If it is not here, although there may be
// sponsors, and the remote is there, it waits for the set to come back.
func (s *session) askSponsors(ctx context.Context) (ids []string, err error) {
	err = persist(ctx, patienceForSponsors, func() error {
		var err error
		if ids, err = s.readSponsors(ctx); err != nil {
			return backoff.Permanent(keyError("read", s.config.sponsorsKey(), err))
		}
		switch {
		case len(ids) > 0 || s.sponsors.none():
			return nil
		case s.link.down() != nil && s.config.Remote.Host != "":
			return backoff.Permanent(fmt.Errorf("%w: %w", errSponsorsUnknown, s.link.down()))
		}
		s.sponsors.refresh()
		return errSponsorsUnknown
	})
	return ids, err
}

// readSponsors lists sponsors:<org> as it is here.
func (s *session) readSponsors(ctx context.Context) ([]string, error) {
	var (
		ids    []string
		cursor = "0"
		key    = s.config.sponsorsKey()
	)
	err := inSlices(ctx, s.local, func(d Data) (bool, error) {
		switch d.Stat(key).Type {
		case "set":
		case typeNone:
			ids = nil // also if it has gone while it was read
			return true, nil
		default:
			return false, errNoSet
		}
		reply, err := d.Read("SSCAN", key, cursor, "COUNT", strconv.Itoa(pageSize))
		if err != nil {
			return false, err
		}
		next, page, err := resp.Page(reply)
		if err != nil {
			return false, keyError("SSCAN", key, err)
		}
		ids = append(ids, page...)
		cursor = next
		return next == "0", nil
	}, nil)
	return kinds["set"].distinct(ids), err
}
