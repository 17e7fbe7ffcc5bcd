package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

func TestExclude_SignedIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	id := s.id("visitor-1")
	key := "user:" + id + ":mnodes"

	a := b.get("/exclude?id=C5162902", "Origin", testOrigin, "Sec-Fetch-Site", "same-site")
	wantStatus(t, "GET", a, http.StatusOK)
	if want := "Finished C5162902 and " + id; a.json(t)["message"] != want {
		t.Errorf("message = %v, want %s", a.json(t)["message"], want)
	}
	a = b.do(http.MethodPost, "/exclude", `{"id":"C0000002","why":["because"]}`, "Content-Type", "application/json; charset=utf-8")
	wantStatus(t, "POST", a, http.StatusOK)
	if got, want := s.members(key), []string{"C0000002", "C5162902"}; !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", key, got, want)
	}
	a = b.get("/exclude")
	if got := fmt.Sprint(a.json(t)["nodes"]); got != "[C0000002 C5162902]" {
		t.Errorf("nodes = %s", got)
	}
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/exclude?id=C0000002", ""), http.StatusOK)
	wantStatus(t, "DELETE again", b.do(http.MethodDelete, "/exclude?id=C0000002", ""), http.StatusOK)
	if got, want := s.members(key), []string{"C5162902"}; !slices.Equal(got, want) {
		t.Errorf("%s = %v, want %v", key, got, want)
	}
	if got := s.keys("api:visitor:*"); len(got) != 0 {
		t.Errorf("visitor keys %v of somebody who is signed in", got)
	}
}

func TestExclude_BadRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	const json = "application/json"
	for _, tt := range []struct {
		name, method, path, body, contentType string
		want                                  int
	}{
		{"empty id", "GET", "/exclude?id=", "", "", 400},
		{"two ids", "GET", "/exclude?id=C1&id=C2", "", "", 400},
		{"space", "GET", "/exclude?id=C%201", "", "", 400},
		{"colon", "GET", "/exclude?id=7%3Amnodes", "", "", 400},
		{"line end", "GET", "/exclude?id=C1%0d%0aX", "", "", 400},
		{"NUL", "GET", "/exclude?id=C1%00", "", "", 400},
		{"not ASCII", "GET", "/exclude?id=%C3%A9", "", "", 400},
		{"not UTF-8", "GET", "/exclude?id=%ff", "", "", 400},
		{"markup", "GET", "/exclude?id=%3Cscript%3E", "", "", 400},
		{"too long", "GET", "/exclude?id=" + strings.Repeat("C", 65), "", "", 400},
		{"longest", "GET", "/exclude?id=" + strings.Repeat("C", 64), "", "", 200},
		{"HEAD", "HEAD", "/exclude?id=C9", "", "", 405},
		{"PUT", "PUT", "/exclude?id=C9", "", "", 405},
		{"no body", "POST", "/exclude", "", json, 400},
		{"no object", "POST", "/exclude", `["C9"]`, json, 400},
		{"number", "POST", "/exclude", `{"id":9}`, json, 400},
		{"no id", "POST", "/exclude", `{}`, json, 400},
		{"two objects", "POST", "/exclude", `{"id":"C9"}{"id":"C8"}`, json, 400},
		{"form", "POST", "/exclude", `id=C9`, "application/x-www-form-urlencoded", 415},
		{"no type", "POST", "/exclude", `{"id":"C9"}`, "", 415},
		{"too large", "POST", "/exclude", `{"x":"` + strings.Repeat("x", 4096) + `","id":"C9"}`, json, 413},
		{"too much after", "POST", "/exclude", `{"id":"C9"}` + strings.Repeat(" ", 4096), json, 413},
		{"DELETE without id", "DELETE", "/exclude", "", "", 400},
		{"unclean path", "GET", "//exclude?id=C9", "", "", 404},
		{"dots", "GET", "/x/../exclude?id=C9", "", "", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if strings.HasPrefix(path, "//") {
				path = s.url + path
			}
			a := b.do(tt.method, path, tt.body, "Content-Type", tt.contentType)
			wantStatus(t, tt.method+" "+tt.path, a, tt.want)
			if tt.want != 200 && tt.method != "HEAD" && a.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type %q", a.Header.Get("Content-Type"))
			}
		})
	}
	want := []string{strings.Repeat("C", 64)}
	if got := s.members("user:" + s.id("visitor-1") + ":mnodes"); !slices.Equal(got, want) {
		t.Errorf("nodes = %v, want the longest only", got)
	}
}

// A body that comes in chunks has no length to refuse it by.
func TestExclude_ChunkedBody(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	body := struct{ *strings.Reader }{strings.NewReader(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/exclude", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.browser().http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status = %d, want 413", resp.StatusCode)
	}
}

