package githubtest

import (
	"encoding/json"
	"net/http"
	"strings"
)

func (s *Server) handleUser(w http.ResponseWriter, r *http.Request) {
	g, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	a := *g.account
	s.mu.Unlock()
	var email *string
	if a.PublicEmail != "" {
		email = &a.PublicEmail
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"id": a.ID, "login": a.Login, "type": "User", "email": email,
	})
}

func (s *Server) handleEmails(w http.ResponseWriter, r *http.Request) {
	g, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	w.Header().Set("X-Accepted-OAuth-Scopes", "user, user:email")
	if !g.has("user", "user:email") {
		// GitHub hides what a token may not see.
		restError(w, http.StatusNotFound, "Not Found")
		return
	}
	s.mu.Lock()
	emails := g.account.Emails
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, emails)
}

// authenticate finds who is asking, or answers 401.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (grant, bool) {
	g, ok := s.bearer(r)
	if !ok {
		restError(w, http.StatusUnauthorized, "Bad credentials")
		return grant{}, false
	}
	w.Header().Set("X-OAuth-Scopes", strings.Join(g.scopes, ", "))
	return g, true
}

func restError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{
		"message":           message,
		"documentation_url": "http://localhost/docs",
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
