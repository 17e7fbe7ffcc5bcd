package replication

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	fetchers   = 4       // goroutines that fetch; each has a batch under way
	fetchBatch = 64      // keys of a batch
	maxMisses  = 1 << 20 // keys that wait for a fetcher: bounds memory where templates do not
)

var errTooManyMisses = errors.New("too many missed keys wait to be fetched; this one is fetched when it is missed again")

// misses are the keys that wait for a fetcher, in the order in which they were
// missed first; each is there once. It may be used concurrently.
type misses struct {
	wake chan struct{} // holds one token while there are keys

	mu    sync.Mutex
	queue []miss
}

// A miss is a key that is to be fetched, and the number of the fetch.
type miss struct {
	key   string
	fetch int
	probe bool // it may be here: that is to be looked at first
}

func newMisses() *misses { return &misses{wake: make(chan struct{}, 1)} }

// add reports false if there is no room.
func (m *misses) add(one miss) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) >= maxMisses {
		return false
	}
	m.queue = append(m.queue, one)
	signal(m.wake)
	return true
}

// take takes some of them.
func (m *misses) take(most int) []miss {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(most, len(m.queue))
	some := m.queue[:n:n]
	if m.queue = m.queue[n:]; len(m.queue) > 0 {
		signal(m.wake)
	}
	return some
}

// signal puts a token into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// missed is told of reads of replicated keys that found nothing. It never waits.
func (s *session) missed(key string) {
	s.count.misses.Add(1)
	s.wantBack(key, false)
}

// wantBack has key fetched; with probe, if it is not here.
func (s *session) wantBack(key string, probe bool) {
	if s.tuning.Load().ReadThrough == ReadOff || !s.link.up() {
		return
	}
	m, _, ask, known := s.residency.want(key)
	if known.state == absent {
		s.count.absentHits.Add(1)
	}
	if !ask {
		return
	}
	m.probe = probe
	s.queue(m)
}

// queue has m fetched, if there is room.
func (s *session) queue(m miss) {
	if !s.misses.add(m) {
		s.residency.settle(m, absence{}) // the next use will ask again
		s.count.fail(keyError("fetch", m.key, errTooManyMisses))
	}
}

// wantRest fetches what the remote has of a key that is here in part.
func (s *session) wantRest(key string) {
	if s.tuning.Load().ReadThrough == ReadOff && key != s.config.sponsorsKey() {
		return // but nothing works without the sponsors
	}
	if m, _, ask, _ := s.residency.want(key); ask {
		s.queue(m)
	}
}

// completeStubs fetches what the remote has of keys that are here in part, until it
// is here.
func (s *session) completeStubs() {
	for pause(s.ctx, stubRetry) == nil {
		if !s.link.up() {
			continue
		}
		for _, key := range s.changes.incomplete(time.Now()) {
			if s.travels(key) {
				s.wantRest(key)
			}
		}
	}
}

// fetchMisses brings back what readers have missed.
func (s *session) fetchMisses() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.misses.wake:
			s.bringBack(s.misses.take(fetchBatch))
		}
	}
}

// A fetch is of a key, and what was known of it before.
type fetch struct {
	key    string
	flying *change // that may be in what is read, or not
	stub   *stub
}

