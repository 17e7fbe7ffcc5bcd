package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestAuth(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["SPONSOR_ENTITLEMENTS"] = "early-access=500,thanks=0" }, nil)
	b, visitor := s.browser(), s.browser()
	b.signIn("sponsor-1")
	visitor.signIn("visitor-1")
	for _, tt := range []struct {
		name                      string
		b                         *browser
		status                    int
		id, sponsor, entitlements string
	}{
		{"sponsor", b, 200, s.id("sponsor-1"), "yes", "early-access,thanks"},
		{"no sponsor", visitor, 200, s.id("visitor-1"), "no", ""},
		{"nobody", s.browser(), 401, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A proxy sends along what the client sent.
			a := tt.b.get("/auth", "X-User-Id", "1", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
			wantStatus(t, "/auth", a, tt.status)
			for name, want := range map[string]string{"X-User-Id": tt.id, "X-Sponsor": tt.sponsor, "X-Entitlements": tt.entitlements} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	b.get("/nowhere/secret-path")
	for _, tt := range []struct {
		name, labels string
		atLeast      float64
	}{
		{"sponsor_api_http_requests_total", `route="GET /oauth2/callback",status="200"`, 1},
		{"sponsor_api_http_requests_total", `route="",status="404"`, 1},
		{"sponsor_api_http_request_duration_seconds_count", `route="GET /oauth2/callback"`, 1},
		{"sponsor_api_sign_ins_total", `result="sponsor"`, 1},
		{"sponsor_api_github_duration_seconds_count", `call="exchange",outcome="ok"`, 1},
		{"sponsor_api_github_duration_seconds_count", `call="graphql",outcome="ok"`, 1},
		{"sponsor_api_redis_up", "", 1},
		{"sponsor_api_sponsors", "", 1},
		{"sponsor_module_up", "", 1},
		{"sponsor_module_connected", "", 1},
		{"sponsor_module_sponsors", "", 1},
		{"sponsor_module_acknowledged_total", "", 1},
		{"go_goroutines", "", 1},
	} {
		redistest.Eventually(t, 10*time.Second, func() error {
			if got := s.metric(tt.name, tt.labels); got < tt.atLeast {
				return fmt.Errorf("%s{%s} = %v, want at least %v", tt.name, tt.labels, got, tt.atLeast)
			}
			return nil
		})
	}
	// Nobody gets them through a proxy.
	wantStatus(t, "/metrics through the proxy", b.get("/metrics"), http.StatusForbidden)
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"} {
		wantStatus(t, "/metrics with "+header, b.get("http://"+s.main.Addr()+"/metrics", header, "127.0.0.1"), http.StatusForbidden)
	}
	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := s.metric("sponsor_api_redis_up", "") + s.metric("sponsor_module_up", ""); got != 0 {
		t.Errorf("Redis and module are up: %v", got)
	}
}

func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	browsers := []*browser{s.browser(), s.browser(), s.browser()}
	for _, b := range browsers {
		b.signIn("visitor-1")
	}
	other := s.browser()
	other.signIn("visitor-2")
	if got := fmt.Sprint(browsers[0].get("/me").json(t)["sessions"]); got != "3" {
		t.Errorf("sessions = %s, want 3", got)
	}
	wantStatus(t, "sign out", browsers[1].do(http.MethodPost, "/logout", ""), http.StatusOK)
	if n := s.db().ZCard(t.Context(), "api:sessions:"+s.id("visitor-1")).Val(); n != 2 {
		t.Errorf("%d sessions on the list after one signed out, want 2", n)
	}
	if got := fmt.Sprint(browsers[0].get("/me").json(t)["sessions"]); got != "2" {
		t.Errorf("sessions = %s, want 2", got)
	}
	wantPage(t, browsers[0], "in 2 browsers")
	wantStatus(t, "from elsewhere", browsers[0].do(http.MethodPost, "/logout/everywhere", "", "Origin", testOrigin), http.StatusForbidden)
	a := browsers[0].form("/logout/everywhere", nil)
	if a.StatusCode != http.StatusSeeOther || browsers[0].cookie(sessionCookie) != "" {
		t.Errorf("sign out everywhere = %d, cookie %q", a.StatusCode, browsers[0].cookie(sessionCookie))
	}
	for i, b := range browsers {
		wantStatus(t, fmt.Sprintf("/me in browser %d", i), b.get("/me"), http.StatusUnauthorized)
	}
	wantStatus(t, "/me of somebody else", other.get("/me"), http.StatusOK)
	if keys := s.keys("api:session*" + s.id("visitor-1") + "*"); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
}

