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

func TestSignIn_Sponsor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	id := s.id("sponsor-1")

	got := b.signIn("sponsor-1").json(t)
	if got["status"] != "success" || got["user_login"] != "sponsor-1" || got["email"] != "sponsor-1@example.org" || got["sponsor"] != true {
		t.Errorf("answer %v", got)
	}
	if members := s.members("sponsors:" + testOrg); !slices.Equal(members, []string{id}) {
		t.Errorf("sponsors = %v, want %s", members, id)
	}
	details, err := s.db().HGetAll(t.Context(), "user_details:"+id).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(details) != 3 || details["id"] != id || details["email"] != "sponsor-1@example.org" || details["user_login"] != "sponsor-1" {
		t.Errorf("user_details = %v", details)
	}
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
	if home := b.get("/"); home.location() != "/account" {
		t.Errorf("/ leads to %q, want /account", home.location())
	}
	for _, query := range s.github.Queries() {
		if err := githubtest.CheckQuery(query, map[string]any{"org": testOrg}); err != nil {
			t.Errorf("query %s: %v", query, err)
		}
	}
}

// All keys of one sign-in are written in one transaction.
func TestSignIn_OneTransaction(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	wantStatus(t, "visitor", b.get("/exclude?id=C1"), http.StatusOK)
	monitor := s.redis.Monitor(t)
	b.signIn("sponsor-1")

	id := s.id("sponsor-1")
	inside, written := false, map[string]bool{}
	for _, line := range monitor.Lines() {
		lower := strings.ToLower(line)
		switch {
		case strings.Contains(lower, `"multi"`):
			inside = true
		case strings.Contains(lower, `"exec"`):
			inside = false
		}
		for _, key := range []string{"sponsors:" + testOrg, "user_details:" + id, "user:" + id + ":mnodes"} {
			writes := strings.Contains(lower, `"sadd"`) || strings.Contains(lower, `"hset"`) || strings.Contains(lower, `"eval"`)
			if !writes || !strings.Contains(line, `"`+key+`"`) {
				continue
			}
			written[key] = true
			if !inside {
				t.Errorf("%s is written outside of the transaction: %s", key, line)
			}
		}
	}
	if len(written) != 3 {
		t.Errorf("written %v, want all three keys", written)
	}
}

func TestSignIn_BrowserIsRedirected(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, tt := range []struct{ name, start, want string }{
		{"account", "/", "/account"},
		{"next", "/?next=" + url.QueryEscape("/account?page=2"), "/account?page=2"},
		{"foreign next", "/?next=" + url.QueryEscape("//evil.example"), "/account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := s.browser()
			a := b.get(b.authorize("visitor-1", tt.start), "Accept", "text/html,*/*;q=0.8")
			if a.StatusCode != http.StatusSeeOther || a.location() != tt.want {
				t.Errorf("callback = %d to %q, want 303 to %q", a.StatusCode, a.location(), tt.want)
			}
		})
	}
}

