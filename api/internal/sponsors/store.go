package sponsors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// What we keep in Redis beside the set of sponsors. No key of the module begins
// like this.
const (
	recordPrefix = "api:sponsorship:"
	// endingKey is a sorted set of the ids of those who will cease to count, by
	// unix seconds.
	endingKey = "api:sponsorships:ending"
)

// recordLifetime is how long we remember what GitHub said about somebody who does
// not count.
const recordLifetime = 90 * 24 * time.Hour

// attempts bounds how often a change is tried that others interfere with.
const attempts = 20

// A Store is who sponsors, in one Redis. It may be used from several goroutines
// and processes.
type Store struct {
	redis  redis.UniversalClient
	org    string
	policy Policy
	now    func() time.Time
}

// New returns a Store for the sponsors of org. Now replaces the clock, unless it
// is nil.
func New(client redis.UniversalClient, org string, policy Policy, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{redis: client, org: org, policy: policy, now: now}
}

// Now is the time by which sponsorships end.
func (s *Store) Now() time.Time { return s.now() }

// A View is a standing, and what follows from it now.
type View struct {
	Standing
	// Counts tells whether they are a sponsor for us: in the set.
	Counts bool
	// Until is when they cease to count, grace included, or zero.
	Until time.Time
	// Entitlements are the names of what they are entitled to; never nil.
	Entitlements []string
}

// Sponsor is what the person counts as. Who does not may have got no answer from
// GitHub.
func (v View) Sponsor() github.Answer {
	if v.Counts {
		return github.Yes
	}
	return v.Answer
}

// view puts together what follows. Who is in the set and has ceased to count by
// their record does not count, even if nobody has taken them out yet.
func (s *Store) view(st Standing, member bool) View {
	counts := member && (st.Answer == github.Unknown || s.policy.Counts(st, s.now()))
	v := View{Standing: st, Counts: counts, Entitlements: []string{}}
	if counts {
		v.Until, _ = s.policy.Until(st)
		v.Entitlements = s.policy.entitled(st)
	}
	return v
}

// View returns how somebody stands.
func (s *Store) View(ctx context.Context, id string) (View, error) {
	st, counts, err := s.read(ctx, s.redis.Pipeline(), id)
	if err != nil {
		return View{}, fmt.Errorf("read a standing: %w", err)
	}
	return s.view(st, counts), nil
}

// read returns somebody's record, and whether they are in the set.
func (s *Store) read(ctx context.Context, pipe redis.Pipeliner, id string) (st Standing, counts bool, err error) {
	record := pipe.Get(ctx, recordPrefix+id)
	member := pipe.SIsMember(ctx, keyspace.SponsorsKey(s.org), id)
	_, _ = pipe.Exec(ctx) // its error may be of the first alone
	// What is no string is no record of ours: it is replaced by the next one.
	if err := record.Err(); err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return Standing{}, false, err
	}
	return decode(record.Val()), member.Val(), member.Err()
}

// decode reads a record. One that another version wrote, or nobody, is the zero
// Standing.
func decode(record string) Standing {
	var st Standing
	if json.Unmarshal([]byte(record), &st) != nil {
		return Standing{}
	}
	return st
}

// Tell records GitHub's answer to a question that was asked at the given time. With
// also more can be written in the same transaction. It may be called several times.
func (s *Store) Tell(ctx context.Context, id string, g github.Sponsorship, at time.Time, also func(redis.Pipeliner) error) (View, error) {
	return s.change(ctx, id, also, func(st Standing, counted bool) Standing { return st.Told(g, at, counted) })
}

// Hint records an event.
func (s *Store) Hint(ctx context.Context, e github.Event) (View, error) {
	return s.change(ctx, strconv.FormatInt(e.ID, 10), nil, func(st Standing, counted bool) Standing {
		return st.Hinted(e, s.now(), counted)
	})
}

