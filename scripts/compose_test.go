package scripts_test

import (
	"os"
	"regexp"
	"testing"
)

// inTable matches a setting from the environment in a table of the README: in the
// first column, or after the module's own name for it in the second.
var inTable = regexp.MustCompile("(?m)^\\|(?: `sponsor[^|]*\\|| \\|)? (?:`[A-Z_]+`\\*?(?:, )?)+")

var settingName = regexp.MustCompile("`([A-Z_]+)`(\\*?)")

// TestComposeHandsOnEverySetting holds compose.yaml against the README: a setting
// that it does not name would never reach a container.
func TestComposeHandsOnEverySetting(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	compose, err := os.ReadFile("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, row := range inTable.FindAllString(string(readme), -1) {
		for _, setting := range settingName.FindAllStringSubmatch(row, -1) {
			wanted := []string{setting[1]}
			if setting[2] == "*" {
				wanted = append(wanted, setting[1]+"_FILE")
			}
			for _, name := range wanted {
				names++
				if !regexp.MustCompile(`(?m)^      - ` + name + `(=|$)`).Match(compose) {
					t.Errorf("compose.yaml does not hand on %s", name)
				}
			}
		}
	}
	if names < 30 {
		t.Errorf("the README's tables name %d settings, want more: has their form changed?", names)
	}
}
