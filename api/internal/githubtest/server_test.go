package githubtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	callback = "http://127.0.0.1:8080/oauth2/callback"
	verifier = "a-verifier-of-at-least-forty-three-characters"
)

type lab struct {
	t   *testing.T
	s   *Server
	url string
	now time.Time
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	l.serve(Config{
		Org: "example-org", ClientID: "id", ClientSecret: "secret", Callback: callback,
		Sponsors: []string{"sponsor-1", "sponsor-9"},
	})
	return l
}

// serve starts a stand-in with the lab's clock, in place of the lab's former
// one.
func (l *lab) serve(cfg Config) {
	l.t.Helper()
	cfg.Now = func() time.Time { return l.now }
	l.s = New(cfg)
	web := httptest.NewServer(l.s)
	l.t.Cleanup(web.Close)
	l.url = web.URL
}

func (l *lab) params(change map[string]string) url.Values {
	v := url.Values{
		"client_id": {"id"}, "redirect_uri": {callback}, "state": {"s"}, "scope": {"read:user user:email"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
		"account": {"sponsor-1"}, "decision": {"authorize"},
	}
	for k, x := range change {
		v.Set(k, x)
	}
	return v
}

// An answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (l *lab) do(method, path, contentType, body, token string) answer {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

const form = "application/x-www-form-urlencoded"

// agree returns the query that the application's callback gets.
func (l *lab) agree(change map[string]string) url.Values {
	l.t.Helper()
	a := l.do(http.MethodPost, "/login/oauth/authorize", form, l.params(change).Encode(), "")
	if a.status != http.StatusFound {
		l.t.Fatalf("authorize = %d %s", a.status, a.body)
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		l.t.Fatal(err)
	}
	return u.Query()
}

func (l *lab) exchange(code string, change map[string]string) map[string]string {
	l.t.Helper()
	v := url.Values{"client_id": {"id"}, "client_secret": {"secret"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
	for k, x := range change {
		v.Set(k, x)
	}
	a := l.do(http.MethodPost, "/login/oauth/access_token", form, v.Encode(), "")
	if a.status != http.StatusOK {
		l.t.Fatalf("exchange = %d %s", a.status, a.body)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		l.t.Fatal(err)
	}
	return got
}

func (l *lab) token(change map[string]string) string {
	l.t.Helper()
	token := l.exchange(l.agree(change).Get("code"), nil)["access_token"]
	if token == "" {
		l.t.Fatal("no token")
	}
	return token
}

func TestAuthorize_Refuses(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		name   string
		change map[string]string
		want   int
	}{
		{"unknown client", map[string]string{"client_id": "x"}, 404},
		{"unknown scope", map[string]string{"scope": "read:email"}, 400},
		{"no state", map[string]string{"state": ""}, 400},
		{"no challenge", map[string]string{"code_challenge": ""}, 400},
		{"plain challenge", map[string]string{"code_challenge_method": "plain"}, 400},
		{"unknown account", map[string]string{"account": "nobody"}, 422},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := l.do(http.MethodPost, "/login/oauth/authorize", form, l.params(tt.change).Encode(), "")
			if a.status != tt.want {
				t.Errorf("status = %d, want %d", a.status, tt.want)
			}
		})
	}
	for _, redirect := range []string{"https://evil.example/oauth2/callback", "http://127.0.0.1:8080/oauth2/callbackx", "http://127.0.0.1.evil.example:8080/oauth2/callback"} {
		if got := l.agree(map[string]string{"redirect_uri": redirect}); got.Get("error") != "redirect_uri_mismatch" || got.Has("code") {
			t.Errorf("redirect_uri %s: answer %v", redirect, got)
		}
	}
	if got := l.agree(map[string]string{"decision": "cancel"}); got.Get("error") != "access_denied" || got.Get("state") != "s" || got.Has("code") {
		t.Errorf("cancel: answer %v", got)
	}
	if got := l.agree(map[string]string{"redirect_uri": "http://127.0.0.1:9999/oauth2/callback"}); !got.Has("code") || got.Get("iss") != l.url+"/login/oauth" {
		t.Errorf("another loopback port: answer %v", got)
	}
}

