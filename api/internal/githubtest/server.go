// Package githubtest is a stand-in for GitHub: a real HTTP server with the
// part of GitHub that this project talks to, laid out like GitHub Enterprise
// Server. It signs people in (authorize page, exchange with PKCE), answers
// REST and GraphQL from its state, and fails on demand.
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

// An Account is somebody who can sign in.
type Account struct {
	ID    int64
	Login string
	// PublicEmail is the one on the profile; mostly empty.
	PublicEmail string
	// Emails is what /user/emails answers.
	Emails []Email
	// Sponsorship is that of Config.Org; nil means none ever.
	Sponsorship *Sponsorship
}

// Email is one address of an account.
type Email struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// Sponsorship is an account's sponsorship of the organisation.
type Sponsorship struct {
	Active         bool
	OneTime        bool
	Private        bool
	CreatedAt      time.Time
	TierSelectedAt time.Time
	TierName       string // empty: GitHub does not tell the tier
	TierCents      int
}

// A Server is the stand-in. It is an http.Handler and may be used from several
// goroutines.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu       sync.Mutex
	accounts []*Account
	codes    map[string]grant
	tokens   map[string]grant
	faults   map[Endpoint]Fault
	calls    map[Endpoint]int
	queries  []string
	released chan struct{} // closed by Heal
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
// visitor-2, and those of cfg.Sponsors.
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

// Account returns a copy of the account with that login, and whether there is
// one.
func (s *Server) Account(login string) (Account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(login); a != nil {
		return *a, true
	}
	return Account{}, false
}

// Update changes the account with that login, creating it if need be.
func (s *Server) Update(login string, change func(*Account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(login)
	if a == nil {
		a = s.addAccount(login)
	}
	change(a)
}

// SetSponsoring starts or ends the monthly sponsorship of login, creating the
// account if need be.
func (s *Server) SetSponsoring(login string, sponsoring bool) {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	s.Update(login, func(a *Account) {
		switch {
		case sponsoring && a.Sponsorship == nil:
			a.Sponsorship = &Sponsorship{
				Active: true, CreatedAt: now, TierSelectedAt: now,
				TierName: "$5 a month", TierCents: 500,
			}
		case a.Sponsorship != nil:
			changed := *a.Sponsorship
			changed.Active = sponsoring
			a.Sponsorship = &changed
		}
	})
}

// find returns the account with that login, or nil. The caller holds s.mu.
func (s *Server) find(login string) *Account {
	for _, a := range s.accounts {
		if strings.EqualFold(a.Login, login) {
			return a
		}
	}
	return nil
}

// firstID is the id of the first account. Real ids have up to nine digits.
const firstID = 9_000_001

// addAccount creates an account with a private, verified address. The caller
// holds s.mu, or is New.
func (s *Server) addAccount(login string) *Account {
	a := &Account{
		ID:    firstID + int64(len(s.accounts)),
		Login: login,
		Emails: []Email{
			{Email: "old-" + login + "@example.org", Verified: true},
			{Email: login + "@example.org", Primary: true, Verified: true},
		},
	}
	s.accounts = append(s.accounts, a)
	return a
}

// bearer returns the grant that the request's token stands for.
func (s *Server) bearer(r *http.Request) (grant, bool) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.tokens[token]
	return g, ok
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
