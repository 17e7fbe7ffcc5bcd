package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
)

// restartPause is how long work that has panicked rests before it goes on.
const restartPause = time.Second

// A session is the work by one Config, while the server is a master. It owns
// every goroutine of that work.
type session struct {
	config Config // but for its Tuning, which may have changed
	tuning atomic.Pointer[Tuning]
	local  Local
	log    *slog.Logger
	count  *counters

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	link      *link
	sponsors  *sponsors
	residency *residency
	misses    *misses
	paging    pageWatch
	syncs     *syncs

	generation atomic.Int64 // of the data set: it changes when that is replaced
}

func openSession(e *Engine, c Config) *session {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &session{
		config: c, local: e.local, log: e.log, count: &e.count,
		ctx: ctx, cancel: cancel,
		link: newLink(c.Remote), sponsors: newSponsors(), residency: newResidency(e.deleted),
		misses: newMisses(), syncs: newSyncs(),
	}
	s.tuning.Store(&c.Tuning)
	s.forever("sponsors", s.watchSponsors)
	if c.Remote.Host != "" {
		s.forever("link", s.watchLink)
		for range fetchers {
			s.forever("fetch", s.fetchMisses)
		}
	}
	return s
}

// close waits until all work has ended. Cancel first.
func (s *session) close() {
	s.link.close()
	s.work.Wait()
}

// forever runs f in a goroutine until the session ends. If f panics, it is run
// again after a while.
func (s *session) forever(name string, f func()) {
	s.work.Go(func() {
		for s.ctx.Err() == nil {
			if err := guard(name, func() error { f(); return nil }); err != nil {
				s.count.fail(err)
				s.log.Error("work has panicked; it goes on", "error", err)
				_ = pause(s.ctx, restartPause)
			}
		}
	})
}

// guard turns a panic of f into an error: a panic that nobody recovers would
// end the whole server.
func guard(name string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in %s: %v\n%s", name, r, debug.Stack())
		}
	}()
	fault.Point(name)
	return f()
}

// fail counts and logs an error of the work, unless the work is being ended.
func (s *session) fail(message string, err error) {
	if s.ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	s.count.fail(err)
	s.log.Warn(message, "error", err)
}

func (s *session) keyEvent(event KeyEvent, key string) {
	s.paging.keyEvent(event, key)
	if key == s.config.sponsorsKey() {
		s.sponsors.keyEvent(event)
		return
	}
	switch replicated := s.replicated(key); {
	case event != Missed:
		// Also of people who are no sponsors, or not any more: their keys may
		// be on their way, or known to be deleted.
		s.residency.changed(event, key, replicated)
	case replicated:
		s.missed(key)
	}
}

// replicated reports whether key may travel.
func (s *session) replicated(key string) bool {
	if owner, ok := s.config.Templates.Match(key); ok && s.sponsors.has(owner) {
		return true
	}
	_, ok := s.config.Unfiltered.Match(key)
	return ok
}