func TestExchange_Errors(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		name   string
		change map[string]string
		want   string
	}{
		{"wrong secret", map[string]string{"client_secret": "x"}, ErrIncorrectClientCredentials},
		{"wrong client", map[string]string{"client_id": "x"}, ErrIncorrectClientCredentials},
		{"wrong code", map[string]string{"code": "x"}, ErrBadVerificationCode},
		{"wrong verifier", map[string]string{"code_verifier": verifier + "x"}, ErrBadVerificationCode},
		{"no verifier", map[string]string{"code_verifier": ""}, ErrBadVerificationCode},
		{"wrong redirect", map[string]string{"redirect_uri": callback + "/x"}, ErrRedirectURIMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := l.exchange(l.agree(nil).Get("code"), tt.change); got["error"] != tt.want || got["access_token"] != "" {
				t.Errorf("answer %v, want %s", got, tt.want)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		code := l.agree(nil).Get("code")
		if got := l.exchange(code, nil); got["access_token"] == "" {
			t.Fatalf("answer %v", got)
		}
		if got := l.exchange(code, nil); got["error"] != ErrBadVerificationCode {
			t.Errorf("answer %v", got)
		}
	})
	t.Run("too late", func(t *testing.T) {
		code := l.agree(nil).Get("code")
		l.now = l.now.Add(CodeLifetime + time.Second)
		if got := l.exchange(code, nil); got["error"] != ErrBadVerificationCode {
			t.Errorf("answer %v", got)
		}
	})
	t.Run("unverified", func(t *testing.T) {
		l.s.Update("visitor-2", func(a *Account) { a.Emails = []Email{{Email: "x@example.org", Primary: true}} })
		if got := l.exchange(l.agree(map[string]string{"account": "visitor-2"}).Get("code"), nil); got["error"] != ErrUnverifiedUserEmail {
			t.Errorf("answer %v", got)
		}
	})
}

func TestREST(t *testing.T) {
	l := newLab(t)
	token, narrow := l.token(nil), l.token(map[string]string{"withhold_email": "1"})
	for _, tt := range []struct {
		name, path, token string
		want              int
		has               string
	}{
		{"user", "/api/v3/user", token, 200, `"login":"sponsor-1"`},
		{"user without token", "/api/v3/user", "", 401, "Bad credentials"},
		{"user with another token", "/api/v3/user", "x", 401, "Bad credentials"},
		{"e-mails", "/api/v3/user/emails", token, 200, `"email":"sponsor-1@example.org","primary":true,"verified":true`},
		{"e-mails withheld", "/api/v3/user/emails", narrow, 404, "Not Found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := l.do(http.MethodGet, tt.path, "", "", tt.token)
			if a.status != tt.want || !strings.Contains(a.body, tt.has) {
				t.Errorf("answer %d %s, want %d with %s", a.status, a.body, tt.want, tt.has)
			}
		})
	}
	if a := l.do(http.MethodGet, "/api/v3/user", "", "", narrow); a.header.Get("X-OAuth-Scopes") != "read:user" {
		t.Errorf("X-OAuth-Scopes = %q", a.header.Get("X-OAuth-Scopes"))
	}
}

