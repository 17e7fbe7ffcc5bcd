package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/module"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/sponsors"
)

// me is what is known about somebody who is signed in.
type me struct {
	ID    int64   `json:"id"`
	Login string  `json:"user_login"`
	Email *string `json:"email"`
	// Sponsor is what they count as here. It may be true although GitHub says no,
	// until the grace is over.
	Sponsor      github.Answer `json:"sponsor"`
	Sponsorship  sponsorship   `json:"sponsorship"`
	Entitlements []string      `json:"entitlements"`
	Safety       module.Safety `json:"safety"`
	Excluded     int           `json:"excluded"`
	Sessions     int           `json:"sessions"`
}

// sponsorship is what GitHub said, and until when it counts.
type sponsorship struct {
	sponsors.Standing
	CountsUntil time.Time `json:"counts_until,omitzero"`
}

func (s *Server) handleMe(w http.ResponseWriter, r *http.Request) error {
	p, signedIn, err := s.who(w, r)
	if err != nil {
		return err
	}
	if !signedIn {
		return signedOut()
	}
	m, err := s.me(r, p)
	if err != nil {
		return err
	}
	return ok(w, m)
}

func (s *Server) me(r *http.Request, p session.Person) (me, error) {
	ctx := r.Context()
	id, err := strconv.ParseInt(p.ID, 10, 64)
	if err != nil {
		return me{}, err
	}
	d, err := s.cfg.Preferences.Details(ctx, p.ID)
	if err != nil {
		return me{}, err
	}
	v, err := s.cfg.Sponsors.View(ctx, p.ID)
	if err != nil {
		return me{}, err
	}
	m := me{ID: id, Login: p.Login, Email: optional(d.Email), Sponsor: v.Sponsor(), Entitlements: v.Entitlements}
	m.Sponsorship = sponsorship{Standing: v.Standing, CountsUntil: v.Until.UTC()}
	if d.Login != "" {
		m.Login = d.Login
	}
	if m.Excluded, err = s.cfg.Preferences.Count(ctx, preferences.Person(p.ID)); err != nil {
		return me{}, err
	}
	if m.Sessions, err = s.cfg.Sessions.Count(ctx, p.ID); err != nil {
		return me{}, err
	}
	// Last: it is what takes longest, and compares what was read before.
	m.Safety = module.Safety{State: module.Here}
	if v.Counts {
		m.Safety = s.cfg.Module.Safety(ctx, p.ID)
	}
	return m, nil
}
