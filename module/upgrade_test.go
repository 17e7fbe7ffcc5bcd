package main_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// An upgrade, in the two ways that OPERATIONS.md tells, while clients write all the
// time: no change is lost.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		t.Parallel()
		for name, upgrade := range map[string]func(*testing.T, *pair){"in place": upgradeInPlace, "restart": upgradeByRestart} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, flavor, writeBehind, blocking, "appendonly yes", "appendfsync always", "enable-module-command local")
				p.waitFor(t, "connected")
				upgradeUnderWrites(t, p, upgrade)
			})
		}
	})
}

const (
	upgradeWriters = 4
	upgradeTurns   = 3
)

func upgradeUnderWrites(t *testing.T, p *pair, upgrade func(*testing.T, *pair)) {
	t.Helper()
	ctx := t.Context()
	var (
		work   sync.WaitGroup
		end    atomic.Bool
		writes atomic.Int64
		want   [upgradeWriters]map[string]bool // what was acknowledged last of each member
	)
	for i := range upgradeWriters {
		check(t, p.l.SAdd(ctx, sponsorsKey, fmt.Sprint(i)).Err())
		want[i] = make(map[string]bool)
		work.Go(func() {
			key := fmt.Sprintf("user:%d:mnodes", i)
			for n := 0; !end.Load(); n++ {
				member := fmt.Sprintf("C%d", n%50)
				add := n/50%2 == 0
				// Until it is acknowledged: the server goes away for a while.
				for !end.Load() {
					var err error
					if add {
						err = p.l.SAdd(ctx, key, member).Err()
					} else {
						err = p.l.SRem(ctx, key, member).Err()
					}
					if err == nil {
						want[i][member] = add
						writes.Add(1)
						break
					}
					var refused redis.Error
					if errors.As(err, &refused) && !strings.HasPrefix(err.Error(), "LOADING") {
						t.Errorf("writer %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	for range upgradeTurns {
		before := writes.Load()
		redistest.Eventually(t, soon, func() error {
			if writes.Load() < before+200 {
				return errors.New("nobody writes")
			}
			return nil
		})
		upgrade(t, p)
		p.waitFor(t, "connected")
	}
	end.Store(true)
	work.Wait()
	redistest.Eventually(t, soon, func() error {
		if left, err := p.l.Do(ctx, "SPONSOR.WAIT", "1000").Int(); err != nil || left != 0 {
			return fmt.Errorf("%d changes are on their way (%w)", left, err)
		}
		return nil
	})
	for i := range upgradeWriters {
		var members []string
		for member, there := range want[i] {
			if there {
				members = append(members, member)
			}
		}
		slices.Sort(members)
		got := p.r.SMembers(ctx, fmt.Sprintf("user:%d:mnodes", i)).Val()
		slices.Sort(got)
		if !slices.Equal(got, members) {
			t.Errorf("the remote has %v of writer %d, want %v", got, i, members)
		}
	}
}

// upgradeInPlace pauses writes, so that nothing is written while there is no module.
// UNLOAD may be refused, for a client that has used the module last.
func upgradeInPlace(t *testing.T, p *pair) {
	t.Helper()
	ctx := t.Context()
	settings := p.l.ConfigGet(ctx, "sponsor.*").Val()
	args := []any{"MODULE", "LOADEX", redistest.Module(t)}
	for name, value := range settings {
		args = append(args, "CONFIG", name, value)
	}
	redistest.Eventually(t, soon, func() error {
		if err := p.l.Do(ctx, "CLIENT", "PAUSE", "10000", "WRITE").Err(); err != nil {
			return err
		}
		unloaded := p.l.Do(ctx, "MODULE", "UNLOAD", "sponsor").Err()
		if unloaded == nil {
			check(t, p.l.Do(ctx, args...).Err())
		}
		check(t, p.l.Do(ctx, "CLIENT", "UNPAUSE").Err())
		return unloaded
	})
	if got := p.l.ConfigGet(ctx, "sponsor.*").Val(); fmt.Sprint(got) != fmt.Sprint(settings) {
		t.Errorf("settings = %v, want %v", got, settings)
	}
}

func upgradeByRestart(t *testing.T, p *pair) {
	t.Helper()
	check(t, p.local.Stop())
	check(t, p.local.Restart(t.Context()))
	redistest.Eventually(t, 10*time.Second, func() error { return p.l.Ping(t.Context()).Err() })
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
