package keyspace

import (
	"errors"
	"fmt"
	"strings"
)

const placeholder = "<id>"

// A Template names the keys of one kind, such as user:<id>:mnodes. The zero
// Template matches nothing.
type Template struct {
	prefix   string // before <id>, or the whole literal if there is no <id>
	suffix   string // after <id>, without the trailing *
	owned    bool   // has <id>
	wildcard bool   // ends in *
}

// ParseTemplate reads one template: a literal with at most one <id> and at
// most one *, which must be its last byte. Something literal must stand before
// <id> and before *, so that a key can be told by its first bytes.
func ParseTemplate(s string) (Template, error) {
	var t Template
	rest, wildcard := strings.CutSuffix(s, "*")
	t.wildcard = wildcard
	t.prefix, t.suffix, t.owned = strings.Cut(rest, placeholder)
	switch {
	case t.prefix == "":
		return Template{}, fmt.Errorf("template %q: begin with something literal, as in user:<id>", s)
	case strings.HasPrefix(t.prefix, OwnPrefix):
		return Template{}, fmt.Errorf("template %q: keys that begin with %s are redis-sponsor's own", s, OwnPrefix)
	case strings.Contains(rest, "*"):
		return Template{}, fmt.Errorf("template %q: * is allowed at the end only", s)
	case strings.Contains(t.suffix, placeholder):
		return Template{}, fmt.Errorf("template %q: <id> is allowed once", s)
	case t.owned && t.suffix != "" && t.suffix[0] != ':':
		return Template{}, fmt.Errorf("template %q: <id> ends at a colon or at the end of the key", s)
	case t.owned && t.wildcard && t.suffix == "":
		return Template{}, fmt.Errorf("template %q: write <id>:* (a bare <id>* would not tell where the id ends)", s)
	}
	return t, nil
}

// Owned reports whether keys of t belong to somebody: whether t has an <id>.
func (t Template) Owned() bool { return t.owned }

// Wildcard reports whether t ends in *, so that its keys cannot be listed
// without a SCAN.
func (t Template) Wildcard() bool { return t.wildcard }

// Prefix is what every key of t begins with. It is never empty.
func (t Template) Prefix() string { return t.prefix }

// Key is the one key of owner under t, or, if t is a Wildcard, what the keys of
// owner begin with. Owner is ignored if t is not Owned.
func (t Template) Key(owner string) string {
	if !t.owned {
		return t.prefix
	}
	return t.prefix + owner + t.suffix
}

// Glob is the pattern for SCAN MATCH that lists the keys of owner under a
// wildcard template, or of everybody if owner is empty. It may list keys of
// other templates too: ask Match about each.
func (t Template) Glob(owner string) string {
	glob := globEscape(t.prefix)
	if t.owned {
		if owner == "" {
			glob += "*"
		} else {
			glob += globEscape(owner)
		}
		glob += globEscape(t.suffix)
	}
	if t.wildcard {
		glob += "*"
	}
	return glob
}

// Match tells whether key is one of t's, and whose. The owner is empty if t is
// not Owned. The owner shares key's memory.
func (t Template) Match(key string) (owner string, ok bool) {
	if t.prefix == "" || strings.HasPrefix(key, OwnPrefix) {
		return "", false
	}
	rest, ok := strings.CutPrefix(key, t.prefix)
	if !ok {
		return "", false
	}
	if t.owned {
		end := strings.IndexByte(rest, ':')
		if end < 0 {
			end = len(rest)
		}
		owner, rest = rest[:end], rest[end:]
		if owner == "" {
			return "", false
		}
		if rest, ok = strings.CutPrefix(rest, t.suffix); !ok {
			return "", false
		}
	}
	if rest != "" && !t.wildcard {
		return "", false
	}
	return owner, true
}

// String is the template as ParseTemplate reads it.
func (t Template) String() string {
	s := t.prefix
	if t.owned {
		s += placeholder + t.suffix
	}
	if t.wildcard {
		s += "*"
	}
	return s
}

// Templates is an ordered list of templates; the first that matches counts.
type Templates []Template

// ParseTemplates reads templates separated by spaces. Every fault is reported,
// not just the first.
func ParseTemplates(s string) (Templates, error) {
	var (
		ts   Templates
		errs []error
	)
	for _, field := range strings.Fields(s) {
		t, err := ParseTemplate(field)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ts = append(ts, t)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ts, nil
}

// Match tells whether key is one of ts, and whose, as Template.Match does.
func (ts Templates) Match(key string) (owner string, ok bool) {
	for _, t := range ts {
		if owner, ok = t.Match(key); ok {
			return owner, true
		}
	}
	return "", false
}

// String is the list as ParseTemplates reads it.
func (ts Templates) String() string {
	fields := make([]string, len(ts))
	for i, t := range ts {
		fields[i] = t.String()
	}
	return strings.Join(fields, " ")
}

// globEscape makes a glob that matches just s, by the rules of Redis's
// stringmatchlen.
func globEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`*?[]^-\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
