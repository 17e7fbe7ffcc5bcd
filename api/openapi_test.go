package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
)

const documentFile = "internal/server/openapi.json"

// notDescribed are the routes that the document leaves out: pages for people, what
// belongs to them, and what browsers ask by themselves.
var notDescribed = []string{
	"GET /account",
	"POST /account/exclude",
	"POST /account/take-back",
	"POST /account/refresh",
	"GET /account/delete",
	"POST /account/delete",
	"GET /style.css",
	"OPTIONS /exclude",
	"OPTIONS /me",
}

// A description is the document with what finds an operation in it.
type description struct {
	*openapi3.T
	router routers.Router
}

// loadDescription reads and checks the document once.
var loadDescription = sync.OnceValues(func() (description, error) {
	content, err := os.ReadFile(documentFile)
	if err != nil {
		return description{}, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(content)
	if err != nil {
		return description{}, fmt.Errorf("load %s: %w", documentFile, err)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return description{}, fmt.Errorf("validate %s: %w", documentFile, err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return description{}, fmt.Errorf("route by %s: %w", documentFile, err)
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	return description{T: doc, router: router}, nil
})

// operation finds what the document says of a request, or nil. The mux takes no
// path for another one, so neither may the router.
func (d description) operation(method, path string) (*routers.Route, error) {
	route, _, err := d.router.FindRoute(&http.Request{Method: method, URL: &url.URL{Path: path}})
	var none *routers.RouteError
	switch {
	case errors.As(err, &none):
		return nil, nil
	case err != nil:
		return nil, err
	case route.Path != path:
		return nil, nil
	}
	return route, nil
}

// conforms holds an answer against the document. What is not in there, as a page
// or a method that an address does not have, conforms.
func conforms(method, path string, status int, header http.Header, body []byte) error {
	d, err := loadDescription()
	if err != nil {
		return err
	}
	route, err := d.operation(method, path)
	if err != nil || route == nil {
		return err
	}
	fault := func(err error) error {
		return fmt.Errorf("%s %s = %d %s %q is not as %s describes it: %w", method, path, status, header.Get("Content-Type"), body, documentFile, err)
	}
	// ValidateResponse is lenient with some statuses and with bodies that should not
	// be there.
	described := route.Operation.Responses.Status(status)
	if described == nil || described.Value == nil {
		return fault(errors.New("no such status"))
	}
	if len(described.Value.Content) == 0 && len(body) > 0 {
		return fault(errors.New("there should be no body"))
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: method, URL: &url.URL{Path: path}}, Route: route,
		},
		Status: status, Header: header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	in.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		return fault(err)
	}
	if header.Get("Content-Type") == "application/problem+json" {
		var p struct{ Status int }
		if err := json.Unmarshal(body, &p); err != nil {
			return fault(err)
		}
		if p.Status != status {
			return fault(fmt.Errorf("the problem's status is %d", p.Status))
		}
	}
	return nil
}

// gave tells whether the site gave an answer, and not the stand-in for GitHub, or a
// nginx before the site on its own account.
func (s *site) gave(resp *http.Response) bool {
	_, port, _ := net.SplitHostPort(s.main.Addr())
	u := resp.Request.URL
	if u.Port() != port && u.Scheme+"://"+u.Host != s.url {
		return false
	}
	nginx := strings.HasPrefix(resp.Header.Get("Server"), "nginx")
	return !nginx || resp.Header.Get("Content-Security-Policy") != ""
}

// The document describes every route, and nothing else.
func TestOpenAPI_DescribesAllRoutes(t *testing.T) {
	t.Parallel()
	d, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	described := make(map[string]bool)
	for path, item := range d.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	served := make(map[string]bool)
	for _, pattern := range newSite(t, nil, nil).main.api.Patterns() {
		served[strings.TrimSuffix(pattern, "{$}")] = true
	}
	for _, pattern := range notDescribed {
		if !served[pattern] {
			t.Errorf("%s is no route any more", pattern)
		}
		delete(served, pattern)
	}
	if got, want := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(served)); !slices.Equal(got, want) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOpenAPI_IsServed(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	a := s.browser().get("/openapi.json", "Origin", "https://anywhere.example", "Sec-Fetch-Site", "cross-site")
	wantStatus(t, "/openapi.json", a, http.StatusOK)
	want, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(a.body), want) {
		t.Error("it is not the file")
	}
	for name, want := range map[string]string{
		"Content-Type":                     "application/json",
		"Access-Control-Allow-Origin":      "*",
		"Access-Control-Allow-Credentials": "",
		"Cross-Origin-Resource-Policy":     "cross-origin",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// A check that finds no fault must be able to.
func TestOpenAPI_FindsFaults(t *testing.T) {
	t.Parallel()
	const (
		me       = `{"id":1,"user_login":"a","email":null,"sponsor":null,"sponsorship":{"sponsoring":null},"entitlements":[],"safety":{"state":"here","keys":0,"same":0},"excluded":0,"sessions":1}`
		problem  = `{"status":401,"title":"t","detail":"d"}`
		jsonType = "application/json"
		faulty   = "application/problem+json"
	)
	with := func(old, replacement string) string {
		if !strings.Contains(me, old) {
			t.Fatalf("%s is not in the answer", old)
		}
		return strings.Replace(me, old, replacement, 1)
	}
	for _, tt := range []struct {
		name, method, path string
		status             int
		header             []string
		body               string
		good               bool
	}{
		{"good", "GET", "/me", 200, []string{"Content-Type", jsonType}, me, true},
		{"good problem", "GET", "/me", 401, []string{"Content-Type", faulty}, problem, true},
		{"good problem page", "GET", "/me", 401, []string{"Content-Type", "text/html; charset=utf-8"}, "<p>", true},
		{"good headers", "GET", "/auth", 200, []string{"X-User-Id", "1", "X-Sponsor", "no", "X-Entitlements", ""}, "", true},
		{"a page", "GET", "/account", 418, nil, "", true},
		{"no such method", "PUT", "/me", 405, []string{"Content-Type", faulty}, "{}", true},
		{"no such address", "GET", "/nowhere", 404, nil, "", true},
		{"an address that is almost one", "GET", "/me/", 404, nil, "", true},

		{"status", "GET", "/me", 418, []string{"Content-Type", faulty}, problem, false},
		{"status that is lenient", "GET", "/me", 304, nil, "", false},
		{"content type", "GET", "/me", 200, []string{"Content-Type", "text/plain"}, me, false},
		{"no content type", "GET", "/me", 200, nil, me, false},
		{"no body", "GET", "/me", 200, []string{"Content-Type", jsonType}, "", false},
		{"no JSON", "GET", "/me", 200, []string{"Content-Type", jsonType}, "<p>", false},
		{"member missing", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`,"sessions":1`, ""), false},
		{"member missing inside", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"keys":0,`, ""), false},
		{"member too many", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"id":1`, `"id":1,"token":"x"`), false},
		{"member too many inside", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"sponsoring":null`, `"sponsoring":null,"token":"x"`), false},
		{"null", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"entitlements":[]`, `"entitlements":null`), false},
		{"number as text", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"id":1`, `"id":"1"`), false},
		{"state", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"here"`, `"elsewhere"`), false},
		{"time", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"sponsoring":null`, `"sponsoring":null,"since":"yesterday"`), false},
		{"a flag that is written though false", "GET", "/me", 200, []string{"Content-Type", jsonType}, with(`"sponsoring":null`, `"sponsoring":null,"one_time":false`), false},
		{"problem with another status", "GET", "/me", 401, []string{"Content-Type", faulty}, `{"status":403,"title":"t","detail":"d"}`, false},
		{"problem that tells too much", "GET", "/me", 401, []string{"Content-Type", faulty}, `{"status":401,"title":"t","detail":"d","cause":"c"}`, false},
		{"header missing", "GET", "/auth", 200, []string{"X-User-Id", "1", "X-Sponsor", "no"}, "", false},
		{"header with another value", "GET", "/auth", 200, []string{"X-User-Id", "1", "X-Sponsor", "true", "X-Entitlements", ""}, "", false},
		{"body where none should be", "GET", "/auth", 200, []string{"X-User-Id", "1", "X-Sponsor", "no", "X-Entitlements", ""}, "{}", false},
		{"no Retry-After", "GET", "/me", 503, []string{"Content-Type", faulty}, `{"status":503,"title":"t","detail":"d"}`, false},
		{"no Location", "GET", "/", 303, nil, "", false},
		{"message", "POST", "/exclude", 200, []string{"Content-Type", jsonType}, `{"message":"Finished"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := make(http.Header)
			for i := 0; i+1 < len(tt.header); i += 2 {
				header.Add(tt.header[i], tt.header[i+1])
			}
			if err := conforms(tt.method, tt.path, tt.status, header, []byte(tt.body)); (err == nil) != tt.good {
				t.Errorf("conforms = %v, want good %v", err, tt.good)
			}
		})
	}
}

