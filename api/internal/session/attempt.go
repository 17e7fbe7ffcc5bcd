package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
)

// AttemptLifetime is how long somebody may take at GitHub to sign in.
const AttemptLifetime = 10 * time.Minute

const attemptCookie = "sponsor-sign-in"

// ErrNoAttempt is a sign-in that nobody began in this browser, that was
// finished already, or that took too long.
var ErrNoAttempt = errors.New("no such sign-in attempt")

// An Attempt is a sign-in under way.
type Attempt struct {
	// State goes to GitHub and comes back: 256 random bits.
	State string `json:"-"`
	// Verifier is the PKCE one.
	Verifier string `json:"verifier"`
	// Next is the local path to go to afterwards.
	Next string `json:"next"`
	// Browser is the hash of what the browser has in its cookie, so that nobody
	// finishes in one browser what was begun in another.
	Browser string `json:"browser"`
}

// Begin remembers a sign-in. Several may be under way in one browser, in tabs.
func (m *Manager) Begin(ctx context.Context, w http.ResponseWriter, r *http.Request, verifier, next string) (Attempt, error) {
	browser, ok := m.cookies.Get(r, attemptCookie)
	if !ok {
		browser = rand.Text()
	}
	a := Attempt{
		State: rand.Text() + rand.Text(), Verifier: verifier, Next: next, Browser: hashed(browser),
	}
	value, err := json.Marshal(a)
	if err != nil {
		return Attempt{}, err
	}
	if err := m.redis.Set(ctx, attemptKey(a.State), value, AttemptLifetime).Err(); err != nil {
		return Attempt{}, fmt.Errorf("store sign-in: %w", err)
	}
	m.cookies.Set(w, attemptCookie, browser, AttemptLifetime)
	return a, nil
}

// Finish returns the attempt of a state and forgets it, in one step: a state
// serves once, whatever comes of it. If this browser did not begin it, the
// error is ErrNoAttempt.
func (m *Manager) Finish(ctx context.Context, r *http.Request, state string) (Attempt, error) {
	browser, ok := m.cookies.Get(r, attemptCookie)
	if state == "" || !ok {
		return Attempt{}, ErrNoAttempt
	}
	value, err := m.redis.GetDel(ctx, attemptKey(state)).Bytes()
	if errors.Is(err, redis.Nil) {
		return Attempt{}, ErrNoAttempt
	}
	if err != nil {
		return Attempt{}, fmt.Errorf("finish sign-in: %w", err)
	}
	var a Attempt
	if err := json.Unmarshal(value, &a); err != nil || a.Browser == "" || a.Verifier == "" {
		return Attempt{}, ErrNoAttempt
	}
	if subtle.ConstantTimeCompare([]byte(a.Browser), []byte(hashed(browser))) != 1 {
		return Attempt{}, ErrNoAttempt
	}
	a.State = state
	return a, nil
}

// ForgetAttempts clears the cookie that sign-ins of this browser hang on.
func (m *Manager) ForgetAttempts(w http.ResponseWriter) { m.cookies.Clear(w, attemptCookie) }

func attemptKey(state string) string { return Prefix + "sign-in:" + hashed(state) }
