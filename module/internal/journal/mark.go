// Package journal knows the marks of changes that the remote has not
// acknowledged. A mark lives in the keyspace, as a field of the hash Key, so that
// it is saved, and goes to replicas, together with the write it speaks of.
//
// A mark holds states, never operations: what a member or field is after the
// change. To send a state twice does no harm.
package journal

import (
	"maps"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// Key is the hash of the marks: a field for each marked key.
const Key = keyspace.OwnPrefix + "journal"

// Base is what the remote's copy of a key has to become before the elements of
// a mark are put into it.
type Base byte

// Bases.
const (
	Keep    Base = iota // it stays
	Deleted             // it goes
	Whole               // it becomes what the local server has; Elements count if the mark is Partial
)

// Kind is the type of value whose elements a mark holds.
type Kind byte

// Kinds. NoKind: there are no elements.
const (
	NoKind Kind = iota
	Set
	Hash
	ZSet // its elements' states are not told, just which they are
)

// An Element is the state of a member of a set, or of a field of a hash.
type Element struct {
	Present bool
	Value   string // of a field
}

// A Mark is what the remote has not acknowledged of one key: first its Base, then
// Elements, then ExpireAt. The zero Mark says nothing.
type Mark struct {
	// Seq is the number of the last change in the mark. Numbers grow.
	Seq uint64

	Base     Base
	Kind     Kind
	Elements map[string]Element

	// ExpireAt is in unix milliseconds, 0 for never. It counts if HasExpiry.
	HasExpiry bool
	ExpireAt  int64

	// Erase says that the key goes on the remote first, whoever its owner is by
	// then: they have asked to be forgotten.
	Erase bool

	// Cleared says that the key was deleted before it became Whole: if the whole
	// value cannot be had any more, that is what is left to do.
	Cleared bool

	// Noted says that Elements were sent already. They are kept because the mark
	// is Partial.
	Noted bool

	// Partial says that the local server may have a part of the value only:
	// the key was written while it was away. The whole is then no reason to
	// remove anything on the remote but Elements, those of which the local
	// server knows the truth, as far as it does not have them. Those of Elements
	// that are Present were added before the key went away.
	Partial bool
}

// Empty reports whether there is nothing to send.
func (m *Mark) Empty() bool {
	return m.Noted || m.Base == Keep && len(m.Elements) == 0 && !m.HasExpiry
}

// Add puts a newer mark on top of m, and returns by how many bytes Size has grown.
func (m *Mark) Add(newer Mark) (grown int64) {
	m.Seq = max(m.Seq, newer.Seq)
	m.Partial = newer.Partial
	m.Erase = m.Erase || newer.Erase
	if newer.Base != Keep {
		m.Cleared = newer.Cleared || newer.Base == Whole && m.clears()
		m.Base = newer.Base
		grown -= m.Size()
		if newer.Base == Whole && newer.Partial && m.Kind == newer.Kind {
			// What was removed is in newer, as far as it is known.
			maps.DeleteFunc(m.Elements, func(_ string, element Element) bool { return !element.Present })
			grown += m.Size()
		} else {
			m.Kind, m.Elements = NoKind, nil
		}
		m.HasExpiry, m.ExpireAt = false, 0
	}
	if newer.HasExpiry {
		m.HasExpiry, m.ExpireAt = true, newer.ExpireAt
	}
	switch {
	case m.Base == Whole && !m.Partial || len(newer.Elements) == 0:
		return grown
	case m.Kind != NoKind && m.Kind != newer.Kind:
		return grown + m.MakeWhole() // its type has changed, and we have not seen how
	}
	m.Kind = newer.Kind
	if m.Elements == nil {
		m.Elements = make(map[string]Element, len(newer.Elements))
	}
	for name, element := range newer.Elements {
		if m.Base == Whole && newer.Base == Keep {
			element = Element{} // it is as the local server has it
		}
		if old, ok := m.Elements[name]; ok {
			grown -= elementSize(name, old)
		}
		m.Elements[name] = element
		grown += elementSize(name, element)
	}
	return grown
}

// clears reports whether what was on the remote before has to go, if nothing else is
// known.
func (m *Mark) clears() bool { return m.Base == Deleted || m.Cleared }

// Unwhole makes m what is left of it if the whole value cannot be had any more, and
// reports whether that is anything.
func (m *Mark) Unwhole() bool {
	if !m.Cleared && !m.Erase {
		return false
	}
	*m = Mark{Seq: m.Seq, Base: Deleted, Erase: m.Erase}
	return true
}

// MakeWhole forgets the elements: the whole value is to be sent. It returns by how
// many bytes Size has grown, which is less than zero or zero.
func (m *Mark) MakeWhole() (grown int64) {
	grown = -m.Size()
	m.Cleared = m.clears()
	m.Base, m.Kind, m.Elements = Whole, NoKind, nil
	return grown
}

// elementOverhead is about what an element takes in memory beside its bytes.
const elementOverhead = 96

// Size is about how many bytes the mark's elements take in memory.
func (m *Mark) Size() int64 {
	n := int64(0)
	for name, element := range m.Elements {
		n += elementSize(name, element)
	}
	return n
}

func elementSize(name string, element Element) int64 {
	return int64(len(name)+len(element.Value)) + elementOverhead
}
