package replication

import (
	"fmt"
	"slices"
	"strconv"
)

// A client that caches what it reads (CLIENT TRACKING) is told of each change of a key
// that it has read, once. That a key comes back is a change, too: if the client were told
// of that before it has its answer, it would cache the answer, and be told of nothing any
// more. So what it reads is put beside the key's place; the client has its answer from
// there; then it becomes the key, of which the client is told.

// An apart is what is to be brought back for such a client.
type apart struct {
	session *session
	keys    []string
	there   []beside // of keys that the remote has, once that is done
}

// A beside is a value that is not in its key's place.
type beside struct {
	value
	name string // where it is
}

func (a *apart) none() bool { return a == nil || len(a.keys) == 0 }

// want notes that key is needed, unless it is known that there is no point in it.
func (a *apart) want(key string) {
	if key == a.session.config.sponsorsKey() && !a.session.sponsors.mayComeBack() {
		return
	}
	if quiet, _ := a.session.residency.quietUntil(key); !quiet && !slices.Contains(a.keys, key) {
		a.session.count.misses.Add(1)
		a.keys = append(a.keys, key)
	}
}

// fetch brings the keys back, beside their places. What nobody waits for any more goes by
// its expiry.
func (a *apart) fetch() (there []beside, err error) {
	s := a.session
	fetches := s.holdAll(a.keys)
	defer s.releaseAll(a.keys)
	if landed := s.landed(fetches); len(landed) < len(a.keys) {
		return nil, errLate
	}
	values, err := s.fetch(s.ctx, a.keys)
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		flying := fetches[i].flying
		if v.err == nil && v.kind == nil {
			v.expect(s.changes.onItsWay(v.key, flying))
		}
		if v.err != nil {
			return there, v.err
		}
		if v.kind == nil {
			continue
		}
		r := restoration{
			session: s, value: v, flying: flying, wanted: func() bool { return s.mayComeBack(v.key) },
			stage: stageKey(v.key) + ":" + strconv.FormatInt(s.count.apart.Add(1), 10), apart: true,
		}
		_, err := r.run(s.ctx)
		switch {
		case isNoRoom(err):
			return there, fmt.Errorf("%w: %w", ErrNoRoom, err)
		case err != nil:
			return there, err
		case r.done > 0:
			there = append(there, beside{r.value, r.stage})
		}
	}
	return there, nil
}

// Apart are the names under which keys can be read that are not in their places yet.
// ok is false if one of them is in its place by now, so that the client was told of that
// already, or may not come back any more.
func (n *Need) Apart(d Data) (names map[string]string, ok bool) {
	if n.apart == nil {
		return nil, true
	}
	names = make(map[string]string, len(n.apart.there))
	for _, v := range n.apart.there {
		if d.Stat(v.key).Type != typeNone || d.Stat(v.name).Type == typeNone || !n.session.mayComeBack(v.key) {
			return nil, false
		}
		names[v.key] = v.name
	}
	return names, true
}

// Install puts what was brought back apart into its place, or removes it. It is called in
// any case, when the client has its answer, unless that has gone.
func (n *Need) Install(d Data) {
	if n.apart == nil {
		return
	}
	s := n.session
	for _, v := range n.apart.there {
		if err := s.install(v, d); err != nil {
			s.fail("a key could not be put back", keyError("put back", v.key, err))
		}
	}
}

func (s *session) install(v beside, d Data) error {
	if d.Stat(v.key).Type != typeNone || !s.mayComeBack(v.key) {
		return write(d, "UNLINK", v.name)
	}
	if err := write(d, "RENAME", v.name, v.key); err != nil {
		return err
	}
	s.changes.completed(v.key)
	s.count.fetched.Add(1)
	if v.expireAt.IsZero() {
		return write(d, "PERSIST", v.key)
	}
	return write(d, "PEXPIREAT", v.key, strconv.FormatInt(v.expireAt.UnixMilli(), 10))
}
