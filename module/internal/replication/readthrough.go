package replication

import "time"

const (
	fetchers   = 4    // goroutines that fetch; each has a batch under way
	fetchBatch = 64   // keys of a batch
	missQueue  = 4096 // misses that wait for a fetcher
)

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
	select {
	case s.misses <- key:
	default:
		s.residency.settle(key, absence{}) // the next read will ask again
	}
}

// fetchMisses brings back what readers have missed.
func (s *session) fetchMisses() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case key := <-s.misses:
			s.bringBack(s.batchOfMisses(key))
		}
	}
}

func (s *session) batchOfMisses(first string) []string {
	keys := []string{first}
	for len(keys) < fetchBatch {
		select {
		case key := <-s.misses:
			keys = append(keys, key)
		default:
			return keys
		}
	}
	return keys
}

func (s *session) bringBack(keys []string) {
	// Whatever happens, nobody must find a key "on its way" for ever.
	defer func() {
		for _, key := range keys {
			s.residency.settle(key, absence{})
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
			wanted := func() bool { return s.residency.fetching(v.key) && s.replicated(v.key) }
			var installed bool
			if installed, v.err = s.restore(s.ctx, v, wanted); installed {
				s.count.fetched.Add(1)
			}
		}
		if v.err != nil {
			s.fail("a missed key could not be brought back; it is left alone for a while", v.err)
			s.residency.settle(v.key, absence{state: failed, until: until})
		}
	}
}