// Whatever the document promises for when all goes well can be had. That it is as
// promised, browser.try checks here as everywhere.
func TestOpenAPI_SuccessesCanBeHad(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, func(m map[string]string) {
		m["GITHUB_WEBHOOK_SECRET"], m["GITHUB_MAINTAINER_TOKEN"] = webhookSecret, maintainerToken
	})
	s.github.SetWebhook(s.url+webhookPath, webhookSecret) // the secret to sign with
	had := make(map[string]bool)
	ask := func(b *browser, method, target, body string, headers ...string) {
		t.Helper()
		a := b.do(method, target, body, headers...)
		if a.StatusCode >= http.StatusBadRequest {
			t.Fatalf("%s %s = %d %s", method, target, a.StatusCode, a.body)
		}
		path, _, _ := strings.Cut(strings.TrimPrefix(target, s.url), "?")
		had[fmt.Sprint(method, " ", path, " ", a.StatusCode)] = true
	}
	const html = "text/html"
	b := s.browser()
	for _, path := range []string{"/", "/livez", "/readyz", "/openapi.json"} {
		ask(b, "GET", path, "")
	}
	metrics := s.browser().get("http://" + s.main.Addr() + "/metrics") // no proxy may ask
	wantStatus(t, "/metrics", metrics, http.StatusOK)
	had["GET /metrics 200"] = true

	ask(b, "GET", b.authorize("sponsor-1", "/?again=1"), "", "Accept", html)
	ask(b, "GET", b.authorize("sponsor-1", "/?again=1"), "", "Accept", "application/json")
	ask(b, "GET", "/exclude?id=C1", "")
	ask(b, "POST", "/exclude", `{"id":"C2"}`, "Content-Type", "application/json")
	ask(b, "GET", "/exclude", "")
	ask(b, "DELETE", "/exclude?id=C2", "")
	for _, path := range []string{"/me", "/me/export", "/auth"} {
		ask(b, "GET", path, "")
	}
	ask(b, "POST", "/me/refresh", "")
	created := s.github.Event("created", "visitor-1", nil)
	for _, d := range []githubtest.Delivery{s.github.Ping(), created, created, s.github.Event("created", "visitor-1", toSomebodyElse)} {
		headers := []string{}
		for name, values := range d.Header() {
			headers = append(headers, name, values[0])
		}
		ask(b, "POST", webhookPath, string(d.Body), headers...)
	}
	ask(b, "DELETE", "/me", "")
	for _, path := range []string{"/logout", "/logout/everywhere"} {
		for _, accept := range []string{"application/json", html} {
			b.signIn("sponsor-1")
			ask(b, "POST", path, "", "Accept", accept)
		}
	}

	d, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range d.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if answer := method + " " + path + " " + status; status < "400" && !had[answer] {
					t.Errorf("%s cannot be had", answer)
				}
			}
		}
	}
}

func toSomebodyElse(p *githubtest.Payload) { p.Sponsorship.Sponsorable.Login = "another-org" }
