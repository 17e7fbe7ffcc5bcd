package main

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
)

func TestCallback_StateIsChecked(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	refused := func(t *testing.T, b *browser, callback string) {
		t.Helper()
		calls := s.github.Calls(githubtest.Exchange)
		a := b.get(callback, "Accept", "application/json")
		wantStatus(t, "callback", a, http.StatusBadRequest)
		if got := s.github.Calls(githubtest.Exchange); got != calls {
			t.Error("the code was sent to GitHub all the same")
		}
		if b.cookie(sessionCookie) != "" {
			t.Error("a session was started")
		}
	}
	change := func(callback string, f func(url.Values)) string {
		u, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		f(q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	t.Run("begun in another browser", func(t *testing.T) {
		attacker, victim := s.browser(), s.browser()
		callback := attacker.authorize("visitor-2", "/")
		victim.authorize("visitor-1", "/") // has a cookie of its own
		refused(t, victim, callback)
	})
	t.Run("no cookie", func(t *testing.T) {
		refused(t, s.browser(), s.browser().authorize("visitor-2", "/"))
	})
	t.Run("empty", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Set("state", "") }))
	})
	t.Run("missing", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Del("state") }))
	})
	t.Run("empty state and empty cookie", func(t *testing.T) {
		b := s.browser()
		b.setCookie(attemptCookie, "")
		refused(t, b, "/oauth2/callback?code=x&state=")
	})
	t.Run("empty, and Redis knows of such an attempt", func(t *testing.T) {
		sum := sha256.Sum256(nil)
		hash := base64.RawURLEncoding.EncodeToString(sum[:])
		attempt := `{"verifier":"v","next":"/account","browser":"` + hash + `"}`
		if err := s.db().Set(t.Context(), "api:sign-in:"+hash, attempt, 0).Err(); err != nil {
			t.Fatal(err)
		}
		refused(t, s.browser(), "/oauth2/callback?code=x&state=")
		b := s.browser()
		b.authorize("visitor-1", "/")
		refused(t, b, "/oauth2/callback?code=x&state=")
	})
	t.Run("twice", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Add("state", "x") }))
	})
	t.Run("wrong issuer", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Set("iss", "https://evil.example") }))
	})
	t.Run("empty issuer", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Set("iss", "") }))
	})
	t.Run("two issuers", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Add("iss", "https://evil.example") }))
	})
	t.Run("two codes", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Add("code", "x") }))
	})
	t.Run("no code", func(t *testing.T) {
		b := s.browser()
		refused(t, b, change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Del("code") }))
	})
	t.Run("no issuer is fine", func(t *testing.T) {
		b := s.browser()
		callback := change(b.authorize("visitor-1", "/"), func(q url.Values) { q.Del("iss") })
		wantStatus(t, "callback", b.get(callback, "Accept", "application/json"), http.StatusOK)
	})
}

// A state is spent by the first callback, even if the exchange then fails and
// even if many come at once.
// Programs that preview links ask by HEAD: they begin and end no sign-in.
func TestCallback_Head(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	callback := b.authorize("visitor-1", "/")
	attempts := len(s.keys("api:sign-in:*"))
	wantStatus(t, "HEAD callback", b.do(http.MethodHead, callback, ""), http.StatusMethodNotAllowed)
	wantStatus(t, "HEAD /", b.do(http.MethodHead, "/", ""), http.StatusMethodNotAllowed)
	if got := len(s.keys("api:sign-in:*")); got != attempts {
		t.Errorf("%d sign-ins under way, want %d", got, attempts)
	}
	wantStatus(t, "callback", b.get(callback, "Accept", "application/json"), http.StatusOK)
}

func TestCallback_StateServesOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	s.github.SetFault(githubtest.Exchange, githubtest.BadGateway())
	callback := b.authorize("visitor-1", "/")
	wantStatus(t, "first callback", b.get(callback), http.StatusBadGateway)
	s.github.Heal()
	wantStatus(t, "second callback", b.get(callback), http.StatusBadRequest)

	callback = b.authorize("visitor-1", "/")
	calls := s.github.Calls(githubtest.Exchange)
	const tries = 20
	done := make(chan error, tries)
	for range tries {
		go func() {
			_, err := b.try(http.MethodGet, callback, "")
			done <- err
		}()
	}
	for range tries {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := s.github.Calls(githubtest.Exchange) - calls; got != 1 {
		t.Errorf("%d of %d callbacks reached the exchange, want 1", got, tries)
	}
}

