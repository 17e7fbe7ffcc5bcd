package main

import (
	"context"
	"fmt"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// bulk starts a local server that has the bulk, and of which nothing was copied.
func (l *lab) bulk(ctx context.Context) (*server, error) {
	local, err := l.startLocal(ctx, "no")
	if err != nil {
		return nil, err
	}
	commands, err := l.openBulk()
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	if err := local.pipeLocal(ctx, commands, 2*bulkOwners); err != nil {
		return nil, err
	}
	return local, local.addSponsors(ctx, bulkOwners)
}

// sync runs SPONSOR.SYNC, which must copy that many keys of people, and returns
// how long that took.
func (s *server) sync(ctx context.Context, keys int) (time.Duration, error) {
	begun := time.Now()
	reply, err := mapOf(s.db.Do(ctx, "SPONSOR.SYNC"))
	took := time.Since(begun)
	if err != nil {
		return 0, fmt.Errorf("SPONSOR.SYNC: %w", err)
	}
	// The set of sponsors is one more.
	if reply["keys"] != fmt.Sprint(keys+1) || reply["failed"] != "0" || reply["skipped"] != "0" {
		return 0, fmt.Errorf("SPONSOR.SYNC answers %v, want %d keys", reply, keys+1)
	}
	return took, nil
}

// holds is an error unless the server has that many keys.
func (s *server) holds(ctx context.Context, keys int) error {
	got, err := s.db.DBSize(ctx).Result()
	if err == nil && got != int64(keys) {
		err = fmt.Errorf("%s has %d keys, want %d", s.Config().Name, got, keys)
	}
	return err
}

// measureSync compares SYNC with the fastest way there is to fill a server that
// is on the other side of a connection.
func measureSync(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.bulk(ctx)
	if err != nil {
		return "", err
	}
	commands, err := l.openBulk()
	if err != nil {
		return "", err
	}
	defer commands.Close()
	// filled flushes the remote, fills it, and returns elements a second.
	filled := func(keys int, fill func() (time.Duration, error)) (float64, error) {
		if err := l.remote.flush(ctx); err != nil {
			return 0, err
		}
		took, err := fill()
		if err != nil {
			return 0, err
		}
		return 2 * bulkOwners * bulkElements / took.Seconds(), l.remote.holds(ctx, keys)
	}
	o, err := inTurns(e.runs,
		func() (float64, error) {
			return filled(2*bulkOwners+1, func() (time.Duration, error) { return local.sync(ctx, 2*bulkOwners) })
		},
		func() (float64, error) {
			return filled(2*bulkOwners, func() (time.Duration, error) { return l.remote.pipeRemote(ctx, commands, 2*bulkOwners) })
		})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f (%s against %s)", o.ratio(), rate(median(o.ours)), rate(median(o.theirs))), nil
}

// measureSyncFlat compares SYNC of the same sponsors in a large database and in a
// small one.
func measureSyncFlat(ctx context.Context, l *lab, e effort) (string, error) {
	sides := make([]func() (float64, error), 2)
	for i, others := range []int{e.others, flatOthers} {
		local, err := l.startLocal(ctx, "no")
		if err != nil {
			return "", err
		}
		if err := local.addPreferences(ctx, flatSponsors); err != nil {
			return "", err
		}
		if err := local.populate(ctx, others); err != nil {
			return "", err
		}
		if _, err := local.sync(ctx, 3*flatSponsors); err != nil { // to warm up
			return "", err
		}
		sides[i] = func() (float64, error) {
			took, err := local.sync(ctx, 3*flatSponsors)
			return took.Seconds(), err
		}
	}
	o, err := inTurns(e.many, sides[0], sides[1])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f (%s against %s)", o.ratio(), ms(seconds(median(o.ours))), ms(seconds(median(o.theirs)))), nil
}

// addPreferences makes sponsors of the first people and gives each the three keys
// that a person has.
func (s *server) addPreferences(ctx context.Context, people int) error {
	if err := s.addSponsors(ctx, people); err != nil {
		return err
	}
	if err := s.addSets(ctx, people, smallSet); err != nil {
		return err
	}
	return s.pipelined(ctx, func(send func(...any) error) error {
		for i := range people {
			id := owner(i)
			for _, key := range []string{keyspace.UserDetailsKey(id), "user:" + id} {
				if err := send("HSET", key, "id", id, "user_login", "login-"+id, "email", id+"@example.com"); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