// change replaces a standing, and with it who counts, in one transaction.
func (s *Store) change(ctx context.Context, id string, also func(redis.Pipeliner) error, f func(st Standing, counted bool) Standing) (v View, err error) {
	err = s.update(ctx, id, func(before Standing, counted bool, p redis.Pipeliner) error {
		after, counts := f(before, counted), counted
		if after.Answer != github.Unknown {
			counts = s.policy.Counts(after, s.now())
		}
		value, err := json.Marshal(after)
		if err != nil {
			return err
		}
		lifetime := recordLifetime
		if counts {
			lifetime = 0
		}
		p.Set(ctx, recordPrefix+id, value, lifetime)
		s.enrol(ctx, p, id, after, counts, counted)
		v = s.view(after, counts)
		if also != nil {
			return also(p)
		}
		return nil
	})
	return v, err
}

// update reads somebody's record and writes what follows from it, in one transaction:
// write may be called again if somebody else comes in between.
func (s *Store) update(ctx context.Context, id string, write func(st Standing, counted bool, p redis.Pipeliner) error) error {
	for try := range attempts {
		err := s.redis.Watch(ctx, func(tx *redis.Tx) error {
			st, counted, err := s.read(ctx, tx.Pipeline(), id)
			if err != nil {
				return err
			}
			cmds, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return write(st, counted, p) })
			return cause(err, cmds)
		}, recordPrefix+id)
		if err == nil {
			return nil
		}
		if !errors.Is(err, redis.TxFailedErr) {
			return fmt.Errorf("write a standing: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write a standing: %w", ctx.Err())
		case <-time.After(rand.N(time.Duration(try+1) * time.Millisecond)): //nolint:gosec // so that two do not meet again
		}
	}
	return fmt.Errorf("write a standing: %w", redis.TxFailedErr)
}

// cause is why a transaction failed: that it was discarded says less than the command
// that Redis refused.
func cause(err error, cmds []redis.Cmder) error {
	if !redis.HasErrorPrefix(err, "EXECABORT") {
		return err
	}
	for _, cmd := range cmds {
		if e := cmd.Err(); e != nil && !redis.HasErrorPrefix(e, "EXECABORT") {
			return e
		}
	}
	return err
}

// enrol puts somebody who counts into the set, with an alarm for the end if one is
// known, and takes out who does not. Of somebody of whom GitHub has said nothing it
// leaves all as it is.
func (s *Store) enrol(ctx context.Context, p redis.Pipeliner, id string, st Standing, counts, counted bool) {
	switch {
	case counts && !counted:
		p.SAdd(ctx, keyspace.SponsorsKey(s.org), id)
	case !counts && counted:
		p.SRem(ctx, keyspace.SponsorsKey(s.org), id)
	}
	switch until, ends := s.policy.Until(st); {
	case st.Answer == github.Unknown:
	case counts && ends:
		p.ZAdd(ctx, endingKey, redis.Z{Score: float64(until.Unix()), Member: id})
	default:
		p.ZRem(ctx, endingKey, id)
	}
}

// Members lists the ids of all who count.
func (s *Store) Members(ctx context.Context) ([]string, error) {
	ids, err := s.redis.SMembers(ctx, keyspace.SponsorsKey(s.org)).Result()
	if err != nil {
		return nil, fmt.Errorf("list the sponsors: %w", err)
	}
	return ids, nil
}

// Count is how many count.
func (s *Store) Count(ctx context.Context) (int64, error) {
	n, err := s.redis.SCard(ctx, keyspace.SponsorsKey(s.org)).Result()
	if err != nil {
		return 0, fmt.Errorf("count the sponsors: %w", err)
	}
	return n, nil
}

// Forget forgets what GitHub said about somebody. Who counts and does not sponsor
// at GitHub any more ceases to count now; of the others GitHub will tell again, and
// if it does not, they cease to count when they would have.
func (s *Store) Forget(ctx context.Context, id string) error {
	return s.update(ctx, id, func(st Standing, _ bool, p redis.Pipeliner) error {
		p.Del(ctx, recordPrefix+id)
		if st.Answer == github.No {
			s.remove(ctx, p, id)
		}
		return nil
	})
}

// remove takes somebody out.
func (s *Store) remove(ctx context.Context, p redis.Pipeliner, id string) {
	p.SRem(ctx, keyspace.SponsorsKey(s.org), id)
	p.ZRem(ctx, endingKey, id)
}