func TestCallback_TwoTabs(t *testing.T) {
	t.Parallel()
	b := newSite(t, nil, nil).browser()
	first := b.authorize("visitor-1", "/")
	second := b.authorize("visitor-1", "/")
	wantStatus(t, "first tab", b.get(first, "Accept", "application/json"), http.StatusOK)
	if b.cookie(attemptCookie) != "" {
		t.Error("the cookie of the sign-in is still there")
	}
	wantStatus(t, "second tab", b.get(second, "Accept", "application/json"), http.StatusBadRequest)
}

func TestCallback_Refused(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	callback := b.authorize("visitor-1", "/", "decision", "cancel")
	a := b.get(callback, "Accept", "text/html")
	wantStatus(t, "cancelled", a, http.StatusForbidden)
	if !strings.Contains(a.body, "cancelled") {
		t.Errorf("the page does not say what happened: %s", a.body)
	}
	if n := s.github.Calls(githubtest.Exchange); n != 0 {
		t.Errorf("%d exchanges after a refusal", n)
	}
	// The refusal has spent the state: it brings no code in afterwards.
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	a = b.get("/oauth2/callback?code=x&state=" + url.QueryEscape(u.Query().Get("state")))
	wantStatus(t, "the state of a refusal", a, http.StatusBadRequest)
	if n := s.github.Calls(githubtest.Exchange); n != 0 {
		t.Errorf("%d exchanges with the state of a refusal", n)
	}
	for code, want := range map[string]struct {
		status int
		says   string
	}{
		"access_denied":         {http.StatusForbidden, "did not authorize"},
		"application_suspended": {http.StatusForbidden, "suspended"},
		"redirect_uri_mismatch": {http.StatusBadRequest, "PUBLIC_URL"},
		"novelty":               {http.StatusBadRequest, "refused the sign-in"},
	} {
		a := b.get("/oauth2/callback?error="+code, "Accept", "text/html")
		if a.StatusCode != want.status || !strings.Contains(a.body, want.says) {
			t.Errorf("error=%s = %d %s, want %d and %q", code, a.StatusCode, a.body, want.status, want.says)
		}
	}
	text := url.QueryEscape("<b>call 555</b>")
	a = b.get("/oauth2/callback?error=" + text + "&error_description=" + text)
	wantStatus(t, "made-up error", a, http.StatusBadRequest)
	if strings.Contains(a.body, "555") {
		t.Errorf("the answer repeats a stranger's text: %s", a.body)
	}
}

func TestCallback_GitHubFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, func(m *Main) { m.GitHubTimeout = 700 * time.Millisecond })
	token := func(body string) githubtest.Fault {
		return githubtest.Fault{Body: body, Header: map[string]string{"Content-Type": "application/json"}}
	}
	for _, tt := range []struct {
		name     string
		endpoint githubtest.Endpoint
		fault    githubtest.Fault
		want     int
	}{
		{"exchange: bad code", githubtest.Exchange, githubtest.ExchangeError(githubtest.ErrBadVerificationCode), 400},
		{"exchange: unverified e-mail", githubtest.Exchange, githubtest.ExchangeError(githubtest.ErrUnverifiedUserEmail), 403},
		{"exchange: wrong secret", githubtest.Exchange, githubtest.ExchangeError(githubtest.ErrIncorrectClientCredentials), 502},
		{"exchange: redirect mismatch", githubtest.Exchange, githubtest.ExchangeError(githubtest.ErrRedirectURIMismatch), 502},
		{"exchange: unknown error", githubtest.Exchange, githubtest.ExchangeError("novelty"), 502},
		{"exchange: 502", githubtest.Exchange, githubtest.BadGateway(), 502},
		{"exchange: 504", githubtest.Exchange, githubtest.GatewayTimeout(), 504},
		{"exchange: hangs", githubtest.Exchange, githubtest.Fault{Hang: true}, 504},
		{"exchange: dropped", githubtest.Exchange, githubtest.Fault{Drop: true}, 502},
		{"exchange: nonsense", githubtest.Exchange, githubtest.Nonsense(), 502},
		{"exchange: no token", githubtest.Exchange, token(`{"token_type":"bearer"}`), 502},
		{"exchange: endless", githubtest.Exchange, githubtest.Fault{Endless: true}, 502},
		{"user: 401", githubtest.User, githubtest.Unauthorized(), 502},
		{"user: rate limited", githubtest.User, githubtest.RateLimited(), 502},
		{"user: 502", githubtest.User, githubtest.BadGateway(), 502},
		{"user: hangs", githubtest.User, githubtest.Fault{Hang: true}, 504},
		{"user: nonsense", githubtest.User, githubtest.Nonsense(), 502},
		{"user: endless", githubtest.User, githubtest.Fault{Endless: true}, 502},
		{"user: no id", githubtest.User, token(`{"login":"visitor-1"}`), 502},
		{"user: negative id", githubtest.User, token(`{"id":-1,"login":"visitor-1"}`), 502},
		{"user: id is text", githubtest.User, token(`{"id":"1:2","login":"visitor-1"}`), 502},
		{"user: strange login", githubtest.User, token(`{"id":1,"login":"a\r\nb"}`), 502},
		{"user: a person beside an error", githubtest.User, githubtest.Fault{Status: 403, Body: `{"id":7,"login":"visitor-1"}`}, 502},
		{"user: redirect", githubtest.User, githubtest.Fault{Status: 302, Header: map[string]string{"Location": "/api/v3/user"}}, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer s.github.Heal()
			b := s.browser()
			callback := b.authorize("sponsor-1", "/")
			exchanges := s.github.Calls(githubtest.Exchange)
			s.github.SetFault(tt.endpoint, tt.fault)
			wantStatus(t, "callback", b.get(callback), tt.want)
			if got := s.github.Calls(githubtest.Exchange) - exchanges; got != 1 {
				t.Errorf("%d exchanges, want 1", got)
			}
			if b.cookie(sessionCookie) != "" {
				t.Error("a session was started")
			}
			if keys := append(s.keys("user*"), s.keys("sponsors*")...); len(keys) != 0 {
				t.Errorf("keys %v were written", keys)
			}
		})
	}
}

