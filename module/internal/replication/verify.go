package replication

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// A Difference is between what this server and the remote have of a key.
type Difference string

// Differences.
const (
	MissingRemote Difference = "missing_remote" // it is here, and not there
	MissingLocal  Difference = "missing_local"  // it was deleted here, and is there
	Different     Difference = "different"      // the values differ
	TTLDiffers    Difference = "ttl_differs"    // the values are the same, and one goes sooner
)

// A Finding is a key that differs.
type Finding struct {
	Key        string
	Difference Difference
}

// A VerifyResult is what a VERIFY has found.
type VerifyResult struct {
	Checked int64 // keys that were compared
	Same    int64
	Counts  map[Difference]int64
	Away    int64 // keys that are on the remote, and merely away here: nothing is wrong with them
	Failed  int64 // keys that the remote did not let us read
	Busy    int64 // keys that were written all the time, so that they could not be compared

	// Findings are the first keys that differ, FindingsKept at most, in the order of
	// their names.
	Findings []Finding
	Duration time.Duration
}

// FindingsKept is how many keys that differ a VerifyResult names.
const FindingsKept = 100

// Verify compares what both sides have of owners' keys, or of all sponsors' and of what is
// replicated for everybody. A key that differs is looked at again, once its changes have
// arrived, before it is told. A second call for the same owners joins the first. Verify
// does not wait. Call it where Sync is called.
func (e *Engine) Verify(owners []string) (*Job[VerifyResult], error) {
	return startJob(e, owners, func(s *session) (*jobs[VerifyResult], work[VerifyResult]) { return s.verifies, s.verify })
}

func (s *session) verify(j *Job[VerifyResult]) (VerifyResult, error) {
	begun := time.Now()
	client, owners, err := s.whoseKeys(j.owners)
	if err != nil {
		return VerifyResult{}, err
	}
	everybody := len(j.owners) == 0
	keys, err := s.planThere(client, owners, everybody)
	if err != nil {
		return VerifyResult{}, err
	}
	run := s.newRun(SyncRequest{Owners: j.owners})
	here, err := s.plan(s.ctx, run, owners)
	if err != nil {
		return VerifyResult{}, err
	}
	for _, p := range here {
		keys = append(keys, p.key)
	}
	c := comparison{session: s, client: client, result: VerifyResult{Counts: make(map[Difference]int64)}}
	if err := eachBatch(s, j, distinctKeys(keys), c.batch); err != nil {
		return VerifyResult{}, err
	}
	slices.SortFunc(c.result.Findings, func(a, b Finding) int { return strings.Compare(a.Key, b.Key) })
	c.result.Findings = c.result.Findings[:min(len(c.result.Findings), FindingsKept)]
	c.result.Duration = time.Since(begun)
	return c.result, nil
}

// A comparison is a VERIFY under way. Several goroutines use it.
type comparison struct {
	session *session
	client  *remote.Client

	mu     sync.Mutex
	result VerifyResult
}

// What a look at a key can find beside a Difference.
const (
	same    Difference = "same"
	away    Difference = "away"
	nowhere Difference = "nowhere"
	busy    Difference = "busy"

	unreadable Difference = "unreadable" // the remote refuses it
)

// batch compares keys, and counts them once all are compared.
func (c *comparison) batch(keys []string) error {
	values, err := fetchOnce(c.session.ctx, c.client, keys)
	if err != nil {
		return err
	}
	found := make([]Difference, len(keys))
	for i, v := range values {
		if found[i], err = c.session.compare(v); err != nil {
			return err
		}
	}
	for i, key := range keys {
		switch found[i] {
		case same, away, nowhere:
			continue
		case unreadable:
			c.session.fail("VERIFY cannot compare a key", values[i].err)
			continue
		}
		if found[i], err = c.again(key); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, key := range keys {
		c.count(key, found[i])
	}
	return nil
}

func (c *comparison) count(key string, found Difference) {
	switch found {
	case nowhere:
	case away:
		c.result.Away++
	case busy:
		c.result.Busy++
	case unreadable:
		c.result.Failed++
	case same:
		c.result.Checked++
		c.result.Same++
	default:
		c.result.Checked++
		c.result.Counts[found]++
		c.result.Findings = append(c.result.Findings, Finding{key, found})
	}
}

// How often, and for how long, VERIFY waits for a key that is written all the time.
const (
	secondLooks    = 5
	secondPatience = 5 * time.Second
)

// again looks at a key a second time, while nothing of it is on its way.
func (c *comparison) again(key string) (found Difference, err error) {
	s := c.session
	for range secondLooks {
		waiter := s.changes.waitFor([]string{key})
		timer := time.NewTimer(secondPatience)
		select {
		case err = <-waiter.done:
		case <-timer.C:
			s.changes.stop(waiter)
		case <-s.ctx.Done():
			s.changes.stop(waiter)
			err = s.ctx.Err()
		}
		timer.Stop()
		if err != nil {
			return "", err
		}
		if found, err = c.quietly(key); err != nil || found != busy {
			return found, err
		}
	}
	return busy, nil
}

// quietly compares a key while its changes wait. If it is written meanwhile, it is busy.
func (c *comparison) quietly(key string) (Difference, error) {
	s := c.session
	s.changes.hold(key)
	defer s.changes.release(key)
	if s.changes.moves(key) {
		return busy, nil
	}
	watch := s.paging.begin(key)
	defer s.paging.end(watch)
	watch.beStrict()
	values, err := fetchOnce(s.ctx, c.client, []string{key})
	if err != nil {
		return "", err
	}
	found, err := s.compare(values[0])
	if err == nil && watch.broken() {
		found = busy
	}
	return found, err
}

// compare tells how what this server has differs from what the remote has, v.
func (s *session) compare(v value) (found Difference, err error) {
	foreign := errors.Is(v.err, errTypeCannotTravel)
	if v.err != nil && !foreign {
		return unreadable, nil
	}
	var (
		p     pager
		begun bool
		stub  bool
	)
	err = inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		stat := d.Stat(v.key)
		isHere, isThere := stat.Type != typeNone, v.kind != nil || foreign
		switch {
		case !isHere && !isThere:
			found = nowhere
			return true, nil
		case !isHere:
			found = s.missingHere(d, v.key)
			return true, nil
		case !isThere:
			found = MissingRemote
			return true, nil
		case v.kind == nil || stat.Type != v.kind.name:
			found = Different
			return true, nil
		}
		if !begun {
			begun = true
			s.changes.readMark(v.key, func() string { return readMark(d, v.key) })
			stub = s.changes.isStub(v.key)
			p = newPager(v.key, v.kind, stat, memoryUsage(d, v.key))
		}
		done, err := p.read(d, stat)
		if !done {
			return false, err
		}
		switch {
		case stub && v.kind.merges() && v.kind.has(v.items, p.items):
			found = away // the rest of it
		case !v.kind.equal(p.items, v.items):
			found = Different
		case !stat.ExpireAt.Equal(v.expireAt):
			found = TTLDiffers
		default:
			found = same
		}
		return true, err
	}, nil)
	if err != nil {
		return "", fmt.Errorf("compare %q: %w", v.key, err)
	}
	return found, nil
}

// missingHere tells why a key that the remote has is not here.
func (s *session) missingHere(d Data, key string) Difference {
	s.changes.readMark(key, func() string { return readMark(d, key) })
	m := s.changes.unsent(key)
	if m.Base == journal.Deleted || s.residency.deleted.has(key) || key == s.config.sponsorsKey() && !s.sponsors.mayComeBack() {
		return MissingLocal
	}
	return away
}
