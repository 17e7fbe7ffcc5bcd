package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	testOrg    = "example-org"
	testOrigin = "https://graph.example.org" // of The Pattern's page
	testKey    = "a key for tests that has more than 32 bytes"
)

// A site is the whole thing on loopback: the program behind a TLS proxy as in
// production, a real Redis, and the stand-in for GitHub.
type site struct {
	t        *testing.T
	redis    *redistest.Server
	github   *githubtest.Server
	main     *Main
	url      string // of the proxy: PUBLIC_URL
	tls      *httptest.Server
	settings map[string]string
	log      *logBuffer
}

// newSite starts a site. The changes are made to the settings, then to Main,
// before it opens.
func newSite(t *testing.T, change func(settings map[string]string), tune func(*Main)) *site {
	t.Helper()
	return newSiteOn(t, redistest.New(t, redistest.Config{}), change, tune)
}

func newSiteOn(t *testing.T, db *redistest.Server, change func(map[string]string), tune func(*Main)) *site {
	t.Helper()
	s := &site{t: t, redis: db, log: &logBuffer{}}
	s.startProxy()
	s.startGitHub()
	if change != nil {
		change(s.settings)
	}
	s.open(tune)
	return s
}

func (s *site) startProxy() {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: s.main.Addr()})
			r.Out.Host = r.In.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // as it came, as other proxies do
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
		},
		ErrorLog: nil,
	}
	s.tls = httptest.NewTLSServer(proxy)
	s.t.Cleanup(s.tls.Close)
	s.url = s.tls.URL
}

func (s *site) startGitHub() {
	s.github = githubtest.New(githubtest.Config{
		Org: testOrg, ClientID: "test-client", ClientSecret: "test-secret",
		Callback: s.url + "/oauth2/callback", Sponsors: []string{"sponsor-1"},
		MaintainerToken: maintainerToken,
	})
	web := httptest.NewServer(s.github)
	s.t.Cleanup(web.Close)
	s.settings = map[string]string{
		"GITHUB_CLIENT_ID": "test-client", "GITHUB_SECRET": "test-secret", "GITHUB_URL": web.URL,
		"SPONSOR_ORG": testOrg, "REDIS_ADDR": s.redis.URL(), "PUBLIC_URL": s.url,
		"ALLOWED_ORIGINS": testOrigin, "SESSION_KEYS": testKey, "LISTEN_ADDR": "127.0.0.1:0",
		// The tests of the limits set them; the others are faster than people.
		"LIMIT_PER_ADDRESS": "0", "LIMIT_PER_PERSON": "0",
	}
}

func (s *site) open(tune func(*Main)) {
	s.t.Helper()
	settings, err := ReadSettings(func(name string) string { return s.settings[name] })
	if err != nil {
		s.t.Fatal(err)
	}
	s.main = NewMain(settings, s.log)
	if tune != nil {
		tune(s.main)
	}
	s.main.ReadAgain = func() (Settings, error) {
		return ReadSettings(func(name string) string { return s.settings[name] })
	}
	if err := s.main.Open(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	m := s.main
	s.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			s.t.Errorf("close: %v", err)
		}
		if s.t.Failed() {
			s.t.Logf("log of the API:\n%s", s.log)
		}
	})
}

// db is a client of the site's Redis.
func (s *site) db() *redis.Client { return s.redis.Client() }

