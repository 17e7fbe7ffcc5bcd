package main

import (
	"encoding/json"
	"slices"
	"testing"
)

const dashboardExample = "../scripts/grafana/redis-sponsor.json"

// A dashboard is what matters to tests of Grafana's JSON.
type dashboard struct {
	UID, Title string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []json.RawMessage }
		}
	}
	Targets []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ Type, UID string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, dashboardExample)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The dashboard is tidy: what Grafana would let pass, and people would stumble over.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID != "redis-sponsor" || d.Title == "" || len(d.Panels) < 30 {
		t.Errorf("uid %s, title %s, %d panels", d.UID, d.Title, len(d.Panels))
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if !slices.Equal(variables, []string{"datasource", "instance"}) {
		t.Errorf("variables %v", variables)
	}
	ids, titles := make(map[int]bool), make(map[string]bool)
	row := ""
	var cells [400][24]string
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: the id %d is not its own", p.Title, p.ID)
		}
		ids[p.ID] = true
		for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				if x >= 24 || cells[y][x] != "" {
					t.Fatalf("%s lies over %q, or over the edge", p.Title, cells[y][min(x, 23)])
				}
				cells[y][x] = p.Title
			}
		}
		if p.Type == "row" {
			row = p.Title
			continue
		}
		if titles[row+p.Title] {
			t.Errorf("two panels are called %s", p.Title)
		}
		titles[row+p.Title] = true
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.FieldConfig.Defaults.Thresholds.Steps) == 0 || len(p.Targets) == 0 {
			t.Errorf("%s lacks a description, a unit, thresholds or targets", p.Title)
		}
		sources := []string{p.Datasource.UID}
		for _, target := range p.Targets {
			sources = append(sources, target.Datasource.UID)
			if target.LegendFormat == "" {
				t.Errorf("%s: %s has no legend", p.Title, target.Expr)
			}
		}
		for _, uid := range sources {
			if uid != "${datasource}" {
				t.Errorf("%s: the data source %s cannot be chosen", p.Title, uid)
			}
		}
	}
}
