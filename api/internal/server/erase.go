package server

import (
	"net/http"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// erase removes everything that we have of somebody: on both servers what belongs
// to them, and here what GitHub said of them and their sessions. That they are a
// sponsor, if they are, stays: it is GitHub's to say.
//
// What is erased first is what counts most; a failure leaves the session, so that
// they can try again.
func (s *Server) erase(w http.ResponseWriter, r *http.Request, p session.Person) (err error) {
	defer func() { s.cfg.Metrics.Erasure(err) }()
	if err := s.cfg.Module.Erase(r.Context(), p.ID); err != nil {
		return err
	}
	if err := s.cfg.Sponsors.Forget(r.Context(), p.ID); err != nil {
		return halfErased(err)
	}
	if err := s.cfg.Sessions.EndAll(r.Context(), p.ID); err != nil {
		return halfErased(err)
	}
	s.cfg.Sessions.Forget(w)
	return nil
}

func halfErased(cause error) *problem {
	return &problem{
		Status: http.StatusServiceUnavailable, Title: "Not all erased", retry: true, cause: cause,
		Detail: "Your data is erased on both servers. What GitHub said about your sponsorship, and your sessions, may still be here: please try again in a few seconds.",
	}
}

// handleErase is DELETE /me.
func (s *Server) handleErase(w http.ResponseWriter, r *http.Request) error {
	p, err := s.mustBeHere(w, r)
	if err != nil {
		return err
	}
	if err := s.erase(w, r, p); err != nil {
		return err
	}
	return ok(w, map[string]string{"status": "erased"})
}

// deleteView is what the page before the deletion shows.
type deleteView struct {
	Login string
	Org   string
	Nodes int
	Fault string
}

// handleAccountDelete shows what will be erased, and asks whether they are sure.
func (s *Server) handleAccountDelete(w http.ResponseWriter, r *http.Request) error {
	p, signedIn, err := s.who(w, r)
	if err != nil {
		return err
	}
	if !signedIn {
		return signedOut()
	}
	return s.askToDelete(w, r, p, http.StatusOK, "")
}

func (s *Server) askToDelete(w http.ResponseWriter, r *http.Request, p session.Person, status int, fault string) error {
	m, err := s.me(r, p)
	if err != nil {
		return err
	}
	s.render(w, status, "delete.html", deleteView{Login: m.Login, Org: s.cfg.Org, Nodes: m.Excluded, Fault: fault})
	return nil
}

// handleAccountErase is the form on that page.
func (s *Server) handleAccountErase(w http.ResponseWriter, r *http.Request) error {
	p, form, err := s.readForm(w, r)
	if err != nil {
		return err
	}
	if single(form, "sure") != "yes" {
		return s.askToDelete(w, r, p, http.StatusBadRequest, "Please tick the box first: this cannot be undone.")
	}
	if err := s.erase(w, r, p); err != nil {
		return err
	}
	done(w, r, "done", "erased")
	return nil
}