// keys lists the keys in Redis that match a pattern, sorted.
func (s *site) keys(pattern string) []string {
	s.t.Helper()
	keys, err := s.db().Keys(s.t.Context(), pattern).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func (s *site) members(key string) []string {
	s.t.Helper()
	members, err := s.db().SMembers(s.t.Context(), key).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(members)
	return members
}

// id is the numeric id of an account, as it stands in keys.
func (s *site) id(login string) string {
	s.t.Helper()
	a, ok := s.github.Account(login)
	if !ok {
		s.t.Fatalf("no account %s", login)
	}
	return fmt.Sprint(a.ID)
}

// metric is the sum of a metric's values whose labels hold the text, as Prometheus
// reads them.
func (s *site) metric(name, labels string) (sum float64) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.main.Addr() + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	for scanner := bufio.NewScanner(resp.Body); scanner.Scan(); {
		line := scanner.Text()
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || !strings.HasPrefix(line, name) || strings.TrimLeft(line[len(name):], "{ ") == line[len(name):] || !strings.Contains(line[:end], labels) {
			continue
		}
		v, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			s.t.Fatalf("metric %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// A browser keeps cookies and follows no redirect by itself.
type browser struct {
	t    *testing.T
	site *site
	http *http.Client
}

func (s *site) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.tls.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: s.t, site: s, http: &http.Client{
		Jar: jar, Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// An answer is a response that was read.
type answer struct {
	*http.Response
	body string
}

// location is where the answer redirects to, as it stands there.
func (a answer) location() string { return a.Header.Get("Location") }

// json decodes the body.
func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(a.body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return v
}

// do sends a request. The headers are pairs of name and value. A path without
// a host is the site's.
func (b *browser) do(method, path, body string, headers ...string) answer {
	b.t.Helper()
	a, err := b.try(method, path, body, headers...)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *browser) try(method, path, body string, headers ...string) (answer, error) {
	if strings.HasPrefix(path, "/") {
		path = b.site.url + path
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err == nil && b.site.gave(resp) {
		err = conforms(method, req.URL.Path, resp.StatusCode, resp.Header, read)
	}
	return answer{resp, string(read)}, err
}

func (b *browser) get(path string, headers ...string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", headers...)
}

// form sends a form as a browser sends one of our own pages.
func (b *browser) form(path string, values url.Values, headers ...string) answer {
	b.t.Helper()
	headers = append([]string{
		"Content-Type", "application/x-www-form-urlencoded",
		"Sec-Fetch-Site", "same-origin", "Origin", "null", "Accept", "text/html",
	}, headers...)
	return b.do(http.MethodPost, path, values.Encode(), headers...)
}

// authorize begins a sign-in, agrees at the stand-in as login, and returns the
// callback's URL with code and state.
func (b *browser) authorize(login, start string, extra ...string) string {
	b.t.Helper()
	begin := b.get(start)
	if begin.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("GET %s = %d %s, want a redirect to GitHub", start, begin.StatusCode, begin.body)
	}
	u, err := url.Parse(begin.location())
	if err != nil {
		b.t.Fatal(err)
	}
	form := u.Query()
	form.Set("account", login)
	form.Set("decision", "authorize")
	for i := 0; i+1 < len(extra); i += 2 {
		form.Set(extra[i], extra[i+1])
	}
	u.RawQuery = ""
	agreed := b.do(http.MethodPost, u.String(), form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if agreed.StatusCode != http.StatusFound {
		b.t.Fatalf("authorize = %d %s", agreed.StatusCode, agreed.body)
	}
	return agreed.location()
}

// signIn signs in as login and returns the answer to the callback.
func (b *browser) signIn(login string) answer {
	b.t.Helper()
	a := b.get(b.authorize(login, "/?again=1"), "Accept", "application/json")
	if a.StatusCode != http.StatusOK {
		b.t.Fatalf("sign-in of %s = %d %s", login, a.StatusCode, a.body)
	}
	return a
}

// cookie is what the browser has of that name, or empty.
func (b *browser) cookie(name string) string {
	u, _ := url.Parse(b.site.url)
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// setCookie makes the browser have a cookie.
func (b *browser) setCookie(name, value string) {
	u, _ := url.Parse(b.site.url)
	b.http.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

const (
	sessionCookie = "__Host-sponsor-session"
	attemptCookie = "__Host-sponsor-sign-in"
	visitorCookie = "__Host-sponsor-visitor"
)

// logBuffer keeps the log. It may be used from several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wantStatus fails the test unless the answer has that status.
func wantStatus(t *testing.T, what string, a answer, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s = %d %s, want %d", what, a.StatusCode, a.body, status)
	}
}
