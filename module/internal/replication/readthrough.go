package replication

import (
	"errors"
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

	mu   sync.Mutex
	keys []string
}

func newMisses() *misses { return &misses{wake: make(chan struct{}, 1)} }

// add reports false if there is no room.
func (m *misses) add(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keys) >= maxMisses {
		return false
	}
	m.keys = append(m.keys, key)
	signal(m.wake)
	return true
}

// take takes some of the keys.
func (m *misses) take(most int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(most, len(m.keys))
	keys := m.keys[:n:n]
	if m.keys = m.keys[n:]; len(m.keys) > 0 {
		signal(m.wake)
	}
	return keys
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
	if s.tuning.Load().ReadThrough == ReadOff || !s.link.up() {
		return
	}
	ask, knownAbsent := s.residency.missed(key)
	if knownAbsent {
		s.count.absentHits.Add(1)
	}
	if !ask {
		return
	}
	if !s.misses.add(key) {
		s.residency.settle(key, absence{}) // the next read will ask again
		s.count.fail(keyError("fetch", key, errTooManyMisses))
	}
}

// wantRest fetches what the remote has of a key that is here in part.
func (s *session) wantRest(key string) {
	if ask, _ := s.residency.missed(key); !ask {
		return
	}
	if !s.misses.add(key) {
		s.residency.settle(key, absence{})
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

func (s *session) bringBack(keys []string) {
	// What is sent while we read may or may not be in what we read.
	flying := make(map[string]*change, len(keys))
	for _, key := range keys {
		flying[key] = s.changes.hold(key)
	}
	// Whatever happens, nobody must find a key "on its way" for ever.
	defer func() {
		for _, key := range keys {
			s.residency.settle(key, absence{})
			s.changes.release(key)
		}
	}()
	values, err := s.fetch(s.ctx, keys)
	if err != nil {
		s.fail("missed keys could not be fetched", err)
		return
	}
	for _, v := range values {
		until := time.Now().Add(s.tuning.Load().AbsentTTL)
		switch {
		case v.err == nil && v.kind == nil:
			s.residency.settle(v.key, absence{state: absent, until: until})
			continue
		case v.err == nil:
			wanted := func() bool { return s.residency.fetching(v.key) && s.travels(v.key) }
			var installed bool
			if installed, v.err = s.restore(s.ctx, v, flying[v.key], wanted); installed {
				s.count.fetched.Add(1)
				s.completed(v.key)
			}
		}
		if v.err != nil {
			s.fail("a missed key could not be brought back; it is left alone for a while", v.err)
			s.residency.settle(v.key, absence{state: failed, until: until})
		}
	}
}
