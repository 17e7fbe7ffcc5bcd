package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An alert is one of alerts.yaml, as it is written.
type alert struct{ name, text string }

func readAlerts(t *testing.T) (alerts []alert) {
	t.Helper()
	parts := strings.Split(read(t, alertRules), "- alert: ")
	for _, part := range parts[1:] {
		name, _, _ := strings.Cut(part, "\n")
		alerts = append(alerts, alert{name, part})
	}
	return alerts
}

// alertNames are the names of all alerts, sorted.
func alertNames(t *testing.T) (names []string) {
	t.Helper()
	for _, a := range readAlerts(t) {
		names = append(names, a.name)
	}
	slices.Sort(names)
	return names
}

// promtool runs Prometheus's own checker, and returns what it said.
func promtool(t *testing.T, arg ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "promtool", "prometheus"), arg...)
	// It makes a database for each test of rules, on a disk that may be slow.
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err == nil {
		cmd.Env = append(os.Environ(), "TMPDIR="+memory)
	}
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func TestAlerts_AreValid(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "rules", alertRules},
		{"check", "config", "--syntax-only", prometheusExample},
		{"test", "rules", alertTests},
	} {
		if output, err := promtool(t, args...); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, output)
		}
	}
}

// alerts_test.yaml notices an alert that never fires, and one that fires a minute too
// early.
func TestAlerts_AreTested(t *testing.T) {
	t.Parallel()
	program(t, "promtool", "prometheus")
	for _, tt := range []struct {
		name, complaint string
		spoil           func(alert) string
	}{
		{"never", `exp: {alertname="%s"}`, func(a alert) string {
			return a.name + "\n        expr: vector(0) > 1\n" + a.text[strings.Index(a.text, "        labels:"):]
		}},
		{"early", `got: {alertname="%s"}`, func(a alert) string {
			return fors.ReplaceAllStringFunc(a.text, func(text string) string {
				var minutes int
				if _, err := fmt.Sscanf(text, "for: %dm", &minutes); err != nil {
					t.Error(err)
				}
				return fmt.Sprintf("for: %dm", minutes-1)
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			rules := read(t, alertRules)
			spoilt := make(map[string]bool)
			for _, a := range readAlerts(t) {
				text := tt.spoil(a)
				spoilt[a.name] = text != a.text
				rules = strings.Replace(rules, a.text, text, 1)
			}
			for name, text := range map[string]string{"alerts.yaml": rules, "alerts_test.yaml": read(t, alertTests)} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			output, err := promtool(t, "test", "rules", filepath.Join(dir, "alerts_test.yaml"))
			if err == nil {
				t.Fatal("all tests pass")
			}
			for name := range spoilt {
				if spoilt[name] && !strings.Contains(output, fmt.Sprintf(tt.complaint, name)) {
					t.Errorf("no test of alerts_test.yaml notices that of %s:\n%s", name, output)
				}
			}
		})
	}
}
