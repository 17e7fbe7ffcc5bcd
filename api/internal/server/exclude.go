package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

const badNode = "The id of a node has 1 to 64 letters, digits, dots, hyphens and underscores, as in C5162902."

// handleExcludeGet excludes the node in the query, or lists the excluded ones
// if there is none.
func (s *Server) handleExcludeGet(w http.ResponseWriter, r *http.Request) error {
	// What cannot be read must not pass for a question without an id.
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	if !q.Has("id") {
		return s.listNodes(w, r)
	}
	if r.Method != http.MethodGet { // HEAD comes here too
		w.Header().Set("Allow", "GET, POST, DELETE, OPTIONS")
		return methodNotAllowed()
	}
	return s.exclude(w, r, single(q, "id"))
}

func readQuery(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query cannot be read: percent signs and semicolons in it must be encoded.")
	}
	return q, nil
}

// handleExcludePost excludes the node in the JSON body. Other members of the
// object are ignored.
func (s *Server) handleExcludePost(w http.ResponseWriter, r *http.Request) error {
	if err := s.mayChange(r); err != nil {
		return err
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &problem{Status: http.StatusUnsupportedMediaType, Title: "Unsupported media type", Detail: `Send {"id": "…"} as application/json.`}
	}
	var body struct {
		ID string `json:"id"`
	}
	d := json.NewDecoder(r.Body)
	if err := d.Decode(&body); err != nil {
		return bodyError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bodyError(err)
	}
	return s.exclude(w, r, body.ID)
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return badRequest(`The body must be one JSON object like {"id": "C5162902"}.`)
}

func (s *Server) exclude(w http.ResponseWriter, r *http.Request, node string) error {
	if err := s.mayChange(r); err != nil {
		return err
	}
	if !preferences.ValidNode(node) {
		return badRequest(badNode)
	}
	p, signedIn, err := s.who(w, r)
	if err != nil {
		return err
	}
	owner := preferences.Person(p.ID)
	if !signedIn {
		if owner, err = s.visitor(w, r); err != nil {
			return err
		}
	}
	if err := s.cfg.Preferences.Exclude(r.Context(), owner, node); err != nil {
		return err
	}
	return ok(w, map[string]string{"message": fmt.Sprintf("Finished %s and %s", node, owner)})
}

// handleExcludeDelete takes back the node in the query.
func (s *Server) handleExcludeDelete(w http.ResponseWriter, r *http.Request) error {
	if err := s.mayChange(r); err != nil {
		return err
	}
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	node := single(q, "id")
	if !preferences.ValidNode(node) {
		return badRequest(badNode)
	}
	owner, known, err := s.owner(w, r)
	if err != nil {
		return err
	}
	if known {
		if err := s.cfg.Preferences.TakeBack(r.Context(), owner, node); err != nil {
			return err
		}
	}
	return ok(w, map[string]string{"message": fmt.Sprintf("Took back %s of %s", node, owner)})
}

func (s *Server) listNodes(w http.ResponseWriter, r *http.Request) error {
	owner, known, err := s.owner(w, r)
	if err != nil {
		return err
	}
	nodes := []string{}
	if known {
		if nodes, err = s.cfg.Preferences.Nodes(r.Context(), owner); err != nil {
			return err
		}
	}
	return ok(w, map[string]any{"user": owner.String(), "nodes": nodes})
}

// owner tells whose nodes the request is about, without welcoming a new
// visitor: known is false for somebody who has no nodes yet.
func (s *Server) owner(w http.ResponseWriter, r *http.Request) (o preferences.Owner, known bool, err error) {
	p, signedIn, err := s.who(w, r)
	if err != nil || signedIn {
		return preferences.Person(p.ID), signedIn, err
	}
	visitor, known := s.cfg.Sessions.Visitor(r)
	if known {
		err = s.limits.person(w, r, visitor)
	}
	return visitorOwner(visitor), known, err
}

// visitor is somebody who is not signed in and excludes a node, welcomed if they are
// new.
func (s *Server) visitor(w http.ResponseWriter, r *http.Request) (o preferences.Owner, err error) {
	if id, known := s.cfg.Sessions.Visitor(r); known {
		err = s.limits.person(w, r, id)
	} else {
		err = s.limits.newcomer(w, r, s.clientAddr(r))
	}
	if err != nil {
		return preferences.Owner{}, err
	}
	return visitorOwner(s.cfg.Sessions.Welcome(w, r)), nil
}

func visitorOwner(id string) preferences.Owner {
	return preferences.Visitor(id, session.VisitorLifetime)
}

// person tells who is signed in, and holds their requests against the limit.
func (s *Server) person(w http.ResponseWriter, r *http.Request) (session.Person, bool, error) {
	p, signedIn, err := s.cfg.Sessions.Load(r.Context(), r)
	if err != nil || !signedIn {
		return p, false, err
	}
	return p, true, s.limits.person(w, r, p.ID)
}

// who is person, and what they excluded as a visitor while the sign-in was under
// way becomes theirs now.
func (s *Server) who(w http.ResponseWriter, r *http.Request) (session.Person, bool, error) {
	p, signedIn, err := s.person(w, r)
	if err != nil || !signedIn {
		return p, false, err
	}
	visitor, ok := s.cfg.Sessions.Visitor(r)
	if !ok {
		return p, true, nil
	}
	left, err := s.cfg.Preferences.Adopt(r.Context(), p.ID, visitorOwner(visitor))
	if err != nil {
		return p, true, err
	}
	s.logLeft(left)
	if left == 0 {
		s.cfg.Sessions.ForgetVisitor(w)
	}
	return p, true, nil
}

// logLeft tells the operator that a visitor's nodes found no room.
func (s *Server) logLeft(left int) {
	if left > 0 {
		s.cfg.Log.Warn("a visitor's nodes found no room", "left", left)
	}
}
