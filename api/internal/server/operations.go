package server

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPI []byte

// handleOpenAPI describes this API to programs and to those who write them.
func (s *Server) handleOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	// It holds nothing that is secret, and web pages show such documents.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	_, _ = w.Write(openAPI) // the client went away
	return nil
}

// handleMetrics shows the metrics to a Prometheus of the operator's.
func (s *Server) handleMetrics(w http.ResponseWriter, r *http.Request) error {
	if !s.fromOperator(r) {
		return forbidden("Metrics are for this machine and private networks, and not for what comes through a proxy.")
	}
	s.metrics.ServeHTTP(w, r)
	return nil
}
