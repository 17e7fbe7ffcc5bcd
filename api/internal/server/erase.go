package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// erase removes everything that we have of somebody: on both servers what belongs
// to them, and here what GitHub said of them and their sessions. That they are a
// sponsor, if they are, stays: it is GitHub's to say.
//
// Nobody may write meanwhile what is to be gone: other sessions end first, and what
// they have under way is refused. What counts most is erased first; a failure leaves
// the person's own session, so that they can try again.
func (s *Server) erase(w http.ResponseWriter, r *http.Request, p session.Person) (err error) {
	defer func() { s.cfg.Metrics.Erasure(err) }()
	ctx := r.Context()
	if err := s.cfg.Preferences.Close(ctx, p.ID, eraseTimeout); err != nil {
		return err
	}
	// Requests that begin after this find no session, or nothing that is closed.
	defer func() {
		err = errors.Join(err, s.cfg.Preferences.Close(context.WithoutCancel(ctx), p.ID, redisTimeout))
	}()
	if err := s.cfg.Sessions.EndOthers(ctx, r, p.ID); err != nil {
		return err
	}
	if err := s.cfg.Module.Erase(ctx, p.ID); err != nil {
		return err
	}
	if err := s.eraseHere(w, r, p); err != nil {
		return halfErased(err)
	}
	return nil
}

// eraseHere removes what is on this server only.
func (s *Server) eraseHere(w http.ResponseWriter, r *http.Request, p session.Person) error {
	ctx := r.Context()
	if id, ok := s.cfg.Sessions.Visitor(r); ok {
		// What they excluded before they signed in, and found no room.
		if err := s.cfg.Preferences.Drop(ctx, visitorOwner(id)); err != nil {
			return err
		}
		s.cfg.Sessions.ForgetVisitor(w)
	}
	if err := s.cfg.Sponsors.Forget(ctx, p.ID); err != nil {
		return err
	}
	if err := s.cfg.Sessions.EndAll(ctx, p.ID); err != nil {
		return err
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
	n, err := s.cfg.Preferences.Count(r.Context(), preferences.Person(p.ID))
	if err != nil {
		return err
	}
	s.render(w, status, "delete.html", deleteView{Login: p.Login, Org: s.cfg.Org, Nodes: n, Fault: fault})
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
