package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestMain lets the test binary be the program, for tests that need a process.
func TestMain(m *testing.M) {
	if os.Getenv("SPONSOR_API_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The process ends with 0 when it is asked to, by either signal.
func TestProcess_Signals(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = []string{
				"SPONSOR_API_TEST_MAIN=1", "GITHUB_CLIENT_ID=id", "GITHUB_SECRET=secret", "SPONSOR_ORG=" + testOrg,
				"PUBLIC_URL=http://127.0.0.1:8080", "LISTEN_ADDR=127.0.0.1:0", "REDIS_ADDR=127.0.0.1:1",
			}
			log := &logBuffer{}
			cmd.Stderr = log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			redistest.Eventually(t, 10*time.Second, func() error {
				if !strings.Contains(log.String(), `"serving"`) {
					return fmt.Errorf("log %q", log)
				}
				return nil
			})
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("the process ended with %v, want 0\n%s", err, log)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	for _, path := range []string{"/", "/account", "/me", "/exclude", "/livez", "/nowhere", "/oauth2/callback"} {
		for _, accept := range []string{"text/html", "application/json"} {
			a := b.get(path, "Accept", accept)
			for name, want := range map[string]string{
				"Strict-Transport-Security": "max-age=31536000",
				"X-Content-Type-Options":    "nosniff",
				"Referrer-Policy":           "no-referrer",
				"Cache-Control":             "no-store",
			} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %s = %q, want %q", path, name, got, want)
				}
			}
			csp := a.Header.Get("Content-Security-Policy")
			if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: Content-Security-Policy = %q", path, csp)
			}
			if a.StatusCode >= 400 {
				want := "application/problem+json"
				if accept == "text/html" {
					want = "text/html; charset=utf-8"
				}
				if got := a.Header.Get("Content-Type"); got != want {
					t.Errorf("%s: Content-Type = %q, want %q", path, got, want)
				}
			}
		}
	}
}

func TestRedisDown_AnswersAndRecovers(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, redistest.New(t, redistest.Config{Conf: []string{"appendonly yes", "appendfsync always"}}), nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	visitor := s.browser()
	wantStatus(t, "/readyz", b.get("/readyz"), http.StatusOK)
	callback := s.browser()
	late := callback.authorize("visitor-2", "/")

	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		browser *browser
		method  string
		path    string
	}{
		{"exclude", b, http.MethodGet, "/exclude?id=C1"},
		{"exclude as visitor", visitor, http.MethodGet, "/exclude?id=C1"},
		{"list", b, http.MethodGet, "/exclude"},
		{"take back", b, http.MethodDelete, "/exclude?id=C1"},
		{"/me", b, http.MethodGet, "/me"},
		{"page", b, http.MethodGet, "/account"},
		{"sign in", visitor, http.MethodGet, "/"},
		{"callback", callback, http.MethodGet, late},
		{"sign out", b, http.MethodPost, "/logout"},
		{"/readyz", b, http.MethodGet, "/readyz"},
	} {
		a := tt.browser.do(tt.method, tt.path, "")
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s = %d %s, want 503 with Retry-After", tt.name, a.StatusCode, a.body)
		}
	}
	wantStatus(t, "/livez", b.get("/livez"), http.StatusOK)

	if err := s.redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 10*time.Second, func() error {
		if a := b.get("/readyz"); a.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz = %d", a.StatusCode)
		}
		return nil
	})
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
}

// A Redis that hangs is answered for within the time-outs.
func TestRedisSilent(t *testing.T) {
	t.Parallel()
	db := redistest.New(t, redistest.Config{})
	proxy := redistest.NewProxy(t, db.Addr())
	s := newSiteOn(t, db, func(m map[string]string) { m["REDIS_ADDR"] = proxy.Addr() }, nil)
	b := s.browser()
	b.signIn("visitor-1")
	proxy.Silent()
	start := time.Now()
	a := b.get("/exclude?id=C1")
	wantStatus(t, "exclude", a, http.StatusServiceUnavailable)
	if d := time.Since(start); d > 8*time.Second {
		t.Errorf("it took %v", d)
	}
	if !strings.Contains(s.log.String(), "request failed") {
		t.Error("the log does not tell of it")
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 10*time.Second, func() error {
		if a := b.get("/exclude?id=C1"); a.StatusCode != http.StatusOK {
			return fmt.Errorf("exclude = %d", a.StatusCode)
		}
		return nil
	})
}

