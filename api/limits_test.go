package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// until sends requests until one is refused, and tells how many were not.
func until(t *testing.T, most int, send func(i int) answer) (admitted int) {
	t.Helper()
	for i := range most {
		a := send(i)
		if a.StatusCode == http.StatusTooManyRequests {
			if a.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			return i
		}
	}
	return most
}

// direct is a browser that reaches the program without the proxy, as the proxy does.
func (s *site) direct(path, forwardedFor string) answer {
	s.t.Helper()
	b := s.browser()
	b.http.Jar = nil
	var headers []string
	if forwardedFor != "" {
		headers = []string{"X-Forwarded-For", forwardedFor}
	}
	return b.get("http://"+s.main.Addr()+path, headers...)
}

func TestLimits_PerAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) {
		m["LIMIT_PER_ADDRESS"], m["TRUSTED_PROXIES"] = "30", "127.0.0.1, 10.9.0.0/16, fe80::/10"
	}, nil)
	const flood = "203.0.113.7"
	if got := until(t, 100, func(int) answer { return s.direct("/exclude", flood) }); got != 30 {
		t.Errorf("%d requests of one address were answered, want 30", got)
	}
	for _, tt := range []struct {
		name, forwarded string
		want            int
	}{
		{"the flood itself", flood, 429},
		{"somebody else", "203.0.113.8", 200},
		{"what the flood makes up stands before its own address", "198.51.100.1, " + flood, 429},
		{"through two proxies of ours", flood + ", 10.9.1.1", 429},
		{"with a port", flood + ":4711", 429},
		{"through a proxy of ours with a zone", flood + ", fe80::1%eth0", 429},
		{"in IPv6 clothes", "::ffff:" + flood, 429},
		{"somebody behind what is no proxy of ours", "203.0.113.9, 10.8.1.1", 200},
		{"a name that is no address", "unknown", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := s.direct("/exclude", tt.forwarded); a.StatusCode != tt.want {
				t.Errorf("X-Forwarded-For %s = %d, want %d", tt.forwarded, a.StatusCode, tt.want)
			}
		})
	}
	if got := until(t, 100, func(i int) answer { return s.direct("/exclude", fmt.Sprintf("2001:db8:1:2:%x::1", i)) }); got != 30 {
		t.Errorf("%d requests of one /64 were answered, want 30", got)
	}
	// Each proxy may add a header of its own.
	b := s.browser()
	a := b.get("http://"+s.main.Addr()+"/exclude", "X-Forwarded-For", "203.0.113.8", "X-Forwarded-For", flood)
	wantStatus(t, "two headers", a, http.StatusTooManyRequests)
	wantStatus(t, "the next /64", s.direct("/exclude", "2001:db8:1:3::1"), http.StatusOK)
	wantStatus(t, "what does not exist", s.direct("/nowhere", flood), http.StatusTooManyRequests)
	// Whether the process lives is asked by those who would end it.
	wantStatus(t, "/livez", s.direct("/livez", flood), http.StatusOK)
	wantStatus(t, "/readyz", s.direct("/readyz", flood), http.StatusOK)
	if got := s.metric("sponsor_api_limited_total", `by="address"`); got < 5 {
		t.Errorf("sponsor_api_limited_total = %v", got)
	}
}

// Without a proxy that we trust nobody's word counts.
func TestLimits_ForgedAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["LIMIT_PER_ADDRESS"], m["TRUSTED_PROXIES"] = "30", "10.9.0.0/16" }, nil)
	if got := until(t, 100, func(i int) answer { return s.direct("/exclude", fmt.Sprintf("203.0.113.%d", i)) }); got != 30 {
		t.Errorf("%d requests under made-up addresses were answered, want 30", got)
	}
}

