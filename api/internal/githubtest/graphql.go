package githubtest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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
	_, errs := parseQuery(query, variables)
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

	op, errs := parseQuery(req.Query, req.Variables)
	if len(errs) > 0 {
		writeJSON(w, http.StatusOK, map[string]any{"errors": errs})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := execution{server: s, grant: g, variables: req.Variables}
	answer := map[string]any{"data": e.object(s.root(g), op.SelectionSet, nil)}
	if len(e.errors) > 0 {
		answer["errors"] = e.errors
	}
	writeJSON(w, http.StatusOK, answer)
}

func parseQuery(query string, variables map[string]any) (*ast.OperationDefinition, gqlerror.List) {
	doc, errs := gqlparser.LoadQueryWithRules(schema, query, rules.NewDefaultRules())
	if len(errs) > 0 {
		return nil, errs
	}
	if len(doc.Operations) != 1 {
		return nil, gqlerror.List{gqlerror.Errorf("send one operation, not %d", len(doc.Operations))}
	}
	op := doc.Operations[0]
	if _, err := validator.VariableValues(schema, op, variables); err != nil {
		return nil, gqlerror.List{gqlerror.Wrap(err)}
	}
	return op, nil
}

// An object is what the stand-in knows of one GraphQL object. A field is a
// value, an object, nil, or a func of its arguments that returns one of these.
type object struct {
	typename string
	fields   map[string]any
}

// execution answers one query. It reads the server's state: the caller holds
// Server.mu.
type execution struct {
	server    *Server
	grant     grant
	variables map[string]any
	errors    []map[string]any
}

// object answers a selection. Path is that of the object, for errors.
func (e *execution) object(o *object, set ast.SelectionSet, path []string) any {
	if o == nil {
		return nil
	}
	out := make(map[string]any)
	for _, selection := range set {
		switch sel := selection.(type) {
		case *ast.Field:
			out[sel.Alias] = e.field(o, sel, append(slices.Clone(path), sel.Alias))
		case *ast.InlineFragment:
			if sel.TypeCondition == "" || o.is(sel.TypeCondition) {
				merge(out, e.object(o, sel.SelectionSet, path))
			}
		case *ast.FragmentSpread:
			if o.is(sel.Definition.TypeCondition) {
				merge(out, e.object(o, sel.Definition.SelectionSet, path))
			}
		}
	}
	return out
}

func merge(into map[string]any, from any) {
	if m, ok := from.(map[string]any); ok {
		for k, v := range m {
			into[k] = v
		}
	}
}

// is tells whether the object is of the type, an interface or union included.
func (o *object) is(typename string) bool {
	if o.typename == typename {
		return true
	}
	return slices.ContainsFunc(schema.PossibleTypes[typename], func(d *ast.Definition) bool {
		return d.Name == o.typename
	})
}

func (e *execution) field(o *object, f *ast.Field, path []string) any {
	if f.Name == "__typename" {
		return o.typename
	}
	if o.typename == "Organization" && !slices.Contains(openToAll, f.Name) && !e.grant.has("read:org") {
		e.fail("INSUFFICIENT_SCOPES", path, fmt.Sprintf("the field %s needs the scope read:org", f.Name))
		return nil
	}
	v, ok := o.fields[f.Name]
	if !ok {
		e.fail("NOT_IMPLEMENTED", path, fmt.Sprintf("the stand-in has no answer for %s.%s", o.typename, f.Name))
		return nil
	}
	if resolve, ok := v.(func(map[string]any) any); ok {
		v = resolve(f.ArgumentMap(e.variables))
	}
	switch v := v.(type) {
	case *object:
		if v == nil && o.typename == "Query" {
			e.fail("NOT_FOUND", path, "there is no such account")
			return nil
		}
		return e.object(v, f.SelectionSet, path)
	default:
		return v
	}
}

// openToAll are the fields of an organisation that need no scope.
var openToAll = []string{
	"id", "login", "databaseId", "url",
	"viewerIsSponsoring", "sponsorshipForViewerAsSponsor",
}

func (e *execution) fail(kind string, path []string, message string) {
	e.errors = append(e.errors, map[string]any{"type": kind, "path": path, "message": message})
}

// root is the Query object as the person with the grant sees it.
func (s *Server) root(g grant) *object {
	owner := func(args map[string]any) any {
		login, _ := args["login"].(string)
		return s.owner(login, g)
	}
	return &object{"Query", map[string]any{
		"viewer":          s.person(g.account),
		"repositoryOwner": owner,
		"organization":    owner,
		"user":            owner,
		"rateLimit": &object{"RateLimit", map[string]any{
			"cost": 1, "limit": 5000, "nodeCount": 1, "remaining": 4999, "used": 1,
			"resetAt": timestamp(s.cfg.Now().Add(time.Hour)),
		}},
	}}
}

func (s *Server) owner(login string, g grant) *object {
	if login == s.cfg.Org {
		o := &object{"Organization", map[string]any{
			"id": "O_1", "login": s.cfg.Org, "databaseId": 1, "url": "http://localhost/" + s.cfg.Org,
			"name": s.cfg.Org,
		}}
		sponsorable(o, g.account)
		return o
	}
	if a := s.find(login); a != nil {
		o := s.person(a)
		sponsorable(o, nil)
		return o
	}
	return nil
}

func (s *Server) person(a *Account) *object {
	return &object{"User", map[string]any{
		"id": fmt.Sprintf("U_%d", a.ID), "login": a.Login, "databaseId": a.ID,
		"url": "http://localhost/" + a.Login, "email": a.PublicEmail,
	}}
}

// sponsorable adds the fields that tell how the viewer sponsors o. A nil viewer
// does not.
func sponsorable(o *object, viewer *Account) {
	var s *Sponsorship
	if viewer != nil {
		s = viewer.Sponsorship
	}
	o.fields["viewerIsSponsoring"] = s != nil && s.Active
	o.fields["sponsorshipForViewerAsSponsor"] = func(args map[string]any) any {
		if s == nil || (!s.Active && args["activeOnly"] != false) {
			return (*object)(nil)
		}
		return s.object()
	}
}

func (s *Sponsorship) object() *object {
	privacy := "PUBLIC"
	if s.Private {
		privacy = "PRIVATE"
	}
	var tier *object
	if s.TierName != "" {
		tier = &object{"SponsorsTier", map[string]any{
			"id": "ST_" + fmt.Sprint(s.TierCents), "name": s.TierName,
			"monthlyPriceInCents": s.TierCents, "monthlyPriceInDollars": s.TierCents / 100,
			"isOneTime": s.OneTime, "isCustomAmount": false,
		}}
	}
	return &object{"Sponsorship", map[string]any{
		"id": "S_1", "isActive": s.Active, "isOneTimePayment": s.OneTime,
		"createdAt": timestamp(s.CreatedAt), "tierSelectedAt": timestamp(s.TierSelectedAt),
		"privacyLevel": privacy, "tier": tier,
	}}
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