func TestGraphQL(t *testing.T) {
	l := newLab(t)
	sponsor, visitor := l.token(nil), l.token(map[string]string{"account": "visitor-1"})
	const question = `query($o:String!){repositoryOwner(login:$o){... on Sponsorable{viewerIsSponsoring,sponsorshipForViewerAsSponsor(activeOnly:false){isActive,tier{monthlyPriceInCents}}}}}`
	vars := func(login string) map[string]any { return map[string]any{"o": login} }
	for _, tt := range []struct {
		name, token, query string
		variables          map[string]any
		want               string // in the answer
	}{
		{"sponsor", sponsor, question, vars("example-org"), `{"data":{"repositoryOwner":{"sponsorshipForViewerAsSponsor":{"isActive":true,"tier":{"monthlyPriceInCents":500}},"viewerIsSponsoring":true}}}`},
		{"visitor", visitor, question, vars("example-org"), `{"data":{"repositoryOwner":{"sponsorshipForViewerAsSponsor":null,"viewerIsSponsoring":false}}}`},
		{"no such account", sponsor, question, vars("nobody"), `"type":"NOT_FOUND"`},
		{"a person", sponsor, question, vars("visitor-1"), `"viewerIsSponsoring":false`},
		{"viewer", sponsor, `{viewer{login,__typename}}`, nil, `{"data":{"viewer":{"__typename":"User","login":"sponsor-1"}}}`},
		{"profile of an organisation", sponsor, `{organization(login:"example-org"){name}}`, nil, `"type":"INSUFFICIENT_SCOPES"`},
		{"field that GitHub does not have", sponsor, `{repositoryOwner(login:"x"){isSponsor}}`, nil, `Cannot query field`},
		{"argument that GitHub does not have", sponsor, `{repositoryOwner(name:"x"){login}}`, nil, `"errors"`},
		{"wrong type of variable", sponsor, `query($o:Int!){repositoryOwner(login:$o){login}}`, map[string]any{"o": 1}, `"errors"`},
		{"missing variable", sponsor, question, nil, `"errors"`},
		{"no query", sponsor, `what`, nil, `"errors"`},
		{"field that the stand-in does not know", sponsor, `{user(login:"sponsor-1"){bio}}`, nil, `"type":"NOT_IMPLEMENTED"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, err := json.Marshal(map[string]any{"query": tt.query, "variables": tt.variables})
			if err != nil {
				t.Fatal(err)
			}
			a := l.do(http.MethodPost, "/api/graphql", "application/json", string(body), tt.token)
			if a.status != http.StatusOK || !strings.Contains(a.body, tt.want) {
				t.Errorf("answer %d %s, want %s", a.status, a.body, tt.want)
			}
		})
	}
	if a := l.do(http.MethodPost, "/api/graphql", "application/json", "{}", "x"); a.status != http.StatusUnauthorized {
		t.Errorf("unknown token = %d, want 401", a.status)
	}
}

func TestControl(t *testing.T) {
	l := newLab(t)
	put := func(path, body string, want int) {
		t.Helper()
		if a := l.do(http.MethodPut, path, "application/json", body, ""); a.status != want {
			t.Errorf("PUT %s = %d %s, want %d", path, a.status, a.body, want)
		}
	}
	user := func(want int) {
		t.Helper()
		if a := l.do(http.MethodGet, "/api/v3/user", "", "", ""); a.status != want {
			t.Errorf("user = %d, want %d", a.status, want)
		}
	}
	put("/control/faults/user", `{"status":502,"times":2}`, 204)
	user(502)
	user(502)
	user(401)
	put("/control/faults/user", `{"status":504}`, 204)
	user(504)
	l.do(http.MethodDelete, "/control/faults", "", "", "")
	user(401)
	put("/control/faults/elsewhere", `{}`, 404)
	put("/control/faults/user", `{"colour":1}`, 400)
	if acc, _ := l.s.Account("sponsor-9"); acc.Sponsorship == nil || !acc.Sponsorship.Active {
		t.Error("sponsor-9 of the configuration does not sponsor")
	}
	put("/control/accounts/sponsor-9", `{"sponsoring":false}`, 204)
	if acc, _ := l.s.Account("sponsor-9"); acc.Sponsorship.Active {
		t.Error("sponsor-9 still sponsors")
	}
	if a := l.do(http.MethodGet, "/control/calls", "", "", ""); !strings.Contains(a.body, `"user":5`) {
		t.Errorf("calls %s", a.body)
	}
	if a := l.do(http.MethodPut, "/control/faults/user", "text/plain", "{}", ""); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("control by a web page's request = %d", a.status)
	}
}

func TestAuthorizePage(t *testing.T) {
	l := newLab(t)
	a := l.do(http.MethodGet, "/login/oauth/authorize?"+l.params(map[string]string{"state": `"><b>`}).Encode(), "", "", "")
	if a.status != http.StatusOK || strings.Contains(a.body, "<b>") {
		t.Fatalf("page %d %s", a.status, a.body)
	}
	for _, want := range []string{"sponsor-9", "visitor-1", "sponsors example-org", `value="authorize"`, `value="cancel"`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if got := fmt.Sprint(l.s.Calls(Authorize)); got != "1" {
		t.Errorf("calls = %s", got)
	}
}