// What is costly counts tenfold: to begin a sign-in, and visitors who are new.
func TestLimits_WhatIsCostly(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["LIMIT_PER_ADDRESS"] = "100" }, nil)
	if got := until(t, 100, func(int) answer { return s.direct("/", "203.0.113.1") }); got != 10 {
		t.Errorf("%d sign-ins of one address were begun, want 10", got)
	}
	if got := until(t, 100, func(i int) answer { return s.direct(fmt.Sprintf("/exclude?id=C%d", i), "203.0.113.2") }); got != 9 {
		t.Errorf("%d visitors of one address are new, want 9", got)
	}
	if n := len(s.keys("api:visitor:*")); n != 9 {
		t.Errorf("%d visitors in Redis, want 9", n)
	}
	// A proxy asks /auth for each request of somebody else's.
	if got := until(t, 2000, func(int) answer { return s.direct("/auth", "203.0.113.3") }); got != 1000 {
		t.Errorf("/auth was answered %d times, want 1000", got)
	}
}

// One person has one limit, from wherever they ask.
func TestLimits_PerPerson(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["LIMIT_PER_PERSON"] = "20" }, nil)
	b, other := s.browser(), s.browser()
	b.signIn("visitor-1")
	other.signIn("visitor-2")
	if got := until(t, 100, func(i int) answer { return b.get("/exclude", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i)) }); got != 20 {
		t.Errorf("%d requests of one person were answered, want 20", got)
	}
	second := s.browser()
	second.signIn("visitor-1")
	wantStatus(t, "the same person elsewhere", second.get("/exclude"), http.StatusTooManyRequests)
	wantStatus(t, "somebody else", other.get("/exclude"), http.StatusOK)
	a := b.get("/account", "Accept", "text/html")
	if a.StatusCode != http.StatusTooManyRequests || !strings.Contains(a.body, "wait a little") {
		t.Errorf("page = %d %s", a.StatusCode, a.body)
	}
	visitor := s.browser()
	if got := until(t, 100, func(i int) answer { return visitor.get(fmt.Sprintf("/exclude?id=C%d", i)) }); got != 21 {
		t.Errorf("%d requests of one visitor were answered, want the first and 20", got)
	}
}

// What each costly or cheap route weighs, also for somebody it is refused to.
func TestLimits_Weights(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["LIMIT_PER_ADDRESS"] = "30" }, nil)
	for i, tt := range []struct {
		route string
		want  int // of 30 requests of the usual weight
	}{
		{"GET /", 3},
		{"GET /oauth2/callback", 3},
		{"POST /me/refresh", 3},
		{"POST /account/refresh", 3},
		{"DELETE /me", 3},
		{"POST /account/delete", 3},
		{"POST /webhooks/github", 30},
		{"GET /openapi.json", 30},
		{"GET /me", 30},
		{"GET /me/export", 30},
		{"GET /account", 30},
		{"POST /logout", 30},
		{"POST /logout/everywhere", 30},
		{"POST /account/exclude", 30},
		{"GET /nowhere", 30}, // counts for nothing: there is nothing to be had
		{"GET /style.css", 300},
		{"GET /metrics", 400},
		{"GET /livez", 400},
		{"GET /readyz", 400},
	} {
		method, path, _ := strings.Cut(tt.route, " ")
		b := s.browser()
		b.http.Jar = nil
		got := until(t, 400, func(int) answer {
			return b.do(method, "http://"+s.main.Addr()+path, "", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		})
		if got != tt.want {
			t.Errorf("%s was answered %d times, want %d", tt.route, got, tt.want)
		}
	}
}

// A visitor who only looks is held against their limit, too.
func TestLimits_PerVisitor(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["LIMIT_PER_PERSON"] = "20" }, nil)
	b := s.browser()
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	if got := until(t, 100, func(int) answer { return b.get("/exclude") }); got != 20 {
		t.Errorf("%d lists of one visitor were answered, want 20", got)
	}
	wantStatus(t, "take back", b.do(http.MethodDelete, "/exclude?id=C1", ""), http.StatusTooManyRequests)
}
