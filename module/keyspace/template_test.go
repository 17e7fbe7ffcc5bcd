package keyspace_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

func TestParseTemplate(t *testing.T) {
	tests := []struct {
		name, template    string
		prefix            string
		owned, wildcard   bool
		wantErr, wantErr2 string // in the error; none: no error
	}{
		{name: "id at the end", template: "user:<id>", prefix: "user:", owned: true},
		{name: "id inside", template: "user:<id>:mnodes", prefix: "user:", owned: true},
		{name: "nothing behind the colon", template: "user:<id>:", prefix: "user:", owned: true},
		{name: "no colon before the id", template: "user<id>", prefix: "user", owned: true},
		{name: "wildcard", template: "user:<id>:*", prefix: "user:", owned: true, wildcard: true},
		{name: "wildcard behind a part", template: "user:<id>:m*", prefix: "user:", owned: true, wildcard: true},
		{name: "literal", template: "graph", prefix: "graph"},
		{name: "literal with wildcard", template: "graph:*", prefix: "graph:", wildcard: true},
		{name: "glob characters are literal", template: `a?[b]\^<id>`, prefix: `a?[b]\^`, owned: true},
		{name: "bytes that are no UTF-8", template: "\xff\xfe:<id>", prefix: "\xff\xfe:", owned: true},
		{name: "half a placeholder", template: "a:<id:<id>", prefix: "a:<id:", owned: true},
		{name: "placeholder in capitals is literal", template: "a:<ID>", prefix: "a:<ID>"},
		{name: "begins like our own without the colon", template: "sponsor<id>", prefix: "sponsor", owned: true},
		{name: "the set of the sponsors", template: "sponsors:*", prefix: "sponsors:", wildcard: true},

		{name: "empty", template: "", wantErr: `template ""`, wantErr2: "begin with something literal"},
		{name: "id first", template: "<id>:user", wantErr: `"<id>:user"`, wantErr2: "begin with something literal"},
		{name: "wildcard only", template: "*", wantErr: `"*"`, wantErr2: "begin with something literal"},
		{name: "our own", template: "sponsor:<id>", wantErr: `"sponsor:<id>"`, wantErr2: "redis-sponsor's own"},
		{name: "our own literal", template: "sponsor:journal", wantErr: `"sponsor:journal"`, wantErr2: "redis-sponsor's own"},
		{name: "our own wildcard", template: "sponsor:*", wantErr: `"sponsor:*"`, wantErr2: "redis-sponsor's own"},
		{name: "wildcard in front", template: "*:<id>", wantErr: `"*:<id>"`, wantErr2: "at the end only"},
		{name: "wildcard inside", template: "a:*:<id>", wantErr: `"a:*:<id>"`, wantErr2: "at the end only"},
		{name: "wildcard behind the id, inside", template: "a:<id>:*:b", wantErr: `"a:<id>:*:b"`, wantErr2: "at the end only"},
		{name: "two wildcards", template: "a:<id>:**", wantErr: `"a:<id>:**"`, wantErr2: "at the end only"},
		{name: "id twice", template: "a:<id>:<id>", wantErr: `"a:<id>:<id>"`, wantErr2: "once"},
		{name: "id does not end", template: "a:<id>b", wantErr: `"a:<id>b"`, wantErr2: "ends at a colon"},
		{name: "bare wildcard behind the id", template: "a:<id>*", wantErr: `"a:<id>*"`, wantErr2: "<id>:*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := keyspace.ParseTemplate(tt.template)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), tt.wantErr2) {
					t.Errorf("error = %v, want %q and %q in it", err, tt.wantErr, tt.wantErr2)
				}
				if got != (keyspace.Template{}) {
					t.Errorf("template = %q beside an error, want the zero Template", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Prefix() != tt.prefix || got.Owned() != tt.owned || got.Wildcard() != tt.wildcard {
				t.Errorf("prefix %q, owned %v, wildcard %v; want %q, %v, %v",
					got.Prefix(), got.Owned(), got.Wildcard(), tt.prefix, tt.owned, tt.wildcard)
			}
			if got.String() != tt.template {
				t.Errorf("String = %q, want %q", got, tt.template)
			}
		})
	}
}

