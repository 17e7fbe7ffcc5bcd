package server

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// handleHome sends people who are signed in to their account, others to GitHub.
func (s *Server) handleHome(w http.ResponseWriter, r *http.Request) error {
	if s.otherLoopback(r.Host) {
		http.Redirect(w, r, s.self+"/?"+r.URL.RawQuery, http.StatusSeeOther) //nolint:gosec // to ourselves
		return nil
	}
	next := localPath(r.URL.Query().Get("next"))
	_, signedIn, err := s.cfg.Sessions.Load(r.Context(), r)
	if err != nil {
		return err
	}
	// Somebody who wants GitHub to be asked again goes there once more.
	if signedIn && r.URL.Query().Get("again") == "" {
		http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // localPath let it through
		return nil
	}
	a, err := s.cfg.Sessions.Begin(r.Context(), w, r, github.NewVerifier(), next)
	if err != nil {
		return err
	}
	http.Redirect(w, r, s.cfg.GitHub.AuthorizeURL(a.State, a.Verifier), http.StatusSeeOther)
	return nil
}

// otherLoopback reports whether a browser on this machine calls us by another name
// than GitHub will send it back to: localhost for 127.0.0.1, or the other way
// round. Its cookie would not come along. Behind a proxy the host may be any, and
// means nothing.
func (s *Server) otherLoopback(host string) bool {
	u := url.URL{Host: host}
	return s.cfg.PublicURL.Scheme == "http" && u.Hostname() != s.cfg.PublicURL.Hostname() &&
		slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}

// handleCallback is where GitHub sends people back to. The state is spent before
// anything else happens.
func (s *Server) handleCallback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	a, err := s.cfg.Sessions.Finish(r.Context(), r, single(q, "state"))
	if refusal := q.Get("error"); refusal != "" {
		return refusedByGitHub(refusal)
	}
	if errors.Is(err, session.ErrNoAttempt) {
		return badRequest("This sign-in was not begun in this browser, was finished already, or took more than ten minutes. Please sign in again.")
	}
	if err != nil {
		return err
	}
	if q.Has("iss") && single(q, "iss") != s.cfg.GitHub.Issuer() {
		return badRequest("This answer does not come from the GitHub we asked. Please sign in again.")
	}
	code := single(q, "code")
	if code == "" {
		return badRequest("GitHub sent no code. Please sign in again.")
	}
	asked := s.cfg.Sponsors.Now()
	p, err := s.cfg.GitHub.SignIn(r.Context(), code, a.Verifier)
	if err != nil {
		s.cfg.Metrics.SignIn("failed")
		return err
	}
	return s.signIn(w, r, p, asked, a.Next)
}

// single is the value of a parameter that is there once, or empty.
func single(q url.Values, name string) string {
	if len(q[name]) != 1 {
		return ""
	}
	return q.Get(name)
}

// refusedByGitHub says what happened in our own words: anybody can put any text
// into the address of the callback.
func refusedByGitHub(code string) *problem {
	switch code {
	case "access_denied":
		return &problem{Status: http.StatusForbidden, Title: "Sign-in cancelled", Detail: "You did not authorize the application at GitHub, so nobody is signed in. You can try again whenever you like."}
	case "application_suspended":
		return &problem{Status: http.StatusForbidden, Title: "Sign-in refused", Detail: "GitHub has suspended this application. Its operator must ask GitHub's support."}
	case "redirect_uri_mismatch":
		return badRequest("The callback URL registered at GitHub is not the one of this server. Its operator must check PUBLIC_URL.")
	default:
		return badRequest("GitHub refused the sign-in. Please try again.")
	}
}

// signIn stores what GitHub said, all in one transaction, then starts the session.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request, p github.Person, asked time.Time, next string) error {
	ctx := r.Context()
	if p.Sponsorship.Answer == github.Unknown {
		s.cfg.Log.Warn("sponsorship unknown", "reason", p.Sponsorship.Reason)
	}
	// The visitor's cookie stays: a request of theirs may be under way. The
	// next request that is signed in adopts what is left and clears it.
	var visitor preferences.Owner
	if id, ok := s.cfg.Sessions.Visitor(r); ok {
		visitor = visitorOwner(id)
	}
	in, err := s.cfg.Preferences.SignIn(ctx, p, visitor)
	if err != nil {
		return err
	}
	id := preferences.ID(p.ID)
	v, err := s.cfg.Sponsors.Tell(ctx, id, p.Sponsorship, asked, func(tx redis.Pipeliner) error {
		in.Write(ctx, tx)
		return nil
	})
	if err != nil {
		return err
	}
	left, err := in.Left()
	if err != nil {
		return err
	}
	s.logLeft(left)
	if err := s.cfg.Sessions.Start(ctx, w, r, session.Person{ID: id, Login: p.Login}); err != nil {
		return err
	}
	s.cfg.Metrics.SignIn(signInResult(p.Sponsorship.Answer))
	s.cfg.Sessions.ForgetAttempts(w)
	if !prefersJSON(r) {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return ok(w, signInAnswer{
		Status: "success", Email: optional(p.Email), ID: p.ID, Login: p.Login, Sponsor: v.Sponsor(),
	})
}

// signInResult is the answer in the words of the metric.
func signInResult(a github.Answer) string {
	switch a {
	case github.Yes:
		return "sponsor"
	case github.No:
		return "visitor"
	default:
		return "unknown"
	}
}

type signInAnswer struct {
	Status  string        `json:"status"`
	Email   *string       `json:"email"`
	ID      int64         `json:"id"`
	Login   string        `json:"user_login"`
	Sponsor github.Answer `json:"sponsor"`
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// handleLogout ends the session.
func (s *Server) handleLogout(w http.ResponseWriter, r *http.Request) error {
	if err := s.fromHere(r); err != nil {
		return err
	}
	if err := s.cfg.Sessions.End(r.Context(), w, r); err != nil {
		return err
	}
	return signedOutNow(w, r)
}

// handleLogoutEverywhere ends all sessions of the person, in every browser.
func (s *Server) handleLogoutEverywhere(w http.ResponseWriter, r *http.Request) error {
	p, err := s.mustBeHere(w, r)
	if err != nil {
		return err
	}
	if err := s.cfg.Sessions.EndAll(r.Context(), p.ID); err != nil {
		return err
	}
	s.cfg.Sessions.Forget(w)
	return signedOutNow(w, r)
}

func signedOutNow(w http.ResponseWriter, r *http.Request) error {
	if prefersHTML(r) {
		http.Redirect(w, r, accountPath+"?done=signed-out", http.StatusSeeOther)
		return nil
	}
	return ok(w, map[string]string{"status": "signed out"})
}
