package keyspace_test

import (
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

func FuzzTemplate(f *testing.F) {
	for _, template := range []string{
		"user:<id>", "user:<id>:mnodes", "user:<id>:*", "graph*", "graph", "a:*:<id>", "<id>", "sponsor:<id>", "s<id>:x",
		"\xff<id>:\xff", "a:<id><id>", "a<id>*",
	} {
		for _, owner := range []string{"7", "*", "\xff", "", "7:8", "ponsor", "<id>"} {
			f.Add(template, owner, "user:7:mnodes")
		}
	}
	f.Fuzz(func(t *testing.T, text, owner, key string) {
		template, err := keyspace.ParseTemplate(text)
		if err != nil {
			return
		}
		if template.String() != text {
			t.Errorf("String = %q, want %q", template, text)
		}
		if template.Prefix() == "" {
			t.Errorf("%q has no prefix", text)
		}
		for _, key := range []string{key, template.Key(owner)} {
			whose, ok := template.Match(key)
			switch {
			case !ok && whose != "":
				t.Errorf("%q does not match %q, but gives the owner %q", text, key, whose)
			case !ok:
			case template.Owned() && !keyspace.ValidOwner(whose):
				t.Errorf("%q matches %q with %q, which is no owner", text, key, whose)
			case !template.Owned() && whose != "":
				t.Errorf("%q has no owner, but gives %q for %q", text, whose, key)
			case !strings.HasPrefix(key, template.Prefix()):
				t.Errorf("%q matches %q, which does not begin with %q", text, key, template.Prefix())
			case strings.HasPrefix(key, keyspace.OwnPrefix):
				t.Errorf("%q matches %q, which is ours", text, key)
			}
		}
		own := template.Key(owner)
		if !keyspace.ValidOwner(owner) || strings.HasPrefix(own, keyspace.OwnPrefix) {
			return
		}
		want := owner
		if !template.Owned() {
			want = ""
		}
		if whose, ok := template.Match(own); !ok || whose != want {
			t.Errorf("%q: Match(Key(%q)) = %q, %v; want %q", text, owner, whose, ok, want)
		}
	})
}

// FuzzTemplates: a list that parses means the same when it is parsed again.
func FuzzTemplates(f *testing.F) {
	f.Add(keyspace.DefaultTemplates, "user:7")
	f.Add("  a:<id>\ta:*\n", "a:7")
	f.Add("a:<id>\u00a0b", "a:7")
	f.Fuzz(func(t *testing.T, text, key string) {
		templates, err := keyspace.ParseTemplates(text)
		if err != nil {
			return
		}
		again, err := keyspace.ParseTemplates(templates.String())
		if err != nil {
			t.Fatalf("%q, from %q, does not parse: %v", templates, text, err)
		}
		if again.String() != templates.String() {
			t.Errorf("%q is parsed again as %q", templates, again)
		}
		owner, ok := templates.Match(key)
		owner2, ok2 := again.Match(key)
		if owner != owner2 || ok != ok2 {
			t.Errorf("Match(%q) = %q, %v and %q, %v", key, owner, ok, owner2, ok2)
		}
	})
}
