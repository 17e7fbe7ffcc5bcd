package main

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// watched is a site with everything that can go wrong, and a Prometheus that watches it.
type watched struct {
	*site
	*watch
	t      *testing.T
	remote *redis.Client
	link   *redistest.Proxy
	clock  *clock
	key    string // of the sponsor's excluded nodes
	hash   string // another one of theirs
}

// All that can go wrong goes wrong, one after the other: the alert for it fires and, where
// its cause can be removed, ends; and every panel of the dashboard has shown it.
func TestWatch(t *testing.T) {
	t.Parallel()
	program(t, "prometheus", "prometheus")
	w := &watched{t: t, clock: &clock{}}
	w.site, w.remote, w.link = newTunedReplicatedSite(t, func(m map[string]string) {
		withMaintainer(m)
		m["GITHUB_WEBHOOK_SECRET"], m["LIMIT_PER_ADDRESS"] = webhookSecret, "1000"
	}, func(m *Main) { m.Now = w.clock.now })
	w.watch = newWatch(t, w.main.Addr())
	w.github.SetWebhook("http://"+w.main.Addr()+webhookPath, webhookSecret)
	w.key, w.hash = "user:"+w.id("sponsor-1")+":mnodes", "user:"+w.id("sponsor-1")

	w.allIsWell()
	mend := []func(){w.refuse(), w.growOld(), w.breakGitHub()}
	w.fires("SponsorDeadLetters", "SponsorWebhooksRefused", "SponsorLimitsHit", "SponsorUsersWithoutGrant",
		"SponsorReconciliationStale", "SponsorGitHubFailing")
	for _, f := range mend {
		f()
	}
	w.ends("SponsorDeadLetters", "SponsorReconciliationStale")
	w.slowRemote()
	w.remoteDown()
	w.ends("SponsorRemoteDown", "SponsorUsersWithoutGrant")
	w.noModule()
	w.noRedis()
	w.noAPI()

	w.wantPages(t)
	t.Run("rules", w.wantRules)
	t.Run("dashboard", w.wantDashboard)
}

