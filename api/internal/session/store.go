package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// store keeps sessions in Redis for scs. The one that scs offers for go-redis
// writes a session back whenever it was used, and so brings one to life again
// that was ended meanwhile by another request. This one only moves the expiry
// time of what is there.
type store struct {
	redis  redis.UniversalClient
	prefix string
	idle   time.Duration
}

// FindCtx returns the session and lets it live for another idle time.
func (s store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	b, err := s.redis.GetEx(ctx, s.prefix+token, s.idle).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// CommitCtx writes a session that lives until expiry, or for the idle time if
// that is shorter.
func (s store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	return s.redis.Set(ctx, s.prefix+token, b, min(s.idle, time.Until(expiry))).Err()
}

// DeleteCtx ends a session.
func (s store) DeleteCtx(ctx context.Context, token string) error {
	return s.redis.Del(ctx, s.prefix+token).Err()
}

// Find, Commit and Delete complete scs.Store; scs uses those with a context.
func (s store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a deadline.
func (s store) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx without a deadline.
func (s store) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// codec writes sessions as JSON, for people who look into Redis. What it cannot
// read is a session that has expired: nobody is locked out by a value that
// another version wrote.
type codec struct{}

type record struct {
	Deadline time.Time         `json:"deadline"`
	Values   map[string]string `json:"values"`
}

// Encode implements scs.Codec. All our values are strings.
func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	r := record{Deadline: deadline, Values: make(map[string]string, len(values))}
	for k, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("a session holds strings only")
		}
		r.Values[k] = s
	}
	return json.Marshal(r)
}

// Decode implements scs.Codec.
func (codec) Decode(b []byte) (time.Time, map[string]any, error) {
	var r record
	values := make(map[string]any)
	if err := json.Unmarshal(b, &r); err != nil {
		return time.Time{}, values, nil //nolint:nilerr // see the type's comment
	}
	for k, v := range r.Values {
		values[k] = v
	}
	return r.Deadline, values, nil
}
