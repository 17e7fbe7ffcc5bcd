package preferences

import (
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// A node that is valid is safe wherever we put it: in a URL, a page, a log line
// and an answer it stands as it is.
func FuzzValidNode(f *testing.F) {
	for _, seed := range []string{"C5162902", "", "a b", "a:b", "é", "\x00", "\xff", "<x>", strings.Repeat("C", 64), strings.Repeat("C", 65)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		safe := s != "" && len(s) <= MaxNodeLength
		for _, c := range []byte(s) {
			safe = safe && strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", c) >= 0
		}
		if got := ValidNode(s); got != safe {
			t.Errorf("ValidNode(%q) = %v, want %v", s, got, safe)
		}
	})
}

// What a visitor excludes must stay on this server: no template of the module
// and no prefix of redis-sponsor's own may match the key.
func TestVisitorKeysAreNotReplicated(t *testing.T) {
	templates, err := keyspace.ParseTemplates(keyspace.DefaultTemplates)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"7", "x", "7:mnodes", ""} {
		key := Visitor(id, 1).key
		if owner, ok := templates.Match(key); ok {
			t.Errorf("%s belongs to %s", key, owner)
		}
		if strings.HasPrefix(key, keyspace.OwnPrefix) || strings.HasPrefix(key, keyspace.SponsorsKey("")) {
			t.Errorf("%s is in another name space", key)
		}
	}
}
