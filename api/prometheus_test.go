package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	prometheusExample = "../scripts/prometheus/prometheus.yaml"
	alertRules        = "../scripts/prometheus/alerts.yaml"
	alertTests        = "../scripts/prometheus/alerts_test.yaml"
)

// program finds a program that some tests want. Without it the test is skipped, and
// fails where CI=true.
func program(t *testing.T, name, debianPackage string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it drives another program")
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing := fmt.Sprintf("no %s: run scripts/setup test, or install the package %s", name, debianPackage)
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// A watch is a real Prometheus with the example configuration and the alert rules, and a
// pager to which it sends alerts.
type watch struct {
	t     *testing.T
	url   string
	start time.Time
	pager *pager
}

// fors are the times for which the cause of an alert has to last.
var fors = regexp.MustCompile(`\bfor: \d+m\b`)

// newWatch starts one for a sponsor-api at that address. It scrapes twice a second, and
// alerts fire a second after their cause.
func newWatch(t *testing.T, target string) *watch {
	t.Helper()
	path := program(t, "prometheus", "prometheus")
	port, err := redistest.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.Release)
	w := &watch{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port.Number), start: time.Now(), pager: newPager(t)}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var soon []string
	for _, original := range fors.FindAllString(read(t, alertRules), -1) {
		if !slices.Contains(soon, original) {
			soon = append(soon, original, "for: 1s")
		}
	}
	write("alerts.yaml", edited(t, alertRules, soon))
	write("prometheus.yaml", edited(t, prometheusExample, []string{
		"scrape_interval: 15s", "scrape_interval: 500ms\n  scrape_timeout: 500ms",
		"evaluation_interval: 15s", "evaluation_interval: 250ms",
		"/etc/prometheus/redis-sponsor/alerts.yaml", "alerts.yaml",
		`["127.0.0.1:9093"]`, fmt.Sprintf("[%q]", w.pager.addr),
		`["127.0.0.1:8080"]`, fmt.Sprintf("[%q]", target),
	}))
	argv := []string{
		path, "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=warn",
		"--web.listen-address=" + strings.TrimPrefix(w.url, "http://"),
	}
	output := filepath.Join(dir, "output.log")
	process, err := redistest.StartProcess(argv, os.Environ(), dir, output)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("output of Prometheus:\n%s", read(t, output))
		}
	})
	return w
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ask asks Prometheus's API. The query is pairs of name and value.
func (w *watch) ask(path string, data any, query ...string) error {
	values := url.Values{}
	for pair := range slices.Chunk(query, 2) {
		values.Set(pair[0], pair[1])
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+"/api/v1/"+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return nil
}

// A line is what an expression was in the course of time: pairs of time and text.
type line struct {
	Metric map[string]string
	Values [][2]any
}

// since the start of the test, second by second.
func (w *watch) since(expr string) ([]line, error) {
	var data struct{ Result []line }
	err := w.ask("query_range", &data, "query", expr, "step", "1",
		"start", stamp(w.start), "end", stamp(time.Now()))
	return data.Result, err
}

func stamp(at time.Time) string { return fmt.Sprintf("%.3f", float64(at.UnixMilli())/1000) }

// holds waits until an expression has a value.
func (w *watch) holds(expr string) {
	w.t.Helper()
	redistest.Eventually(w.t, 20*time.Second, func() error {
		var data struct{ Result []json.RawMessage }
		if err := w.ask("query", &data, "query", expr); err != nil {
			return err
		}
		if len(data.Result) == 0 {
			return fmt.Errorf("%s has no value", expr)
		}
		return nil
	})
}

// scraped waits until what has happened is known to Prometheus.
func (w *watch) scraped() {
	w.t.Helper()
	w.holds(fmt.Sprintf(`timestamp(up{job="sponsor-api"} == 1) > %s`, stamp(time.Now())))
}

// A rule is one of alerts.yaml, as Prometheus has it.
type rule struct {
	Name, Query, Health, LastError string
	LastEvaluation                 time.Time
	Alerts                         []struct{ State string }
}

func (w *watch) rules() ([]rule, error) {
	var data struct{ Groups []struct{ Rules []rule } }
	err := w.ask("rules", &data)
	var rules []rule
	for _, g := range data.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules, err
}

// quiet waits until all rules have looked at what is known now, and fails the test if
// there is an alert.
func (w *watch) quiet() {
	w.t.Helper()
	now := time.Now()
	redistest.Eventually(w.t, 20*time.Second, func() error {
		rules, err := w.rules()
		for _, r := range rules {
			if r.LastEvaluation.Before(now) {
				err = fmt.Errorf("%s has not looked yet", r.Name)
			}
		}
		return err
	})
	rules, err := w.rules()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range rules {
		if len(r.Alerts) > 0 {
			w.t.Errorf("%s: %+v although all is well", r.Name, r.Alerts)
		}
	}
}

// A page is an alert, as Alertmanager gets it.
type page struct {
	Labels, Annotations map[string]string
	EndsAt              time.Time
}

// A pager takes alerts in Alertmanager's place. It may be used from several goroutines.
type pager struct {
	addr string

	mu    sync.Mutex
	pages map[string][]page // by the alert's name
}

func newPager(t *testing.T) *pager {
	t.Helper()
	p := &pager{pages: make(map[string][]page)}
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var pages []page
		if err := json.NewDecoder(r.Body).Decode(&pages); err != nil || r.URL.Path != "/api/v2/alerts" {
			t.Errorf("page to %s: %v", r.URL, err)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, page := range pages {
			name := page.Labels["alertname"]
			p.pages[name] = append(p.pages[name], page)
		}
	}))
	t.Cleanup(web.Close)
	p.addr = strings.TrimPrefix(web.URL, "http://")
	return p
}

// all returns the pages of each alert, in order.
func (p *pager) all() map[string][]page {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.pages)
}

// fires waits until these alerts have been paged.
func (w *watch) fires(alerts ...string) {
	w.t.Helper()
	w.pages("has not fired", alerts, func(p page) bool { return p.EndsAt.After(time.Now()) })
}

// ends waits until these alerts are told to be over.
func (w *watch) ends(alerts ...string) {
	w.t.Helper()
	w.pages("is not over", alerts, func(p page) bool { return !p.EndsAt.After(time.Now()) })
}

func (w *watch) pages(not string, alerts []string, last func(page) bool) {
	w.t.Helper()
	redistest.Eventually(w.t, 30*time.Second, func() error {
		for _, alert := range alerts {
			pages := w.pager.all()[alert]
			if len(pages) == 0 || !last(pages[len(pages)-1]) {
				return fmt.Errorf("%s %s: %+v", alert, not, pages)
			}
		}
		return nil
	})
}
