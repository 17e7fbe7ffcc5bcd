package server

import (
	"net/http"
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// me is what is known about somebody who is signed in.
type me struct {
	ID       int64         `json:"id"`
	Login    string        `json:"user_login"`
	Email    *string       `json:"email"`
	Sponsor  github.Answer `json:"sponsor"`
	Excluded int           `json:"excluded"`
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
	id, err := strconv.ParseInt(p.ID, 10, 64)
	if err != nil {
		return me{}, err
	}
	d, err := s.cfg.Preferences.Details(r.Context(), p.ID)
	if err != nil {
		return me{}, err
	}
	n, err := s.cfg.Preferences.Count(r.Context(), preferences.Person(p.ID))
	if err != nil {
		return me{}, err
	}
	m := me{ID: id, Login: p.Login, Email: optional(d.Email), Sponsor: sponsorNow(p, d), Excluded: n}
	if d.Login != "" {
		m.Login = d.Login
	}
	return m, nil
}

// sponsorNow is what counts now. Who is in the set is a sponsor. For somebody
// who is not, GitHub either said no or did not answer at the sign-in.
func sponsorNow(p session.Person, d preferences.Details) github.Answer {
	switch {
	case d.Sponsor:
		return github.Yes
	case github.ParseAnswer(p.Sponsor) == github.Unknown:
		return github.Unknown
	default:
		return github.No
	}
}