func TestExclude_Visitor(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	a := b.get("/exclude?id=C5162902", "Origin", testOrigin, "Sec-Fetch-Site", "same-site")
	wantStatus(t, "GET", a, http.StatusOK)
	if got := a.json(t)["message"]; got != "Finished C5162902 and anonymous" {
		t.Errorf("message = %v", got)
	}
	wantStatus(t, "second", b.get("/exclude?id=C0000002"), http.StatusOK)
	visitors := s.keys("api:visitor:*")
	if len(visitors) != 1 {
		t.Fatalf("visitor keys %v, want one", visitors)
	}
	if ttl := s.db().PTTL(t.Context(), visitors[0]).Val(); ttl <= 0 || ttl > session.VisitorLifetime {
		t.Errorf("time to live %v", ttl)
	}
	if keys := append(s.keys("user*"), s.keys("sponsor*")...); len(keys) != 0 {
		t.Errorf("a visitor wrote %v", keys)
	}
	if page := b.get("/account", "Accept", "text/html").body; !strings.Contains(page, "2 nodes") {
		t.Error("the page does not tell the visitor of their nodes")
	}
	other := s.browser()
	if got := other.get("/exclude").json(t)["nodes"]; fmt.Sprint(got) != "[]" {
		t.Errorf("another visitor sees %v", got)
	}

	b.signIn("visitor-1")
	key := "user:" + s.id("visitor-1") + ":mnodes"
	if got, want := s.members(key), []string{"C0000002", "C5162902"}; !slices.Equal(got, want) {
		t.Errorf("after the sign-in %s = %v, want %v", key, got, want)
	}
	if got := s.keys("api:visitor:*"); len(got) != 0 {
		t.Errorf("visitor keys %v after the sign-in", got)
	}

	// A request that was under way while the person signed in: it has the old
	// cookie and no session, and finishes late.
	late := s.browser()
	late.setCookie(visitorCookie, b.cookie(visitorCookie))
	wantStatus(t, "late", late.get("/exclude?id=C0000003"), http.StatusOK)
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
	if got := s.members(key); len(got) != 3 {
		t.Errorf("%s = %v: the late node is lost", key, got)
	}
	if b.cookie(visitorCookie) != "" {
		t.Error("the visitor's cookie is still there")
	}
}

func TestExclude_CapHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	key := "user:" + s.id("visitor-1") + ":mnodes"
	const room = 10
	nodes := make([]any, preferences.MaxNodes-room)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("C%07d", i)
	}
	if err := s.db().SAdd(t.Context(), key, nodes...).Err(); err != nil {
		t.Fatal(err)
	}
	const tries = 60
	statuses := make(chan int, tries)
	var wg sync.WaitGroup
	for i := range tries {
		wg.Go(func() {
			a, err := b.try(http.MethodGet, fmt.Sprintf("/exclude?id=N%d", i), "")
			if err != nil {
				t.Error(err)
				return
			}
			statuses <- a.StatusCode
		})
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	if count[http.StatusOK] != room || count[http.StatusConflict] != tries-room {
		t.Errorf("answers %v, want %d times 200 and the rest 409", count, room)
	}
	if n := s.db().SCard(t.Context(), key).Val(); n != preferences.MaxNodes {
		t.Errorf("%d nodes, want %d", n, preferences.MaxNodes)
	}
	wantStatus(t, "one that is there", b.get("/exclude?id=C0000001"), http.StatusOK)
	page := b.form("/account/exclude", url.Values{"id": {"one-more"}})
	wantStatus(t, "form", page, http.StatusConflict)
	if !strings.Contains(page.body, "5000 nodes") || !strings.Contains(page.body, `value="one-more"`) {
		t.Error("the page does not say why, or forgot what was typed")
	}

	// A visitor's nodes do not break the cap either, and wait for room.
	v := s.browser()
	wantStatus(t, "visitor", v.get("/exclude?id=V1"), http.StatusOK)
	v.signIn("visitor-1")
	if n := s.db().SCard(t.Context(), key).Val(); n != preferences.MaxNodes {
		t.Errorf("%d nodes after the merge, want %d", n, preferences.MaxNodes)
	}
	if got := s.keys("api:visitor:*"); len(got) != 1 {
		t.Errorf("visitor keys %v, want the one that found no room", got)
	}
}

func TestExclude_VisitorsHaveACapToo(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	wantStatus(t, "first", b.get("/exclude?id=C1"), http.StatusOK)
	nodes := make([]any, preferences.MaxVisitorNodes)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("N%d", i)
	}
	s.db().SAdd(t.Context(), s.keys("api:visitor:*")[0], nodes...)
	wantStatus(t, "one too many", b.get("/exclude?id=C2"), http.StatusConflict)
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

// Who only looks leaves nothing in Redis.
func TestExclude_LookingLeavesNoKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	wantStatus(t, "list", b.get("/exclude"), http.StatusOK)
	wantStatus(t, "delete", b.do(http.MethodDelete, "/exclude?id=C1", ""), http.StatusOK)
	wantStatus(t, "/account", b.get("/account"), http.StatusOK)
	wantStatus(t, "/me", b.get("/me"), http.StatusUnauthorized)
	if keys := s.keys("*"); len(keys) != 0 {
		t.Errorf("looking left keys %v", keys)
	}
}

// What cannot be read must not pass for a list: The Pattern's page ignores the
// body and takes any 200 for done.
func TestExclude_MalformedQuery(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	for _, query := range []string{"id=C1%", "id=C1;x", "id=%zz", "a;id=C5"} {
		wantStatus(t, query, b.get("/exclude?"+query), http.StatusBadRequest)
	}
}
