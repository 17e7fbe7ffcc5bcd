package main

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
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
			for _, accept := range []string{"text/html,*/*;q=0.8", "*/*", ""} {
				b := s.browser()
				a := b.get(b.authorize("visitor-1", tt.start), "Accept", accept)
				if a.StatusCode != http.StatusSeeOther || a.location() != tt.want {
					t.Errorf("Accept %q: callback = %d to %q, want 303 to %q", accept, a.StatusCode, a.location(), tt.want)
				}
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
	for name, fault := range map[string]githubtest.Fault{
		"dropped":  {Drop: true},
		"nonsense": githubtest.Nonsense(),
		"null":     {Body: `null`},
		"limited":  githubtest.RateLimited(),
	} {
		s.github.SetFault(githubtest.Emails, fault)
		signIn()
		s.github.Heal()
		if got := stored(); got != "visitor-1@example.org" {
			t.Errorf("%s: email = %q, want it kept", name, got)
		}
	}
	for name, list := range map[string]string{
		"not verified":   `[{"email":"new@example.org","primary":true,"verified":false}]`,
		"not primary":    `[{"email":"new@example.org","primary":false,"verified":true}]`,
		"no address":     `[{"email":"new","primary":true,"verified":true}]`,
		"markup":         `[{"email":"<new@example.org>","primary":true,"verified":true}]`,
		"a line end":     `[{"email":"new@example.org\r\nX: y","primary":true,"verified":true}]`,
		"without an end": `[{"email":"` + strings.Repeat("x", 300) + `@example.org","primary":true,"verified":true}]`,
	} {
		s.github.SetFault(githubtest.Emails, githubtest.Fault{Body: list})
		signIn()
		s.github.Heal()
		if got := stored(); got != "" {
			t.Errorf("%s: email = %q, want none", name, got)
		}
	}
	s.github.Update("visitor-1", func(a *githubtest.Account) { a.PublicEmail = "not an address" })
	signIn()
	if got := stored(); got != "visitor-1@example.org" {
		t.Errorf("email = %q, want the primary one: the public one is none", got)
	}
	s.github.Update("visitor-1", func(a *githubtest.Account) { a.PublicEmail = "" })
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

func hashOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// No redirect of GitHub's takes the client secret, a code or a token elsewhere.
func TestSignIn_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"token","token_type":"bearer","id":7,"login":"mallory"}`))
	}))
	t.Cleanup(elsewhere.Close)
	for endpoint, want := range map[githubtest.Endpoint]int{
		githubtest.Exchange: http.StatusBadGateway, githubtest.User: http.StatusBadGateway,
		githubtest.Emails: http.StatusOK, githubtest.GraphQL: http.StatusOK,
	} {
		b := s.browser()
		callback := b.authorize("visitor-1", "/")
		s.github.SetFault(endpoint, githubtest.Fault{Status: http.StatusTemporaryRedirect, Header: map[string]string{"Location": elsewhere.URL}})
		wantStatus(t, string(endpoint), b.get(callback, "Accept", "application/json"), want)
		s.github.Heal()
		if n := asked.Load(); n != 0 {
			t.Errorf("%s: %d requests went elsewhere", endpoint, n)
		}
	}
}

// Where a link may send somebody, over HTTP: what TestLocalPath refuses, and
// somebody who is signed in goes there at once.
func TestSignIn_NextIsLocal(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	for _, tt := range []struct{ name, next, want string }{
		{"our page", "/account?page=2", "/account?page=2"},
		{"below it", "/account/delete", "/account/delete"},
		{"another host", "https://evil.example/account", "/account"},
		{"two slashes", "//evil.example/account", "/account"},
		{"a backslash", `/\evil.example`, "/account"},
		{"a backslash on our page", `/account/\evil.example`, "/account"},
		{"a tab", "/\t/evil.example", "/account"},
		{"a line end", "/account\r\nSet-Cookie: a=b", "/account"},
		{"a NUL", "/account\x00", "/account"},
		{"a letter that is not ASCII", "/account/\u2028", "/account"},
		{"a fragment", "/account#/../exclude?id=C1", "/account"},
		{"dots", "/account/../exclude?id=C1", "/account"},
		{"something that changes", "/exclude?id=C1", "/account"},
		{"what begins alike", "/accountant", "/account"},
		{"script", "javascript:alert(1)", "/account"},
		{"relative", "account", "/account"},
		{"too long", "/account?" + strings.Repeat("x", 600), "/account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := b.get("/?next=" + url.QueryEscape(tt.next))
			if a.StatusCode != http.StatusSeeOther || a.location() != tt.want {
				t.Errorf("/ = %d to %q, want 303 to %q", a.StatusCode, a.location(), tt.want)
			}
		})
	}
}

// What GitHub said before something else was heard does not undo it, however late it
// comes: an answer counts from when GitHub was asked.
func TestSignIn_AnswerThatIsLate(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	callback := b.authorize("sponsor-1", "/?again=1")
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Hang: true})
	calls := s.github.Calls(githubtest.GraphQL)
	answers := make(chan answer, 1)
	go func() {
		a, err := b.try(http.MethodGet, callback, "", "Accept", "application/json")
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	redistest.Eventually(t, 10*time.Second, func() error {
		if s.github.Calls(githubtest.GraphQL) == calls {
			return errors.New("GitHub was not asked yet")
		}
		return nil
	})
	s.deliver(s.github.Event("cancelled", "sponsor-1", nil), http.StatusAccepted)
	s.github.Heal()
	if a := <-answers; a.Response == nil || a.StatusCode != http.StatusOK {
		t.Fatalf("callback = %v", a)
	}
	if got := s.db().Get(t.Context(), "api:sponsorship:"+s.id("sponsor-1")).Val(); !strings.Contains(got, `"sponsoring":false`) {
		t.Errorf("the record is %s, want the cancellation kept", got)
	}
}

// Many sign-ins of one person at once interfere with each other, and all succeed.
func TestSignIn_AtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	const tries = 12
	statuses := make(chan int, tries)
	for range tries {
		b := s.browser()
		callback := b.authorize("sponsor-1", "/")
		go func() {
			a, err := b.try(http.MethodGet, callback, "", "Accept", "application/json")
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			statuses <- a.StatusCode
		}()
	}
	for range tries {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("callback = %d, want 200", status)
		}
	}
}

// GitHub's word about somebody who does not count is forgotten after 90 days, that
// about a sponsor is not.
func TestSignIn_RecordsExpire(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.browser().signIn("visitor-1")
	s.browser().signIn("sponsor-1")
	if ttl := s.db().TTL(t.Context(), "api:sponsorship:"+s.id("visitor-1")).Val(); ttl < 89*day || ttl > 90*day {
		t.Errorf("the record of no sponsor lives for %v, want 90 days", ttl)
	}
	if ttl := s.db().TTL(t.Context(), "api:sponsorship:"+s.id("sponsor-1")).Val(); ttl != -1 {
		t.Errorf("the record of a sponsor lives for %v, want without end", ttl)
	}
}

// Behind a proxy the host may be any, and the sign-in begins all the same.
func TestSignIn_ByAnotherHost(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, port, _ := strings.Cut(s.main.Addr(), ":")
	a := s.browser().get("http://localhost:" + port + "/")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.location(), s.settings["GITHUB_URL"]) {
		t.Errorf("/ at localhost = %d to %q, want GitHub", a.StatusCode, a.location())
	}
}
