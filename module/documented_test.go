package main_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// internalCommands are for the module itself; the README says so in a sentence.
var internalCommands = []string{"sponsor.turn", "sponsor.read", "sponsor.write", "sponsor"}

// The README names every setting with its default, every command, and every field of
// STATUS, and none that does not exist.
func TestREADME(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, redistest.Config{Modules: []string{redistest.Module(t)}})
	c := s.Client()
	content, err := os.ReadFile("../README.md")
	check(t, err)
	readme := string(content)

	settings := c.ConfigGet(t.Context(), "sponsor.*").Val()
	var names []string
	for name := range settings {
		names = append(names, name)
	}
	table := section(t, readme, "## Settings of the module")
	rows := regexp.MustCompile("(?m)^\\| `(sponsor\\.[a-z-]+)` \\|[^|]*\\| (?:`([^|]*)`|empty[^|]*) \\|").FindAllStringSubmatch(table, -1)
	var documented []string
	for _, row := range rows {
		documented = append(documented, row[1])
		if got, there := settings[row[1]]; there && got != row[2] {
			t.Errorf("%s is %q by default, README says %q", row[1], got, row[2])
		}
	}
	same(t, "settings", names, documented)

	commands, err := c.Do(t.Context(), "COMMAND", "LIST", "FILTERBY", "PATTERN", "sponsor*").StringSlice()
	check(t, err)
	commands = slices.DeleteFunc(commands, func(name string) bool { return slices.Contains(internalCommands, name) })
	same(t, "commands", commands, matches("(?m)^### `(SPONSOR\\.[A-Z]+)", readme))

	st, err := status(c)
	check(t, err)
	var fields []string
	for field := range st {
		fields = append(fields, field)
	}
	var inTable []string
	for _, row := range matches("(?m)^\\| (`[a-z_`, ]+`) \\|", section(t, readme, "### `SPONSOR.STATUS`")) {
		inTable = append(inTable, matches("`([a-z_]+)`", row)...)
	}
	same(t, "fields of STATUS", fields, inTable)
}

// section is what stands below a heading, up to the next one of any level.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(text, heading+"\n")
	if !found {
		t.Fatalf("README has no heading %q", heading)
	}
	body, _, _ := strings.Cut(after, "\n#")
	return body
}

func matches(pattern, text string) (found []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ToLower(m[1]))
	}
	return found
}

func same(t *testing.T, what string, inCode, inREADME []string) {
	t.Helper()
	for _, name := range inCode {
		if !slices.Contains(inREADME, name) {
			t.Errorf("%s: README lacks %s", what, name)
		}
	}
	for _, name := range inREADME {
		if !slices.Contains(inCode, name) {
			t.Errorf("%s: README has %s, which does not exist", what, name)
		}
	}
	if len(inCode) == 0 {
		t.Errorf("there are no %s", what)
	}
}