// A write that Redis refuses is not reported as done, and a sign-in that it
// refuses leaves nothing behind.
func TestRedisRefusesWrites(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	callback := s.browser()
	late := callback.authorize("sponsor-1", "/")
	if err := s.db().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusServiceUnavailable)
	wantStatus(t, "callback", callback.get(late), http.StatusServiceUnavailable)
	if keys := s.keys("*" + s.id("sponsor-1") + "*"); len(keys) != 0 {
		t.Errorf("keys %v of a sign-in that failed", keys)
	}
	s.db().ConfigSet(t.Context(), "maxmemory", "0")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
}

// What Redis refuses for want of rights is no outage: it says so for ever.
func TestRedisForbids(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	callback := b.authorize("sponsor-1", "/")
	if err := s.db().Do(t.Context(), "ACL", "SETUSER", "default", "-hset").Err(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "callback", b.get(callback, "Accept", "application/json"), http.StatusInternalServerError)
	if keys := s.keys("*" + s.id("sponsor-1") + "*"); len(keys) != 0 {
		t.Errorf("keys %v of a sign-in that failed", keys)
	}
}

// A client that sends its request byte by byte is cut off, and a header without
// end is refused.
func TestSlowAndGreedyClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	conn, err := net.Dial("tcp", s.main.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := bufio.NewReader(conn).ReadString('\n'); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still connected after %v", time.Since(start))
	}
	a := s.browser().get("/livez", "X-Greedy", strings.Repeat("x", 64<<10))
	wantStatus(t, "64 KiB of headers", a, http.StatusRequestHeaderFieldsTooLarge)
}

// A sign-in that is under way when the process is asked to end is finished.
func TestDrain(t *testing.T) {
	t.Parallel()
	db := redistest.New(t, redistest.Config{})
	s := newSiteOn(t, db, nil, nil)
	b := s.browser()
	callback := b.authorize("visitor-1", "/")
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Hang: true})
	answers := make(chan answer, 1)
	go func() {
		a, err := b.try(http.MethodGet, callback, "", "Accept", "application/json")
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	redistest.Eventually(t, 5*time.Second, func() error {
		if s.github.Calls(githubtest.GraphQL) == 0 {
			return errors.New("GitHub was not asked yet")
		}
		return nil
	})
	closed := make(chan error, 1)
	go func() { closed <- s.main.Close() }()
	redistest.Eventually(t, 5*time.Second, func() error {
		conn, err := net.DialTimeout("tcp", s.main.Addr(), time.Second)
		if err == nil {
			conn.Close()
			return errors.New("it still accepts connections")
		}
		return nil
	})
	s.github.Heal()
	if a := <-answers; a.Response == nil || a.StatusCode != http.StatusOK {
		t.Errorf("the sign-in under way = %v", a)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestRun_ExitCodes(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"GITHUB_CLIENT_ID": "id", "GITHUB_SECRET": "secret", "SPONSOR_ORG": testOrg,
		"PUBLIC_URL": "http://127.0.0.1:8080", "LISTEN_ADDR": "127.0.0.1:0", "REDIS_ADDR": "127.0.0.1:1",
	}
	ended, end := context.WithCancel(t.Context())
	end()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name   string
		args   []string
		change map[string]string
		want   int
		says   string
	}{
		{"asked to end, without Redis", nil, nil, exitOK, "SESSION_KEYS is missing"},
		{"help", []string{"--help"}, nil, exitOK, "SESSION_KEYS"},
		{"-h", []string{"-h"}, nil, exitOK, "Exit codes"},
		{"argument", []string{"serve"}, nil, exitSettings, `"serve"`},
		{"flag", []string{"-x"}, nil, exitSettings, "-x"},
		{"settings", nil, map[string]string{"SPONSOR_ORG": ""}, exitSettings, "SPONSOR_ORG"},
		{"port taken", nil, map[string]string{"LISTEN_ADDR": taken.Addr().String()}, exitFailed, "LISTEN_ADDR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			getenv := func(name string) string {
				if v, ok := tt.change[name]; ok {
					return v
				}
				return good[name]
			}
			var out bytes.Buffer
			if got := run(ended, tt.args, getenv, &out, &out); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
			if !strings.Contains(out.String(), tt.says) {
				t.Errorf("it says %q, want %q in it", out.String(), tt.says)
			}
		})
	}
}

