package replication

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// A Look is what can be told of a key without touching the data set.
type Look int

// What can be told.
const (
	// Settled: nobody has to wait for the key, until something happens to it, or
	// Local.Unsettle is called, or the time is over that Look tells.
	Settled Look = iota
	// Doubtful: Need tells.
	Doubtful
)

// Look tells what is known of a key that a command is about to use. If it is settled
// for some time only, until tells. It never waits.
func (e *Engine) Look(key string) (look Look, until time.Time) {
	s := e.current()
	if s == nil || !s.blocks() || !s.mayNeed(key) {
		return Settled, time.Time{}
	}
	quiet, until := s.residency.quietUntil(key)
	if quiet && !s.changes.isStub(key) && s.trusted() {
		return Settled, until
	}
	return Doubtful, time.Time{}
}

// blocks reports whether commands wait for what is away.
func (s *session) blocks() bool {
	return s.tuning.Load().ReadThrough == ReadBlock && s.config.Remote.Host != ""
}

// mayNeed reports whether key is replicated, or may turn out to be.
func (s *session) mayNeed(key string) bool {
	known := s.sponsors.isKnown() // before it is asked who they are
	if s.travels(key) {
		return true
	}
	owner, managed := s.config.Templates.Match(key)
	return managed && owner != "" && !known
}

// A Need is what a command has to wait for.
type Need struct {
	session *session
	fetches []awaited
	apart   *apart   // nil: what is brought back takes its place
	unknown []string // keys of which it is not known whether they are replicated, or old
	begun   time.Time
	err     error // there is no point in waiting
}

// An awaited is a key that is being fetched.
type awaited struct {
	key   string
	fetch *fetching
}

// Need tells what a command that uses keys has to wait for; nil: it may run. If there is
// nothing to be waited for because the remote cannot be reached, or a fetch has failed
// just now, the command runs with what is here. d is the data set at this moment. If the
// client caches what it reads, what is brought back is put beside its
// place first (apart.go). Need never waits.
func (e *Engine) Need(keys []string, caches bool, d Data) *Need {
	s := e.current()
	if s == nil || !s.blocks() {
		return nil
	}
	n := &Need{session: s, begun: time.Now()}
	if caches {
		n.apart = &apart{session: s}
	}
	trusted, hopeful := s.trusted(), s.link.hopeful(s.tuning.Load().ReadTimeout)
	for _, key := range keys {
		switch here := s.completeHere(key, d); {
		case !s.mayNeed(key), here && trusted:
			d.Settle(key)
		case !hopeful:
			if !here {
				s.count.misses.Add(1)
			}
		case !trusted, !s.travels(key):
			n.unknown = append(n.unknown, key)
			s.sponsors.refresh()
		case caches && d.Stat(key).Type == typeNone:
			n.apart.want(key)
		default:
			n.want(key)
		}
	}
	if len(n.fetches)+len(n.unknown) == 0 && n.err == nil && n.apart.none() {
		return nil
	}
	return n
}

// trusted reports whether keys that are here are what they should be: whether the data
// set is an old one is not known before the remote's record was seen, and if it is, keys
// are compared with the remote's first.
func (s *session) trusted() bool {
	return !s.config.WriteBehind || s.greeted.Load() && !s.old.Load()
}

// completeHere reports whether all of key is here.
func (s *session) completeHere(key string, d Data) bool {
	s.changes.readMark(key, func() string { return readMark(d, key) })
	return d.Stat(key).Type != typeNone && !s.changes.isStub(key)
}

// want has key fetched, unless it is known that there is no point in it.
func (n *Need) want(key string) {
	s := n.session
	if key == s.config.sponsorsKey() && !s.sponsors.mayComeBack() {
		return
	}
	m, fetch, ask, known := s.residency.want(key)
	switch {
	case fetch != nil:
		s.count.misses.Add(1)
		n.fetches = append(n.fetches, awaited{key, fetch})
	case known.state == absent:
		s.count.misses.Add(1)
		s.count.absentHits.Add(1)
	case known.err != nil:
		n.err = known.err
	case known.state == failed: // just now
		s.count.misses.Add(1)
		s.count.timeouts.Add(1)
	}
	if ask {
		s.queue(m)
	}
}

// Reasons why a Need was not met.
var (
	// ErrNoRoom: the key does not fit into maxmemory.
	ErrNoRoom = errors.New("what is on the remote does not fit into maxmemory")
	errLate   = errors.New("the remote has not answered in time")
	errAgain  = errors.New("it is to be fetched again")
)