// Secrets are replaced in their files while the program runs.
func TestSecrets_Rotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db := redistest.New(t, redistest.Config{Password: "first"})
	url := func(password string) string { return "redis://:" + password + "@" + db.Addr() }
	s := newSiteOn(t, db, func(m map[string]string) {
		for name, value := range map[string]string{
			"SESSION_KEYS": testKey, "GITHUB_SECRET": "test-secret", "REDIS_ADDR": url("first"), "GITHUB_WEBHOOK_SECRET": webhookSecret,
		} {
			delete(m, name)
			m[name+"_FILE"] = write(name, value)
		}
	}, nil)
	s.github.SetWebhook("http://"+s.main.Addr()+webhookPath, webhookSecret)
	b := s.browser()
	b.signIn("visitor-1")
	old := b.cookie(sessionCookie)
	s.deliver(s.github.Ping(), http.StatusOK)

	const newKey, newSecret = "another key that has more than 32 bytes too", "another secret of the webhook"
	write("SESSION_KEYS", newKey+","+testKey)
	write("GITHUB_WEBHOOK_SECRET", newSecret)
	s.main.Rotate()
	wantStatus(t, "/me with the cookie of before", b.get("/me"), http.StatusOK)
	s.deliver(s.github.Ping(), http.StatusUnauthorized)
	s.github.SetWebhook("http://"+s.main.Addr()+webhookPath, newSecret)
	s.deliver(s.github.Ping(), http.StatusOK)

	write("SESSION_KEYS", newKey)
	s.main.Rotate()
	wantStatus(t, "/me when the old key is dropped", b.get("/me"), http.StatusUnauthorized)
	b.signIn("visitor-1")
	if b.cookie(sessionCookie) == old {
		t.Error("the cookie is the old one")
	}

	// A fault in one file leaves all as it was.
	write("SESSION_KEYS", "short")
	write("GITHUB_WEBHOOK_SECRET", webhookSecret)
	s.main.Rotate()
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
	s.deliver(s.github.Ping(), http.StatusOK)
	if !strings.Contains(s.log.String(), "the old ones stay") {
		t.Error("the log does not tell of the fault")
	}
	write("SESSION_KEYS", newKey)

	// Redis gets another password, and forgets who was logged in.
	admin := s.db()
	admin.ConfigSet(t.Context(), "requirepass", "second")
	admin.Do(t.Context(), "AUTH", "second")
	admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	wantStatus(t, "/me with the old password", b.get("/me"), http.StatusServiceUnavailable)
	write("REDIS_ADDR", url("second"))
	s.main.Rotate()
	redistest.Eventually(t, 10*time.Second, func() error {
		if a := b.get("/me"); a.StatusCode != http.StatusOK {
			return fmt.Errorf("/me = %d %s", a.StatusCode, a.body)
		}
		return nil
	})
	for _, secret := range []string{testKey, newKey, webhookSecret, newSecret, "test-secret", ":first@", ":second@"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// No write that was answered with 200 is lost when Redis is killed, and everything
// works again without a restart of ours.
func TestRedisKilled_LosesNoWrite(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, redistest.New(t, redistest.Config{Conf: []string{"appendonly yes", "appendfsync always"}}), nil, nil)
	const people = 8
	var (
		work  sync.WaitGroup
		ended atomic.Bool
		sent  [people][]string
	)
	for i := range people {
		b := s.browser()
		b.signIn([]string{"sponsor-1", "sponsor-2", "visitor-1", "visitor-2"}[i%4])
		work.Go(func() {
			for n := 0; !ended.Load(); n++ {
				node := fmt.Sprintf("C%d-%d", i, n)
				a, err := b.try(http.MethodGet, "/exclude?id="+node, "")
				if err != nil {
					t.Error(err)
					return
				}
				switch a.StatusCode {
				case http.StatusOK:
					sent[i] = append(sent[i], node)
				case http.StatusServiceUnavailable:
				case http.StatusConflict:
					return
				default:
					t.Errorf("status %d %s", a.StatusCode, a.body)
				}
			}
		})
	}
	for range 3 {
		before := s.metric("sponsor_api_http_requests_total", `route="GET /exclude",status="200"`)
		redistest.Eventually(t, 10*time.Second, func() error {
			if got := s.metric("sponsor_api_http_requests_total", `route="GET /exclude",status="200"`); got < before+200 {
				return fmt.Errorf("%v requests", got-before)
			}
			return nil
		})
		if err := s.redis.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.redis.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ended.Store(true)
	work.Wait()
	for i := range people {
		login := []string{"sponsor-1", "sponsor-2", "visitor-1", "visitor-2"}[i%4]
		have := s.members("user:" + s.id(login) + ":mnodes")
		for _, node := range sent[i] {
			if _, found := slices.BinarySearch(have, node); !found {
				t.Fatalf("%s of %s is lost (%d of %d are there)", node, login, len(have), len(sent[i]))
			}
		}
	}
}

// GitHub's outages leave people who are signed in alone.
func TestGitHubDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMaintainer, func(m *Main) { m.GitHubTimeout = time.Second })
	b := s.browser()
	b.signIn("sponsor-1")
	for _, e := range []githubtest.Endpoint{githubtest.Exchange, githubtest.User, githubtest.Emails, githubtest.GraphQL} {
		s.github.SetFault(e, githubtest.Fault{Hang: true})
	}
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	wantStatus(t, "/account", b.get("/account"), http.StatusOK)
	wantStatus(t, "/readyz", b.get("/readyz"), http.StatusOK)
	wantStatus(t, "refresh", b.do(http.MethodPost, "/me/refresh", ""), http.StatusOK)
	late := s.browser()
	a := late.get(late.authorize("sponsor-1", "/"), "Accept", "application/json")
	if a.StatusCode != http.StatusGatewayTimeout || a.Header.Get("Retry-After") == "" {
		t.Errorf("callback = %d %s, want 504 with Retry-After", a.StatusCode, a.body)
	}
	s.github.Heal()
	late.signIn("sponsor-1")
}

