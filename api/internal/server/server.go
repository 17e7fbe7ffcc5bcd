// Package server is the HTTP API: signing in with GitHub, excluding nodes, and
// a page for people to see what is known about them.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// MaxBody is the greatest size of a request's body, in bytes.
const MaxBody = 4 << 10

// The limits of a connection. WriteTimeout leaves room for a sign-in, which
// calls GitHub up to three times in a row.
const (
	ReadHeaderTimeout = 5 * time.Second
	ReadTimeout       = 10 * time.Second
	WriteTimeout      = 45 * time.Second
	IdleTimeout       = 60 * time.Second
	MaxHeaderBytes    = 16 << 10
)

// The limits of one request's work.
const (
	redisTimeout  = 5 * time.Second
	signInTimeout = 35 * time.Second
	probeTimeout  = time.Second
)

// Config is what a Server needs. All fields must be set, but Origins.
type Config struct {
	// PublicURL is scheme, host and port under which browsers reach us.
	PublicURL *url.URL
	// Origins are the other origins whose pages may use the API.
	Origins []string
	// Org is who is sponsored, for the page.
	Org         string
	Redis       redis.UniversalClient
	GitHub      *github.Client
	Sessions    *session.Manager
	Preferences *preferences.Store
	Log         *slog.Logger
}

// A Server is the API as an http.Handler. It may be used from several
// goroutines.
type Server struct {
	cfg      Config
	self     string // our own origin
	origins  map[string]bool
	mux      *http.ServeMux
	handler  http.Handler
	draining atomic.Bool
}

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{
		cfg:     cfg,
		self:    cfg.PublicURL.Scheme + "://" + cfg.PublicURL.Host,
		origins: make(map[string]bool),
		mux:     http.NewServeMux(),
	}
	for _, origin := range cfg.Origins {
		s.origins[origin] = true
	}
	s.routes()
	s.handler = s.logged(s.recovered(s.secured(http.HandlerFunc(s.route))))
	return s
}

func (s *Server) routes() {
	s.handle("GET /{$}", redisTimeout, s.handleHome)
	s.handle("GET /oauth2/callback", signInTimeout, s.handleCallback)

	s.handle("GET /exclude", redisTimeout, s.shared(s.handleExcludeGet))
	s.handle("POST /exclude", redisTimeout, s.shared(s.handleExcludePost))
	s.handle("DELETE /exclude", redisTimeout, s.shared(s.handleExcludeDelete))
	s.handle("OPTIONS /exclude", redisTimeout, s.shared(s.handlePreflight("GET, POST, DELETE")))
	s.handle("GET /me", redisTimeout, s.shared(s.handleMe))
	s.handle("OPTIONS /me", redisTimeout, s.shared(s.handlePreflight("GET")))
	s.handle("POST /logout", redisTimeout, s.handleLogout)

	s.handle("GET /account", redisTimeout, s.handleAccount)
	s.handle("POST /account/exclude", redisTimeout, s.handleAccountExclude)
	s.handle("POST /account/take-back", redisTimeout, s.handleAccountTakeBack)
	s.handle("GET /style.css", redisTimeout, s.handleStyle)

	s.handle("GET /livez", probeTimeout, s.handleLive)
	s.handle("GET /readyz", probeTimeout, s.handleReady)
}

// Drain makes /readyz answer that no new requests should come. Those that come
// are served.
func (s *Server) Drain() { s.draining.Store(true) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// handler is a http.HandlerFunc that leaves answering an error to its caller.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle serves a pattern; the request's context ends after timeout.
func (s *Server) handle(pattern string, timeout time.Duration, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		if err := h(w, r.WithContext(ctx)); err != nil {
			s.fail(w, r, err)
		}
	})
}

// route answers in our own words what the mux would refuse in its own.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect to the clean path.
	if r.URL.Path != path.Clean("/"+r.URL.Path) {
		s.fail(w, r, notFound())
		return
	}
	if r.ContentLength > MaxBody {
		s.fail(w, r, tooLarge())
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		setPattern(r, pattern)
		s.mux.ServeHTTP(w, r)
		return
	}
	// Without a pattern h writes 404 or 405, the latter with Allow.
	refusal := headersOnly{header: make(http.Header)}
	h.ServeHTTP(&refusal, r)
	if refusal.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", refusal.header.Get("Allow"))
		s.fail(w, r, methodNotAllowed())
		return
	}
	s.fail(w, r, notFound())
}

// headersOnly is a ResponseWriter that keeps status and headers.
type headersOnly struct {
	header http.Header
	status int
}

func (h *headersOnly) Header() http.Header         { return h.header }
func (h *headersOnly) WriteHeader(status int)      { h.status = status }
func (h *headersOnly) Write(b []byte) (int, error) { return len(b), nil }
