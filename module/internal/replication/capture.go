package replication

import (
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// Kind is a type of value whose elements an Event can name.
type Kind = journal.Kind

// Element is the state of a member of a set, or of a field of a hash.
type Element = journal.Element

// Kinds. NoKind: no elements are named.
const (
	NoKind = journal.NoKind
	Set    = journal.Set
	Hash   = journal.Hash
)

// JournalKey is the hash of the marks.
const JournalKey = journal.Key

// An Event is what has happened to a key.
type Event struct {
	What KeyEvent
	Key  string

	// Elements are the states of the elements that were written or removed,
	// Kind the type that they belong to. Without them, Written means that
	// anything may have changed.
	Kind     Kind
	Elements map[string]Element

	// Unit is the same for all events of one command.
	Unit uint64

	// Shrinking says that what was written may have been the last elements. Then a
	// deletion that follows in the same unit is that. Early says that the elements
	// may still be there.
	Shrinking, Early bool
}

// An emptying is a key that may have been left without elements, by the command
// that is a unit.
type emptying struct {
	key  string
	unit uint64
}

// capture notes what has to travel, and returns the mark that the journal has to
// hold for the key from now on, or nothing. It is called within the event, when the
// value of a key that has just been made may still be empty.
func (s *session) capture(ev Event, d Data) (mark string) {
	if !s.config.WriteBehind || s.config.Remote.Host == "" {
		return ""
	}
	c := s.changes
	if !s.mayTravel(ev.Key) {
		switch ev.What {
		case Missed:
			return ""
		case Deleted, Replaced, Evicted, Expired:
			c.completed(ev.Key) // it may have been a sponsor's once
		}
		// What is on its way still is older than this, and would travel if they
		// became a sponsor now.
		c.disown(ev.Key)
		return ""
	}
	old := func() string { return readMark(d, ev.Key) }
	m := journal.Mark{Kind: ev.Kind, Elements: ev.Elements}
	switch ev.What {
	case Missed:
		return ""
	case Emptied:
		if len(ev.Elements) == 0 {
			c.emptied(ev.Key)
			return "" // what has gone was noted by the event before
		}
		defer c.emptied(ev.Key)
	case Created:
		c.created(ev.Key, s.residency.knownAbsent(ev.Key), old)
		return ""
	case Evicted, Expired:
		c.gone(ev.Key, ev.What == Expired)
		return ""
	case Deleted:
		c.completed(ev.Key)
		m.Base = journal.Deleted
	case Replaced:
		c.completed(ev.Key)
		m.Base = journal.Whole
	case ExpirySet:
		m.HasExpiry, m.ExpireAt = true, expireAt(d.Stat(ev.Key))
	case Written:
		stat := d.Stat(ev.Key)
		if ev.Shrinking && (ev.Early || stat.Length == 0) {
			s.emptied = emptying{ev.Key, ev.Unit}
		}
		if len(ev.Elements) == 0 {
			s.touchAll(d, ev.Key, stat)
			m.Base, m.Kind = journal.Whole, markKind(stat.Type)
			break
		}
		// What is added after the remote's copy has expired must expire too.
		if at := expireAt(stat); at != 0 {
			m.HasExpiry, m.ExpireAt = true, at
		}
	}
	return c.add(ev.Key, m, old)
}

// readMark is the mark that the journal holds for key.
func readMark(d Data, key string) string {
	reply, err := d.Read("HGET", journal.Key, key)
	if err != nil {
		return ""
	}
	mark, _, err := resp.Bulk(reply)
	if err != nil {
		return ""
	}
	return mark
}

// touchAll notes what a stub holds, because what is done to it now may be a removal
// that we do not see.
func (s *session) touchAll(d Data, key string, stat Stat) {
	k := kinds[stat.Type]
	if k == nil || !k.merges() || stat.Length > partElements || !s.changes.isStub(key) {
		return
	}
	s.changes.touch(key, k.mark, namesOf(d, key, k))
}

// namesOf are the names of all elements of a small value, or none if it cannot be read.
func namesOf(d Data, key string, k *kind) []string {
	reply, err := k.readAll(d, key)
	if err != nil {
		return nil
	}
	items, err := k.unpack(reply)
	if err != nil {
		return nil
	}
	return k.names(items)
}

// mayTravel reports whether key is replicated, or may turn out to be, because
// the sponsors are not known yet.
func (s *session) mayTravel(key string) bool {
	known := s.sponsors.isKnown() // before it is asked who they are
	if s.travels(key) {
		return true
	}
	_, managed := s.config.Templates.Match(key)
	return managed && (!known || s.lapsing(key))
}
