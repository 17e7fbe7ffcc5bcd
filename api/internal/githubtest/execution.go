package githubtest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// An object is what the stand-in knows of one GraphQL object. A field is a
// value, an object, a list of objects, nil, or a func of its arguments that
// returns one of these or a failure.
type object struct {
	typename string
	fields   map[string]any
}

// execution answers one query. It reads the server's state: the caller holds
// Server.mu.
type execution struct {
	grant     grant
	variables map[string]any
	fault     Fault
	errors    []map[string]any
}

// object answers a selection. Path is that of the object, for errors. The answer
// is nil if a field is null that must not be.
func (e *execution) object(o *object, set ast.SelectionSet, path []any) any {
	if o == nil {
		return nil
	}
	out := make(map[string]any)
	for _, selection := range set {
		var part any
		switch sel := selection.(type) {
		case *ast.Field:
			v := e.field(o, sel, extend(path, sel.Alias))
			if v != nil || !sel.Definition.Type.NonNull {
				part = map[string]any{sel.Alias: v}
			}
		case *ast.InlineFragment:
			part = e.fragment(o, sel.TypeCondition, sel.SelectionSet, path)
		case *ast.FragmentSpread:
			part = e.fragment(o, sel.Definition.TypeCondition, sel.Definition.SelectionSet, path)
		}
		fields, ok := part.(map[string]any)
		if !ok {
			return nil
		}
		maps.Copy(out, fields)
	}
	return out
}

// fragment answers a selection that is for objects of a type only.
func (e *execution) fragment(o *object, typename string, set ast.SelectionSet, path []any) any {
	if typename != "" && !o.is(typename) {
		return map[string]any{}
	}
	return e.object(o, set, path)
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

func (e *execution) field(o *object, f *ast.Field, path []any) any {
	if f.Name == "__typename" {
		return o.typename
	}
	if scopes := scopesFor(o.typename, f.Name); scopes != nil && !e.grant.has(scopes...) {
		e.fail("INSUFFICIENT_SCOPES", path, fmt.Sprintf("the field %s needs the scope %s", f.Name, scopes[0]))
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
	case failure:
		e.fail(v.kind, path, v.message)
		return nil
	case []*object:
		return e.list(e.fault.spoil(v), f.SelectionSet, path)
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

func (e *execution) list(objects []*object, set ast.SelectionSet, path []any) []any {
	list := make([]any, len(objects))
	for i, o := range objects {
		list[i] = e.object(o, set, extend(path, i))
	}
	return list
}

// openToAll are the fields of an organisation that need no scope.
var openToAll = []string{
	"id", "login", "databaseId", "url",
	"viewerIsSponsoring", "sponsorshipForViewerAsSponsor",
}

// scopesFor are the scopes of which a field needs one; nil means none. That a
// person's list of sponsors needs read:user is what we ask for, to be on the safe
// side: GitHub does not document it.
func scopesFor(typename, field string) []string {
	switch {
	case typename == "Organization" && !slices.Contains(openToAll, field):
		return []string{"read:org"}
	case typename == "User" && field == "sponsorshipsAsMaintainer":
		return []string{"read:user", "user"}
	default:
		return nil
	}
}

func (e *execution) fail(kind string, path []any, message string) {
	err := map[string]any{"type": kind, "message": message}
	if path != nil {
		err["path"] = path
	}
	e.errors = append(e.errors, err)
}

// extend is a longer path in memory of its own.
func extend(path []any, step any) []any { return append(slices.Clone(path), step) }
