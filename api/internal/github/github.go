// Package github asks GitHub who somebody is and whether they sponsor an
// organisation. It holds no state beyond its settings; a Client may be used
// from several goroutines.
//
// A person's token lives inside SignIn only. It is never returned, logged or
// part of an error.
package github

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// DefaultURL is GitHub itself.
const DefaultURL = "https://github.com"

// DefaultTimeout is how long one call to GitHub may take. GitHub gives up on a
// GraphQL query by itself after ten seconds.
const DefaultTimeout = 11 * time.Second

// scopes is what we ask people to agree to: who they are and whom they sponsor,
// and their private e-mail address.
var scopes = []string{"read:user", "user:email"}

// Config says which GitHub, and as which application. URL, ClientID, Callback and
// Org must be set.
type Config struct {
	// URL is DefaultURL, or a server laid out like GitHub Enterprise Server.
	URL string
	// ClientID is that of the OAuth application.
	ClientID string
	// Secrets can be changed later by Rotate.
	Secrets Secrets
	// Callback is where GitHub sends people back to.
	Callback string
	// Org is the login of the organisation or person that is sponsored.
	Org string
	// Timeout bounds one call. Zero means DefaultTimeout.
	Timeout time.Duration
	// Transport replaces http.DefaultTransport, if it is not nil.
	Transport http.RoundTripper
	// Observe is told of every call, if it is not nil: which one, whether it was
	// answered as it should, and how long it took.
	Observe func(call string, ok bool, d time.Duration)
}

// Secrets are what proves to GitHub who we are.
type Secrets struct {
	// ClientSecret is that of the OAuth application.
	ClientSecret string
	// MaintainerToken has the scopes read:user and read:org, and belongs to
	// somebody who administers the organisation. Empty: there is none.
	MaintainerToken string
}

// A Client talks to one GitHub as one application.
type Client struct {
	oauth   oauth2.Config
	issuer  string
	apiURL  string // of REST, without a trailing slash
	graphQL string
	org     string
	http    *http.Client
	secrets atomic.Pointer[Secrets]
	told    func(call string, ok bool, d time.Duration)
}

// New returns a Client. It does not talk to GitHub yet.
func New(cfg Config) *Client {
	base := strings.TrimRight(cfg.URL, "/")
	c := &Client{
		issuer:  base + "/login/oauth",
		apiURL:  base + "/api/v3",
		graphQL: base + "/api/graphql",
		org:     cfg.Org,
		told:    cfg.Observe,
	}
	c.Rotate(cfg.Secrets)
	if base == DefaultURL {
		c.apiURL, c.graphQL = "https://api.github.com", "https://api.github.com/graphql"
	}
	c.oauth = oauth2.Config{
		ClientID:    cfg.ClientID,
		RedirectURL: cfg.Callback,
		Scopes:      scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:  base + "/login/oauth/authorize",
			TokenURL: base + "/login/oauth/access_token",
			// Without a style x/oauth2 sends an exchange that fails twice.
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	transport := cfg.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	c.http = &http.Client{
		Transport: bounded{transport},
		Timeout:   timeout,
		// A redirect could carry the token or the client secret elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Rotate replaces the secrets; calls under way end with the old ones.
func (c *Client) Rotate(s Secrets) { c.secrets.Store(&s) }

// HasMaintainer tells whether Sponsors has a token to ask with.
func (c *Client) HasMaintainer() bool { return c.maintainer() != "" }

func (c *Client) maintainer() string { return c.secrets.Load().MaintainerToken }

func (c *Client) observe(call string, ok bool, start time.Time) {
	if c.told != nil {
		c.told(call, ok, time.Since(start))
	}
}

// AuthorizeURL is where to send somebody to sign in. The verifier is the PKCE
// one; keep it for SignIn.
func (c *Client) AuthorizeURL(state, verifier string) string {
	return c.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// NewVerifier returns a fresh PKCE verifier.
func NewVerifier() string { return oauth2.GenerateVerifier() }

// Issuer is what GitHub names itself in the parameter iss of a callback
// (RFC 9207).
func (c *Client) Issuer() string { return c.issuer }

// SignIn trades the code of a callback for a token, asks with it who the person
// is and whether they sponsor, and drops it. Errors are of type *Error, or
// ctx's. What is merely nice to know (the e-mail address, the sponsorship) does
// not make it fail: then it is unknown.
func (c *Client) SignIn(ctx context.Context, code, verifier string) (Person, error) {
	token, err := c.exchange(ctx, code, verifier)
	if err != nil {
		return Person{}, err
	}
	u, err := c.user(ctx, token)
	if err != nil {
		return Person{}, err
	}
	p := Person{ID: u.ID, Login: u.Login}
	sponsorship := make(chan Sponsorship, 1)
	go func() { sponsorship <- c.sponsorship(ctx, token) }()
	p.Email, p.EmailKnown = c.email(ctx, token, u.Email)
	p.Sponsorship = <-sponsorship
	return p, nil
}

func (c *Client) exchange(ctx context.Context, code, verifier string) (string, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, c.http)
	app := c.oauth
	app.ClientSecret = c.secrets.Load().ClientSecret
	start := time.Now()
	token, err := app.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	c.observe("exchange", err == nil, start)
	if err != nil {
		return "", exchangeError(err)
	}
	return token.AccessToken, nil
}
