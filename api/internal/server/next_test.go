package server

import (
	"net/url"
	"strings"
	"testing"
)

func TestLocalPath(t *testing.T) {
	for _, tt := range []struct{ name, next, want string }{
		{"account", "/account", "/account"},
		{"query", "/account?page=2", "/account?page=2"},
		{"below", "/account/x", "/account/x"},
		{"empty", "", "/account"},
		{"another path", "/livez", "/account"},
		{"something that changes", "/exclude?id=C1", "/account"},
		{"a path that begins alike", "/accountant", "/account"},
		{"two slashes", "//evil.example/account", "/account"},
		{"three slashes", "///evil.example", "/account"},
		{"backslash", `/\evil.example`, "/account"},
		{"backslash later", `/account\..\..\evil`, "/account"},
		{"tab", "/\t/evil.example", "/account"},
		{"line end", "/account\r\nSet-Cookie: a=b", "/account"},
		{"NUL", "/account\x00", "/account"},
		{"space", "/ /evil.example", "/account"},
		{"scheme", "https://evil.example/account", "/account"},
		{"script", "javascript:alert(1)", "/account"},
		{"relative", "account", "/account"},
		{"at", "@evil.example", "/account"},
		{"encoded slashes", "/%2f%2fevil.example", "/account"},
		{"dots", "/account/../exclude?id=C1", "/account"},
		{"encoded dots", "/account/%2e%2e/exclude?id=C1", "/account"},
		{"a fragment", "/account#x", "/account"},
		{"dots behind a fragment", "/account#/../exclude?id=C1", "/account"},
		{"not ASCII", "/account/\u2028", "/account"},
		{"too long", "/account?" + strings.Repeat("x", 600), "/account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := localPath(tt.next); got != tt.want {
				t.Errorf("localPath(%q) = %q, want %q", tt.next, got, tt.want)
			}
		})
	}
}

// FuzzLocalPath: whatever comes in, a browser that resolves the result against
// us, with the quirks browsers have, stays on our account page.
func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/account?x=//y", "//evil.example", `/\evil`, "/\t/evil", "/account/%2e%2e/%2e%2e/x", "/account#//", "/account;x"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://api.example.org/oauth2/callback")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next)
		asBrowser := strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/", "%2e", ".", "%2E", ".").Replace(strings.TrimSpace(got))
		u, err := base.Parse(asBrowser)
		if err != nil {
			t.Fatalf("localPath(%q) = %q: %v", next, got, err)
		}
		if u.Host != base.Host || u.Scheme != base.Scheme || (u.Path != "/account" && !strings.HasPrefix(u.Path, "/account/")) {
			t.Errorf("localPath(%q) = %q leads to %s", next, got, u)
		}
	})
}
