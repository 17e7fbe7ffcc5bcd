package preferences

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// mergeScript moves a visitor's nodes to a person's, unless that is closed. KEYS: the
// person's set, the visitor's, the key that closes the person's. ARGV: the greatest
// number. Answers how many found no room; then the visitor's set stays until its time
// is up.
const mergeScript = `
if redis.call('EXISTS', KEYS[3]) == 1 then return redis.call('SCARD', KEYS[2]) end
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

// A SignIn is what a sign-in writes: who the person is, and the nodes that they
// excluded as a visitor. What GitHub did not answer stays as it was.
type SignIn struct {
	store   *Store
	person  github.Person
	visitor Owner // the zero Owner: there is none
	merged  *redis.Cmd
}

// SignIn prepares to write a sign-in. It lets the module bring the person's keys
// back, should they be away: a transaction cannot wait for that.
func (s *Store) SignIn(ctx context.Context, p github.Person, visitor Owner) (*SignIn, error) {
	pipe := s.redis.Pipeline()
	pipe.HLen(ctx, keyspace.UserDetailsKey(ID(p.ID)))
	pipe.SCard(ctx, keyspace.ExcludedNodesKey(ID(p.ID)))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("fetch a person's keys: %w", err)
	}
	return &SignIn{store: s, person: p, visitor: visitor}, nil
}

// Write adds its commands to a transaction.
func (in *SignIn) Write(ctx context.Context, tx redis.Pipeliner) {
	id := ID(in.person.ID)
	details := keyspace.UserDetailsKey(id)
	tx.HSet(ctx, details, "id", id, "user_login", in.person.Login)
	switch {
	case in.person.EmailKnown && in.person.Email != "":
		tx.HSet(ctx, details, "email", in.person.Email)
	case in.person.EmailKnown:
		tx.HDel(ctx, details, "email")
	}
	if in.visitor.key != "" {
		in.merged = in.store.merge(ctx, tx, id, in.visitor)
	}
}

// Left is how many of the visitor's nodes found no room, once the transaction has
// run.
func (in *SignIn) Left() (int, error) {
	if in.merged == nil {
		return 0, nil
	}
	return in.merged.Int()
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
	return pipe.Eval(ctx, mergeScript, []string{keyspace.ExcludedNodesKey(id), visitor.key, closedKey(id)}, MaxNodes)
}
