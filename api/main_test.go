package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
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
	flag.Parse()
	// Most of these tests wait for servers more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := f.Value.Set("6"); err != nil {
			log.Fatal(err)
		}
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
				"Strict-Transport-Security":    "max-age=31536000",
				"X-Content-Type-Options":       "nosniff",
				"Referrer-Policy":              "no-referrer",
				"Cache-Control":                "no-store",
				"Cross-Origin-Opener-Policy":   "same-origin",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %s = %q, want %q", path, name, got, want)
				}
			}
			csp := a.Header.Get("Content-Security-Policy")
			for _, directive := range []string{"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
				if !strings.Contains(csp, directive) {
					t.Errorf("%s: Content-Security-Policy = %q, want %s in it", path, csp, directive)
				}
			}
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
		{"post", b, http.MethodPost, "/account/exclude"},
		{"take back by form", b, http.MethodPost, "/account/take-back"},
		{"sign out", b, http.MethodPost, "/logout"},
		{"sign out everywhere", b, http.MethodPost, "/logout/everywhere"},
		{"refresh", b, http.MethodPost, "/me/refresh"},
		{"refresh by form", b, http.MethodPost, "/account/refresh"},
		{"delete", b, http.MethodDelete, "/me"},
		{"delete by form", b, http.MethodPost, "/account/delete"},
		{"the question before", b, http.MethodGet, "/account/delete"},
		{"export", b, http.MethodGet, "/me/export"},
		{"/auth", b, http.MethodGet, "/auth"},
		{"/readyz", b, http.MethodGet, "/readyz"},
	} {
		a := tt.browser.do(tt.method, tt.path, "")
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s = %d %s, want 503 with Retry-After", tt.name, a.StatusCode, a.body)
		}
		if _, port, _ := net.SplitHostPort(s.redis.Addr()); strings.Contains(a.body, port) || strings.Contains(a.body, "connect") {
			t.Errorf("%s tells of what is inside: %s", tt.name, a.body)
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

// What Redis refuses for good is no matter of waiting.
func TestRedisRefusesCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	s.db().Set(t.Context(), "user:"+s.id("visitor-1")+":mnodes", "no set", 0)
	wantStatus(t, "list of what is no set", b.get("/exclude"), http.StatusInternalServerError)
	s.db().Del(t.Context(), "user:"+s.id("visitor-1")+":mnodes")
	if err := s.db().Do(t.Context(), "ACL", "SETUSER", "default", "-smembers").Err(); err != nil {
		t.Fatal(err)
	}
	a := b.get("/exclude")
	wantStatus(t, "list without permission", a, http.StatusInternalServerError)
	if a.Header.Get("Retry-After") != "" || strings.Contains(a.body, "smembers") {
		t.Errorf("answer %s, Retry-After %q", a.body, a.Header.Get("Retry-After"))
	}
}

// A client that sends its body byte by byte is cut off; so is one that does not read
// its answer, and one that keeps its connection for nothing, which would take a minute
// to see.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	if h := s.main.http; h.WriteTimeout <= 0 || h.WriteTimeout > time.Minute || h.IdleTimeout <= 0 || h.IdleTimeout > 2*time.Minute {
		t.Errorf("WriteTimeout %v, IdleTimeout %v", h.WriteTimeout, h.IdleTimeout)
	}
	conn, err := net.Dial("tcp", s.main.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST /exclude HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := conn.SetReadDeadline(start.Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still connected after %v", time.Since(start))
	}
}

// The log has no word that a client made up, and clients get JSON or a page as they
// weigh them.
func TestOddClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.do("MADEUP", "/exclude", "")
	if strings.Contains(s.log.String(), "MADEUP") {
		t.Error("the log has a method that a client made up")
	}
	if a := b.do(http.MethodPut, "/exclude", ""); a.Header.Get("Allow") == "" {
		t.Errorf("405 without Allow: %v", a.Header)
	}
	for accept, html := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"application/json":                  false,
		"text/html":                         true,
		"text/html, application/json":       true,
		"text/html;q=0.1, application/json": false,
		"text/html;q=0, */*":                false,
		"text/html,application/xml;q=0.9,*/*;q=0.8": true,
		"application/json;q=0.5, text/html;q=0.9":   true,
		"text/html;q=much":                          false,
	} {
		a := b.get("/nowhere", "Accept", accept)
		if got := strings.HasPrefix(a.Header.Get("Content-Type"), "text/html"); got != html {
			t.Errorf("Accept %q gets %s", accept, a.Header.Get("Content-Type"))
		}
	}
}

// Whoever asks while the process drains is told that it does, and served.
func TestDrain_ReadyzTells(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	s.main.api.Drain() // Close goes on at once, and accepts no connection
	a := b.get("/readyz")
	wantStatus(t, "/readyz", a, http.StatusServiceUnavailable)
	if a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	wantStatus(t, "/livez", b.get("/livez"), http.StatusOK)
	wantStatus(t, "/exclude", b.get("/exclude"), http.StatusOK)
}

// A request that does not end does not keep the process for ever.
func TestDrain_IsBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	m := NewMain(s.main.Settings, s.log)
	m.DrainTimeout = 100 * time.Millisecond
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	u, err := url.Parse(b.authorize("visitor-1", "/"))
	if err != nil {
		t.Fatal(err)
	}
	s.github.SetFault(githubtest.Exchange, githubtest.Fault{Hang: true})
	go func() {
		_, _ = b.try(http.MethodGet, "http://"+m.Addr()+u.RequestURI(), "", "Cookie", attemptCookie+"="+b.cookie(attemptCookie)) // is cut off
	}()
	redistest.Eventually(t, 5*time.Second, func() error {
		if s.github.Calls(githubtest.Exchange) == 0 {
			return errors.New("GitHub was not asked yet")
		}
		return nil
	})
	start := time.Now()
	if err := m.Close(); err == nil {
		t.Error("it does not say that a request was cut off")
	}
	if d := time.Since(start); d > 8*time.Second {
		t.Errorf("it took %v", d)
	}
	s.github.Heal()
}

// Settings that ReadSettings would refuse do not open without a key either.
func TestOpen_Keys(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, keys := range [][]string{nil, {"short"}, {testKey, "short"}} {
		settings := s.main.Settings
		settings.Secrets.SessionKeys = keys
		if err := NewMain(settings, s.log).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "SESSION_KEYS") {
			t.Errorf("open with the keys %q = %v", keys, err)
		}
	}
}
