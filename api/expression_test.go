package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What an expression has beside names of metrics.
var (
	inQuotes  = regexp.MustCompile(`"[^"]*"`)
	labels    = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|\b(by|on) \([^)]*\)`)
	word      = regexp.MustCompile(`\b[a-zA-Z_]\w*\b *\(?`)
	operators = []string{"and", "or", "unless"}
)

// metricsOf are the metrics in an expression.
func metricsOf(expr string) (names []string) {
	expr = labels.ReplaceAllString(inQuotes.ReplaceAllString(expr, ""), "")
	for _, w := range word.FindAllString(expr, -1) {
		if w = strings.TrimSpace(w); !strings.HasSuffix(w, "(") && !slices.Contains(operators, w) {
			names = append(names, w)
		}
	}
	return names
}

func wantKnown(t *testing.T, where, expr string, known []string) {
	t.Helper()
	names := metricsOf(expr)
	if len(names) == 0 {
		t.Errorf("%s: no metric in %s", where, expr)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

func TestMetricsOf(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`up{job="a or b"} == 0 or absent(up)`:                                                  "up up",
		`sum by (job, le) (rate(a_bucket{x=~"(b|c)"}[5m])) / sum by (job) (rate(b[5m])) > 1e3`: "a_bucket b",
		`time() - a and on (job) b{y="z"} > 3 * 3600`:                                          "a b",
	} {
		if got := strings.Join(metricsOf(expr), " "); got != want {
			t.Errorf("metrics of %s = %s, want %s", expr, got, want)
		}
	}
}
