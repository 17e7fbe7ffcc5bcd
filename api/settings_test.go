package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestReadSettings_AllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"GITHUB_SECRET": "inline", "GITHUB_SECRET_FILE": secret,
		"SPONSOR_ORG": "https://github.com/x", "REDIS_ADDR": "redis://:hunter2@host:port",
		"PUBLIC_URL": "http://api.example.org", "ALLOWED_ORIGINS": "*,null,https://a.example/path, https://B.example,ftp://x,https://c.example:443",
		"SESSION_KEYS": "short", "GITHUB_URL": "http://github.example", "LISTEN_ADDR": "8080",
		"TRUSTED_PROXIES": "10.0.0.0/33,::/0,0.0.0.0/1,::ffff:10.0.0.1", "LIMIT_PER_ADDRESS": "9", "LIMIT_PER_PERSON": "-1",
		"SPONSOR_GRACE": "213504d", "SPONSOR_ONE_TIME": "-1h", "SPONSOR_ENTITLEMENTS": "a=1,a=2,b,c d=3,e=-1",
		"GITHUB_WEBHOOK_SECRET": "guess", "RECONCILE_EVERY": "1s",
	}
	_, err := ReadSettings(func(name string) string { return bad[name] })
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{
		"GITHUB_CLIENT_ID: is missing", "GITHUB_SECRET and GITHUB_SECRET_FILE are both set", "SPONSOR_ORG:", "REDIS_ADDR:",
		"PUBLIC_URL: http would", `"*" has a *`, "null is what", `"https://a.example/path" has more`, "lower case", `"ftp://x"`, "usual port",
		"SESSION_KEYS: key 1 has 5 bytes", "GITHUB_URL: http would", "LISTEN_ADDR:",
		`"10.0.0.0/33" is no network`, `"::/0" is half`, `"0.0.0.0/1" is half`, `"::ffff:10.0.0.1" is no network`,
		"LIMIT_PER_ADDRESS:", "LIMIT_PER_PERSON:", "SPONSOR_GRACE:", "SPONSOR_ONE_TIME:",
		"a is there twice", `"b" is not name=cents`, `"c d=3" is not`, `"e=-1" is not`, "GITHUB_WEBHOOK_SECRET: secret 1 has 5 bytes", "RECONCILE_EVERY: GitHub wants",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a fault shows the password")
	}
}

func TestReadSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	base := map[string]string{
		"GITHUB_CLIENT_ID": "id", "GITHUB_SECRET": "secret", "SPONSOR_ORG": testOrg,
		"PUBLIC_URL": "https://api.example.org", "SESSION_KEYS": testKey,
	}
	for _, tt := range []struct {
		name  string
		set   map[string]string
		fault string // empty: none
		check func(Settings) bool
	}{
		{"defaults", nil, "", func(s Settings) bool {
			return s.GitHubURL == "https://github.com" && s.ListenAddr == "127.0.0.1:8080" && s.Redis.Addr == "127.0.0.1:6379" && s.Secure() &&
				s.Policy.Grace == 72*time.Hour && s.Policy.OneTime == 30*day && s.ReconcileEvery == time.Hour &&
				s.Limits.PerAddress == 600 && s.Limits.PerPerson == 300 && fmt.Sprint(s.TrustedProxies) == "[127.0.0.0/8 ::1/128]"
		}},
		{"secrets from files", map[string]string{
			"GITHUB_SECRET": "", "GITHUB_SECRET_FILE": file("a", "filed\n"),
			"SESSION_KEYS": "", "SESSION_KEYS_FILE": file("b", testKey+","+testKey+"2\n"),
			"REDIS_ADDR_FILE": file("c", "rediss://u:p@db.example:6380\n"),
		}, "", func(s Settings) bool {
			return s.Secrets.GitHub.ClientSecret == "filed" && len(s.Secrets.SessionKeys) == 2 && s.Redis.Password == "p" && s.Redis.TLSConfig != nil
		}},
		{"no such file", map[string]string{"GITHUB_SECRET": "", "GITHUB_SECRET_FILE": dir + "/none"}, "GITHUB_SECRET_FILE", nil},
		{"a password without the scheme of a URL", map[string]string{"REDIS_ADDR": "default:hunter2@127.0.0.1"}, "REDIS_ADDR", nil},
		{"a port that is none", map[string]string{"LISTEN_ADDR": ":99999"}, "LISTEN_ADDR", nil},
		{"an http origin", map[string]string{"ALLOWED_ORIGINS": "http://graph.example.org"}, "ALLOWED_ORIGINS", nil},
		{"an http origin on loopback", map[string]string{"ALLOWED_ORIGINS": "http://localhost:4200"}, "", func(s Settings) bool { return len(s.Origins) == 1 }},
		{"commas and no secret", map[string]string{"GITHUB_WEBHOOK_SECRET": ","}, "GITHUB_WEBHOOK_SECRET", nil},
		{"an empty file", map[string]string{"GITHUB_SECRET": "", "GITHUB_SECRET_FILE": file("empty", "\n")}, "is empty", nil},
		{"times and numbers", map[string]string{"SPONSOR_GRACE": "0", "SPONSOR_ONE_TIME": "45d", "LIMIT_PER_PERSON": "0", "TRUSTED_PROXIES": "10.1.2.3, 2001:db8::/32"}, "", func(s Settings) bool {
			return s.Policy.Grace == 0 && s.Policy.OneTime == 45*24*time.Hour && s.Limits.PerPerson == 0 && s.Limits.PerAddress == 600 &&
				len(s.TrustedProxies) == 2 && s.TrustedProxies[0].String() == "10.1.2.3/32"
		}},
		{"unix socket", map[string]string{"REDIS_ADDR": "unix:///run/redis.sock"}, "", func(s Settings) bool {
			return s.Redis.Network == "unix" && s.Redis.Addr == "/run/redis.sock"
		}},
		{"another database", map[string]string{"REDIS_ADDR": "redis://db.example:6379/2"}, "database 2", nil},
		{"keys missing in production", map[string]string{"SESSION_KEYS": ""}, "SESSION_KEYS: is missing", nil},
		{"keys missing on loopback", map[string]string{"SESSION_KEYS": "", "PUBLIC_URL": "http://localhost:8080"}, "", func(s Settings) bool {
			return len(s.Secrets.SessionKeys) == 1 && len(s.Warnings) == 1 && !s.Secure()
		}},
		{"http beyond loopback", map[string]string{"PUBLIC_URL": "http://192.0.2.1"}, "PUBLIC_URL", nil},
		{"http that looks like loopback", map[string]string{"PUBLIC_URL": "http://localhost.example.org"}, "PUBLIC_URL", nil},
		{"http on IPv6 loopback", map[string]string{"PUBLIC_URL": "http://[::1]:8080"}, "", func(s Settings) bool { return !s.Secure() }},
		{"public URL with a path", map[string]string{"PUBLIC_URL": "https://api.example.org/sponsor"}, "PUBLIC_URL", nil},
		{"public URL with a slash", map[string]string{"PUBLIC_URL": "https://api.example.org/"}, "", func(s Settings) bool {
			return s.PublicURL.String() == "https://api.example.org"
		}},
		{"public URL with a password", map[string]string{"PUBLIC_URL": "https://u:p@api.example.org"}, "PUBLIC_URL", nil},
		{"lengths of time", map[string]string{"SPONSOR_GRACE": "0", "SPONSOR_ONE_TIME": "45d", "RECONCILE_EVERY": "90m"}, "", func(s Settings) bool {
			return s.Policy.Grace == 0 && s.Policy.OneTime == 45*day && s.ReconcileEvery == 90*time.Minute
		}},
		{"networks and origins", map[string]string{"TRUSTED_PROXIES": "10.1.2.3/8, 192.0.2.1", "ALLOWED_ORIGINS": "https://a.example,https://a.example/"}, "", func(s Settings) bool {
			return fmt.Sprint(s.TrustedProxies, s.Origins) == "[10.0.0.0/8 192.0.2.1/32] [https://a.example]"
		}},
		{"enterprise server", map[string]string{"GITHUB_URL": "https://ghe.example.org/"}, "", func(s Settings) bool {
			return s.GitHubURL == "https://ghe.example.org"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ReadSettings(func(name string) string {
				if v, ok := tt.set[name]; ok {
					return v
				}
				return base[name]
			})
			switch {
			case tt.fault == "" && err != nil:
				t.Fatalf("fault %v", err)
			case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
				t.Fatalf("fault %v, want %s", err, tt.fault)
			case tt.check != nil && !tt.check(s):
				t.Errorf("settings %+v", s)
			}
		})
	}
}

