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
	if ttl := s.db().TTL(t.Context(), key).Val(); ttl != -1 {
		t.Errorf("a person's nodes live for %v, want without end", ttl)
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
		{"DELETE of two", "DELETE", "/exclude?id=C1&id=C2", "", "", 400},
		{"DELETE of no id", "DELETE", "/exclude?id=7%3Amnodes", "", "", 400},
		{"DELETE of what cannot be read", "DELETE", "/exclude?id=C1;x", "", "", 400},
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
	if secret, _, _ := strings.Cut(b.cookie(visitorCookie), "."); secret == "" || strings.Contains(visitors[0], secret) {
		t.Errorf("the key %s has what is in the cookie", visitors[0])
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
	// Writes wait a moment, and questions do not: who counts first and adds then counts
	// before anybody adds.
	if err := s.db().Do(t.Context(), "CLIENT", "PAUSE", "500", "WRITE").Err(); err != nil {
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
	wantStatus(t, "/me", v.get("/me"), http.StatusOK)
	wantStatus(t, "take back", v.do(http.MethodDelete, "/exclude?id=C0000001", ""), http.StatusOK)
	wantStatus(t, "/me", v.get("/me"), http.StatusOK)
	if got := s.keys("api:visitor:*"); len(got) != 0 || !s.db().SIsMember(t.Context(), key, "V1").Val() {
		t.Errorf("visitor keys %v, want none: there is room now", got)
	}

	// What the person has already needs no room.
	v = s.browser()
	wantStatus(t, "visitor", v.get("/exclude?id=V1"), http.StatusOK)
	v.signIn("visitor-1")
	if got := s.keys("api:visitor:*"); len(got) != 0 {
		t.Errorf("visitor keys %v, want none: nothing is new", got)
	}
}

// The caps are 5000 and 1000, to the node.
func TestExclude_CapsAreExact(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	person, visitor := s.browser(), s.browser()
	person.signIn("visitor-1")
	wantStatus(t, "visitor", visitor.get("/exclude?id=first"), http.StatusOK)
	for _, tt := range []struct {
		name string
		b    *browser
		key  string
		most int
	}{
		{"person", person, "user:" + s.id("visitor-1") + ":mnodes", 5000},
		{"visitor", visitor, s.keys("api:visitor:*")[0], 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nodes := []any{"first"}
			for len(nodes) < tt.most-1 {
				nodes = append(nodes, fmt.Sprintf("N%d", len(nodes)))
			}
			if err := s.db().SAdd(t.Context(), tt.key, nodes...).Err(); err != nil {
				t.Fatal(err)
			}
			wantStatus(t, "the last one", tt.b.get("/exclude?id=last"), http.StatusOK)
			wantStatus(t, "one too many", tt.b.get("/exclude?id=too-many"), http.StatusConflict)
			wantStatus(t, "one that is there", tt.b.get("/exclude?id=last"), http.StatusOK)
			if n := s.db().SCard(t.Context(), tt.key).Val(); n != int64(tt.most) {
				t.Errorf("%d nodes, want %d", n, tt.most)
			}
		})
	}
}

// A body of more than 4 KiB is refused on every route, also where nobody reads it.
func TestBodies_TooLarge(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	const form = "application/x-www-form-urlencoded"
	large := strings.Repeat("x", 4097)
	for _, pattern := range s.main.api.Patterns() {
		method, path, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
		if path == webhookPath {
			continue
		}
		a := b.do(method, path+"?id=C1", large, "Content-Type", form)
		if a.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s with 4097 bytes = %d, want 413", pattern, a.StatusCode)
		}
	}
	// In chunks, where there is no length to refuse it by.
	for _, path := range []string{"/account/exclude", "/account/delete"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, struct{ *strings.Reader }{strings.NewReader("id=C1&sure=yes&x=" + large)})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", form)
		resp, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s in chunks = %d, want 413", path, resp.StatusCode)
		}
	}
	if got := s.members("user:" + s.id("visitor-1") + ":mnodes"); len(got) != 0 {
		t.Errorf("nodes = %v", got)
	}
	body := `{"id":"C1"}`
	body += strings.Repeat(" ", 4096-len(body))
	wantStatus(t, "4096 bytes", b.do(http.MethodPost, "/exclude", body, "Content-Type", "application/json"), http.StatusOK)
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

// Who only looks leaves nothing in Redis.
func TestExclude_LookingLeavesNoKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	a := b.get("/exclude")
	wantStatus(t, "list", a, http.StatusOK)
	if len(a.Cookies()) != 0 {
		t.Errorf("looking left cookies %v", a.Cookies())
	}
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
