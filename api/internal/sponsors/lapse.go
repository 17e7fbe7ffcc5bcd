package sponsors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// batch is how many people Lapse and Repair deal with at once.
const batch = 100

// retryLapse is when somebody's turn comes again who could not be taken out.
const retryLapse = time.Minute

// Lapse takes out those who have ceased to count, and returns their ids: at most
// batch of them. One who cannot be taken out does not keep the others in.
func (s *Store) Lapse(ctx context.Context) (lapsed []string, err error) {
	ids, err := s.redis.ZRangeByScore(ctx, endingKey, &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(s.now().Unix(), 10), Count: batch,
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("list who ceases to count: %w", err)
	}
	var errs []error
	for _, id := range ids {
		out, err := s.lapse(ctx, id)
		if err != nil {
			later := redis.Z{Score: float64(s.now().Add(retryLapse).Unix()), Member: id}
			errs = append(errs, err, s.redis.ZAddXX(ctx, endingKey, later).Err())
		}
		if out {
			lapsed = append(lapsed, id)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return lapsed, errors.Join(errs...)
}

// lapse looks whether somebody's time is up, and takes them out if it is.
func (s *Store) lapse(ctx context.Context, id string) (out bool, err error) {
	err = s.update(ctx, id, func(st Standing, _ bool, p redis.Pipeliner) error {
		out = true
		if st.Answer == github.Unknown {
			// They had their record deleted; none is to be made of them now.
			s.remove(ctx, p, id)
			return nil
		}
		if s.policy.Counts(st, s.now()) {
			out = false // it was prolonged meanwhile
			s.enrol(ctx, p, id, st, true, true)
			return nil
		}
		value, err := json.Marshal(s.policy.lapsed(st))
		if err != nil {
			return err
		}
		p.Set(ctx, recordPrefix+id, value, recordLifetime)
		s.remove(ctx, p, id)
		return nil
	})
	return out && err == nil, err
}

// Repair sets the alarms again of all who are in the set, should some have been
// lost, and lets Lapse take out who has ceased to count.
func (s *Store) Repair(ctx context.Context) error {
	members := s.redis.SScan(ctx, keyspace.SponsorsKey(s.org), 0, "", batch).Iterator()
	var ids []string
	for members.Next(ctx) {
		if ids = append(ids, members.Val()); len(ids) == batch {
			if err := s.repair(ctx, ids); err != nil {
				return err
			}
			ids = ids[:0]
		}
	}
	if err := members.Err(); err != nil {
		return fmt.Errorf("walk the sponsors: %w", err)
	}
	return s.repair(ctx, ids)
}

func (s *Store) repair(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = recordPrefix + id
	}
	records, err := s.redis.MGet(ctx, keys...).Result()
	if err != nil {
		return fmt.Errorf("read the standings: %w", err)
	}
	var alarms []redis.Z
	for i, record := range records {
		text, _ := record.(string)
		st := decode(text)
		if until, ends := s.policy.Until(st); ends && st.Answer != github.Unknown {
			alarms = append(alarms, redis.Z{Score: float64(until.Unix()), Member: ids[i]})
		}
	}
	if len(alarms) == 0 {
		return nil
	}
	// Only those that are missing: the others are newer than what was read.
	if err := s.redis.ZAddNX(ctx, endingKey, alarms...).Err(); err != nil {
		return fmt.Errorf("set alarms: %w", err)
	}
	return nil
}
