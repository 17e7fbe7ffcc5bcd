package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	runbook         = "../scripts/RUNBOOK.md"
	runbookOnTheWeb = "https://github.com/applied-knowledge-systems/redis-sponsor/blob/HEAD/scripts/RUNBOOK.md"
)

// Every alert says how bad it is and what to do, and leads to its section of the runbook;
// every section is of an alert.
func TestAlerts_HaveARunbook(t *testing.T) {
	t.Parallel()
	text := read(t, runbook)
	var sections []string
	for _, section := range strings.Split(text, "\n## ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(name, "Sponsor") {
			continue
		}
		sections = append(sections, name)
		for _, part := range []string{"**It means**", "**See more.**", "**Do.**", "**It goes away**"} {
			if !strings.Contains(body, part) {
				t.Errorf("%s has no %s", name, part)
			}
		}
	}
	slices.Sort(sections)
	if want := alertNames(t); !slices.Equal(sections, want) {
		t.Errorf("sections:\n%v, alerts:\n%v", sections, want)
	}
	for _, a := range readAlerts(t) {
		if want := fmt.Sprintf("runbook_url: %s#%s\n", runbookOnTheWeb, strings.ToLower(a.name)); !strings.Contains(a.text, want) {
			t.Errorf("%s lacks %s", a.name, want)
		}
		severity := regexp.MustCompile(`severity: (\w+)\n`).FindStringSubmatch(a.text)
		if severity == nil || !slices.Contains([]string{"critical", "warning"}, severity[1]) {
			t.Errorf("%s has the severity %v", a.name, severity)
		}
		for _, annotation := range []string{"summary: ", "description: >-\n"} {
			if !strings.Contains(a.text, annotation) {
				t.Errorf("%s has no %s", a.name, annotation)
			}
		}
	}
	// Its links lead somewhere.
	for _, m := range regexp.MustCompile(`\]\(([^)#]*)(?:#([\w-]+))?\)`).FindAllStringSubmatch(text, -1) {
		file, anchor := filepath.Join(filepath.Dir(runbook), m[1]), m[2]
		switch {
		case strings.Contains(m[1], "://"):
			continue
		case m[1] == "":
			file = runbook
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
			t.Errorf("%s has no heading for #%s", file, anchor)
		}
	}
}

// anchors are those that GitHub makes of headings.
func anchors(markdown string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(markdown, -1) {
		name := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// People paste the runbook's commands: each of them works.
func TestRunbook_Commands(t *testing.T) {
	t.Parallel()
	program(t, "curl", "curl")
	s, _, link := newReplicatedSite(t, withMaintainer)
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")
	s.db().Do(t.Context(), "ACL", "SETUSER", "reader", "on", "nopass", "~user:*", "+smembers")
	cacert := configured(s, "sponsor.remote-cacert")
	edits := []string{
		"127.0.0.1:8080", s.main.Addr(),
		"redis-12000.example.com -p 12000 --tls --user sponsor",
		fmt.Sprintf("127.0.0.1 -p %d --tls --cacert %s --user %s", link.Port(), cacert, configured(s, "sponsor.remote-username")),
		"/etc/redis/sponsor.password", configured(s, "sponsor.remote-password-file"),
		"/usr/local/lib/redis/sponsor.so org your-organisation remote-host redis-12000.example.com remote-port 12000 remote-username sponsor",
		fmt.Sprintf("%s org %s remote-host 127.0.0.1 remote-port %d remote-username %s remote-cacert %s", redistest.Module(t), testOrg, link.Port(), configured(s, "sponsor.remote-username"), cacert),
	}
	text := read(t, runbook)
	for pair := range slices.Chunk(edits, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("the runbook has no %q any more", pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	// redis-cli without a host is for the local server, and fails where a command does.
	dir := t.TempDir()
	cli := fmt.Sprintf("#!/bin/sh\nPATH=${PATH#*:}\ncase $1 in -h) exec redis-cli -e \"$@\";; esac\nexec redis-cli -e -p %d \"$@\"\n", s.redis.Port())
	if err := os.WriteFile(filepath.Join(dir, "redis-cli"), []byte(cli), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, commands string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		output, err := cmd.CombinedOutput()
		if err != nil || bytes.Contains(output, []byte("ERR ")) {
			t.Errorf("%s: %v\n%s", commands, err, output)
		}
	}
	blocks := regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$").FindAllStringSubmatch(text, -1)
	if len(blocks) < len(alertNames(t)) {
		t.Errorf("%d blocks of commands", len(blocks))
	}
	for _, block := range blocks {
		for command := range strings.Lines(block[1]) {
			command = strings.TrimSpace(command)
			t.Run(command, func(t *testing.T) {
				if strings.HasPrefix(command, "redis-cli MODULE LOAD") {
					redistest.Eventually(t, 20*time.Second, func() error {
						return s.db().Do(t.Context(), "MODULE", "UNLOAD", "sponsor").Err()
					})
				}
				run(t, command)
				if strings.Contains(command, "MODULE LOAD") {
					s.waitForModule("connected")
				}
			})
		}
	}
}

func configured(s *site, name string) string {
	s.t.Helper()
	values, err := s.db().ConfigGet(s.t.Context(), name).Result()
	if err != nil || values[name] == "" {
		s.t.Fatal(errors.Join(err, fmt.Errorf("%s = %v", name, values)))
	}
	return values[name]
}
