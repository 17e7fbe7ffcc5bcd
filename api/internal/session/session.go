// Package session remembers who is signed in, who is about to sign in, and who
// is just visiting. Everything it stores in Redis begins with Prefix, has a
// time to live, and is named by the hash of a random value that only the
// browser has, in a signed cookie: what nobody signed never reaches Redis.
package session

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

// Prefix begins every key that this package writes. No key of the module
// begins like this.
const Prefix = "api:"

// The defaults of Config.
const (
	DefaultIdle     = 14 * 24 * time.Hour
	DefaultAbsolute = 90 * 24 * time.Hour
)

const sessionCookie = "sponsor-session"

const (
	// sessionPrefix begins the key of a session.
	sessionPrefix = Prefix + "session:"
	// listPrefix begins the key of a person's sessions: a sorted set of their
	// names, by the unix seconds of their deadlines.
	listPrefix = Prefix + "sessions:"
)

// Config is what a Manager needs. Redis and Cookies must be set.
type Config struct {
	Redis   redis.UniversalClient
	Cookies *Cookies
	// Idle ends a session that nobody used for so long. Zero means DefaultIdle.
	Idle time.Duration
	// Absolute ends a session so long after the sign-in, however much it is
	// used. Zero means DefaultAbsolute.
	Absolute time.Duration
}

// A Manager keeps sessions. It may be used from several goroutines.
type Manager struct {
	redis    redis.UniversalClient
	cookies  *Cookies
	sessions *scs.SessionManager
}

// A Person is who a session belongs to.
type Person struct {
	// ID is GitHub's numeric id, in decimal.
	ID string
	// Login is the name of the account when the session began.
	Login string
}

// New returns a Manager. It does not talk to Redis yet.
func New(cfg Config) *Manager {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Absolute == 0 {
		cfg.Absolute = DefaultAbsolute
	}
	// Not scs.New: that starts a goroutine for a store that we do not use.
	sessions := &scs.SessionManager{
		Store:            store{redis: cfg.Redis, prefix: sessionPrefix, idle: cfg.Idle},
		Codec:            codec{},
		Lifetime:         cfg.Absolute,
		HashTokenInStore: true,
	}
	return &Manager{redis: cfg.Redis, cookies: cfg.Cookies, sessions: sessions}
}

// Load tells who sent the request; ok is false for somebody who is not signed
// in. It asks Redis only if the request has a cookie that we signed.
func (m *Manager) Load(ctx context.Context, r *http.Request) (p Person, ok bool, err error) {
	token, ok := m.cookies.Get(r, sessionCookie)
	if !ok {
		return Person{}, false, nil
	}
	ctx, err = m.sessions.Load(ctx, token)
	if err != nil {
		return Person{}, false, fmt.Errorf("load session: %w", err)
	}
	p = Person{ID: m.sessions.GetString(ctx, "id"), Login: m.sessions.GetString(ctx, "login")}
	// The store's expiry is the idle one; it may lie beyond the absolute one.
	if p.ID == "" || !m.sessions.Deadline(ctx).After(time.Now()) {
		return Person{}, false, nil
	}
	return p, true, nil
}

// Start signs a person in, under a new id: whoever knew the old one knows
// nothing. A session that the browser had before ends.
func (m *Manager) Start(ctx context.Context, w http.ResponseWriter, r *http.Request, p Person) error {
	token, _ := m.cookies.Get(r, sessionCookie)
	ctx, err := m.sessions.Load(ctx, token)
	if err != nil {
		return fmt.Errorf("load old session: %w", err)
	}
	if err := m.unlist(ctx, token); err != nil {
		return err
	}
	if err := m.sessions.RenewToken(ctx); err != nil {
		return fmt.Errorf("end old session: %w", err)
	}
	m.sessions.Put(ctx, "id", p.ID)
	m.sessions.Put(ctx, "login", p.Login)
	// On the list first: a session that is not on it would outlive EndAll.
	if err := m.list(ctx, p.ID, m.sessions.Token(ctx), m.sessions.Deadline(ctx)); err != nil {
		return err
	}
	token, expiry, err := m.sessions.Commit(ctx)
	if err != nil {
		return fmt.Errorf("store session: %w", err)
	}
	m.cookies.Set(w, sessionCookie, token, time.Until(expiry))
	return nil
}

// list adds a session to those of a person, by its name in Redis.
func (m *Manager) list(ctx context.Context, id, token string, deadline time.Time) error {
	key := listPrefix + id
	_, err := m.redis.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.ZRemRangeByScore(ctx, key, "-inf", strconv.FormatInt(time.Now().Unix(), 10))
		tx.ZAdd(ctx, key, redis.Z{Score: float64(deadline.Unix()), Member: hashed(token)})
		tx.PExpireAt(ctx, key, deadline)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list session: %w", err)
	}
	return nil
}

// unlist takes the session of ctx off the list of the person whom it belongs to.
func (m *Manager) unlist(ctx context.Context, token string) error {
	id := m.sessions.GetString(ctx, "id")
	if id == "" {
		return nil
	}
	if err := m.redis.ZRem(ctx, listPrefix+id, hashed(token)).Err(); err != nil {
		return fmt.Errorf("take session off the list: %w", err)
	}
	return nil
}

// listed returns the names of a person's sessions; some may have ended.
func (m *Manager) listed(ctx context.Context, id string) (keys []string, err error) {
	names, err := m.redis.ZRange(ctx, listPrefix+id, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	for _, name := range names {
		keys = append(keys, sessionPrefix+name)
	}
	return keys, nil
}

// Count is in how many browsers a person is signed in.
func (m *Manager) Count(ctx context.Context, id string) (int, error) {
	keys, err := m.listed(ctx, id)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	n, err := m.redis.Exists(ctx, keys...).Result()
	if err != nil {
		return 0, fmt.Errorf("count sessions: %w", err)
	}
	return int(n), nil
}

// EndAll signs a person out in every browser. Those who sign in meanwhile may stay.
func (m *Manager) EndAll(ctx context.Context, id string) error {
	keys, err := m.listed(ctx, id)
	if err != nil {
		return err
	}
	return m.delete(ctx, append(keys, listPrefix+id))
}

// EndOthers signs a person out in every browser but the one that sends r.
func (m *Manager) EndOthers(ctx context.Context, r *http.Request, id string) error {
	keys, err := m.listed(ctx, id)
	if err != nil {
		return err
	}
	if token, ok := m.cookies.Get(r, sessionCookie); ok {
		keys = slices.DeleteFunc(keys, func(key string) bool { return key == sessionPrefix+hashed(token) })
	}
	return m.delete(ctx, keys)
}

func (m *Manager) delete(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	if err := m.redis.Del(ctx, keys...).Err(); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}

// Forget makes the browser forget its session.
func (m *Manager) Forget(w http.ResponseWriter) { m.cookies.Clear(w, sessionCookie) }

// End signs out: the session is gone from Redis when it returns nil. Without a
// session it does nothing.
func (m *Manager) End(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if token, ok := m.cookies.Get(r, sessionCookie); ok {
		ctx, err := m.sessions.Load(ctx, token)
		if err != nil {
			return fmt.Errorf("load session: %w", err)
		}
		if err := m.unlist(ctx, token); err != nil {
			return err
		}
		if err := m.sessions.Destroy(ctx); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
	}
	m.cookies.Clear(w, sessionCookie)
	return nil
}