func TestReadSettings_AllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"GITHUB_SECRET": "inline", "GITHUB_SECRET_FILE": secret,
		"SPONSOR_ORG": "https://github.com/x", "REDIS_ADDR": "redis://:hunter2@host:port",
		"PUBLIC_URL": "http://api.example.org", "ALLOWED_ORIGINS": "*,null,https://a.example/path, https://B.example,ftp://x,https://c.example:443",
		"SESSION_KEYS": "short", "GITHUB_URL": "http://github.example", "LISTEN_ADDR": "8080",
		"TRUSTED_PROXIES": "10.0.0.0/33,::/0,0.0.0.0/1,::ffff:10.0.0.1", "LIMIT_PER_ADDRESS": "9", "LIMIT_PER_PERSON": "-1",
		"SPONSOR_GRACE": "213504d", "SPONSOR_ONE_TIME": "-1h", "SPONSOR_ENTITLEMENTS": "a=1,a=2,b,c d=3,e=-1",
		"GITHUB_WEBHOOK_SECRET": "guess", "RECONCILE_EVERY": "1s",
	}
	_, err := ReadSettings(func(name string) string { return bad[name] })
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{
		"GITHUB_CLIENT_ID: is missing", "GITHUB_SECRET and GITHUB_SECRET_FILE are both set", "SPONSOR_ORG:", "REDIS_ADDR:",
		"PUBLIC_URL: http would", `"*" has a *`, "null is what", `"https://a.example/path" has more`, "lower case", `"ftp://x"`, "usual port",
		"SESSION_KEYS: key 1 has 5 bytes", "GITHUB_URL: http would", "LISTEN_ADDR:",
		`"10.0.0.0/33" is no network`, `"::/0" is half`, `"0.0.0.0/1" is half`, `"::ffff:10.0.0.1" is no network`,
		"LIMIT_PER_ADDRESS:", "LIMIT_PER_PERSON:", "SPONSOR_GRACE:", "SPONSOR_ONE_TIME:",
		"a is there twice", `"b" is not name=cents`, `"c d=3" is not`, `"e=-1" is not`, "GITHUB_WEBHOOK_SECRET: secret 1 has 5 bytes", "RECONCILE_EVERY: GitHub wants",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a fault shows the password")
	}
}

func TestReadSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	base := map[string]string{
		"GITHUB_CLIENT_ID": "id", "GITHUB_SECRET": "secret", "SPONSOR_ORG": testOrg,
		"PUBLIC_URL": "https://api.example.org", "SESSION_KEYS": testKey,
	}
	for _, tt := range []struct {
		name  string
		set   map[string]string
		fault string // empty: none
		check func(Settings) bool
	}{
		{"defaults", nil, "", func(s Settings) bool {
			return s.GitHubURL == "https://github.com" && s.ListenAddr == "127.0.0.1:8080" && s.Redis.Addr == "127.0.0.1:6379" && s.Secure()
		}},
		{"secrets from files", map[string]string{
			"GITHUB_SECRET": "", "GITHUB_SECRET_FILE": file("a", "filed\n"),
			"SESSION_KEYS": "", "SESSION_KEYS_FILE": file("b", testKey+","+testKey+"2\n"),
			"REDIS_ADDR_FILE": file("c", "rediss://u:p@db.example:6380\n"),
		}, "", func(s Settings) bool {
			return s.Secrets.GitHub.ClientSecret == "filed" && len(s.Secrets.SessionKeys) == 2 && s.Redis.Password == "p" && s.Redis.TLSConfig != nil
		}},
		{"no such file", map[string]string{"GITHUB_SECRET": "", "GITHUB_SECRET_FILE": dir + "/none"}, "GITHUB_SECRET_FILE", nil},
		{"a password without the scheme of a URL", map[string]string{"REDIS_ADDR": "default:hunter2@127.0.0.1"}, "REDIS_ADDR", nil},
		{"a port that is none", map[string]string{"LISTEN_ADDR": ":99999"}, "LISTEN_ADDR", nil},
		{"an http origin", map[string]string{"ALLOWED_ORIGINS": "http://graph.example.org"}, "ALLOWED_ORIGINS", nil},
		{"an http origin on loopback", map[string]string{"ALLOWED_ORIGINS": "http://localhost:4200"}, "", func(s Settings) bool { return len(s.Origins) == 1 }},
		{"commas and no secret", map[string]string{"GITHUB_WEBHOOK_SECRET": ","}, "GITHUB_WEBHOOK_SECRET", nil},
		{"an empty file", map[string]string{"GITHUB_SECRET": "", "GITHUB_SECRET_FILE": file("empty", "\n")}, "is empty", nil},
		{"times and numbers", map[string]string{"SPONSOR_GRACE": "0", "SPONSOR_ONE_TIME": "45d", "LIMIT_PER_PERSON": "0", "TRUSTED_PROXIES": "10.1.2.3, 2001:db8::/32"}, "", func(s Settings) bool {
			return s.Policy.Grace == 0 && s.Policy.OneTime == 45*24*time.Hour && s.Limits.PerPerson == 0 && s.Limits.PerAddress == 600 &&
				len(s.TrustedProxies) == 2 && s.TrustedProxies[0].String() == "10.1.2.3/32"
		}},
		{"unix socket", map[string]string{"REDIS_ADDR": "unix:///run/redis.sock"}, "", func(s Settings) bool {
			return s.Redis.Network == "unix" && s.Redis.Addr == "/run/redis.sock"
		}},
		{"another database", map[string]string{"REDIS_ADDR": "redis://db.example:6379/2"}, "database 2", nil},
		{"keys missing in production", map[string]string{"SESSION_KEYS": ""}, "SESSION_KEYS: is missing", nil},
		{"keys missing on loopback", map[string]string{"SESSION_KEYS": "", "PUBLIC_URL": "http://localhost:8080"}, "", func(s Settings) bool {
			return len(s.Secrets.SessionKeys) == 1 && len(s.Warnings) == 1 && !s.Secure()
		}},
		{"http beyond loopback", map[string]string{"PUBLIC_URL": "http://192.0.2.1"}, "PUBLIC_URL", nil},
		{"http that looks like loopback", map[string]string{"PUBLIC_URL": "http://localhost.example.org"}, "PUBLIC_URL", nil},
		{"http on IPv6 loopback", map[string]string{"PUBLIC_URL": "http://[::1]:8080"}, "", func(s Settings) bool { return !s.Secure() }},
		{"public URL with a path", map[string]string{"PUBLIC_URL": "https://api.example.org/sponsor"}, "PUBLIC_URL", nil},
		{"public URL with a slash", map[string]string{"PUBLIC_URL": "https://api.example.org/"}, "", func(s Settings) bool {
			return s.PublicURL.String() == "https://api.example.org"
		}},
		{"public URL with a password", map[string]string{"PUBLIC_URL": "https://u:p@api.example.org"}, "PUBLIC_URL", nil},
		{"enterprise server", map[string]string{"GITHUB_URL": "https://ghe.example.org/"}, "", func(s Settings) bool {
			return s.GitHubURL == "https://ghe.example.org"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ReadSettings(func(name string) string {
				if v, ok := tt.set[name]; ok {
					return v
				}
				return base[name]
			})
			switch {
			case tt.fault == "" && err != nil:
				t.Fatalf("fault %v", err)
			case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
				t.Fatalf("fault %v, want %s", err, tt.fault)
			case tt.check != nil && !tt.check(s):
				t.Errorf("settings %+v", s)
			}
		})
	}
}

