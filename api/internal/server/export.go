package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
)

// export is everything that is kept about somebody.
type export struct {
	ExportedAt time.Time `json:"exported_at"`
	me
	Nodes []string `json:"nodes"`
	// Graph is the hash user:<id>, which other programs of the project write.
	Graph map[string]string `json:"graph"`
}

// handleExport lets somebody take along everything that is kept about them.
func (s *Server) handleExport(w http.ResponseWriter, r *http.Request) error {
	p, signedIn, err := s.who(w, r)
	if err != nil {
		return err
	}
	if !signedIn {
		return signedOut()
	}
	e := export{ExportedAt: time.Now().UTC().Truncate(time.Second)}
	if e.me, err = s.me(r, p); err != nil {
		return err
	}
	if e.Nodes, err = s.cfg.Preferences.Nodes(r.Context(), preferences.Person(p.ID)); err != nil {
		return err
	}
	if e.Graph, err = s.cfg.Preferences.Graph(r.Context(), p.ID); err != nil {
		return err
	}
	body, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="redis-sponsor-`+p.ID+`.json"`)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the client went away
	return nil
}
