package replication

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// counters are what the engine has done since it began, over all sessions.
type counters struct {
	acknowledged, fetched, misses, absentHits, errors atomic.Int64
	waiting, timeouts, apart                          atomic.Int64

	mu   sync.Mutex
	last string // the last error, in one line
}

func (c *counters) fail(err error) {
	c.errors.Add(1)
	line, _, _ := strings.Cut(err.Error(), "\n") // what follows is a stack
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = line
}

// States of an engine.
const (
	StateNoOrg      = "no-org"     // sponsor.org is not set: nothing is replicated
	StateNoRemote   = "no-remote"  // sponsor.remote-host is not set
	StateReplica    = "replica"    // the master does the work
	StateConnecting = "connecting" // the first connection is being made
	StateConnected  = "connected"
	StateDown       = "down" // LastError says why; it is tried again
)

// A Status is what an engine is about. The numbers count since it began.
type Status struct {
	State        string
	Org          string
	Sponsors     int           // members of sponsors:<org>
	Pending      int           // keys with changes that the remote has not acknowledged
	Lag          time.Duration // how long the oldest of them has waited
	Acknowledged int64         // keys and changes that the remote has acknowledged
	Fetched      int64         // keys that were brought back
	Misses       int64         // reads of replicated keys that were not here
	Waiting      int64         // commands that wait for what is away
	Timeouts     int64         // commands that have waited in vain
	AbsentHits   int64         // misses of keys that the remote was known not to have
	DeadLetters  int           // keys with changes that the remote has refused
	Lost         int64         // changes that could not be saved
	BufferBytes  int64         // that changes on their way take, roughly
	Errors       int64
	LastError    string // empty: there was none
	SyncDone     int64  // keys that the current SYNC, or the last, has dealt with
	SyncTotal    int64  // keys that it has found

	// The same of the current PULL and VERIFY, or the last ones.
	PullDone, PullTotal, VerifyDone, VerifyTotal int64
}

// Status may be called from any goroutine; it does not wait.
func (e *Engine) Status() Status {
	c := &e.count
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	b := e.changes.backlog()
	st := Status{
		Pending: b.keys, Lag: b.lag, DeadLetters: b.deadLetters, Lost: b.lost, BufferBytes: b.bytes,
		Acknowledged: c.acknowledged.Load() + b.landed, Fetched: c.fetched.Load(),
		Misses: c.misses.Load(), AbsentHits: c.absentHits.Load(),
		Waiting: c.waiting.Load(), Timeouts: c.timeouts.Load(),
		Errors: c.errors.Load(), LastError: last,
	}
	e.mu.Lock()
	s := e.session
	st.Org = e.config.Org
	e.mu.Unlock()
	switch {
	case st.Org == "":
		st.State = StateNoOrg
		return st
	case s == nil:
		st.State = StateReplica
		return st
	}
	st.Sponsors = s.sponsors.len()
	if run := s.syncs.latest(); run != nil {
		st.SyncDone, st.SyncTotal = run.seen.Load(), run.total.Load()
	}
	st.PullDone, st.PullTotal = s.pulls.progress()
	st.VerifyDone, st.VerifyTotal = s.verifies.progress()
	switch err := s.link.down(); {
	case err == nil:
		st.State = StateConnected
	case errors.Is(err, ErrNoRemote):
		st.State = StateNoRemote
	case errors.Is(err, errConnecting):
		st.State = StateConnecting
	default:
		st.State = StateDown
	}
	return st
}
