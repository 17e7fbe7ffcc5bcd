package replication

import (
	"errors"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// A value whose elements have no names, such as a string, cannot be merged. If it
// was written here while it was away, the remote may have another one, and which of
// them is right is for a person to say: the change becomes a dead letter, and
// SPONSOR.RETRY sends what is here.

// settleDisputes finds out which of letters may replace what the remote has, and
// ends the others.
func (s *session) settleDisputes(client *remote.Client, letters []*letter) (undisputed []*letter, err error) {
	var doubtful []string
	stubs := make(map[string]*stub)
	for _, l := range letters {
		v := l.whole
		if v == nil || !v.stub || v.kind == nil || v.kind.merges() {
			continue
		}
		if st := s.changes.stubOf(l.key); st != nil {
			doubtful, stubs[l.key] = append(doubtful, l.key), st
		}
		v.stub = false // if it passes
	}
	if len(doubtful) == 0 {
		return letters, nil
	}
	values, err := fetchOnce(s.ctx, client, doubtful)
	if err != nil {
		return nil, err
	}
	theirs := make(map[string]value, len(values))
	for _, v := range values {
		theirs[v.key] = v
	}
	for _, l := range letters {
		st := stubs[l.key]
		if st == nil {
			undisputed = append(undisputed, l)
			continue
		}
		ours := value{key: l.key, kind: l.whole.kind, items: l.whole.items}
		if disputed, err := s.disputed(st, ours, theirs[l.key]); err != nil {
			return nil, err
		} else if !disputed {
			undisputed = append(undisputed, l)
			continue
		}
		reason := keyError("send", l.key, errDisputed)
		s.fail("a change waits for somebody's decision; SPONSOR.ERRORS lists it", reason)
		s.changes.die(l.flight, reason)
	}
	return undisputed, nil
}

// disputed reports whether theirs, the remote's value of a key, is another one than
// ours, which this server may have in part only, as st says. If not, ours is all of
// it.
func (s *session) disputed(st *stub, ours, theirs value) (bool, error) {
	same := theirs.kind == nil || theirs.kind == ours.kind && ours.kind.equal(ours.items, theirs.items)
	if !same || errors.Is(theirs.err, errTypeCannotTravel) {
		return true, nil
	}
	if theirs.err != nil {
		return false, theirs.err
	}
	s.alone(ours.key, st)
	return false, nil
}
