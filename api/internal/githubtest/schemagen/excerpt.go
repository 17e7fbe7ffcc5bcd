package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// queryFields are the fields of Query that the excerpt keeps.
var queryFields = []string{
	"node", "organization", "rateLimit", "repositoryOwner", "user", "viewer",
}

// compositeTypes are the objects, interfaces and unions that the excerpt
// keeps, beside Query. Of their fields it keeps those that lead to a type that
// is kept too. Enums, scalars and inputs come along as they are needed.
var compositeTypes = []string{
	"Actor", "Node", "Organization", "PageInfo", "RateLimit",
	"RepositoryOwner", "Sponsor", "Sponsorable", "SponsorConnection",
	"SponsorEdge", "SponsorsActivity", "SponsorsActivityConnection",
	"SponsorsActivityEdge", "SponsorsGoal", "SponsorsListing",
	"SponsorsTier", "SponsorsTierAdminInfo", "SponsorsTierConnection",
	"SponsorsTierEdge", "Sponsorship", "SponsorshipConnection",
	"SponsorshipEdge", "User",
}

// schema is what we read of an introspection result.
type schema struct {
	Types []typeDef `json:"types"`
}

type typeDef struct {
	Kind          string
	Name          string
	Fields        []field
	InputFields   []input
	Interfaces    []typeRef
	EnumValues    []struct{ Name string }
	PossibleTypes []typeRef
}

type field struct {
	Name string
	Args []input
	Type typeRef
}

type input struct {
	Name         string
	Type         typeRef
	DefaultValue *string
}

type typeRef struct {
	Kind   string
	Name   string
	OfType *typeRef
}

// named is the type without its list and non-null wrappers.
func (r typeRef) named() string {
	for r.OfType != nil {
		r = *r.OfType
	}
	return r.Name
}

func (r typeRef) String() string {
	switch r.Kind {
	case "NON_NULL":
		return r.OfType.String() + "!"
	case "LIST":
		return "[" + r.OfType.String() + "]"
	default:
		return r.Name
	}
}

// excerpt prunes an introspection result to what our queries can touch and
// writes it in the schema language: names, types and defaults, no
// descriptions. The same input gives the same bytes.
func excerpt(introspection []byte) ([]byte, error) {
	s, err := parse(introspection)
	if err != nil {
		return nil, err
	}
	types := make(map[string]typeDef, len(s.Types))
	for _, t := range s.Types {
		types[t.Name] = t
	}
	p := pruner{types: types, keep: map[string]bool{"Query": true}}
	for _, name := range compositeTypes {
		if _, ok := types[name]; !ok {
			return nil, fmt.Errorf("the schema has no type %s any more", name)
		}
		p.keep[name] = true
	}
	return p.print()
}

func parse(introspection []byte) (schema, error) {
	var file struct {
		Schema schema `json:"__schema"`
		Data   struct {
			Schema schema `json:"__schema"`
		} `json:"data"`
	}
	if err := json.Unmarshal(introspection, &file); err != nil {
		return schema{}, fmt.Errorf("read introspection: %w", err)
	}
	s := file.Schema
	if len(s.Types) == 0 {
		s = file.Data.Schema
	}
	if len(s.Types) == 0 {
		return schema{}, errors.New("read introspection: no types in it")
	}
	return s, nil
}

type pruner struct {
	types map[string]typeDef
	keep  map[string]bool
}

// reachable tells whether a type may be mentioned: it is kept, or it is a leaf
// that brings nothing else along.
func (p *pruner) reachable(name string) bool {
	switch p.types[name].Kind {
	case "ENUM", "SCALAR", "INPUT_OBJECT":
		return true
	}
	return p.keep[name]
}

func (p *pruner) fields(t typeDef) []field {
	var kept []field
	for _, f := range t.Fields {
		if t.Name == "Query" && !slices.Contains(queryFields, f.Name) {
			continue
		}
		if p.reachable(f.Type.named()) {
			kept = append(kept, f)
		}
	}
	return kept
}

func (p *pruner) print() ([]byte, error) {
	p.addLeaves()
	names := make([]string, 0, len(p.keep))
	for name := range p.keep {
		names = append(names, name)
	}
	sort.Strings(names)
	var b bytes.Buffer
	for _, name := range names {
		if err := p.printType(&b, p.types[name]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// addLeaves keeps every enum, scalar and input that a kept field mentions, and
// what those inputs mention in turn.
func (p *pruner) addLeaves() {
	queue := make([]string, 0, len(p.keep))
	for name := range p.keep {
		queue = append(queue, name)
	}
	mention := func(name string) {
		if p.reachable(name) && !p.keep[name] {
			p.keep[name] = true
			queue = append(queue, name)
		}
	}
	for len(queue) > 0 {
		t := p.types[queue[0]]
		queue = queue[1:]
		for _, f := range p.fields(t) {
			mention(f.Type.named())
			for _, arg := range f.Args {
				mention(arg.Type.named())
			}
		}
		for _, f := range t.InputFields {
			mention(f.Type.named())
		}
	}
}

// builtIn are the scalars that every GraphQL schema has without naming them.
var builtIn = []string{"Boolean", "Float", "ID", "Int", "String"}

func (p *pruner) printType(b *bytes.Buffer, t typeDef) error {
	switch t.Kind {
	case "SCALAR":
		if !slices.Contains(builtIn, t.Name) {
			fmt.Fprintf(b, "\nscalar %s\n", t.Name)
		}
	case "ENUM":
		fmt.Fprintf(b, "\nenum %s {\n", t.Name)
		for _, v := range t.EnumValues {
			fmt.Fprintf(b, "  %s\n", v.Name)
		}
		b.WriteString("}\n")
	case "UNION":
		fmt.Fprintf(b, "\nunion %s =%s\n", t.Name, p.list(t.PossibleTypes, " |"))
	case "INPUT_OBJECT":
		fmt.Fprintf(b, "\ninput %s {\n", t.Name)
		for _, f := range t.InputFields {
			fmt.Fprintf(b, "  %s\n", f)
		}
		b.WriteString("}\n")
	case "OBJECT", "INTERFACE":
		p.printFields(b, t)
	default:
		return fmt.Errorf("type %s has the unknown kind %q", t.Name, t.Kind)
	}
	return nil
}

func (p *pruner) printFields(b *bytes.Buffer, t typeDef) {
	word := "type"
	if t.Kind == "INTERFACE" {
		word = "interface"
	}
	fmt.Fprintf(b, "\n%s %s", word, t.Name)
	if list := p.list(t.Interfaces, " &"); list != "" {
		fmt.Fprintf(b, " implements%s", list)
	}
	b.WriteString(" {\n")
	for _, f := range p.fields(t) {
		fmt.Fprintf(b, "  %s\n", f)
	}
	b.WriteString("}\n")
}

// list joins the names of those refs that are kept.
func (p *pruner) list(refs []typeRef, sep string) string {
	var b bytes.Buffer
	for _, r := range refs {
		if !p.keep[r.Name] {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(sep)
		}
		b.WriteString(" " + r.Name)
	}
	return b.String()
}

func (f field) String() string {
	s := f.Name
	for i, arg := range f.Args {
		if i == 0 {
			s += "("
		} else {
			s += ", "
		}
		s += arg.String()
		if i == len(f.Args)-1 {
			s += ")"
		}
	}
	return s + ": " + f.Type.String()
}

func (in input) String() string {
	s := in.Name + ": " + in.Type.String()
	if in.DefaultValue != nil {
		s += " = " + *in.DefaultValue
	}
	return s
}
