// Package preferences keeps what people told us in Redis: who they are, and which nodes of the graph they never want to see
// again. The names of the keys are keyspace's; the module replicates them.
package preferences

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// MaxNodes is how many nodes one person may exclude, and MaxVisitorNodes how
// many somebody who is not signed in.
const (
	MaxNodes        = 5000
	MaxVisitorNodes = 1000
)

// MaxNodeLength is the greatest length of a node's id, in bytes.
const MaxNodeLength = 64

// ErrFull is a node too many.
var ErrFull = errors.New("too many excluded nodes")

// ErrClosed is a write of somebody who has just had everything erased.
var ErrClosed = errors.New("the person's data is being erased")

// ValidNode tells whether s can be the id of a node: 1 to MaxNodeLength
// letters, digits, dots, hyphens and underscores of ASCII, as in C5162902.
func ValidNode(s string) bool {
	if s == "" || len(s) > MaxNodeLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// An Owner is whose nodes they are: a Person's or a Visitor's.
type Owner struct {
	id       string
	key      string
	closed   string // a key that is there while nothing may be written
	max      int
	lifetime time.Duration // of the key; zero is for ever
}

// Person is somebody who signed in, by GitHub's numeric id.
func Person(id string) Owner {
	return Owner{id: id, key: keyspace.ExcludedNodesKey(id), closed: closedKey(id), max: MaxNodes}
}

// Visitor is somebody who did not. Their nodes lie under api:, where the module
// replicates nothing, and are forgotten lifetime after the last one.
func Visitor(id string, lifetime time.Duration) Owner {
	return Owner{id: "anonymous", key: "api:visitor:" + id + ":nodes", closed: closedKey("anonymous"), max: MaxVisitorNodes, lifetime: lifetime}
}

// String names the owner in answers: a person's id, or anonymous.
func (o Owner) String() string { return o.id }

// A Store is the preferences in one Redis. It may be used from several
// goroutines.
type Store struct{ redis redis.UniversalClient }

// New returns a Store.
func New(client redis.UniversalClient) *Store { return &Store{redis: client} }

// excludeScript adds a node unless there are too many. KEYS: the set, the key that
// closes it. ARGV: the node, the greatest number, the lifetime in ms or 0. Answers 1,
// 0 if full, or -1 if closed.
//
// It must be one step: between a count and an SADD of their own, a hundred
// requests at once would each find room. WATCH would do as well, but the module
// restores keys that were evicted, which breaks it, and a person's own requests
// would make each other fail.
const excludeScript = `
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
  redis.call('SADD', KEYS[1], ARGV[1])
end
if tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1`

// Exclude adds a node to the owner's. Adding it again is no error; ErrFull and
// ErrClosed are.
func (s *Store) Exclude(ctx context.Context, o Owner, node string) error {
	pipe := s.redis.Pipeline()
	// A script cannot wait for the module to bring an evicted key back. A plain
	// command can, and the script behind it finds the key here.
	pipe.SCard(ctx, o.key)
	added := pipe.Eval(ctx, excludeScript, []string{o.key, o.closed}, node, o.max, o.lifetime.Milliseconds())
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("exclude a node: %w", err)
	}
	n, err := added.Int()
	if err != nil {
		return fmt.Errorf("exclude a node: %w", err)
	}
	switch n {
	case 0:
		return ErrFull
	case -1:
		return ErrClosed
	}
	return nil
}

// closedKey is there while a person's data is being erased.
func closedKey(id string) string { return "api:closed:" + id }

// Close lets nobody add nodes of a person for a while, whatever session they have.
func (s *Store) Close(ctx context.Context, id string, d time.Duration) error {
	if err := s.redis.Set(ctx, closedKey(id), "", d).Err(); err != nil {
		return fmt.Errorf("close a person's data: %w", err)
	}
	return nil
}

// Drop removes all nodes of the owner.
func (s *Store) Drop(ctx context.Context, o Owner) error {
	if err := s.redis.Unlink(ctx, o.key).Err(); err != nil {
		return fmt.Errorf("drop nodes: %w", err)
	}
	return nil
}

// TakeBack removes a node from the owner's. One that is not there is no error.
func (s *Store) TakeBack(ctx context.Context, o Owner, node string) error {
	if err := s.redis.SRem(ctx, o.key, node).Err(); err != nil {
		return fmt.Errorf("take a node back: %w", err)
	}
	return nil
}

// Nodes returns the owner's excluded nodes, sorted; an empty list, never nil.
func (s *Store) Nodes(ctx context.Context, o Owner) ([]string, error) {
	nodes, err := s.redis.SMembers(ctx, o.key).Result()
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	slices.Sort(nodes)
	return append([]string{}, nodes...), nil
}

// Count is how many nodes the owner has excluded.
func (s *Store) Count(ctx context.Context, o Owner) (int, error) {
	n, err := s.redis.SCard(ctx, o.key).Result()
	if err != nil {
		return 0, fmt.Errorf("count nodes: %w", err)
	}
	return int(n), nil
}

// Details is who somebody said they are when they signed in. The zero value is
// somebody of whom nothing is stored.
type Details struct {
	Login string
	Email string // empty if there is none
}

// Details returns what is stored about a person.
func (s *Store) Details(ctx context.Context, id string) (Details, error) {
	fields, err := s.redis.HMGet(ctx, keyspace.UserDetailsKey(id), "user_login", "email").Result()
	if err != nil {
		return Details{}, fmt.Errorf("read details: %w", err)
	}
	var d Details
	d.Login, _ = fields[0].(string)
	d.Email, _ = fields[1].(string)
	return d, nil
}

// Graph returns the hash user:<id>, which other programs of the project write.
func (s *Store) Graph(ctx context.Context, id string) (map[string]string, error) {
	fields, err := s.redis.HGetAll(ctx, keyspace.UserKey(id)).Result()
	if err != nil {
		return nil, fmt.Errorf("read what the graph keeps: %w", err)
	}
	return fields, nil
}

// ID is a numeric id of GitHub's as it stands in keys.
func ID(id int64) string { return strconv.FormatInt(id, 10) }