// allIsWell lets people come and go, without an alert.
func (w *watched) allIsWell() {
	ctx := w.t.Context()
	b, visitor := w.browser(), w.browser()
	b.signIn("sponsor-1")
	visitor.signIn("visitor-1")
	w.failedSignIn()
	w.github.Heal()
	w.scraped() // there is no increase in what begins
	wantStatus(w.t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	for range 2 {
		w.db().HGetAll(ctx, w.hash) // which is nowhere
	}
	w.db().HSet(ctx, w.hash, "theme", "dark")
	b.safety("safe")
	w.deliver(w.github.Ping(), http.StatusOK)
	wantStatus(w.t, "DELETE", visitor.do(http.MethodDelete, "/me", ""), http.StatusOK)
	for _, command := range []string{"SYNC", "PULL", "VERIFY"} {
		if err := w.db().Do(ctx, "SPONSOR."+command).Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	// Everything is lost, and comes back.
	w.db().FlushAll(ctx)
	b.signIn("sponsor-1")
	if got := fmt.Sprint(b.get("/exclude").json(w.t)["nodes"]); got != "[C1]" {
		w.t.Errorf("nodes = %s", got)
	}
	b.safety("safe")
	w.scraped()
	w.quiet()
	w.wantMetrics()
}

// failedSignIn is one that GitHub answers with an error.
func (s *site) failedSignIn() {
	s.t.Helper()
	s.github.SetFault(githubtest.Exchange, githubtest.BadGateway())
	b := s.browser()
	if a := b.get(b.authorize("visitor-1", "/"), "Accept", "application/json"); a.StatusCode < 500 {
		s.t.Fatalf("callback = %d %s", a.StatusCode, a.body)
	}
}

// refuse is what is refused: by the remote, by the webhook, by the limits, by ACL.
func (w *watched) refuse() (mend func()) {
	ctx := w.t.Context()
	if err := w.db().Do(ctx, "ACL", "SETUSER", "reader", "on", "nopass", "~user:*", "+smembers").Err(); err != nil {
		w.t.Fatal(err)
	}
	w.remote.Del(ctx, w.key)
	w.remote.Set(ctx, w.key, "a string", 0)
	w.db().SAdd(ctx, w.key, "C2")
	w.github.SetWebhook("http://"+w.main.Addr()+webhookPath, "not the secret")
	for range 9 {
		w.deliver(w.github.Ping(), http.StatusUnauthorized)
	}
	w.github.SetWebhook("http://"+w.main.Addr()+webhookPath, webhookSecret)
	until(w.t, 1100, func(int) answer { return w.direct("/openapi.json", "203.0.113.7") })
	for range 150 {
		wantStatus(w.t, "flood", w.direct("/openapi.json", "203.0.113.7"), http.StatusTooManyRequests)
	}
	return func() {
		w.remote.Del(ctx, w.key)
		if err := w.db().Do(ctx, "SPONSOR.RETRY").Err(); err != nil {
			w.t.Fatal(err)
		}
		w.db().Do(ctx, "ACL", "DELUSER", "reader")
	}
}

// growOld lets GitHub's list be four hours old.
func (w *watched) growOld() (mend func()) {
	comes := func(after time.Duration) {
		w.clock.advance(after)
		w.deliver(w.github.Event("edited", "sponsor-1", nil), http.StatusAccepted) // asks for the list
	}
	comes(-4 * time.Hour)
	return func() { comes(4 * time.Hour) }
}

// breakGitHub lets people fail to sign in.
func (w *watched) breakGitHub() (mend func()) {
	for range 20 {
		w.failedSignIn()
	}
	return w.github.Heal
}

// slowRemote answers later than commands may wait for it.
func (w *watched) slowRemote() {
	b := w.browser()
	b.signIn("sponsor-1")
	ctx := w.t.Context()
	w.db().FlushAll(ctx)
	b.signIn("sponsor-1")
	w.db().ConfigSet(ctx, "sponsor.read-timeout-ms", "1500") // long enough for a scrape to see it
	w.link.Latency(1600 * time.Millisecond)
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() { w.db().HGetAll(ctx, w.hash) })
		work.Go(func() {
			if _, err := b.try(http.MethodGet, "/me", ""); err != nil {
				w.t.Error(err)
			}
		})
	}
	work.Wait()
	w.fires("SponsorFetchTimeouts", "SponsorAPISlow")
	w.link.Latency(0)
}

