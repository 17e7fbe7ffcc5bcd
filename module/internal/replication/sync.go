package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

// A SyncRequest says what SPONSOR.SYNC is to copy.
type SyncRequest struct {
	Owners []string // whose keys; none: every sponsor's, and what is replicated for everybody
	DryRun bool     // count only

	// Prune also removes, on the remote, what is gone from keys that are here and
	// complete, and keys of people who are no sponsors, if they are here.
	Prune bool
}

func (r SyncRequest) id() string {
	return fmt.Sprintf("%v %v %q", r.DryRun, r.Prune, r.Owners)
}

// A SyncResult is what a SYNC has copied, or would copy.
type SyncResult struct {
	Sponsors int64 // people whose keys were looked at
	Keys     int64 // keys that the remote has acknowledged
	Elements int64 // members, fields, elements of lists, entries of streams in them; a string is one
	Bytes    int64 // of their names and elements, without the protocol's own
	Skipped  int64 // keys of a type that cannot travel
	Failed   int64 // keys that the remote has refused
	Pruned   int64 // keys of people who are no sponsors that were removed from the remote
	Duration time.Duration
}

// A SyncRun is a SYNC under way. It may be used concurrently.
type SyncRun struct {
	session *session
	request SyncRequest
	begun   time.Time
	done    chan struct{}

	// What is known while it runs.
	sponsors, keys, elements, bytes, skipped, failed, pruned atomic.Int64
	seen, total                                              atomic.Int64
	reports                                                  atomic.Int64

	set   *copying   // sponsors:<org>, if it is not copied as a whole
	large []*copying // values that are copied as wholes, page by page, after the others
	own   bool       // the engine's own, which nobody has asked for

	replace bool // what is here and complete takes the place of what the remote has

	mu   sync.Mutex
	held map[*copying]struct{} // keys whose changes wait

	// Valid once done is closed.
	took time.Duration
	err  error
}

// Wait waits until the run has ended, and returns what it came to.
func (r *SyncRun) Wait() (SyncResult, error) {
	<-r.done
	return SyncResult{
		Sponsors: r.sponsors.Load(), Keys: r.keys.Load(), Elements: r.elements.Load(), Bytes: r.bytes.Load(),
		Skipped: r.skipped.Load(), Failed: r.failed.Load(), Pruned: r.pruned.Load(), Duration: r.took,
	}, r.err
}

func (r *SyncRun) stager() stager {
	if r.own {
		return r.session.stager(byMeet)
	}
	return r.session.stager(bySync)
}

// hold keeps changes to the key of c from being sent until it has arrived: they are
// newer than what is being read.
func (r *SyncRun) hold(c *copying) {
	if r.request.DryRun {
		return
	}
	r.session.changes.hold(c.key)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[c] = struct{}{}
}

func (r *SyncRun) release(c *copying) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.held[c]; ok {
		delete(r.held, c)
		r.session.changes.release(c.key)
	}
}

func (r *SyncRun) releaseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.held {
		r.session.changes.release(c.key)
	}
	clear(r.held)
}

// reportsLogged is how many keys that were not copied a run names in the log.
const reportsLogged = 20

// report counts a key that was not copied, and names the first ones in the log.
func (r *SyncRun) report(err error) {
	if r.request.DryRun {
		return
	}
	if r.reports.Add(1) <= reportsLogged {
		r.session.fail("SYNC has not copied a key", err)
	} else {
		r.session.count.fail(err)
	}
}

// syncs are the runs of a session. One runs at a time; the others wait. So do
// those that the engine itself has begun, beside them: nobody who calls SYNC waits
// for these.
type syncs struct {
	turn turn
	own  turn

	mu      sync.Mutex
	pending map[string]*SyncRun // by request, running or waiting
	last    *SyncRun            // the one that runs, or has run last; nil at first
}

func newSyncs() *syncs {
	return &syncs{turn: newTurn(), own: newTurn(), pending: make(map[string]*SyncRun)}
}

// A turn holds one token while nobody has it.
type turn chan struct{}

func newTurn() turn {
	t := make(turn, 1)
	t <- struct{}{}
	return t
}

func (s *syncs) latest() *SyncRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *syncs) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) > 0
}

// Sync begins a run, or joins the one that has the same request: joined tells.
// A run copies what it finds as it goes, so that a joined one may have passed a
// key already that was written since. Sync does not wait. Call it where Configure,
// SetMaster and Close are called: on the server's main thread.
func (e *Engine) Sync(request SyncRequest) (run *SyncRun, joined bool, err error) {
	s, err := e.open()
	if err != nil {
		return nil, false, err
	}
	if s.config.Remote.Host == "" && !request.DryRun {
		return nil, false, ErrNoRemote
	}
	run, joined = s.startSync(request)
	return run, joined, nil
}

// Syncing reports whether a SYNC is under way.
func (e *Engine) Syncing() bool {
	s := e.current()
	return s != nil && (s.syncs.busy() || s.pulls.busy() || s.verifies.busy())
}

func (s *session) startSync(request SyncRequest) (run *SyncRun, joined bool) {
	s.syncs.mu.Lock()
	defer s.syncs.mu.Unlock()
	slices.Sort(request.Owners)
	request.Owners = slices.Compact(request.Owners)
	id := request.id()
	if run, ok := s.syncs.pending[id]; ok {
		return run, true
	}
	run = s.newRun(request)
	s.syncs.pending[id] = run
	s.work.Go(func() {
		err := guard("sync", func() error { return s.sync(run, s.syncs.turn) })
		if err != nil && !errors.As(err, new(*notSponsorsError)) {
			s.fail("SYNC has failed", err)
		}
		s.endRun(run, err)
	})
	return run, false
}

