package server

import "net/http"

// handleLive tells that the process serves requests.
func (s *Server) handleLive(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, map[string]string{"status": "alive"})
}

// handleReady tells whether requests should come here: Redis answers, and the
// process is not about to end.
func (s *Server) handleReady(w http.ResponseWriter, r *http.Request) error {
	if s.draining.Load() {
		return &problem{Status: http.StatusServiceUnavailable, Title: "Draining", Detail: "This process is about to end.", retry: true}
	}
	if err := s.cfg.Redis.Ping(r.Context()).Err(); err != nil {
		return unavailable(err)
	}
	return ok(w, map[string]string{"status": "ready"})
}
