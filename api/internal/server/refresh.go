package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// againPath begins a sign-in although somebody is signed in: GitHub then tells
// anew whether they sponsor, mostly without asking them anything.
const againPath = "/?again=1&next=" + accountPath

// refreshPatience is how long somebody waits who wants GitHub to be asked again.
const refreshPatience = 20 * time.Second

// refresh asks GitHub again whether somebody sponsors, by the maintainer's token. The
// error is github.ErrNoMaintainer if there is none. If GitHub does not answer, that is
// noted, and no error.
func (s *Server) refresh(r *http.Request, p session.Person) error {
	return s.cfg.Keeper.Refresh(r.Context(), p.ID, refreshPatience)
}

// handleRefresh answers like GET /me, or with where to sign in once more.
func (s *Server) handleRefresh(w http.ResponseWriter, r *http.Request) error {
	p, err := s.mustBeHere(w, r)
	if err != nil {
		return err
	}
	err = s.refresh(r, p)
	if errors.Is(err, github.ErrNoMaintainer) {
		return ok(w, map[string]string{"status": "sign in again", "location": s.self + againPath})
	}
	if err != nil {
		return err
	}
	m, err := s.me(r, p)
	if err != nil {
		return err
	}
	return ok(w, m)
}

// handleAccountRefresh is the button of the page; it is there only with a
// maintainer's token.
func (s *Server) handleAccountRefresh(w http.ResponseWriter, r *http.Request) error {
	p, err := s.mustBeHere(w, r)
	if err != nil {
		return err
	}
	switch err := s.refresh(r, p); {
	case errors.Is(err, github.ErrNoMaintainer):
		return badRequest("This server has to send you to GitHub for that. Please sign in again.")
	case err != nil:
		return err
	}
	done(w, r, "done", "asked")
	return nil
}

// mustBeHere returns who sends something from our own page, or from a program.
func (s *Server) mustBeHere(w http.ResponseWriter, r *http.Request) (session.Person, error) {
	if err := s.fromHere(r); err != nil {
		return session.Person{}, err
	}
	p, signedIn, err := s.who(w, r)
	if err != nil {
		return session.Person{}, err
	}
	if !signedIn {
		return session.Person{}, signedOut()
	}
	return p, nil
}