func TestParseTemplates(t *testing.T) {
	tests := []struct {
		name, list string
		want       string
		wantErrs   []string
	}{
		{"the defaults", keyspace.DefaultTemplates, keyspace.DefaultTemplates, nil},
		{"nothing", "", "", nil},
		{"spaces only", " \t\n", "", nil},
		{"any spaces", "  user:<id>\t\tgraph:*\n", "user:<id> graph:*", nil},
		{"order stays", "b:<id> a:<id>", "b:<id> a:<id>", nil},
		{
			"every fault", "ok:<id> <id> sponsor:x a:*:b c:<id>:<id> d:<id>e f:<id>*", "",
			[]string{
				`"<id>": begin`, `"sponsor:x": keys`, `"a:*:b": *`, `"c:<id>:<id>": <id> is allowed once`,
				`"d:<id>e": <id> ends`, `"f:<id>*": write`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := keyspace.ParseTemplates(tt.list)
			if (err != nil) != (tt.wantErrs != nil) {
				t.Fatalf("error = %v, want %q", err, tt.wantErrs)
			}
			if got.String() != tt.want {
				t.Errorf("templates = %q, want %q", got, tt.want)
			}
			if err == nil {
				return
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(tt.wantErrs) {
				t.Errorf("%d faults are told, want %d: %v", len(lines), len(tt.wantErrs), err)
			}
			for _, want := range tt.wantErrs {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name, templates, key string
		owner                string
		ok                   bool
	}{
		{"id at the end", "user:<id>", "user:7", "7", true},
		{"nothing else behind the id", "user:<id>", "user:7:mnodes", "", false},
		{"a colon behind the id", "user:<id>", "user:7:", "", false},
		{"no id", "user:<id>", "user:", "", false},
		{"no id, but the rest", "user:<id>:mnodes", "user::mnodes", "", false},
		{"the rest", "user:<id>:mnodes", "user:7:mnodes", "7", true},
		{"half the rest", "user:<id>:mnodes", "user:7:mnode", "", false},
		{"more than the rest", "user:<id>:mnodes", "user:7:mnodes2", "", false},
		{"another beginning", "user:<id>", "users:7", "", false},
		{"case counts", "user:<id>", "User:7", "", false},
		{"wildcard", "user:<id>:*", "user:7:a:b", "7", true},
		{"wildcard of nothing", "user:<id>:*", "user:7:", "7", true},
		{"wildcard wants its colon", "user:<id>:*", "user:7", "", false},
		{"wildcard behind a part", "user:<id>:m*", "user:7:mnodes", "7", true},
		{"wildcard behind another part", "user:<id>:m*", "user:7:nodes", "", false},
		{"literal", "graph", "graph", "", true},
		{"longer than the literal", "graph", "graph2", "", false},
		{"literal wildcard", "graph*", "graph", "", true},
		{"glob characters in the key", "user:<id>", "user:*", "*", true},
		{"glob characters in the template", "u?er:<id>", "user:7", "", false},
		{"bytes that are no UTF-8", "user:<id>:mnodes", "user:\xff\x00 \r\n:mnodes", "\xff\x00 \r\n", true},
		{"our own keys never", "sponsor*", "sponsor:journal", "", false},
		{"our own keys, by an id", "s<id>:journal", "sponsor:journal", "", false},
		{"near our own keys", "sponsor*", "sponsors:acme", "", true},
		{"empty key", "user:<id>", "", "", false},
		{"the first template counts", "a:<id>:b* a:*", "a:7:b", "7", true},
		{"the first template counts, turned round", "a:* a:<id>:b*", "a:7:b", "", true},
		{"no templates", "", "user:7", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			templates, err := keyspace.ParseTemplates(tt.templates)
			if err != nil {
				t.Fatal(err)
			}
			owner, ok := templates.Match(tt.key)
			if owner != tt.owner || ok != tt.ok {
				t.Errorf("Match(%q) = %q, %v; want %q, %v", tt.key, owner, ok, tt.owner, tt.ok)
			}
		})
	}
	if owner, ok := (keyspace.Template{}).Match("anything"); ok {
		t.Errorf("the zero Template matches, with the owner %q", owner)
	}
}

func TestKey(t *testing.T) {
	tests := []struct{ name, template, owner, want string }{
		{"id at the end", "user:<id>", "7", "user:7"},
		{"id inside", "user:<id>:mnodes", "7", "user:7:mnodes"},
		{"beginning of a wildcard's", "user:<id>:m*", "7", "user:7:m"},
		{"literal ignores the owner", "graph", "7", "graph"},
		{"any bytes", "user:<id>", "*\xff\x00", "user:*\xff\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template, err := keyspace.ParseTemplate(tt.template)
			if err != nil {
				t.Fatal(err)
			}
			if got := template.Key(tt.owner); got != tt.want {
				t.Errorf("Key(%q) = %q, want %q", tt.owner, got, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"the sponsors", keyspace.SponsorsKey("acme"), "sponsors:acme"},
		{"a person's details", keyspace.UserDetailsKey("7"), "user_details:7"},
		{"a person's excluded nodes", keyspace.ExcludedNodesKey("7"), "user:7:mnodes"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: key = %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	// What the API writes is what the module replicates.
	templates, err := keyspace.ParseTemplates(keyspace.DefaultTemplates)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{keyspace.UserDetailsKey("7"), keyspace.ExcludedNodesKey("7")} {
		if owner, ok := templates.Match(key); owner != "7" || !ok {
			t.Errorf("the defaults match %q = %q, %v; want 7", key, owner, ok)
		}
	}
}

func TestValidOwner(t *testing.T) {
	valid := []string{"7", "a b", "*", "<id>", "\x00", "\xff", "\r\n", "Ü", strings.Repeat("x", 1<<16)}
	invalid := []string{"", ":", "7:mnodes", ":7", "7:"}
	for _, id := range slices.Concat(valid, invalid) {
		want := slices.Contains(valid, id)
		if got := keyspace.ValidOwner(id); got != want {
			t.Errorf("ValidOwner(%.20q) = %v, want %v", id, got, want)
		}
	}
}