func (s *session) bringBack(all []miss) {
	// Whatever happens, nobody must find a key "on its way" for ever.
	defer func() {
		for _, m := range all {
			s.residency.settle(m, absence{err: errAgain})
		}
	}()
	misses, err := s.probe(all)
	if err != nil {
		s.fail("missed keys could not be looked for here", err)
		return
	}
	keys := make([]string, len(misses))
	byKey := make(map[string]miss, len(misses))
	for i, m := range misses {
		keys[i], byKey[m.key] = m.key, m
	}
	wanted := func(key string) bool {
		return s.residency.fetching(byKey[key]) && s.travels(key) &&
			(key != s.config.sponsorsKey() || s.sponsors.mayComeBack())
	}
	err = s.bringHere(keys, wanted, func(v value, st *stub, installed bool) {
		m := byKey[v.key]
		until := time.Now().Add(s.tuning.Load().AbsentTTL)
		switch {
		case isNoRoom(v.err):
			s.fail("a missed key could not be brought back", v.err)
			s.residency.settle(m, absence{state: failed, until: time.Now().Add(stubRetry), err: fmt.Errorf("%w: %w", ErrNoRoom, v.err)})
		case v.err != nil:
			s.fail("a missed key could not be brought back; it is left alone for a while", v.err)
			s.residency.settle(m, absence{state: failed, until: until})
		case v.kind == nil:
			s.residency.settle(m, absence{state: absent, until: until})
			s.alone(v.key, st)
		case installed:
			s.residency.settle(m, absence{})
			if v.key == s.config.sponsorsKey() {
				s.sponsors.refresh()
			}
		default: // what is here counts, or was removed: there is nothing to bring
			s.residency.settle(m, absence{state: absent, until: time.Now().Add(retryMin)})
		}
	})
	if err != nil {
		s.fail("missed keys could not be fetched", err)
	}
}

// probe leaves out those of misses that are here after all.
func (s *session) probe(misses []miss) (rest []miss, err error) {
	if !slices.ContainsFunc(misses, func(m miss) bool { return m.probe }) {
		return misses, nil
	}
	err = eachInSlices(s.ctx, s.local, misses, func(d Data, m miss) error {
		if m.probe && s.completeHere(m.key, d) {
			d.Settle(m.key)
			s.residency.settle(m, absence{})
			return nil
		}
		rest = append(rest, m)
		return nil
	})
	return rest, err
}

// bringHere fetches keys, and puts those that the remote has into the local data set,
// or merges them into what is there, as long as they are wanted. It tells of each
// what has become of it. An error means that none could be fetched.
func (s *session) bringHere(keys []string, wanted func(key string) bool, tell func(v value, st *stub, installed bool)) error {
	fetches := s.holdAll(keys)
	defer s.releaseAll(keys)
	fetches = s.landed(fetches)
	landed := make([]string, len(fetches))
	for i, f := range fetches {
		landed[i] = f.key
	}
	values, err := s.fetch(s.ctx, landed)
	if err != nil {
		return err
	}
	for i, v := range values {
		f := fetches[i]
		if v.err == nil && v.kind == nil {
			v.expect(s.changes.onItsWay(v.key, f.flying))
		}
		installed := false
		if v.err == nil && v.kind != nil {
			installed, v.err = s.restore(s.ctx, v, f.flying, func() bool { return wanted(v.key) })
		}
		if installed {
			s.count.fetched.Add(1)
		}
		tell(v, f.stub, installed)
	}
	return nil
}

// holdAll keeps changes to keys from being sent until releaseAll. What is sent
// already may or may not be in what is read meanwhile.
func (s *session) holdAll(keys []string) []fetch {
	fetches := make([]fetch, len(keys))
	for i, key := range keys {
		flying, stub := s.changes.hold(key)
		fetches[i] = fetch{key, flying, stub}
	}
	return fetches
}

func (s *session) releaseAll(keys []string) {
	for _, key := range keys {
		s.changes.release(key)
	}
}

// landed waits until whole values that fly have landed, because nobody knows any
// more what they are, and what will be repaired, and leaves out those that have not in time: the next read asks
// for them again.
func (s *session) landed(fetches []fetch) []fetch {
	deadline := time.Now().Add(patienceAtStart)
	return slices.DeleteFunc(fetches, func(f fetch) bool {
		for s.changes.fliesOpaque(f.key, f.flying) {
			if time.Now().After(deadline) || pause(s.ctx, landingPause) != nil {
				return true
			}
		}
		return false
	})
}

// landingPause is how often we look whether a value has landed.
const landingPause = 2 * time.Millisecond