// remoteDown cuts the link. A key that travels as a whole is evicted before it was sent.
func (w *watched) remoteDown() {
	w.waitForModule("connected")
	ctx := w.t.Context()
	w.link.Refuse()
	w.db().SAdd(ctx, w.key, "C3")
	w.db().Del(ctx, w.hash)
	w.db().RPush(ctx, w.hash, "an element")
	w.fires("SponsorRemoteDown")
	w.holds("sponsor_module_pending_keys > 0 and sponsor_module_lag_ms > 0 and sponsor_module_buffer_bytes > 0")
	w.db().ConfigSet(ctx, "maxmemory-policy", "allkeys-random")
	w.db().ConfigSet(ctx, "maxmemory", "1")
	w.db().Set(ctx, "anything", "", 0) // is refused, once all that can go has gone
	w.db().ConfigSet(ctx, "maxmemory", "0")
	w.fires("SponsorLostChanges")
	if err := w.link.Heal(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) noModule() {
	redistest.Eventually(w.t, 20*time.Second, func() error {
		// It stays as long as somebody's last command was one of its own.
		w.db().ClientKillByFilter(w.t.Context(), "TYPE", "normal", "SKIPME", "yes")
		return w.db().Do(w.t.Context(), "MODULE", "UNLOAD", "sponsor").Err()
	})
	w.fires("SponsorModuleNotLoaded")
}

func (w *watched) noRedis() {
	b := w.browser()
	b.signIn("visitor-2")
	if err := w.redis.Kill(); err != nil {
		w.t.Fatal(err)
	}
	fail := func() {
		wantStatus(w.t, "/me", b.get("/me"), http.StatusServiceUnavailable)
	}
	fail()
	w.scraped()
	for range 150 {
		fail()
	}
	w.fires("SponsorRedisDown", "SponsorAPIErrors")
}

func (w *watched) noAPI() {
	if err := w.main.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.fires("SponsorAPIDown")
}

// notForReal are alerts that alerts_test.yaml alone makes fire: they take longer than a
// test should, or a server that is broken.
var notForReal = []string{"SponsorLag", "SponsorPendingGrowing", "SponsorSelfTestFailed"}

// wantPages holds what people read in their pages against what they should.
func (w *watched) wantPages(t *testing.T) {
	t.Helper()
	all := w.pager.all()
	fired := slices.Sorted(maps.Keys(all))
	want := slices.DeleteFunc(alertNames(t), func(name string) bool { return slices.Contains(notForReal, name) })
	if !slices.Equal(fired, want) {
		t.Errorf("fired:\n%v, want\n%v", fired, want)
	}
	for name, pages := range all {
		for _, p := range pages {
			text := p.Annotations["summary"] + " " + p.Annotations["description"]
			if strings.ContainsAny(text, "{}<>") || strings.Contains(text, "%!") || strings.Contains(text, "NaN") {
				t.Errorf("%s says: %s", name, text)
			}
		}
	}
}

// wantRules asks Prometheus for every rule's expression.
func (w *watched) wantRules(t *testing.T) {
	rules, err := w.rules()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	known := w.known(t)
	for _, r := range rules {
		names = append(names, r.Name)
		if r.Health != "ok" {
			t.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
		}
		wantKnown(t, r.Name, r.Query, known)
	}
	slices.Sort(names)
	if want := alertNames(t); !slices.Equal(names, want) {
		t.Errorf("Prometheus has %v, want %v", names, want)
	}
}

// wantDashboard asks for every expression of the dashboard as Grafana does: each has a
// value, and not only zero, since all of it has happened.
func (w *watched) wantDashboard(t *testing.T) {
	known := w.known(t)
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			wantKnown(t, p.Title, target.Expr, known)
			lines, err := w.since(grafana.Replace(target.Expr))
			if err != nil {
				t.Errorf("%s: %s: %v", p.Title, target.Expr, err)
			} else if !moves(lines) {
				t.Errorf("%s: %s shows nothing but zero: %v", p.Title, target.Expr, lines)
			}
		}
	}
}

// grafana puts in what Grafana does.
var grafana = strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")

// moves reports whether there is a value that is not zero.
func moves(lines []line) bool {
	for _, l := range lines {
		for _, v := range l.Values {
			if v[1] != "0" && v[1] != "NaN" {
				return true
			}
		}
	}
	return false
}

// known are the names of all metrics that Prometheus has seen.
func (w *watched) known(t *testing.T) []string {
	t.Helper()
	var names []string
	if err := w.ask("label/__name__/values", &names); err != nil {
		t.Fatal(err)
	}
	return names
}

// wantMetrics holds the runbook's table against what sponsor-api shows of its own.
func (w *watched) wantMetrics() {
	w.t.Helper()
	resp := w.browser().get("http://" + w.main.Addr() + "/metrics")
	shown := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (sponsor_\w+) (\w+)$`).FindAllStringSubmatch(resp.body, -1) {
		shown[m[1]] = m[2]
	}
	told := make(map[string]string)
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(read(w.t, runbook), -1) {
		told[m[1]] = m[2]
	}
	for name, kind := range shown {
		if told[name] != kind {
			w.t.Errorf("sponsor-api shows the %s %s, and the runbook's table has it as %q", kind, name, told[name])
		}
	}
	for name := range told {
		if shown[name] == "" {
			w.t.Errorf("the runbook's table has %s, which sponsor-api does not show", name)
		}
	}
}
