package githubtest

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

//go:embed testdata/github-schema.graphql
var schemaText string

var schema = gqlparser.MustLoadSchema(&ast.Source{Name: "github-schema.graphql", Input: schemaText})

// CheckQuery tells whether a query fits GitHub's published schema.
func CheckQuery(query string, variables map[string]any) error {
	_, _, errs := parseQuery(query, variables)
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// Queries are the GraphQL queries that were asked so far.
func (s *Server) Queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

func (s *Server) handleGraphQL(w http.ResponseWriter, r *http.Request) {
	g, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	var req struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		restError(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	s.mu.Lock()
	s.queries = append(s.queries, req.Query)
	s.mu.Unlock()

	op, variables, errs := parseQuery(req.Query, req.Variables)
	if len(errs) > 0 {
		writeJSON(w, http.StatusOK, map[string]any{"errors": errs})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, _ := r.Context().Value(spoiling{}).(Fault)
	e := execution{grant: g, variables: variables, fault: fault}
	answer := map[string]any{"data": e.object(s.root(g.account), op.SelectionSet, nil)}
	if fault.Error != "" {
		e.fail(fault.Error, nil, "the stand-in fails on demand")
	}
	if len(e.errors) > 0 {
		answer["errors"] = e.errors
	}
	writeJSON(w, http.StatusOK, answer)
}

// parseQuery returns the operation and its variables, defaults included.
func parseQuery(query string, variables map[string]any) (*ast.OperationDefinition, map[string]any, gqlerror.List) {
	doc, errs := gqlparser.LoadQueryWithRules(schema, query, rules.NewDefaultRules())
	if len(errs) > 0 {
		return nil, nil, errs
	}
	if len(doc.Operations) != 1 {
		return nil, nil, gqlerror.List{gqlerror.Errorf("send one operation, not %d", len(doc.Operations))}
	}
	op := doc.Operations[0]
	variables, err := validator.VariableValues(schema, op, variables)
	if err != nil {
		return nil, nil, gqlerror.List{gqlerror.Wrap(err)}
	}
	return op, variables, nil
}

// root is the Query object as the viewer sees it.
func (s *Server) root(viewer *Account) *object {
	owner := func(typename string) func(map[string]any) any {
		return func(args map[string]any) any {
			login, _ := args["login"].(string)
			o := s.owner(login, viewer)
			if o == nil || !o.is(typename) {
				return (*object)(nil)
			}
			return o
		}
	}
	return &object{"Query", map[string]any{
		"viewer":          s.account(viewer, viewer),
		"repositoryOwner": owner("RepositoryOwner"),
		"organization":    owner("Organization"),
		"user":            owner("User"),
		"rateLimit": &object{"RateLimit", map[string]any{
			"cost": 1, "limit": 5000, "nodeCount": 1, "remaining": 4999, "used": 1,
			"resetAt": timestamp(s.cfg.Now().Add(time.Hour)),
		}},
	}}
}

func (s *Server) owner(login string, viewer *Account) *object {
	a := s.find(login)
	if strings.EqualFold(login, s.cfg.Org) {
		a = s.sponsored()
	}
	if a == nil || a.Deleted {
		return nil
	}
	return s.account(a, viewer)
}

// account is a user or an organisation as the viewer sees it.
func (s *Server) account(a, viewer *Account) *object {
	o := &object{a.typename(), map[string]any{
		"id": a.nodeID(), "login": a.Login, "databaseId": a.ID,
		"url": "http://localhost/" + a.Login,
	}}
	if a.Organization {
		o.fields["name"] = a.Login
		o.fields["viewerCanAdminister"] = a.ID == s.sponsored().ID && s.administers(viewer)
	} else {
		o.fields["email"] = a.PublicEmail
		o.fields["isViewer"] = a == viewer
	}
	s.sponsorable(o, a, viewer)
	return o
}
