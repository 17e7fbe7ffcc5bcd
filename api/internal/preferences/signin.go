package preferences

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// mergeScript moves a visitor's nodes to a person's. KEYS: the person's set,
// the visitor's. ARGV: the greatest number. Answers how many found no room;
// then the visitor's set stays until its time is up.
const mergeScript = `
local left = 0
local room = tonumber(ARGV[1]) - redis.call('SCARD', KEYS[1])
for _, node in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if redis.call('SISMEMBER', KEYS[1], node) == 0 then
    if room > 0 then
      redis.call('SADD', KEYS[1], node)
      room = room - 1
    else
      left = left + 1
    end
  end
end
if left == 0 then redis.call('DEL', KEYS[2]) end
return left`

// SignIn writes what GitHub said about a person, and moves the nodes that they
// excluded as visitor, all in one transaction. A visitor of the zero Owner has
// none. It returns how many of those found no room.
//
// What GitHub did not answer stays as it was: the sponsorship if it is Unknown,
// the e-mail address if it is not known.
func (s *Store) SignIn(ctx context.Context, p github.Person, visitor Owner) (left int, err error) {
	id := ID(p.ID)
	details := keyspace.UserDetailsKey(id)
	if err := s.fetch(ctx, id); err != nil {
		return 0, err
	}
	var merged *redis.Cmd
	_, err = s.redis.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		switch p.Sponsorship.Answer {
		case github.Yes:
			tx.SAdd(ctx, keyspace.SponsorsKey(s.org), id)
		case github.No:
			tx.SRem(ctx, keyspace.SponsorsKey(s.org), id)
		case github.Unknown:
		}
		tx.HSet(ctx, details, "id", id, "user_login", p.Login)
		switch {
		case p.EmailKnown && p.Email != "":
			tx.HSet(ctx, details, "email", p.Email)
		case p.EmailKnown:
			tx.HDel(ctx, details, "email")
		}
		if visitor.key != "" {
			merged = s.merge(ctx, tx, id, visitor)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("write sign-in: %w", err)
	}
	if merged == nil {
		return 0, nil
	}
	return merged.Int()
}

// Adopt moves a visitor's nodes to a person who is signed in already. It
// returns how many found no room.
func (s *Store) Adopt(ctx context.Context, id string, visitor Owner) (left int, err error) {
	pipe := s.redis.Pipeline()
	pipe.SCard(ctx, keyspace.ExcludedNodesKey(id)) // as in Exclude
	merged := s.merge(ctx, pipe, id, visitor)
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("adopt a visitor's nodes: %w", err)
	}
	return merged.Int()
}

func (s *Store) merge(ctx context.Context, pipe redis.Pipeliner, id string, visitor Owner) *redis.Cmd {
	return pipe.Eval(ctx, mergeScript, []string{keyspace.ExcludedNodesKey(id), visitor.key}, MaxNodes)
}

// fetch lets the module bring the person's keys back, should they be away: a
// transaction cannot wait for that.
func (s *Store) fetch(ctx context.Context, id string) error {
	pipe := s.redis.Pipeline()
	pipe.HLen(ctx, keyspace.UserDetailsKey(id))
	pipe.SCard(ctx, keyspace.ExcludedNodesKey(id))
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("fetch a person's keys: %w", err)
	}
	return nil
}
