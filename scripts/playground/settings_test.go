package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun_FaultsOfTheSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		args    []string
		environ []string
		want    []string
	}{
		{"no subcommand", nil, nil, []string{"usage:"}},
		{"unknown subcommand", []string{"walk"}, nil, []string{`there is no "walk"`, "usage:"}},
		{
			"real GitHub without the rest",
			[]string{"run"},
			[]string{"GITHUB_CLIENT_ID=x", "REDISENT_HOST=h", "REDISENT_TLS=perhaps"},
			[]string{"SPONSOR_ORG: is missing", "GITHUB_SECRET: is missing", `REDISENT_TLS: "perhaps" is neither yes nor no`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), t.TempDir(), test.args, test.environ, &stdout, &stderr); code != exitUsage {
				t.Errorf("exit code = %d, want %d", code, exitUsage)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("complaint %q lacks %q", stderr.String(), want)
				}
			}
		})
	}
}

func TestRun_NothingBuilt(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"run", "demo"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), t.TempDir(), []string{command}, nil, &stdout, &stderr); code != exitFailed {
			t.Errorf("%s: exit code = %d, want %d", command, code, exitFailed)
		}
		if !strings.Contains(stderr.String(), "run make build first") {
			t.Errorf("%s: complaint %q does not tell what to do", command, stderr.String())
		}
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"sponsors:example-org": "sponsors:example-org",
		"/tmp/a b":             "'/tmp/a b'",
		"it's":                 `'it'\''s'`,
		"":                     "''",
		"$(x)":                 "'$(x)'",
	} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s, want %s", word, got, want)
		}
	}
}