// Wait waits until what is needed is here, or known not to be anywhere, for
// Tuning.ReadTimeout at most. If it cannot be had, the command runs with what is here,
// and that is counted; the one error is ErrNoRoom. It may be called from any goroutine.
func (n *Need) Wait() error {
	s := n.session
	ctx, cancel := context.WithDeadlineCause(s.ctx, n.begun.Add(s.tuning.Load().ReadTimeout), errLate)
	defer cancel()
	s.count.waiting.Add(1)
	defer s.count.waiting.Add(-1)
	if n.err == nil {
		n.err = n.wait(ctx)
	}
	if errors.Is(n.err, ErrNoRoom) {
		return n.err
	}
	if n.err != nil {
		s.count.timeouts.Add(1)
	}
	return nil
}

func (n *Need) wait(ctx context.Context) error {
	s := n.session
	for len(n.unknown) > 0 && !(s.sponsors.isKnown() && s.trusted()) {
		if err := pause(ctx, landingPause); err != nil {
			return err
		}
	}
	missing, err := n.missing(ctx)
	if err != nil {
		return err
	}
	for _, key := range missing {
		n.want(key)
	}
	for i := 0; i < len(n.fetches); i++ {
		one := n.fetches[i]
		select {
		case <-one.fetch.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		switch err := one.fetch.err; {
		case errors.Is(err, errAgain):
			if err := pause(ctx, retryMin); err != nil {
				return err
			}
			n.want(one.key) // the list grows
		case err != nil:
			return err
		}
	}
	if n.err == nil && !n.apart.none() {
		n.apart.there, n.err = within(ctx, n.apart.fetch)
	}
	return n.err
}

// missing are those of the unknown keys that have to be brought back. The data set may not
// be to be had for a long time, as while clients are paused.
func (n *Need) missing(ctx context.Context) (keys []string, err error) {
	if len(n.unknown) == 0 {
		return nil, nil
	}
	s := n.session
	return within(ctx, func() (missing []string, err error) {
		err = eachInSlices(s.ctx, s.local, n.unknown, func(d Data, key string) error {
			if !s.completeHere(key, d) && s.travels(key) {
				missing = append(missing, key)
			}
			return nil
		})
		return missing, err
	})
}

// within calls f, and does not wait for it any more when ctx ends: what it would have
// returned then is dropped.
func within[T any](ctx context.Context, f func() (T, error)) (result T, err error) {
	type outcome struct {
		result T
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		var o outcome
		if err := guard("wait", func() (err error) { o.result, err = f(); return err }); err != nil {
			o.err = err
		}
		ended <- o
	}()
	select {
	case o := <-ended:
		return o.result, o.err
	case <-ctx.Done():
		return result, context.Cause(ctx)
	}
}

// Met reports whether the wait was not in vain, or has been ended: what is away still then
// has to be waited for once more.
func (n *Need) Met() bool { return n.err == nil || n.session.ctx.Err() != nil }

// Away reports whether one of keys is away, and may be on the remote. d is the data set at
// this moment.
func (e *Engine) Away(keys []string, d Data) bool {
	s := e.current()
	return s != nil && s.blocks() && slices.ContainsFunc(keys, func(key string) bool {
		return s.mayNeed(key) && !s.completeHere(key, d) && !s.residency.foundAbsent(key) &&
			(key != s.config.sponsorsKey() || s.sponsors.mayComeBack())
	})
}

// Miss has key brought back beside a command that uses it and cannot wait, if it may
// be away. It never waits.
func (e *Engine) Miss(key string) {
	if s := e.current(); s != nil && s.travels(key) {
		s.wantBack(key, true)
	}
}

// Removal is told that a command is about to remove elements of key, or all of it if
// kind is NoKind, and returns the mark that the journal has to hold for the key: if
// the key is away, the remote has what is to be removed. It never waits.
func (e *Engine) Removal(key string, kind Kind, names []string, d Data) (mark string) {
	s := e.current()
	if s == nil || !s.blocks() || !s.mayNeed(key) || d.Stat(key).Type != typeNone {
		return ""
	}
	if quiet, until := s.residency.quietUntil(key); quiet && until.IsZero() {
		return "" // it was deleted
	}
	ev := Event{What: Deleted, Key: key}
	if kind != NoKind {
		ev.What, ev.Kind = Written, kind
		ev.Elements = make(map[string]Element, len(names))
		for _, name := range names {
			ev.Elements[name] = Element{}
		}
	}
	return s.keyEvent(ev, d)
}

// isNoRoom reports whether the server has refused a write for want of memory.
func isNoRoom(err error) bool {
	var reply resp.Error
	return errors.As(err, &reply) && strings.HasPrefix(string(reply), "OOM ")
}
