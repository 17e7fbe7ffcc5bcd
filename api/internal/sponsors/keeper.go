package sponsors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
)

// The defaults of KeeperConfig.
const (
	DefaultEvery      = time.Hour
	DefaultLapseEvery = time.Minute
	DefaultPause      = 30 * time.Second
)

const (
	// passTimeout bounds one reconciliation: a hundred sponsors take GitHub a second.
	passTimeout = 10 * time.Minute
	// retryEvery is the time to the next reconciliation after one that failed.
	retryEvery = 5 * time.Minute
	// repairEvery is the time between two looks for alarms that were lost.
	repairEvery = time.Hour
	// many is how many people must leave at once to make us doubt it.
	many = 5
)

// An Asker is GitHub, as a maintainer sees it: a *github.Client.
type Asker interface {
	Sponsors(ctx context.Context) (github.List, error)
	HasMaintainer() bool
}

// KeeperConfig is what a Keeper needs. Store, GitHub and Log must be set.
type KeeperConfig struct {
	Store  *Store
	GitHub Asker
	Log    *slog.Logger
	// Every is the time between two reconciliations with GitHub's list. Zero means
	// DefaultEvery.
	Every time.Duration
	// LapseEvery is the time between two looks for those who cease to count. Zero
	// means DefaultLapseEvery.
	LapseEvery time.Duration
	// Pause is the least time between two reconciliations, whoever wants one. Zero
	// means DefaultPause.
	Pause time.Duration
	// Observe is told of each reconciliation, if it is not nil.
	Observe func(Pass)
}

// A Pass is what one reconciliation has done.
type Pass struct {
	// Listed is how many sponsors GitHub named, Came and Left how many of us began
	// and ceased to sponsor at GitHub since the last time; those who left count
	// until their grace is over.
	Listed, Came, Left int
	// Err says why somebody may be missing.
	Err error
	// At is when GitHub was asked.
	At time.Time
}

// A Keeper keeps the set of sponsors true without anybody signing in: it asks
// GitHub for the list, and takes out who has ceased to count. It may be used from
// several goroutines, and in several processes on one Redis.
type Keeper struct {
	cfg     KeeperConfig
	kick    chan struct{}
	passing singleflight.Group

	mu      sync.Mutex
	last    Pass
	begun   time.Time // of the last pass, by the process's clock
	doubted bool      // the last list was complete, and seemed to be too short
}

// NewKeeper returns a Keeper. It does nothing before Run.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.LapseEvery == 0 {
		cfg.LapseEvery = DefaultLapseEvery
	}
	if cfg.Pause == 0 {
		cfg.Pause = DefaultPause
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Pass) {}
	}
	return &Keeper{cfg: cfg, kick: make(chan struct{}, 1)}
}

// Kick asks for a reconciliation soon. It does not wait.
func (k *Keeper) Kick() {
	select {
	case k.kick <- struct{}{}:
	default: // one is asked for already, and will begin after this
	}
}

// Run keeps the set until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	lapse, repair := time.NewTicker(k.cfg.LapseEvery), time.NewTimer(0)
	reconcile := time.NewTimer(0)
	defer lapse.Stop()
	defer repair.Stop()
	defer reconcile.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-lapse.C:
			k.lapse(ctx)
		case <-repair.C:
			next := repairEvery
			if err := k.cfg.Store.Repair(ctx); err != nil {
				next = k.cfg.LapseEvery // Redis is not there; the log is full of that
			}
			repair.Reset(next)
			k.lapse(ctx)
		case <-k.kick:
			// Who asked for it wants to see what is true after that.
			reconcile.Reset(k.rest())
		case <-reconcile.C:
			reconcile.Reset(k.reconcile(ctx))
		}
	}
}

// rest is how long GitHub is to be left alone.
func (k *Keeper) rest() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(0, k.cfg.Pause-time.Since(k.begun))
}

func (k *Keeper) lapse(ctx context.Context) {
	for {
		ids, err := k.cfg.Store.Lapse(ctx)
		for _, id := range ids {
			k.cfg.Log.Info("a sponsorship has ended", "id", id)
		}
		if err != nil && ctx.Err() == nil {
			k.cfg.Log.Warn("cannot take out all whose sponsorship has ended; it is tried again", "error", err)
		}
		if err != nil || len(ids) < batch {
			return
		}
	}
}

// reconcile runs a pass, if there is a token to ask with. It returns when the next
// one is due.
func (k *Keeper) reconcile(ctx context.Context) time.Duration {
	if k.cfg.GitHub.HasMaintainer() && k.join(ctx).Err != nil {
		return min(k.cfg.Every, retryEvery)
	}
	return k.cfg.Every
}

