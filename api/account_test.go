package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// What changes something, beside what The Pattern's page and GitHub send, is for our
// own pages, and for those who are signed in. A new route is held to it, too.
func TestForms_EveryRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMaintainer, nil)
	b := s.browser()
	b.signIn("visitor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	hostile := map[string][]string{
		"another site":            {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"a sibling":               {"Sec-Fetch-Site", "same-site", "Origin", "https://other.example.org"},
		"a listed origin":         {"Sec-Fetch-Site", "same-site", "Origin", testOrigin},
		"an old browser":          {"Origin", "https://evil.example"},
		"an old browser, null":    {"Origin", "null"},
		"an old browser, Referer": {"Referer", "https://evil.example/"},
		"a listed Referer":        {"Referer", testOrigin + "/"},
		"fetched ahead":           {"Sec-Fetch-Site", "same-origin", "Sec-Purpose", "prefetch"},
	}
	for _, pattern := range s.main.api.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if method == http.MethodGet || method == http.MethodOptions || path == "/exclude" || path == webhookPath {
			continue
		}
		const form = "application/x-www-form-urlencoded"
		for name, headers := range hostile {
			a := b.do(method, path, "id=C1&sure=yes", append(headers, "Content-Type", form)...)
			if a.StatusCode != http.StatusForbidden {
				t.Errorf("%s of %s = %d, want 403", pattern, name, a.StatusCode)
			}
		}
		want := http.StatusUnauthorized
		if path == "/logout" {
			want = http.StatusOK // there is nothing to end
		}
		wantStatus(t, pattern+" of nobody", s.browser().do(method, path, "id=C1&sure=yes", "Content-Type", form), want)
		wantStatus(t, "/me after "+pattern, b.get("/me"), http.StatusOK)
	}
	if got := s.members("user:" + s.id("visitor-1") + ":mnodes"); !slices.Equal(got, []string{"C1"}) {
		t.Errorf("nodes = %v", got)
	}
	for _, path := range []string{"/me", "/me/export", "/account/delete", "/auth"} {
		a := s.browser().get(path)
		wantStatus(t, path+" of nobody", a, http.StatusUnauthorized)
		if a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", path)
		}
	}
	wantStatus(t, "take back what is no id", b.form("/account/take-back", url.Values{"id": {"7:mnodes"}}), http.StatusBadRequest)
	// A form from our own page, by an old browser.
	wantStatus(t, "our Origin", b.do(http.MethodPost, "/account/take-back", "id=C1", "Content-Type", "application/x-www-form-urlencoded", "Origin", s.url), http.StatusSeeOther)
	wantStatus(t, "our Referer", b.do(http.MethodPost, "/account/take-back", "id=C1", "Content-Type", "application/x-www-form-urlencoded", "Referer", s.url+"/account"), http.StatusSeeOther)
}

// A link to our page puts no words of a stranger's onto it.
func TestAccount_NoticesAreOurs(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	for _, who := range []*browser{b, s.browser()} {
		for _, name := range []string{"excluded", "taken-back", "done"} {
			page := who.get("/account?"+name+"="+url.QueryEscape("call 555 now"), "Accept", "text/html")
			wantStatus(t, "/account", page, http.StatusOK)
			if strings.Contains(page.body, "555") {
				t.Errorf("%s: the page repeats a stranger's text", name)
			}
		}
	}
}

