package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestFault_After(t *testing.T) {
	l := newSponsorsLab(t)
	fault := BadGateway()
	fault.After, fault.Times = 1, 2
	l.s.SetFault(GraphQL, fault)
	for i, want := range []int{200, 502, 502, 200} {
		if a := l.graphQL(maintainerToken, `{viewer{login}}`, nil); a.status != want {
			t.Errorf("request %d = %d, want %d", i, a.status, want)
		}
	}
	if got := l.s.Calls(GraphQL); got != 4 {
		t.Errorf("calls = %d", got)
	}
}

func TestFault_Spoils(t *testing.T) {
	for _, tt := range []struct {
		name, fault string
		want        []string
		errors      string
	}{
		{"null node", `{"null_nodes":1}`, []string{"null", "firm", "private", "public"}, ""},
		{"lost node", `{"lost_nodes":1}`, []string{"gone", "firm", "private"}, ""},
		{"more of both than there are", `{"lost_nodes":3,"null_nodes":9}`, []string{"null"}, ""},
		{"all lost", `{"lost_nodes":9}`, []string{}, ""},
		{"data and errors", `{"error":"SOMETHING"}`, []string{"gone", "firm", "private", "public"}, "SOMETHING"},
		{"null node and errors", `{"null_nodes":1,"error":"FORBIDDEN"}`, []string{"null", "firm", "private", "public"}, "FORBIDDEN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newSponsorsLab(t)
			if a := l.do(http.MethodPut, "/control/faults/graphql", "application/json", strings.Replace(tt.fault, "{", `{"times":1,`, 1), ""); a.status != http.StatusNoContent {
				t.Fatalf("fault = %d %s", a.status, a.body)
			}
			got := l.list(maintainerToken, nil)
			if !slices.Equal(got.logins(), tt.want) || got.types() != tt.errors {
				t.Errorf("sponsors %v, errors %v; want %v, %s", got.logins(), got.Errors, tt.want, tt.errors)
			}
			if total := got.Data.RepositoryOwner.SponsorshipsAsMaintainer.TotalCount; total != 4 {
				t.Errorf("totalCount = %d, want 4", total)
			}
			if again := l.list(maintainerToken, nil); len(again.logins()) != 4 || len(again.Errors) > 0 {
				t.Errorf("the fault lasts: %v, %v", again.logins(), again.Errors)
			}
		})
	}
	l := newSponsorsLab(t)
	for name, fault := range map[string]Fault{"null": NullNode(), "gone": LostNode(), "firm": PartialError("X")} {
		l.s.SetFault(GraphQL, fault)
		if got := l.list(maintainerToken, map[string]any{"first": 2}); !slices.Contains(got.logins(), name) || (name == "firm") != (got.types() == "X") {
			t.Errorf("%+v: %v, %v", fault, got.logins(), got.Errors)
		}
	}
}
