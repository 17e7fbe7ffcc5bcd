// Package server is the HTTP API: signing in with GitHub, excluding nodes, and
// a page for people to see what is known about them.
package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/httprate"
	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/metrics"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/module"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/sponsors"
)

// MaxBody is the greatest size of a request's body, in bytes, but of a delivery of
// GitHub's webhook.
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
	eraseTimeout  = 25 * time.Second
	probeTimeout  = time.Second
)

// Config is what a Server needs. All fields must be set, but Origins,
// TrustedProxies and Limits.
type Config struct {
	// PublicURL is scheme, host and port under which browsers reach us.
	PublicURL *url.URL
	// Origins are the other origins whose pages may use the API.
	Origins []string
	// TrustedProxies are those whose X-Forwarded-For counts.
	TrustedProxies []netip.Prefix
	Limits         Limits
	// Org is who is sponsored.
	Org         string
	Redis       redis.UniversalClient
	GitHub      *github.Client
	Sessions    *session.Manager
	Preferences *preferences.Store
	Sponsors    *sponsors.Store
	Keeper      *sponsors.Keeper
	Module      *module.Client
	Metrics     *metrics.Metrics
	Log         *slog.Logger
}

// A Server is the API as an http.Handler. It may be used from several
// goroutines.
type Server struct {
	cfg            Config
	self           string // our own origin
	origins        map[string]bool
	limits         *limiter
	metrics        http.Handler
	mux            *http.ServeMux
	handler        http.Handler
	draining       atomic.Bool
	noForwardedFor sync.Once
	webhookSecrets atomic.Pointer[[]string]
}

// New returns a Server.
func New(cfg Config) *Server {
	s := &Server{
		cfg:     cfg,
		self:    cfg.PublicURL.Scheme + "://" + cfg.PublicURL.Host,
		origins: make(map[string]bool),
		limits:  newLimiter(cfg.Limits, cfg.Metrics.Limited),
		metrics: cfg.Metrics.Handler(),
		mux:     http.NewServeMux(),
	}
	for _, origin := range cfg.Origins {
		s.origins[origin] = true
	}
	for _, r := range s.routes() {
		s.mux.HandleFunc(r.pattern, s.serve(r))
	}
	s.handler = s.logged(s.recovered(s.secured(http.HandlerFunc(s.route))))
	return s
}

// SetWebhookSecrets replaces what GitHub signs its deliveries with. Without one
// there is no webhook.
func (s *Server) SetWebhookSecrets(secrets []string) { s.webhookSecrets.Store(&secrets) }

// secure tells whether browsers reach us by https, and so through a proxy.
func (s *Server) secure() bool { return s.cfg.PublicURL.Scheme == "https" }

// Drain makes /readyz answer that no new requests should come. Those that come
// are served.
func (s *Server) Drain() { s.draining.Store(true) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// route answers in our own words what the mux would refuse in its own.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect to the clean path.
	if r.URL.Path != path.Clean("/"+r.URL.Path) {
		s.fail(w, r, notFound())
		return
	}
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	if err := s.limits.address(w, r.WithContext(httprate.WithIncrement(r.Context(), usual)), s.clientAddr(r)); err != nil {
		s.fail(w, r, err)
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