// join runs a pass, or waits for the one that runs. It goes on when ctx of one of
// those ends who wait for it.
func (k *Keeper) join(ctx context.Context) Pass {
	done := k.passing.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), passTimeout)
		defer cancel()
		k.mu.Lock()
		k.begun = time.Now()
		k.mu.Unlock()
		pass := k.guarded(ctx)
		k.mu.Lock()
		k.last = pass
		k.mu.Unlock()
		k.tell(pass)
		return nil, nil
	})
	select {
	case <-done:
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.last
	case <-ctx.Done():
		return Pass{Err: fmt.Errorf("reconcile: %w", ctx.Err())}
	}
}

func (k *Keeper) tell(pass Pass) {
	switch {
	case pass.Err != nil:
		k.cfg.Log.Warn("cannot reconcile with GitHub; it is tried again", "error", pass.Err, "listed", pass.Listed)
	case pass.Came > 0 || pass.Left > 0:
		k.cfg.Log.Info("reconciled with GitHub", "listed", pass.Listed, "came", pass.Came, "left", pass.Left)
	}
	k.cfg.Observe(pass)
}

// fresh is a pass that has begun after this call: what happened at GitHub before is
// in it.
func (k *Keeper) fresh(ctx context.Context, patience time.Duration) Pass {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	called := time.Now()
	pass := k.join(ctx)
	k.mu.Lock()
	old := k.begun.Before(called)
	k.mu.Unlock()
	if old && ctx.Err() == nil {
		pass = k.join(ctx)
	}
	return pass
}

// guarded is pass, and a panic is an error: it runs where nobody else would recover.
func (k *Keeper) guarded(ctx context.Context) (p Pass) {
	defer func() {
		if recover() != nil {
			k.cfg.Log.Error("panic", "stack", string(debug.Stack()))
			p.Err = errors.New("a panic")
		}
	}()
	return k.pass(ctx)
}

// pass compares GitHub's list with the set. Who is on it counts, even if it is not
// complete; who is not has left only if it is.
func (k *Keeper) pass(ctx context.Context) (p Pass) {
	p.At = k.cfg.Store.Now()
	list, err := k.cfg.GitHub.Sponsors(ctx)
	if err != nil {
		p.Err = err
		return p
	}
	members, err := k.cfg.Store.Members(ctx)
	if err != nil {
		p.Err = err
		return p
	}
	absent := make(map[string]bool, len(members))
	for _, id := range members {
		absent[id] = true
	}
	p.Listed = len(list.Sponsors)
	var errs []error
	for _, sponsor := range list.Sponsors {
		id := strconv.FormatInt(sponsor.ID, 10)
		if !absent[id] {
			p.Came++
		}
		delete(absent, id)
		_, err := k.cfg.Store.Tell(ctx, id, sponsor.Sponsorship, p.At, nil)
		errs = append(errs, err)
	}
	switch {
	case !list.Complete:
		errs = append(errs, fmt.Errorf("GitHub's list is not complete: %s", list.Reason))
	case k.doubts(len(absent), len(members)):
		errs = append(errs, fmt.Errorf("%d of %d sponsors are not on GitHub's list any more; they leave if the next list says the same", len(absent), len(members)))
	default:
		for id := range absent {
			left, err := k.left(ctx, id, p.At)
			if left {
				p.Left++
			}
			errs = append(errs, err)
		}
	}
	p.Err = errors.Join(errs...)
	return p
}

// doubts tells whether so many would leave that the list must be seen twice.
func (k *Keeper) doubts(absent, members int) bool {
	short := absent > many && absent*2 > members
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := k.doubted
	k.doubted = short
	return short && !seen
}

// left notes that somebody is not on a complete list. It tells whether that is new.
func (k *Keeper) left(ctx context.Context, id string, at time.Time) (news bool, err error) {
	v, err := k.cfg.Store.View(ctx, id)
	if err == nil {
		_, err = k.cfg.Store.Tell(ctx, id, github.Sponsorship{Answer: github.No}, at, nil)
	}
	return err == nil && v.Answer != github.No, err
}

// Refresh finds out about one person, by the maintainer's token. It waits for a
// reconciliation, but no longer than patience, or takes one that is younger than the
// pause. Without a token the error is github.ErrNoMaintainer.
func (k *Keeper) Refresh(ctx context.Context, id string, patience time.Duration) error {
	if !k.cfg.GitHub.HasMaintainer() {
		return github.ErrNoMaintainer
	}
	k.mu.Lock()
	pass, young := k.last, k.last.Err == nil && time.Since(k.begun) < k.cfg.Pause
	k.mu.Unlock()
	if !young {
		pass = k.fresh(ctx, patience)
	}
	v, err := k.cfg.Store.View(ctx, id)
	if err != nil {
		return err
	}
	answer := github.Sponsorship{}
	switch found := !pass.At.IsZero() && !v.Seen.Before(pass.At.UTC().Truncate(time.Millisecond)); {
	case found:
		return nil
	case pass.Err == nil:
		answer.Answer = github.No
	default:
		pass.At = k.cfg.Store.Now()
	}
	_, err = k.cfg.Store.Tell(ctx, id, answer, pass.At, nil)
	return err
}
