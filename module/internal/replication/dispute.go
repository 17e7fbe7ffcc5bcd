package replication

import (
	"errors"
	"slices"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// A value whose elements have no names, such as a string, cannot be merged. If it
// was written here while it was away, the remote may have another one, and which of
// them is right is for a person to say: the change becomes a dead letter, and
// SPONSOR.RETRY sends what is here.

// settleDisputes finds out which of letters may replace what the remote has, and
// ends the others.
func (s *session) settleDisputes(client *remote.Client, letters []*letter) (undisputed []*letter, err error) {
	return slices.DeleteFunc(letters, func(l *letter) bool {
		v := l.whole
		if err != nil || v == nil || !v.stub || v.kind == nil || v.kind.merges() {
			return false
		}
		st := s.changes.stubOf(l.key)
		if st == nil {
			v.stub = false // all of it was written since
			return false
		}
		var disputed bool
		ours := func() (value, error) { return value{kind: v.kind, items: v.items}, nil }
		if disputed, err = s.disputed(client, l.key, st, ours); err != nil {
			return false
		}
		if disputed {
			reason := keyError("send", l.key, errDisputed)
			s.fail("a change waits for somebody's decision; SPONSOR.ERRORS lists it", reason)
			s.changes.die(l.flight, reason)
			return true
		}
		v.stub = false
		return false
	}), err
}

// disputed reports whether the remote has another value of key than ours, which
// this server may have in part only, as st says. If not, ours is all of it.
func (s *session) disputed(client *remote.Client, key string, st *stub, ours func() (value, error)) (bool, error) {
	values, err := fetchOnce(s.ctx, client, []string{key})
	if err != nil {
		return false, err
	}
	theirs := values[0]
	if theirs.err != nil {
		return true, nil //nolint:nilerr // it is there, and it is another one
	}
	if theirs.kind != nil {
		here, err := ours()
		if err = errors.Join(err, here.err); err != nil {
			return false, err
		}
		if here.kind != theirs.kind || !slices.Equal(here.items, theirs.items) {
			return true, nil
		}
	}
	s.alone(key, st)
	// What the remote gets now would be a reason for a dispute after a crash, if
	// the mark still spoke of a part.
	return false, s.local.Do(func(d Data) {
		if mark, ok := s.changes.marks([]string{key})[key]; ok {
			s.mustWrite(d, "HSET", key, mark)
		}
	})
}
