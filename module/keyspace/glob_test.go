package keyspace_test

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// hostile are owner names that a pattern could take for something else.
var hostile = []string{
	"7", "77", "*", "?", "**", "7*", "?7", "[7]", "[", "]", "[^7]", "[a-z]", "a-z", "^", "-", `\`, `\\`, `\*`, `7\`,
	"<id>", " ", "\x00", "\xff", "\xff*\xfe", "\xc3", "Ü", "\r\n", `"`, "'", "{7}", "user", "",
	":", "7:mnodes", "7:", ":7", // not valid: nothing is theirs
}

// TestGlobOnTheServer asks a real server, whose rules Glob follows, and compares
// with Match.
func TestGlobOnTheServer(t *testing.T) {
	templates, err := keyspace.ParseTemplates(
		`user:<id> user:<id>:mnodes user:<id>:* user:<id>:m* graph graph* u?er:<id> [u]:<id>:* a\<id> ^-:<id>`)
	if err != nil {
		t.Fatal(err)
	}
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		c := redistest.New(t, redistest.Config{Flavor: flavor}).Client()
		pipe := c.Pipeline()
		for _, owner := range hostile {
			for _, prefix := range []string{"user:", "User:", "u?er:", "[u]:", "u:", `a\`, "a", "^-:", "graph", "sponsor:"} {
				for _, suffix := range []string{"", ":", ":mnodes", ":m", ":x:y", "\x00", "mnodes"} {
					pipe.Set(t.Context(), prefix+owner+suffix, 1, 0)
				}
			}
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := scan(t, c, "*")

		for _, template := range templates {
			for _, owner := range hostile {
				if owner != "" && !keyspace.ValidOwner(owner) {
					continue
				}
				want := slices.DeleteFunc(slices.Clone(all), func(key string) bool {
					whose, ok := template.Match(key)
					return !ok || owner != "" && template.Owned() && whose != owner
				})
				got := scan(t, c, template.Glob(owner))
				if owner == "" && template.Owned() {
					// Glob may list more than Match, and never less.
					got = slices.DeleteFunc(got, func(key string) bool {
						_, ok := template.Match(key)
						return !ok
					})
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s of %q: SCAN MATCH %q finds %q, want %q", template, owner, template.Glob(owner), got, want)
				}
				if owner != "" && template.Owned() && !template.Wildcard() && !slices.Equal(got, []string{template.Key(owner)}) {
					t.Errorf("%s of %q: SCAN MATCH %q finds %q, want the one key %q", template, owner, template.Glob(owner), got, template.Key(owner))
				}
			}
		}
	})
}

// scan lists the keys that match, in order.
func scan(t *testing.T, c *redis.Client, match string) []string {
	t.Helper()
	var keys []string
	iter := c.Scan(t.Context(), 0, match, 10000).Iterator()
	for iter.Next(t.Context()) {
		keys = append(keys, iter.Val())
	}
	if err := iter.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
