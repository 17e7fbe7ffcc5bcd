// Package session remembers who is signed in, who is about to sign in, and who
// is just visiting. Everything it stores in Redis begins with Prefix, has a
// time to live, and is named by the hash of a random value that only the
// browser has, in a signed cookie: what nobody signed never reaches Redis.
package session

import (
	"context"
	"fmt"
	"net/http"
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
	// Sponsor is what GitHub answered then: yes, no or unknown.
	Sponsor string
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
		Store:            store{redis: cfg.Redis, prefix: Prefix + "session:", idle: cfg.Idle},
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
	p = Person{
		ID:      m.sessions.GetString(ctx, "id"),
		Login:   m.sessions.GetString(ctx, "login"),
		Sponsor: m.sessions.GetString(ctx, "sponsor"),
	}
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
	if err := m.sessions.RenewToken(ctx); err != nil {
		return fmt.Errorf("end old session: %w", err)
	}
	m.sessions.Put(ctx, "id", p.ID)
	m.sessions.Put(ctx, "login", p.Login)
	m.sessions.Put(ctx, "sponsor", p.Sponsor)
	token, expiry, err := m.sessions.Commit(ctx)
	if err != nil {
		return fmt.Errorf("store session: %w", err)
	}
	m.cookies.Set(w, sessionCookie, token, time.Until(expiry))
	return nil
}

// End signs out: the session is gone from Redis when it returns nil. Without a
// session it does nothing.
func (m *Manager) End(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if token, ok := m.cookies.Get(r, sessionCookie); ok {
		ctx, err := m.sessions.Load(ctx, token)
		if err != nil {
			return fmt.Errorf("load session: %w", err)
		}
		if err := m.sessions.Destroy(ctx); err != nil {
			return fmt.Errorf("end session: %w", err)
		}
	}
	m.cookies.Clear(w, sessionCookie)
	return nil
}
