package server

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/httprate"
)

// How much requests weigh against the limits.
const (
	cheap  = 1   // asked by a proxy, for every request of somebody else's
	usual  = 10  //
	costly = 100 // asks GitHub, or both databases
)

// A route is one thing that can be asked for.
type route struct {
	pattern string
	handler handler
	timeout time.Duration // the request's context ends after that
	weight  int
	body    int64 // how many bytes of a body there may be
}

// on is a route of the usual kind.
func on(pattern string, h handler) route {
	return route{pattern: pattern, handler: h, timeout: redisTimeout, weight: usual, body: MaxBody}
}

// askingGitHub is a route that waits for GitHub.
func askingGitHub(pattern string, h handler) route {
	return route{pattern: pattern, handler: h, timeout: signInTimeout, weight: costly, body: MaxBody}
}

// routes is everything that can be asked for. The document openapi.json describes
// all of it but the pages.
func (s *Server) routes() []route {
	return []route{
		{pattern: "GET /{$}", handler: getOnly(s.handleHome), timeout: redisTimeout, weight: costly, body: MaxBody},
		askingGitHub("GET /oauth2/callback", getOnly(s.handleCallback)),

		on("GET /exclude", s.shared(s.handleExcludeGet)),
		on("POST /exclude", s.shared(s.handleExcludePost)),
		on("DELETE /exclude", s.shared(s.handleExcludeDelete)),
		on("OPTIONS /exclude", s.shared(s.handlePreflight("GET, POST, DELETE"))),
		on("GET /me", s.shared(s.handleMe)),
		on("OPTIONS /me", s.shared(s.handlePreflight("GET"))),
		{pattern: "DELETE /me", handler: s.handleErase, timeout: eraseTimeout, weight: costly, body: MaxBody},
		on("GET /me/export", s.handleExport),
		askingGitHub("POST /me/refresh", s.handleRefresh),
		on("POST /logout", s.handleLogout),
		on("POST /logout/everywhere", s.handleLogoutEverywhere),
		{pattern: "GET /auth", handler: s.handleAuth, timeout: redisTimeout, weight: cheap, body: MaxBody},

		on("GET /account", s.handleAccount),
		on("POST /account/exclude", s.handleAccountExclude),
		on("POST /account/take-back", s.handleAccountTakeBack),
		askingGitHub("POST /account/refresh", s.handleAccountRefresh),
		on("GET /account/delete", s.handleAccountDelete),
		{pattern: "POST /account/delete", handler: s.handleAccountErase, timeout: eraseTimeout, weight: costly, body: MaxBody},
		{pattern: "GET /style.css", handler: s.handleStyle, timeout: redisTimeout, weight: cheap, body: MaxBody},

		{pattern: "POST /webhooks/github", handler: s.handleWebhook, timeout: webhookTimeout, weight: usual, body: maxDelivery},

		{pattern: "GET /livez", handler: s.handleLive, timeout: probeTimeout, body: MaxBody},
		{pattern: "GET /readyz", handler: s.handleReady, timeout: probeTimeout, body: MaxBody},
		{pattern: "GET /metrics", handler: s.handleMetrics, timeout: redisTimeout, body: MaxBody},
		{pattern: "GET /openapi.json", handler: s.handleOpenAPI, timeout: redisTimeout, weight: usual, body: MaxBody},
	}
}

// Patterns are the patterns of all routes, as http.ServeMux writes them.
func (s *Server) Patterns() []string {
	var patterns []string
	for _, r := range s.routes() {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}

// handler is a http.HandlerFunc that leaves answering an error to its caller.
type handler func(w http.ResponseWriter, r *http.Request) error

// getOnly is for what looking at an address by HEAD, as programs do that preview
// links, must not set going. The mux takes HEAD for GET.
func getOnly(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			return methodNotAllowed()
		}
		return h(w, r)
	}
}

// serve is what the mux calls for a route.
func (s *Server) serve(to route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setPattern(r, to.pattern)
		ctx, cancel := context.WithTimeout(httprate.WithIncrement(r.Context(), to.weight), to.timeout)
		defer cancel()
		r = r.WithContext(ctx)
		if err := s.admit(w, r, to); err != nil {
			s.fail(w, r, err)
			return
		}
		if err := to.handler(w, r); err != nil {
			s.fail(w, r, err)
		}
	}
}

// admit bounds what one request, and one address, may ask for.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, to route) error {
	if to.weight > 0 {
		if err := s.limits.address(w, r, s.clientAddr(r)); err != nil {
			return err
		}
	}
	if r.ContentLength > to.body {
		return tooLarge(to.body)
	}
	r.Body = http.MaxBytesReader(w, r.Body, to.body)
	return nil
}