// The README names every setting, in its table, and --help does too.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var help bytes.Buffer
	printHelp(&help)
	for _, s := range settingsHelp {
		name := "`" + s.name + "`"
		if s.secret {
			name += "*"
		}
		row := regexp.MustCompile(`(?m)^\| .*` + regexp.QuoteMeta(name) + `.* \|$`)
		if !row.Match(readme) {
			t.Errorf("README has no row with %s", name)
		}
		if s.fallback != "" && !regexp.MustCompile(`(?m)^\| `+regexp.QuoteMeta(name)+` \| `+"`"+regexp.QuoteMeta(s.fallback)+"`").Match(readme) {
			t.Errorf("README does not give %s the default %s", name, s.fallback)
		}
		if !strings.Contains(help.String(), "  "+s.name) {
			t.Errorf("--help does not name %s", s.name)
		}
	}
}

// Each fault by itself, with the setting it names; and its neighbour that is none.
func TestReadSettings_EachFault(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := map[string]string{
		"GITHUB_CLIENT_ID": "id", "GITHUB_SECRET": "secret", "SPONSOR_ORG": testOrg,
		"PUBLIC_URL": "https://api.example.org", "SESSION_KEYS": testKey,
	}
	for _, tt := range []struct {
		name, value string
		fault       string // empty: none
	}{
		{"GITHUB_CLIENT_ID", "", "GITHUB_CLIENT_ID: is missing"},
		{"GITHUB_SECRET", "", "GITHUB_SECRET: is missing"},
		{"GITHUB_SECRET", "  ", "GITHUB_SECRET: is missing"},
		{"GITHUB_WEBHOOK_SECRET_FILE", empty, "is empty"},
		{"SPONSOR_ORG", "", "SPONSOR_ORG: is missing"},
		{"SPONSOR_ORG", "example org", "no login"},
		{"SPONSOR_ORG", "example-org/x", "no login"},
		{"SPONSOR_ORG", "1_example-Org", ""},
		{"REDIS_ADDR", "db.example", "REDIS_ADDR: write"},
		{"REDIS_ADDR", "redis://:hunter2@db.example:port", "REDIS_ADDR: the URL"},
		{"REDIS_ADDR", "http://:hunter2@db.example", "REDIS_ADDR: the URL"},
		{"REDIS_ADDR", "redis://db.example/1", "database 1"},
		{"REDIS_ADDR", "redis://db.example/0", ""},
		{"PUBLIC_URL", "", "PUBLIC_URL: is missing"},
		{"PUBLIC_URL", "api.example.org", "PUBLIC_URL:"},
		{"PUBLIC_URL", "ftp://api.example.org", "PUBLIC_URL:"},
		{"PUBLIC_URL", "https://", "PUBLIC_URL:"},
		{"PUBLIC_URL", "https:api.example.org", "PUBLIC_URL:"},
		{"PUBLIC_URL", "https://api.example.org?x=1", "has more"},
		{"PUBLIC_URL", "https://api.example.org#x", "has more"},
		{"PUBLIC_URL", "https://u:hunter2@api.example.org", "has more"},
		{"PUBLIC_URL", "ftp://u:hunter2@api.example.org", "PUBLIC_URL:"},
		{"PUBLIC_URL", "https://API.example.org", "lower case"},
		{"PUBLIC_URL", "https://api.example.org:443", "usual port"},
		{"PUBLIC_URL", "http://localhost:80", "usual port"},
		{"PUBLIC_URL", "http://api.example.org", "http would show"},
		{"PUBLIC_URL", "http://127.0.0.2:8080", ""},
		{"PUBLIC_URL", "https://api.example.org:8443", ""},
		{"ALLOWED_ORIGINS", "https://*.example.org", "has a *"},
		{"ALLOWED_ORIGINS", "null", "null is what"},
		{"ALLOWED_ORIGINS", "graph.example.org", "ALLOWED_ORIGINS:"},
		{"ALLOWED_ORIGINS", "http://graph.example.org:80", "usual port"},
		{"ALLOWED_ORIGINS", "https://a.example, ,https://a.example,", ""},
		{"SESSION_KEYS", "", "SESSION_KEYS: is missing"},
		{"SESSION_KEYS", testKey + ",short", "key 2 has 5 bytes"},
		{"SESSION_KEYS", strings.Repeat("k", 31), "key 1 has 31 bytes"},
		{"SESSION_KEYS", strings.Repeat("k", 32), ""},
		{"GITHUB_WEBHOOK_SECRET", strings.Repeat("k", 15), "secret 1 has 15 bytes"},
		{"GITHUB_WEBHOOK_SECRET", strings.Repeat("k", 16) + ",short", "secret 2 has 5 bytes"},
		{"GITHUB_WEBHOOK_SECRET", strings.Repeat("k", 16), ""},
		{"GITHUB_URL", "ghe.example.org", "GITHUB_URL:"},
		{"GITHUB_URL", "ftp://ghe.example.org", "GITHUB_URL:"},
		{"GITHUB_URL", "https:///x", "GITHUB_URL:"},
		{"GITHUB_URL", "https://u:hunter2@ghe.example.org", "GITHUB_URL:"},
		{"GITHUB_URL", "https://ghe.example.org?x=1", "GITHUB_URL:"},
		{"GITHUB_URL", "https://ghe.example.org#x", "GITHUB_URL:"},
		{"GITHUB_URL", "http://ghe.example.org", "http would show"},
		{"GITHUB_URL", "http://127.0.0.1:9999", ""},
		{"LISTEN_ADDR", "127.0.0.1", "LISTEN_ADDR:"},
		{"LISTEN_ADDR", ":8080", ""},
		{"SPONSOR_GRACE", "-1h", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "3", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "soon", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "xd", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "3661d", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "9999999999999d", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "200000d", "SPONSOR_GRACE:"},
		{"SPONSOR_GRACE", "0", ""},
		{"SPONSOR_ONE_TIME", "-30d", "SPONSOR_ONE_TIME:"},
		{"RECONCILE_EVERY", "59s", "RECONCILE_EVERY:"},
		{"RECONCILE_EVERY", "0", "RECONCILE_EVERY:"},
		{"RECONCILE_EVERY", "1m", ""},
		{"LIMIT_PER_ADDRESS", "-1", "LIMIT_PER_ADDRESS:"},
		{"LIMIT_PER_ADDRESS", "many", "LIMIT_PER_ADDRESS:"},
		{"LIMIT_PER_PERSON", "1000001", "LIMIT_PER_PERSON:"},
		{"LIMIT_PER_PERSON", "1000000", ""},
		{"TRUSTED_PROXIES", "proxy.example", "no network"},
		{"TRUSTED_PROXIES", "10.0.0.0/33", "no network"},
		{"TRUSTED_PROXIES", "0.0.0.0/0", "half of the world"},
		{"TRUSTED_PROXIES", "::/0", "half of the world"},
		{"TRUSTED_PROXIES", "10.0.0.1/8,::1,192.0.2.1", ""},
		{"SPONSOR_ENTITLEMENTS", "early-access", "SPONSOR_ENTITLEMENTS:"},
		{"SPONSOR_ENTITLEMENTS", "early-access=five", "SPONSOR_ENTITLEMENTS:"},
		{"SPONSOR_ENTITLEMENTS", "early-access=-1", "SPONSOR_ENTITLEMENTS:"},
		{"SPONSOR_ENTITLEMENTS", "early access=1", "SPONSOR_ENTITLEMENTS:"},
		{"SPONSOR_ENTITLEMENTS", "a\r\nb=1", "SPONSOR_ENTITLEMENTS:"},
		{"SPONSOR_ENTITLEMENTS", "=1", "SPONSOR_ENTITLEMENTS:"},
		{"SPONSOR_ENTITLEMENTS", "early-access=0", ""},
	} {
		t.Run(tt.name+" "+tt.value, func(t *testing.T) {
			_, err := ReadSettings(func(name string) string {
				if name == tt.name {
					return tt.value
				}
				return base[name]
			})
			switch {
			case tt.fault == "" && err != nil:
				t.Errorf("fault %v", err)
			case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
				t.Errorf("fault %v, want %s", err, tt.fault)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the fault shows the password: %v", err)
			}
		})
	}
}