// What else is replaced: the application's secret, and a maintainer's token, which is
// put to use at once.
func TestSecrets_RotateGitHub(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	s.settings["GITHUB_SECRET"] = "a wrong secret"
	s.main.Rotate()
	wantStatus(t, "callback with a wrong secret", b.get(b.authorize("visitor-1", "/")), http.StatusBadGateway)
	s.settings["GITHUB_SECRET"] = "test-secret"
	s.main.Rotate()
	b.signIn("visitor-1")
	if got := s.members("sponsors:" + testOrg); len(got) != 0 {
		t.Errorf("sponsors = %v without a token to ask with", got)
	}
	// A fault in what is no secret leaves the secrets alone, too.
	s.settings["GITHUB_SECRET"], s.settings["SPONSOR_ORG"] = "a wrong secret", ""
	s.main.Rotate()
	b.signIn("visitor-1")
	s.settings["GITHUB_SECRET"], s.settings["SPONSOR_ORG"] = "test-secret", testOrg
	s.settings["GITHUB_MAINTAINER_TOKEN"] = maintainerToken
	s.main.Rotate()
	redistest.Eventually(t, 10*time.Second, func() error {
		if got := s.members("sponsors:" + testOrg); !slices.Equal(got, []string{s.id("sponsor-1")}) {
			return fmt.Errorf("sponsors = %v", got)
		}
		return nil
	})
}

// A key that we made up stays when the secrets are read again: nobody is signed out.
func TestSecrets_MadeUpKeyStays(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["PUBLIC_URL"], m["SESSION_KEYS"] = "http://127.0.0.1:8080", "" }, nil)
	x := s.browser()
	x.http.Jar = nil
	begin := x.get("http://" + s.main.Addr() + "/")
	wantStatus(t, "/", begin, http.StatusSeeOther)
	cookie := begin.Cookies()[0]
	s.main.Rotate()
	again := x.get("http://"+s.main.Addr()+"/", "Cookie", cookie.Name+"="+cookie.Value)
	if c := again.Cookies(); len(c) != 1 || c[0].Value != cookie.Value {
		t.Errorf("cookies %v, want the same as before, which is still good", c)
	}
}

// SIGHUP reads the files with secrets at once.
func TestProcess_HangUp(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{
		"SPONSOR_API_TEST_MAIN=1", "GITHUB_CLIENT_ID=id", "GITHUB_SECRET_FILE=" + file, "SPONSOR_ORG=" + testOrg,
		"PUBLIC_URL=http://127.0.0.1:8080", "LISTEN_ADDR=127.0.0.1:0", "REDIS_ADDR=127.0.0.1:1",
	}
	log := &logBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := func(text string) {
		t.Helper()
		redistest.Eventually(t, 10*time.Second, func() error {
			if !strings.Contains(log.String(), text) {
				return fmt.Errorf("log %q, want %q in it", log, text)
			}
			return nil
		})
	}
	says(`"serving"`)
	if err := os.WriteFile(file, []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 10*time.Second, func() error {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "secrets were replaced") {
			return fmt.Errorf("log %q", log)
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v, want 0\n%s", err, log)
	}
}
