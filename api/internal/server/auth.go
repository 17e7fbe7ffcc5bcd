package server

import (
	"net/http"
	"strings"
)

// handleAuth is for a reverse proxy that asks who sends a request to somebody else
// (forward authentication): 200 with who it is in headers, or 401.
func (s *Server) handleAuth(w http.ResponseWriter, r *http.Request) error {
	p, signedIn, err := s.person(w, r)
	if err != nil {
		return err
	}
	if !signedIn {
		return signedOut()
	}
	v, err := s.cfg.Sponsors.View(r.Context(), p.ID)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("X-User-Id", p.ID)
	h.Set("X-Sponsor", v.Sponsor().String())
	h.Set("X-Entitlements", strings.Join(v.Entitlements, ","))
	w.WriteHeader(http.StatusOK)
	return nil
}
