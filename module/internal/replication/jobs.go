package replication

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// jobs are runs of one kind of a session, each for some owners. One runs at a time;
// the others wait, and who asks for the same joins.
type jobs[R any] struct {
	name string
	turn turn

	mu      sync.Mutex
	pending map[string]*Job[R] // by owners, running or waiting
	last    *Job[R]            // the one that runs, or has run last; nil at first
}

func newJobs[R any](name string) *jobs[R] {
	return &jobs[R]{name: name, turn: newTurn(), pending: make(map[string]*Job[R])}
}

// A Job is work for owners that is under way. It may be used concurrently.
type Job[R any] struct {
	owners      []string // none: everybody
	seen, total atomic.Int64
	done        chan struct{}

	// Valid once done is closed.
	result R
	err    error
}

// Wait waits until the job has ended, and returns what it came to.
func (j *Job[R]) Wait() (R, error) {
	<-j.done
	return j.result, j.err
}

// work is what a job does.
type work[R any] func(*Job[R]) (R, error)

// startJob begins a job of the session that there is, or joins one.
func startJob[R any](e *Engine, owners []string, of func(*session) (*jobs[R], work[R])) (*Job[R], error) {
	s, err := e.open()
	switch {
	case err != nil:
		return nil, err
	case s.config.Remote.Host == "":
		return nil, ErrNoRemote
	}
	js, do := of(s)
	return js.start(s, owners, do), nil
}

// start begins a job, or joins one.
func (js *jobs[R]) start(s *session, owners []string, do work[R]) *Job[R] {
	js.mu.Lock()
	defer js.mu.Unlock()
	slices.Sort(owners)
	owners = slices.Compact(owners)
	id := strings.Join(owners, ":") // no id holds a colon
	if j, ok := js.pending[id]; ok {
		return j
	}
	j := &Job[R]{owners: owners, done: make(chan struct{})}
	js.pending[id] = j
	s.work.Go(func() {
		err := guard(js.name, func() error {
			select {
			case <-js.turn:
				defer func() { js.turn <- struct{}{} }()
			case <-s.ctx.Done():
				return context.Cause(s.ctx)
			}
			js.begun(j)
			var err error
			j.result, err = do(j)
			return err
		})
		if errors.Is(err, context.Canceled) && s.ctx.Err() != nil {
			err = context.Cause(s.ctx)
		}
		if err != nil && !errors.As(err, new(*notSponsorsError)) {
			s.fail(js.name+" has failed", err)
		}
		j.err = err
		js.ended(id)
		close(j.done)
	})
	return j
}

func (js *jobs[R]) begun(j *Job[R]) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.last = j
}

func (js *jobs[R]) ended(id string) {
	js.mu.Lock()
	defer js.mu.Unlock()
	delete(js.pending, id)
}

// progress is how many keys the job that runs, or has run last, has dealt with, and has
// found.
func (js *jobs[R]) progress() (seen, total int64) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.last == nil {
		return 0, 0
	}
	return js.last.seen.Load(), js.last.total.Load()
}

func (js *jobs[R]) busy() bool {
	js.mu.Lock()
	defer js.mu.Unlock()
	return len(js.pending) > 0
}

// whoseKeys makes sure that the remote is there, and lists whom a job is about: owners, or
// all sponsors.
func (s *session) whoseKeys(owners []string) (client *remote.Client, ids []string, err error) {
	if err := persist(s.ctx, patienceAtStart, func() error { return s.link.check(s.ctx) }); err != nil {
		return nil, nil, err
	}
	if client, err = s.link.get(); err != nil {
		return nil, nil, err
	}
	ids, err = s.askSponsors(s.ctx) // it waits for the set to come back
	if err != nil || len(owners) == 0 {
		return client, ids, err
	}
	return client, owners, s.onlySponsors(owners)
}

// planThere lists the keys of owners that may be on the remote: those that templates name
// by themselves, and those that only a look through the remote can tell.
func (s *session) planThere(client *remote.Client, owners []string, everybody bool) (keys []string, err error) {
	named := []keyspace.Templates{s.config.Templates}
	if everybody {
		keys = append(keys, s.config.sponsorsKey())
	} else {
		named = append(named, s.config.Unfiltered)
	}
	is := make(map[string]bool, len(owners))
	for _, owner := range owners {
		is[owner] = true
		exact, _ := ownedBy(owner, named...)
		keys = append(keys, exact...)
	}
	wanted := func(key string) bool {
		if owner, ok := s.config.Templates.Match(key); ok && is[owner] {
			return true
		}
		owner, ok := s.config.Unfiltered.Match(key)
		return ok && (everybody || is[owner])
	}
	exact, scanned := s.split(everybody)
	for _, t := range exact {
		if !t.Owned() {
			keys = append(keys, t.Key(""))
		}
	}
	for _, t := range scanned {
		err := client.Scan(s.ctx, t.Glob(""), func(page []string) error {
			for _, key := range page {
				if wanted(key) {
					keys = append(keys, key)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return distinctKeys(keys), nil
}

// eachBatch calls do with batches of keys, from several goroutines, and counts them.
func eachBatch[R any](s *session, j *Job[R], keys []string, do func(batch []string) error) error {
	j.total.Store(int64(len(keys)))
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	batches := make(chan []string)
	var workers sync.WaitGroup
	for range fetchers {
		workers.Go(func() {
			for batch := range batches {
				err := guard("batch", func() error { return persist(ctx, patience, func() error { return do(batch) }) })
				if err != nil {
					cancel(err)
				}
				j.seen.Add(int64(len(batch)))
			}
		})
	}
	for batch := range slices.Chunk(keys, fetchBatch) {
		select {
		case batches <- batch:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(batches)
	workers.Wait()
	return context.Cause(ctx)
}