func TestSignIn_ThreeAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["SPONSOR_GRACE"] = "0" }, nil)
	key, id := "sponsors:"+testOrg, s.id("sponsor-1")

	sponsor := func(want any) {
		t.Helper()
		if got := s.browser().signIn("sponsor-1").json(t)["sponsor"]; got != want {
			t.Errorf("sponsor = %v, want %v", got, want)
		}
	}
	sponsor(true)
	faults := map[string]githubtest.Fault{
		"bad gateway":     githubtest.BadGateway(),
		"gateway timeout": githubtest.GatewayTimeout(),
		"unauthorized":    githubtest.Unauthorized(),
		"rate limited":    githubtest.GraphQLError("RATE_LIMITED"),
		"not found":       githubtest.GraphQLError("NOT_FOUND"),
		"nonsense":        githubtest.Nonsense(),
		"dropped":         {Drop: true},
		"endless":         {Endless: true},
		"redirect":        {Status: http.StatusFound, Header: map[string]string{"Location": "/"}},
		"empty object":    {Body: `{}`},
		"null data":       {Body: `{"data":null}`},
		"null owner":      {Body: `{"data":{"repositoryOwner":null}}`},
		"empty owner":     {Body: `{"data":{"repositoryOwner":{}}}`},
		"no details":      {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":false}}}`},
		"null answer":     {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":null,"sponsorshipForViewerAsSponsor":null}}}`},
		"empty details":   {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":false,"sponsorshipForViewerAsSponsor":{}}}}`},
		"details of null": {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":false,"sponsorshipForViewerAsSponsor":{"isActive":null}}}}`},
		"a list":          {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":false,"sponsorshipForViewerAsSponsor":[]}}}`},
		"an object":       {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":{},"sponsorshipForViewerAsSponsor":null}}}`},
		"no and errors":   {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":false,"sponsorshipForViewerAsSponsor":null}},"errors":[{"message":"partial"}]}`},
		"contradiction":   {Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":false,"sponsorshipForViewerAsSponsor":{"isActive":true}}}}`},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s.github.SetFault(githubtest.GraphQL, fault)
			defer s.github.Heal()
			b := s.browser()
			if got := b.signIn("sponsor-1").json(t)["sponsor"]; got != true {
				t.Errorf("sponsor = %v, want true as before", got)
			}
			if got := s.browser().signIn("visitor-2").json(t)["sponsor"]; got != nil {
				t.Errorf("sponsor = %v of somebody unknown, want null", got)
			}
			if members := s.members(key); !slices.Equal(members, []string{id}) {
				t.Errorf("sponsors = %v: unknown took the rights away", members)
			}
			if got := b.get("/me").json(t)["sponsor"]; got != true {
				t.Errorf("/me sponsor = %v, want true as before", got)
			}
		})
	}
	s.github.SetSponsoring("sponsor-1", false)
	sponsor(false)
	if members := s.members(key); len(members) != 0 {
		t.Errorf("sponsors = %v after the sponsorship ended", members)
	}
	s.github.SetFault(githubtest.GraphQL, githubtest.BadGateway())
	b := s.browser()
	b.signIn("visitor-1")
	if got := b.get("/me").json(t)["sponsor"]; got != nil {
		t.Errorf("/me sponsor = %v, want null: GitHub did not say", got)
	}
}

func TestSignIn_Email(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	id := s.id("visitor-1")
	stored := func() string {
		t.Helper()
		return s.db().HGet(t.Context(), "user_details:"+id, "email").Val()
	}
	signIn := func(extra ...string) {
		t.Helper()
		b := s.browser()
		wantStatus(t, "callback", b.get(b.authorize("visitor-1", "/", extra...), "Accept", "application/json"), http.StatusOK)
	}
	signIn()
	if got := stored(); got != "visitor-1@example.org" {
		t.Fatalf("email = %q, want the primary one", got)
	}
	s.github.SetFault(githubtest.Emails, githubtest.BadGateway())
	signIn()
	s.github.Heal()
	if got := stored(); got != "visitor-1@example.org" {
		t.Errorf("email = %q, want it kept: GitHub did not answer", got)
	}
	signIn("withhold_email", "1")
	if exists := s.db().HExists(t.Context(), "user_details:"+id, "email").Val(); exists {
		t.Error("email is still there although the person withheld it")
	}
	s.github.Update("visitor-1", func(a *githubtest.Account) { a.PublicEmail = "public@example.org" })
	signIn()
	if got := stored(); got != "public@example.org" {
		t.Errorf("email = %q, want the public one", got)
	}
}

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

// A GraphQL endpoint that hangs costs the person time, not the sign-in.
func TestSignIn_SlowGraphQL(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, func(m *Main) { m.GitHubTimeout = 300 * time.Millisecond })
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Hang: true})
	s.github.SetFault(githubtest.Emails, githubtest.Fault{Hang: true})
	if got := s.browser().signIn("sponsor-1").json(t); got["sponsor"] != nil || got["email"] != nil {
		t.Errorf("answer %v, want neither sponsor nor email", got)
	}
}

// The token must not be found anywhere after the sign-in, and the log holds no
// secret at all.
func TestSignIn_LeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	callback := b.authorize("sponsor-1", "/")
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	attempt := b.cookie(attemptCookie)
	a := b.get(callback, "Accept", "application/json")
	wantStatus(t, "callback", a, http.StatusOK)
	b.get("/exclude?id=C5162902")
	b.get("/me")
	b.get("/nowhere/C7777777?secret=1")
	log := s.log.String()
	for what, secret := range map[string]string{
		"code": u.Query().Get("code"), "state": u.Query().Get("state"), "attempt cookie": attempt,
		"session cookie": b.cookie(sessionCookie), "e-mail": "sponsor-1@example.org", "token": "token-",
		"node": "C5162902", "unknown path": "C7777777", "query": "secret", "client secret": "test-secret",
	} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log holds the %s %q", what, secret)
		}
	}
	if strings.Contains(a.body, "token-") {
		t.Errorf("the answer holds the token: %s", a.body)
	}
	for _, key := range s.keys("*") {
		dump := s.db().Dump(t.Context(), key).Val()
		plain, _, _ := strings.Cut(b.cookie(sessionCookie), ".")
		if strings.Contains(key+dump, "token-") || strings.Contains(key+dump, plain) {
			t.Errorf("key %s holds a token", key)
		}
	}
}
