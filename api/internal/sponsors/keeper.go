package sponsors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
)

// The defaults of KeeperConfig.
const (
	DefaultEvery      = time.Hour
	DefaultLapseEvery = time.Minute
)

// passTimeout bounds one reconciliation: a hundred sponsors take GitHub a second.
const passTimeout = 10 * time.Minute

// retryEvery is the time to the next reconciliation after one that failed.
const retryEvery = 5 * time.Minute

// An Asker is GitHub, as a maintainer sees it: a *github.Client.
type Asker interface {
	Sponsors(ctx context.Context, stop func(github.Sponsor) bool) (github.List, error)
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
	// Observe is told of each reconciliation, if it is not nil.
	Observe func(Pass)
}

// A Pass is what one reconciliation has done.
type Pass struct {
	// Listed is how many sponsors GitHub named, Came and Left how many of us began
	// and ceased to sponsor at GitHub since the last time; those who left count
	// until their grace is over.
	Listed, Came, Left int
	// Complete tells that the list was, so that who is not on it has left.
	Complete bool
	Err      error
	// At is when GitHub was asked.
	At time.Time
}

// A Keeper keeps the set of sponsors true without anybody signing in: it asks
// GitHub for the list, and takes out who has ceased to count. It may be used from
// several goroutines, and in several processes on one Redis.
type Keeper struct {
	cfg  KeeperConfig
	kick chan struct{}
}

// NewKeeper returns a Keeper. It does nothing before Run.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.LapseEvery == 0 {
		cfg.LapseEvery = DefaultLapseEvery
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
	lapse, reconcile := time.NewTicker(k.cfg.LapseEvery), time.NewTimer(0)
	defer lapse.Stop()
	defer reconcile.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-lapse.C:
			k.lapse(ctx)
			continue
		case <-reconcile.C:
		case <-k.kick:
		}
		reconcile.Reset(k.reconcile(ctx))
	}
}

func (k *Keeper) lapse(ctx context.Context) {
	for {
		ids, err := k.cfg.Store.Lapse(ctx)
		for _, id := range ids {
			k.cfg.Log.Info("a sponsorship has ended", "id", id)
		}
		if err != nil && ctx.Err() == nil {
			k.cfg.Log.Warn("cannot look for sponsorships that have ended; it is tried again", "error", err)
		}
		if err != nil || len(ids) < batch {
			return
		}
	}
}

// reconcile runs a pass, if there is a token to ask with, and tells of it. It
// returns when the next one is due.
func (k *Keeper) reconcile(ctx context.Context) time.Duration {
	if !k.cfg.GitHub.HasMaintainer() {
		return k.cfg.Every
	}
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	pass := k.pass(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return k.cfg.Every
	}
	k.cfg.Observe(pass)
	switch {
	case pass.Err != nil:
		k.cfg.Log.Warn("cannot reconcile with GitHub; it is tried again", "error", pass.Err, "listed", pass.Listed)
		return min(k.cfg.Every, retryEvery)
	case pass.Came > 0 || pass.Left > 0:
		k.cfg.Log.Info("reconciled with GitHub", "listed", pass.Listed, "came", pass.Came, "left", pass.Left)
	}
	return k.cfg.Every
}

// pass compares GitHub's list with the set. Who is on it counts, even if it is not
// complete; who is not has left only if it is.
func (k *Keeper) pass(ctx context.Context) (p Pass) {
	p.At = k.cfg.Store.Now()
	list, err := k.cfg.GitHub.Sponsors(ctx, nil)
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
	p.Listed, p.Complete = len(list.Sponsors), list.Complete
	for _, sponsor := range list.Sponsors {
		id := strconv.FormatInt(sponsor.ID, 10)
		if !absent[id] {
			p.Came++
		}
		delete(absent, id)
		if _, p.Err = k.cfg.Store.Tell(ctx, id, sponsor.Sponsorship, p.At, nil); p.Err != nil {
			return p
		}
	}
	if !list.Complete {
		p.Err = fmt.Errorf("GitHub's list is not complete: %s", list.Reason)
		return p
	}
	for id := range absent {
		v, err := k.cfg.Store.View(ctx, id)
		if err == nil && v.Answer != github.No {
			p.Left++
		}
		if err == nil {
			_, err = k.cfg.Store.Tell(ctx, id, github.Sponsorship{Answer: github.No}, p.At, nil)
		}
		if err != nil {
			p.Err = err
			return p
		}
	}
	return p
}

// Ask asks GitHub about one person, by the maintainer's token. Without one, the
// error is github.ErrNoMaintainer.
func (k *Keeper) Ask(ctx context.Context, id int64) (github.Sponsorship, error) {
	var found github.Sponsorship
	list, err := k.cfg.GitHub.Sponsors(ctx, func(s github.Sponsor) bool {
		if s.ID == id {
			found = s.Sponsorship
		}
		return s.ID == id
	})
	switch {
	case err != nil:
		return github.Sponsorship{}, err
	case found.Answer == github.Yes:
		return found, nil
	case list.Complete:
		return github.Sponsorship{Answer: github.No}, nil
	default:
		return github.Sponsorship{Reason: list.Reason}, nil
	}
}
