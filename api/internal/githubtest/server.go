// Package githubtest is a stand-in for GitHub: a real HTTP server with the
// part of GitHub that this project talks to, laid out like GitHub Enterprise
// Server. It signs people in (authorize page, exchange with PKCE), answers
// REST and GraphQL from its state, delivers webhooks, and fails on demand.
//
// It is for tests and for trying things out on a loopback address. Nobody has
// to prove who they are to it.
package githubtest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// CodeLifetime is how long a code from the authorize page can be exchanged.
const CodeLifetime = 10 * time.Minute

// Config says what the stand-in knows at start.
type Config struct {
	// Org is the login of the organisation that people sponsor.
	Org string
	// OrgIsUser makes Org the account of a person, who can sign in and owns the
	// maintainer's token.
	OrgIsUser bool
	// MaintainerToken is a token that is valid from the start, with the scopes
	// read:user and read:org. It belongs to the account maintainer-1, which
	// administers Org, or to Org itself if that is a person. Empty means none.
	MaintainerToken string
	// ClientID and ClientSecret are those of the one registered application.
	ClientID, ClientSecret string
	// Callback is the application's registered callback URL. On a loopback
	// host the port does not matter, as with GitHub.
	Callback string
	// Sponsors are the logins that sponsor Org from the start. Those that are
	// not among the ready-made accounts are created.
	Sponsors []string
	// Now replaces the clock. Nil means time.Now.
	Now func() time.Time
}

// A Server is the stand-in. It is an http.Handler and may be used from several
// goroutines.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu         sync.Mutex
	accounts   []*Account
	maintainer Maintainer
	codes      map[string]grant
	tokens     map[string]grant
	faults     map[Endpoint]Fault
	calls      map[Endpoint]int
	queries    []string
	webhook    webhook
	released   chan struct{} // closed by Heal
}

// A grant is what somebody agreed to on the authorize page.
type grant struct {
	account   *Account
	scopes    []string
	redirect  string
	challenge string
	expires   time.Time
}

// New returns a stand-in with the accounts sponsor-1, sponsor-2, visitor-1 and
// visitor-2, those of cfg.Sponsors, and the maintainer's if there is a token.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg:    cfg,
		mux:    http.NewServeMux(),
		codes:  make(map[string]grant),
		tokens: make(map[string]grant),
		faults: make(map[Endpoint]Fault),
		calls:  make(map[Endpoint]int),

		released: make(chan struct{}),
	}
	for _, login := range []string{"sponsor-1", "sponsor-2", "visitor-1", "visitor-2"} {
		s.addAccount(login)
	}
	for _, login := range cfg.Sponsors {
		s.SetSponsoring(login, true)
	}
	s.addMaintainer()
	s.routes()
	return s
}

func (s *Server) routes() {
	handle := func(pattern string, e Endpoint, h http.HandlerFunc) {
		s.mux.HandleFunc(pattern, s.faulty(e, h))
	}
	handle("GET /login/oauth/authorize", Authorize, s.handleAuthorizePage)
	handle("POST /login/oauth/authorize", Authorize, s.handleAuthorize)
	handle("POST /login/oauth/access_token", Exchange, s.handleExchange)
	handle("GET /api/v3/user", User, s.handleUser)
	handle("GET /api/v3/user/emails", Emails, s.handleEmails)
	handle("POST /api/graphql", GraphQL, s.handleGraphQL)
	s.mux.HandleFunc("GET /{$}", s.handleHome)
	s.controlRoutes()
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	s.mux.ServeHTTP(w, r)
}

// bearer returns the grant that the request's token stands for. The tokens of a
// deleted account are void.
func (s *Server) bearer(r *http.Request) (grant, bool) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.tokens[token]
	return g, ok && !g.account.Deleted
}

// has tells whether the grant covers any of the scopes.
func (g grant) has(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool {
		return slices.Contains(g.scopes, scope)
	})
}

func (s *Server) handleHome(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "This stands in for GitHub. Sign in from the application.")
}

// random is a fresh code or token; the prefix tells which in a log.
func random(prefix string) string { return prefix + rand.Text() }
