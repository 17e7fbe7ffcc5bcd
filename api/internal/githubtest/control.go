package githubtest

import (
	"encoding/json"
	"net/http"
)

// controlRoutes lets a program outside this process do what the Go methods do:
//
//	PUT    /control/faults/{endpoint}     a Fault as JSON
//	DELETE /control/faults                heals everything
//	PUT    /control/accounts/{login}      {"sponsoring": true|false}
//	GET    /control/calls                 how often each endpoint was asked
func (s *Server) controlRoutes() {
	s.mux.HandleFunc("PUT /control/faults/{endpoint}", s.handleSetFault)
	s.mux.HandleFunc("DELETE /control/faults", s.handleHeal)
	s.mux.HandleFunc("PUT /control/accounts/{login}", s.handleSetAccount)
	s.mux.HandleFunc("GET /control/calls", s.handleCalls)
}

func (s *Server) handleSetFault(w http.ResponseWriter, r *http.Request) {
	e := Endpoint(r.PathValue("endpoint"))
	switch e {
	case Authorize, Exchange, User, Emails, GraphQL:
	default:
		http.Error(w, "no such endpoint", http.StatusNotFound)
		return
	}
	var fault Fault
	if !readJSON(w, r, &fault) {
		return
	}
	s.SetFault(e, fault)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) handleHeal(w http.ResponseWriter, _ *http.Request) {
	s.Heal()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) handleSetAccount(w http.ResponseWriter, r *http.Request) {
	var change struct {
		Sponsoring bool `json:"sponsoring"`
	}
	if !readJSON(w, r, &change) {
		return
	}
	s.SetSponsoring(r.PathValue("login"), change.Sponsoring)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) handleCalls(w http.ResponseWriter, _ *http.Request) {
	calls := make(map[Endpoint]int)
	for _, e := range []Endpoint{Authorize, Exchange, User, Emails, GraphQL} {
		calls[e] = s.Calls(e)
	}
	writeJSON(w, http.StatusOK, calls)
}

// readJSON reads a body strictly, or answers 400. A web page cannot send this
// content type to another origin unasked, so the control endpoints are not
// open to whatever page the person has open.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return false
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, "the JSON cannot be read: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}
