package replication

import (
	"sync"
	"time"
)

// A PullResult is what a PULL has brought back.
type PullResult struct {
	Sponsors int64 // people whose keys were asked for
	Keys     int64 // that were brought back, or completed
	Elements int64 // of them, as in SyncResult
	Bytes    int64 // of their names and elements
	Present  int64 // keys that were here already
	Failed   int64 // keys that the remote has, and that could not be brought back
	Duration time.Duration
}

// Pull brings back what the remote has of owners' keys, or of all sponsors' and what is
// replicated for everybody, and is not here. What is here stays: it is newer. A second
// call for the same owners joins the first. Pull does not wait. Call it where Sync is
// called.
func (e *Engine) Pull(owners []string) (*Job[PullResult], error) {
	return startJob(e, owners, func(s *session) (*jobs[PullResult], work[PullResult]) { return s.pulls, s.pull })
}

func (s *session) pull(j *Job[PullResult]) (PullResult, error) {
	begun := time.Now()
	client, owners, err := s.whoseKeys(j.owners)
	if err != nil {
		return PullResult{}, err
	}
	keys, err := s.planThere(client, owners, len(j.owners) == 0)
	if err != nil {
		return PullResult{}, err
	}
	result := PullResult{Sponsors: int64(len(owners))}
	var mu sync.Mutex
	err = eachBatch(s, j, keys, func(batch []string) error {
		here, away, err := s.sort(batch)
		if err != nil {
			return err
		}
		some := PullResult{Present: int64(len(here))}
		err = s.bringHere(away, s.mayComeBack, func(v value, st *stub, installed bool) {
			switch {
			case v.err != nil:
				s.fail("PULL has not brought back a key", v.err)
				some.Failed++
			case v.kind == nil:
				s.alone(v.key, st)
			case installed:
				some.Keys++
				some.Elements += int64(v.kind.elements(v.items))
				some.Bytes += int64(len(v.key))
				for _, item := range v.items {
					some.Bytes += int64(len(item))
				}
			}
		})
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		result.Keys += some.Keys
		result.Elements += some.Elements
		result.Bytes += some.Bytes
		result.Present += some.Present
		result.Failed += some.Failed
		return nil
	})
	result.Duration = time.Since(begun)
	return result, err
}

// mayComeBack reports whether key is replicated, and was not removed here.
func (s *session) mayComeBack(key string) bool {
	if key == s.config.sponsorsKey() {
		return s.sponsors.mayComeBack()
	}
	return s.travels(key) && !s.residency.deleted.has(key)
}

// sort tells those of keys of which all is here from those that are away, wholly or in
// part.
func (s *session) sort(keys []string) (here, away []string, err error) {
	err = eachInSlices(s.ctx, s.local, keys, func(d Data, key string) error {
		if s.completeHere(key, d) {
			here = append(here, key)
		} else {
			away = append(away, key)
		}
		return nil
	})
	return here, away, err
}
