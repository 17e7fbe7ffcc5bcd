package githubtest

import (
	"context"
	"encoding/json"
	"net/http"
)

// controlRoutes lets a program outside this process do what the Go methods do:
//
//	PUT    /control/faults/{endpoint}     a Fault as JSON
//	DELETE /control/faults                heals everything
//	PUT    /control/accounts/{login}      {"sponsoring": true|false}, and for a
//	                                      sponsor "tier_cents", "tier_name", "one_time"
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

// handleSetAccount delivers the event that the change causes before it answers,
// and does not care for the webhook's reply.
func (s *Server) handleSetAccount(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Sponsoring bool `json:"sponsoring"`
		terms
	}
	if !readJSON(w, r, &body) {
		return
	}
	if err := body.check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	login := r.PathValue("login")
	before, after := s.sponsor(login, body.Sponsoring, body.terms)
	if action := happened(before, after); action != "" {
		d := s.Event(action, login, func(p *Payload) {
			if old := payloadTier(before); p.Changes != nil && old != nil {
				p.Changes.Tier = &From[Tier]{*old}
			}
		})
		// The webhook hears of it even if who asked for it is gone.
		_, _ = s.Deliver(context.WithoutCancel(r.Context()), d)
	}
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