// Who reads Redis cannot finish a sign-in that is under way, and nothing of it stays
// for more than ten minutes. State and PKCE are new each time.
func TestCallback_AttemptIsHashedAndExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	states, challenges := map[string]bool{}, map[string]bool{}
	for range 3 {
		a := b.get("/")
		u, err := url.Parse(a.location())
		if err != nil {
			t.Fatal(err)
		}
		states[u.Query().Get("state")], challenges[u.Query().Get("code_challenge")] = true, true
		if c := a.Cookies(); len(c) != 1 || c[0].MaxAge < 540 || c[0].MaxAge > 600 {
			t.Errorf("cookies %v, want one for ten minutes", c)
		}
	}
	if len(states) != 3 || len(challenges) != 3 {
		t.Errorf("%d states and %d challenges of 3 sign-ins", len(states), len(challenges))
	}
	var want []string
	for state := range states {
		want = append(want, "api:sign-in:"+hashOf(state))
	}
	slices.Sort(want)
	keys := s.keys("api:sign-in:*")
	if !slices.Equal(keys, want) {
		t.Errorf("keys %v, want the hashes of the states %v", keys, want)
	}
	secret, _, _ := strings.Cut(b.cookie(attemptCookie), ".")
	for _, key := range keys {
		if ttl := s.db().PTTL(t.Context(), key).Val(); ttl < 9*time.Minute || ttl > 10*time.Minute {
			t.Errorf("%s lives for %v, want ten minutes", key, ttl)
		}
		if value := s.db().Get(t.Context(), key).Val(); strings.Contains(value, secret) {
			t.Errorf("%s has what the browser's cookie has: %s", key, value)
		}
	}
}

// Sign-ins in Redis that the browser cannot have begun as they stand there.
func TestCallback_PlantedAttempts(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, tt := range []struct {
		name, state, attempt string // %s: the hash of what is in the cookie
		noCookie             bool
	}{
		{"empty state", "", `{"verifier":"v","next":"/account","browser":"%s"}`, false},
		{"no verifier", "known", `{"next":"/account","browser":"%s"}`, false},
		{"no browser", "known", `{"verifier":"v","next":"/account"}`, false},
		{"no browser and no cookie", "known", `{"verifier":"v","next":"/account"}`, true},
		{"no cookie", "known", `{"verifier":"v","next":"/account","browser":"` + hashOf("") + `"}`, true},
		{"no JSON", "known", `{`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := s.browser()
			b.get("/")
			secret, _, _ := strings.Cut(b.cookie(attemptCookie), ".")
			if tt.noCookie {
				b = s.browser()
			}
			attempt := strings.Replace(tt.attempt, "%s", hashOf(secret), 1)
			if err := s.db().Set(t.Context(), "api:sign-in:"+hashOf(tt.state), attempt, 0).Err(); err != nil {
				t.Fatal(err)
			}
			calls := s.github.Calls(githubtest.Exchange)
			wantStatus(t, "callback", b.get("/oauth2/callback?code=x&state="+tt.state), http.StatusBadRequest)
			if got := s.github.Calls(githubtest.Exchange); got != calls {
				t.Error("the code was sent to GitHub all the same")
			}
		})
	}
}