// The rules of "What it must withstand", one request each. A GET that changes
// something is what an <img> can send.
func TestExclude_WhoMayChange(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["ALLOWED_ORIGINS"] = testOrigin + ", http://localhost:4200" }, nil)
	b := s.browser()
	b.signIn("visitor-1")
	key := "user:" + s.id("visitor-1") + ":mnodes"
	for i, tt := range []struct {
		name    string
		headers []string
		allowed bool
	}{
		{"curl", nil, true},
		{"The Pattern's page, same site", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Origin", testOrigin}, true},
		{"The Pattern's page, cross site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Origin", testOrigin}, true},
		{"a second listed origin", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://localhost:4200"}, true},
		{"our own page", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"our own form without referrer", []string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, true},
		{"the address bar", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, true},
		{"an old browser, our page", []string{"Referer", s.url + "/account"}, true},
		{"an old browser, a listed page", []string{"Referer", testOrigin + "/graph?x=1"}, true},
		{"an old browser, Origin", []string{"Origin", testOrigin}, true},
		{"our own Origin", []string{"Origin", s.url}, true},

		{"an image of another site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		{"an image of a sibling", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		{"a link of another site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, false},
		{"an image of a listed page's sibling with its Referer", []string{"Sec-Fetch-Site", "same-site", "Referer", testOrigin + "/"}, false},
		{"fetch of another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, false},
		{"fetch of a sibling", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://other.example.org"}, false},
		{"a sandboxed page", []string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}, false},
		{"null alone", []string{"Origin", "null"}, false},
		{"an empty Origin", []string{"Origin", ""}, false},
		{"an origin that begins like ours", []string{"Origin", s.url + ".evil.example"}, false},
		{"a listed origin with another scheme", []string{"Origin", "http://graph.example.org"}, false},
		{"a listed origin with a port", []string{"Origin", testOrigin + ":444"}, false},
		{"a listed origin in capitals", []string{"Origin", strings.ToUpper(testOrigin)}, false},
		{"two Origins", []string{"Origin", testOrigin, "Origin", "https://evil.example"}, false},
		{"two Sec-Fetch-Sites", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		{"a made-up Sec-Fetch-Site", []string{"Sec-Fetch-Site", "friendly", "Origin", testOrigin}, false},
		{"an empty Sec-Fetch-Site", []string{"Sec-Fetch-Site", ""}, false},
		{"an old browser, another site", []string{"Referer", "https://evil.example/"}, false},
		{"an old browser, a Referer that lies", []string{"Referer", "https://evil.example/" + testOrigin}, false},
		{"an old browser, a name before the host", []string{"Referer", testOrigin + "@evil.example/"}, false},
		{"an old browser, no URL", []string{"Referer", "://"}, false},
		{"fetched ahead", []string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch;prerender"}, false},
		{"fetched ahead, older Chromium", []string{"Sec-Fetch-Site", "none", "Purpose", "prefetch"}, false},
		{"fetched ahead, older Firefox", []string{"X-Moz", "prefetch"}, false},
		{"fetched ahead, older Safari", []string{"X-Purpose", "preview"}, false},
		{"fetched ahead by a listed page", []string{"Origin", testOrigin, "Sec-Purpose", "prefetch"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := []struct{ method, path, body string }{
				{http.MethodGet, "/exclude?id=G%d", ""},
				{http.MethodPost, "/exclude", `{"id":"P%d"}`},
			}
			for _, r := range requests {
				node := fmt.Sprintf("%s%d", r.method[:1], i)
				path, body := r.path, r.body
				if body == "" {
					path = "/exclude?id=" + node
				} else {
					body = `{"id":"` + node + `"}`
				}
				want := http.StatusForbidden
				if tt.allowed {
					want = http.StatusOK
				}
				wantStatus(t, r.method, b.do(r.method, path, body, append(tt.headers, "Content-Type", "application/json")...), want)
				if got := s.db().SIsMember(t.Context(), key, node).Val(); got != tt.allowed {
					t.Errorf("%s: %s stored = %v, want %v", r.method, node, got, tt.allowed)
				}
			}
			s.db().SAdd(t.Context(), key, "keep")
			a := b.do(http.MethodDelete, "/exclude?id=keep", "", tt.headers...)
			if got := !s.db().SIsMember(t.Context(), key, "keep").Val(); got != tt.allowed {
				t.Errorf("DELETE = %d, taken back = %v, want %v", a.StatusCode, got, tt.allowed)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	for _, tt := range []struct {
		name, origin string
		allowed      bool
	}{
		{"listed", testOrigin, true},
		{"other", "https://evil.example", false},
		{"null", "null", false},
		{"our own", s.url, false}, // needs no CORS
		{"none", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantOrigin, wantCredentials := "", ""
			if tt.allowed {
				wantOrigin, wantCredentials = tt.origin, "true"
			}
			check := func(what string, a answer) {
				t.Helper()
				if got := a.Header.Get("Access-Control-Allow-Origin"); got != wantOrigin {
					t.Errorf("%s: Access-Control-Allow-Origin = %q, want %q", what, got, wantOrigin)
				}
				if got := a.Header.Get("Access-Control-Allow-Credentials"); got != wantCredentials {
					t.Errorf("%s: Access-Control-Allow-Credentials = %q, want %q", what, got, wantCredentials)
				}
				if !slices.Contains(a.Header.Values("Vary"), "Origin") {
					t.Errorf("%s: Vary = %v, want Origin", what, a.Header.Values("Vary"))
				}
			}
			headers := []string{}
			if tt.origin != "" {
				headers = []string{"Origin", tt.origin}
			}
			check("list", b.get("/exclude", headers...))
			check("fault", b.get("/exclude?id=%20", headers...))
			check("/me", b.get("/me", headers...))
			preflight := b.do(http.MethodOptions, "/exclude", "", append(headers,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")...)
			check("preflight", preflight)
			wantHeaders := ""
			if tt.allowed {
				wantHeaders = "content-type"
			}
			if got := preflight.Header.Get("Access-Control-Allow-Headers"); got != wantHeaders {
				t.Errorf("Access-Control-Allow-Headers = %q, want %q", got, wantHeaders)
			}
		})
	}
	for path, methods := range map[string]string{"/exclude": "GET, POST, DELETE", "/me": "GET"} {
		a := b.do(http.MethodOptions, path, "", "Origin", testOrigin, "Access-Control-Request-Method", "GET")
		wantStatus(t, "preflight of "+path, a, http.StatusNoContent)
		if got := a.Header.Get("Access-Control-Allow-Methods"); got != methods {
			t.Errorf("%s: Access-Control-Allow-Methods = %q, want %q", path, got, methods)
		}
		if got := strings.Join(a.Header.Values("Vary"), ", "); !strings.Contains(got, "Access-Control-Request-Headers") || !strings.Contains(got, "Access-Control-Request-Method") {
			t.Errorf("%s: Vary = %q", path, got)
		}
		wantStatus(t, "preflight of another origin", b.do(http.MethodOptions, path, "", "Origin", "https://evil.example"), http.StatusForbidden)
	}
	// Nothing else can be read by another origin: a new route neither.
	for _, pattern := range s.main.api.Patterns() {
		method, path, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
		want := ""
		switch path {
		case "/exclude":
			want = testOrigin
		case "/me":
			if method != http.MethodDelete {
				want = testOrigin
			}
		case "/openapi.json":
			want = "*"
		}
		a := b.do(method, path, "", "Origin", testOrigin, "Sec-Fetch-Site", "same-site")
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: Access-Control-Allow-Origin = %q, want %q", pattern, got, want)
		}
	}
	if a := b.get("/account", "Origin", testOrigin); a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("the page can be read by another origin")
	}
}

// TestForms are the page's forms: they work without JavaScript, and for nobody
// but the page.
func TestForms(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	key := "user:" + s.id("visitor-1") + ":mnodes"

	a := b.form("/account/exclude", url.Values{"id": {"C5162902"}})
	if a.StatusCode != http.StatusSeeOther || a.location() != "/account?excluded=C5162902" {
		t.Errorf("exclude = %d to %q", a.StatusCode, a.location())
	}
	page := b.get(a.location(), "Accept", "text/html")
	if !strings.Contains(page.body, "C5162902 is excluded.") || !strings.Contains(page.body, `aria-label="Take back C5162902"`) {
		t.Errorf("page: %s", page.body)
	}
	bad := b.form("/account/exclude", url.Values{"id": {`"><script>`}})
	wantStatus(t, "bad id", bad, http.StatusBadRequest)
	if strings.Contains(bad.body, "<script>") || !strings.Contains(bad.body, `role="alert"`) {
		t.Errorf("page: %s", bad.body)
	}
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "same-site", "Origin", testOrigin}, // may use the API, not the forms
		{"Origin", testOrigin},
		{"Origin", "null"},
		{"Referer", "https://evil.example/"},
	} {
		headers = append(headers, "Content-Type", "application/x-www-form-urlencoded")
		for _, path := range []string{"/account/exclude", "/account/take-back", "/logout"} {
			wantStatus(t, path, b.do(http.MethodPost, path, "id=C5162902", headers...), http.StatusForbidden)
		}
	}
	if got := s.members(key); !slices.Equal(got, []string{"C5162902"}) {
		t.Errorf("nodes = %v", got)
	}
	a = b.form("/account/take-back", url.Values{"id": {"C5162902"}, "page": {"2"}})
	if a.StatusCode != http.StatusSeeOther || a.location() != "/account?page=2&taken-back=C5162902" {
		t.Errorf("take back = %d to %q", a.StatusCode, a.location())
	}
	if got := s.members(key); len(got) != 0 {
		t.Errorf("nodes = %v", got)
	}
	a = b.form("/logout", nil)
	if a.StatusCode != http.StatusSeeOther || a.location() != "/account?done=signed-out" {
		t.Errorf("sign out = %d to %q", a.StatusCode, a.location())
	}
	wantStatus(t, "/me", b.get("/me"), http.StatusUnauthorized)
	wantStatus(t, "form of somebody signed out", b.form("/account/exclude", url.Values{"id": {"C1"}}), http.StatusUnauthorized)
	if page := b.get("/account", "Accept", "text/html"); !strings.Contains(page.body, "Sign in with GitHub") {
		t.Errorf("page: %s", page.body)
	}
}

func TestAccount_Pages(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	for i := range 250 {
		s.db().SAdd(t.Context(), "user:"+s.id("sponsor-1")+":mnodes", fmt.Sprintf("N%03d", i))
	}
	for _, tt := range []struct{ page, first, last string }{
		{"", "N000", "N099"},
		{"2", "N100", "N199"},
		{"3", "N200", "N249"},
		{"4", "N200", "N249"},
		{"0", "N000", "N099"},
		{"-1", "N000", "N099"},
		{"x", "N000", "N099"},
		{"99999999999999999999", "N200", "N249"},
	} {
		body := b.get("/account?page="+tt.page, "Accept", "text/html").body
		nodes := strings.Count(body, "<code>")
		if !strings.Contains(body, tt.first) || !strings.Contains(body, tt.last) || nodes > 100 {
			t.Errorf("page %q has %d nodes and not %s to %s", tt.page, nodes, tt.first, tt.last)
		}
	}
}