func (s *session) newRun(request SyncRequest) *SyncRun {
	return &SyncRun{
		session: s, request: request, begun: time.Now(), done: make(chan struct{}),
		held: make(map[*copying]struct{}),
	}
}

// endRun ends a run, which may have worked.
func (s *session) endRun(run *SyncRun, err error) {
	if err != nil && !run.request.DryRun {
		rest(sendRest) // as changes do, which may go on from here
	}
	run.releaseAll()
	if n := run.reports.Load(); n > reportsLogged {
		s.log.Warn("SYNC has skipped more keys, or the remote has refused them", "keys", n-reportsLogged)
	}
	s.syncs.mu.Lock()
	defer s.syncs.mu.Unlock()
	if id := run.request.id(); s.syncs.pending[id] == run {
		delete(s.syncs.pending, id)
	}
	run.took, run.err = time.Since(run.begun), err
	if errors.Is(err, context.Canceled) && s.ctx.Err() != nil {
		run.err = context.Cause(s.ctx)
	}
	close(run.done)
}

// sync carries a run out when its turn has come.
func (s *session) sync(run *SyncRun, turn turn) error {
	select {
	case <-turn:
		defer func() { turn <- struct{}{} }()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	s.syncs.mu.Lock()
	s.syncs.last = run
	s.syncs.mu.Unlock()

	if run.request.Prune && (!s.config.WriteBehind || !s.changes.isMet()) {
		return errPruneBlind
	}
	if len(run.request.Owners) > 0 {
		run.set = &copying{key: s.config.sponsorsKey(), kind: kinds["set"]}
		run.hold(run.set)
	}
	if err := s.onlySponsors(run.request.Owners); err != nil {
		return err
	}
	generation := s.generation.Load()
	if err := s.copy(run); err != nil {
		return err
	}
	if s.generation.Load() != generation {
		return errReplaced
	}
	return nil
}

func (s *session) copy(run *SyncRun) error {
	if run.request.DryRun {
		err := s.backfill(s.ctx, run, func(chunks []chunk) error {
			for i := range chunks {
				chunks[i].unpack()
				chunks[i].settle(run)
			}
			return nil
		})
		if err != nil || !run.request.Prune {
			return err
		}
	}
	if err := persist(s.ctx, patienceAtStart, func() error { return s.link.check(s.ctx) }); err != nil {
		return err
	}
	client, err := s.link.get()
	if err != nil {
		return err
	}
	if run.request.DryRun {
		return s.pruneOthers(run, client)
	}
	w := newWriter(s, run, client)
	if err := w.close(guard("backfill", func() error { return s.backfill(w.ctx, run, w.write) })); err != nil {
		return err
	}
	for _, c := range run.large {
		err := persist(s.ctx, patience, func() error { return s.copyLarge(run, client, c) })
		if err != nil {
			return err
		}
	}
	if run.request.Prune {
		return s.pruneOthers(run, client)
	}
	return nil
}

// pruneOthers removes keys of people who are no sponsors, if all are spoken of.
func (s *session) pruneOthers(run *SyncRun, client *remote.Client) error {
	if len(run.request.Owners) > 0 {
		return nil
	}
	if run.sponsors.Load() == 0 {
		return errPruneNobody
	}
	n, err := s.prune(client, run.request.DryRun)
	run.pruned.Store(int64(n))
	return err
}

// copyLarge copies a large value as a whole.
func (s *session) copyLarge(run *SyncRun, client *remote.Client, c *copying) error {
	v := largeValue{session: s, client: client, key: c.key, by: run.stager()}
	for {
		if err := v.send(); err != nil {
			return err
		}
		if !v.torn || s.changes.tornOften(c.key) {
			break
		}
		v = largeValue{session: s, client: client, key: c.key, by: run.stager()}
	}
	if v.left {
		run.release(c)
		run.total.Add(-1)
		return nil
	}
	c.refused, c.elements, c.bytes = v.refused, v.elements, v.bytes
	if v.gone || v.torn {
		c.refused = keyError("copy", c.key, errChanged)
	}
	last := chunk{of: c, last: true}
	last.settle(run)
	if c.refused == nil {
		s.count.acknowledged.Add(1)
	}
	return nil
}

// onlySponsors refuses people who are not in sponsors:<org>: their keys never
// leave this server.
func (s *session) onlySponsors(owners []string) error {
	var strangers []string
	err := eachInSlices(s.ctx, s.local, owners, func(d Data, id string) error {
		is, err := isMember(d, s.config.sponsorsKey(), id)
		if err == nil && !is {
			strangers = append(strangers, id)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(strangers) > 0 {
		return &notSponsorsError{key: s.config.sponsorsKey(), owners: strangers}
	}
	return nil
}

// A notSponsorsError refuses a request for people who are no sponsors.
type notSponsorsError struct {
	key    string
	owners []string
}

func (e *notSponsorsError) Error() string {
	return fmt.Sprintf("not in %s: %s (nobody's keys were copied)", e.key, strings.Join(e.owners, " "))
}