// On loopback without TLS everything works, with cookies that browsers accept
// there.
func TestPlainHTTPOnLoopback(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) {
		m["PUBLIC_URL"], m["SESSION_KEYS"] = "http://127.0.0.1:8080", ""
	}, nil)
	a := s.browser().get("http://" + s.main.Addr() + "/")
	wantStatus(t, "/", a, http.StatusSeeOther)
	if c := a.Cookies(); len(c) != 1 || c[0].Name != "sponsor-sign-in" || c[0].Secure || !c[0].HttpOnly {
		t.Errorf("cookies %v", c)
	}
	if got := a.Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("Strict-Transport-Security = %q on http", got)
	}
	// By the other name of this machine the sign-in begins where it will end.
	_, port, _ := strings.Cut(s.main.Addr(), ":")
	a = s.browser().get("http://localhost:" + port + "/?next=%2Faccount")
	wantStatus(t, "/ at localhost", a, http.StatusSeeOther)
	if got, want := a.Header.Get("Location"), "http://127.0.0.1:8080/?next=%2Faccount"; got != want || len(a.Cookies()) > 0 {
		t.Errorf("localhost leads to %q with cookies %v, want %q and none", got, a.Cookies(), want)
	}
}

// The README names every setting, in its table, and --help does too.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var help bytes.Buffer
	printHelp(&help)
	for _, s := range settingsHelp {
		name := "`" + s.name + "`"
		if s.secret {
			name += "*"
		}
		row := regexp.MustCompile(`(?m)^\| .*` + regexp.QuoteMeta(name) + `.* \|$`)
		if !row.Match(readme) {
			t.Errorf("README has no row with %s", name)
		}
		if s.fallback != "" && !regexp.MustCompile(`(?m)^\| `+regexp.QuoteMeta(name)+` \| `+"`"+regexp.QuoteMeta(s.fallback)+"`").Match(readme) {
			t.Errorf("README does not give %s the default %s", name, s.fallback)
		}
		if !strings.Contains(help.String(), "  "+s.name) {
			t.Errorf("--help does not name %s", s.name)
		}
	}
}
