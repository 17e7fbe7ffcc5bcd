package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func config(t *testing.T, c *redis.Client, name string) string {
	t.Helper()
	m, err := c.ConfigGet(t.Context(), name).Result()
	if err != nil {
		t.Fatal(err)
	}
	return m[name]
}

func TestSettings(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		local := redistest.New(t, redistest.Config{
			Flavor: flavor,
			Modules: []string{
				redistest.Module(t) + " remote-host argument.example sponsor.remote-port 2222 keys user:<id>",
			},
			Env: []string{
				"SPONSOR_ORG=environment", "REDISENT_HOST=environment.example", "REDISENT_PORT=1111", "REDISENT_USER=environment",
				"REDISENT_TLS=true", "SPONSOR_READ_THROUGH=off",
			},
			Conf: []string{"sponsor.remote-port 3333", "sponsor.absent-ttl-ms 77"},
		})
		c := local.Client()
		all, err := c.ConfigGet(t.Context(), "sponsor.*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"sponsor.org":                  "environment",
			"sponsor.keys":                 "user:<id>",
			"sponsor.keys-unfiltered":      "",
			"sponsor.remote-host":          "argument.example",
			"sponsor.remote-port":          "3333",
			"sponsor.remote-username":      "environment",
			"sponsor.remote-password-file": "",
			"sponsor.remote-tls":           "yes",
			"sponsor.remote-cacert":        "",
			"sponsor.remote-server-name":   "",
			"sponsor.remote-cluster":       "no",
			"sponsor.write-behind":         "yes",
			"sponsor.read-through":         "off",
			"sponsor.read-timeout-ms":      "500",
			"sponsor.absent-ttl-ms":        "77",
			"sponsor.on-lapse":             "keep",
			"sponsor.buffer-limit-mb":      "64",
		} {
			got, ok := all[name]
			if !ok || got != want {
				t.Errorf("%s = %q, %v; want %q", name, got, ok, want)
			}
			delete(all, name)
		}
		if len(all) != 0 {
			t.Errorf("settings that nobody knows: %v", all)
		}

		must(t, c, cmd("CONFIG", "SET", "sponsor.remote-port", 4444, "sponsor.keys", "user:<id> user:<id>:*"))
		if got := config(t, c, "sponsor.remote-port"); got != "4444" {
			t.Errorf("sponsor.remote-port = %s, want 4444", got)
		}
		must(t, c, cmd("CONFIG", "REWRITE"))
		if err := local.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		c = local.Client()
		if got := config(t, c, "sponsor.remote-port"); got != "4444" {
			t.Errorf("after CONFIG REWRITE and a restart, sponsor.remote-port = %s, want 4444", got)
		}
		if got := config(t, c, "sponsor.keys"); got != "user:<id> user:<id>:*" {
			t.Errorf("after CONFIG REWRITE and a restart, sponsor.keys = %s", got)
		}
	})
}

func TestSettingsThatAreRefused(t *testing.T) {
	local := redistest.New(t, redistest.Config{Modules: []string{redistest.Module(t)}})
	c := local.Client()
	for setting, tests := range map[string]map[string]string{
		"sponsor.keys": {
			"user":              "no <id>",
			"<id>":              "begin with something literal",
			"user:<id>:<id>":    "once",
			"user:*:<id>":       "at the end only",
			"sponsor:<id>":      "redis-sponsor's own",
			"user:<id>x":        "ends at a colon",
			"user:<id>*":        "<id>:*",
			"ok:<id> user x:*y": `"x:*y"`,
		},
		"sponsor.keys-unfiltered": {"*": "begin with something literal"},
		"sponsor.org":             {"a b": "not the login", "a:b": "not the login"},
		"sponsor.read-through":    {"sometimes": "argument"},
		"sponsor.on-lapse":        {"delete": "argument"},
		"sponsor.remote-port":     {"0": "between", "x": "integer"},
		"sponsor.buffer-limit-mb": {"0": "between"},
	} {
		for value, want := range tests {
			wantError(t, c, []string{want}, "CONFIG", "SET", setting, value)
		}
	}
}

// TestLoading loads the module in each way there is, and refuses where it must.
func TestLoading(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		local := redistest.New(t, redistest.Config{Flavor: flavor, Conf: []string{"save ''"}})
		c := local.Client()
		so := redistest.Module(t)
		for range 5 {
			must(t, c, cmd("MODULE", "LOAD", so, "org", org))
			if got := config(t, c, "sponsor.org"); got != org {
				t.Errorf("sponsor.org = %q, want %s", got, org)
			}
			wantError(t, c, []string{"ERR"}, "MODULE", "LOAD", so, "org", "other")
			if got := config(t, c, "sponsor.org"); got != org {
				t.Errorf("after a second MODULE LOAD, sponsor.org = %q, want %s", got, org)
			}
			must(t, c, cmd("SPONSOR.STATUS"), cmd("PING"), cmd("MODULE", "UNLOAD", "sponsor"))
			wantError(t, c, []string{"unknown command"}, "SPONSOR.STATUS")
		}
		must(t, c, cmd("MODULE", "LOADEX", so, "CONFIG", "sponsor.org", "loadex", "CONFIG", "sponsor.remote-port", 1234))
		if got := config(t, c, "sponsor.org"); got != "loadex" {
			t.Errorf("sponsor.org = %q, want loadex", got)
		}
		must(t, c, cmd("MODULE", "UNLOAD", "sponsor"))

		for args, want := range map[string]string{
			"org":                         "its value is missing",
			"colour blue":                 "no such setting",
			"remote-port 70000":           "not a number from 1 to 65535",
			"remote-tls maybe":            "neither yes nor no",
			"keys nothing read-through x": "none of block, async, off",
		} {
			wantError(t, c, []string{"ERR"}, append(cmd("MODULE", "LOAD", so), anySlice(strings.Fields(args))...)...)
			if !local.LogContains(want) {
				t.Errorf("MODULE LOAD %s: the log does not say %q", args, want)
			}
		}
		must(t, c, cmd("MODULE", "LOAD", so))
		wantError(t, c, []string{"no organisation", "SPONSOR_ORG"}, "SPONSOR.SYNC")
		must(t, c, cmd("CONFIG", "SET", "sponsor.org", org))
		wantError(t, c, []string{"no remote", "REDISENT_HOST"}, "SPONSOR.SYNC")
		wantCounts(t, fields(c.Do(t.Context(), "SPONSOR.SYNC", "DRYRUN").Val()), map[string]int64{"keys": 0})
	})
}

func anySlice(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func TestClusterIsRefused(t *testing.T) {
	local := redistest.New(t, redistest.Config{Conf: []string{"cluster-enabled yes"}})
	wantError(t, local.Client(), []string{"ERR"}, "MODULE", "LOAD", redistest.Module(t))
	if !local.LogContains("does not work with cluster-enabled yes") {
		t.Error("the log does not say why")
	}
}

// TestPasswordIsNowhere looks for the password wherever a person could see it.
func TestPasswordIsNowhere(t *testing.T) {
	const secret = "s3cr3t-and-unlike-anything-else"
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		remote := redistest.Remote(t, redistest.Config{
			Flavor: flavor, Enterprise: &redistest.Login{User: redistest.EnterpriseUser, Password: secret},
		})
		conf := slices.DeleteFunc(remoteConf(remote, remote.Host(), remote.Port()), func(line string) bool {
			return strings.HasPrefix(line, "sponsor.remote-password-file")
		})
		p := newLocal(t, remote, redistest.Config{Flavor: flavor, Conf: conf, Env: []string{"REDISENT_PWD=" + secret}})
		seen := p.local.Monitor(t)
		p.seed(t)
		if err := remote.Kill(); err != nil {
			t.Fatal(err)
		}
		p.waitFor(t, "down")
		if err := remote.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.waitFor(t, "connected")
		must(t, remote.Client(), cmd("ACL", "SETUSER", redistest.EnterpriseUser, "resetpass", ">other"), cmd("CLIENT", "KILL", "USER", redistest.EnterpriseUser))
		p.waitFor(t, "down")
		must(t, p.l, cmd("CONFIG", "REWRITE"))

		places := map[string]string{"the log": p.local.Log(), "MONITOR": strings.Join(seen.Lines(), "\n")}
		for _, question := range [][]any{
			cmd("CONFIG", "GET", "*"), cmd("INFO", "everything"), cmd("SPONSOR.STATUS"), cmd("SPONSOR.HELP"),
			cmd("COMMAND", "DOCS"), cmd("MODULE", "LIST"), cmd("SLOWLOG", "GET", 128), cmd("CLIENT", "LIST"),
			cmd("LATENCY", "DOCTOR"), cmd("ACL", "LOG"),
		} {
			places[fmt.Sprint(question...)] = fmt.Sprint(p.l.Do(t.Context(), question...).Val())
		}
		err := filepath.WalkDir(p.local.Dir(), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			places["the file "+d.Name()] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for place, text := range places {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows the password", place)
			}
		}
	})
}

// TestWarningOfClearText: a remote on another machine is told once that its data
// travels unprotected, also when it is set at run time.
func TestWarningOfClearText(t *testing.T) {
	p := newPair(t, redistest.Flavors(t)[0])
	const warning = "travel to remote.invalid in clear text"
	for range 2 {
		must(t, p.l, cmd("CONFIG", "SET", "sponsor.remote-host", "remote.invalid", "sponsor.remote-tls", "no"))
	}
	if n := strings.Count(p.local.Log(), warning); n != 1 {
		t.Errorf("the log has the warning %d times, want once", n)
	}
}
