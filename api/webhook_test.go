package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	webhookSecret = "the secret of the webhook"
	webhookPath   = "/webhooks/github"
)

func newWebhookSite(t *testing.T, change func(map[string]string)) (*site, *clock) {
	t.Helper()
	s, c := newClockedSite(t, func(m map[string]string) {
		m["GITHUB_WEBHOOK_SECRET"] = webhookSecret
		if change != nil {
			change(m)
		}
	})
	s.github.SetWebhook("http://"+s.main.Addr()+webhookPath, webhookSecret)
	return s, c
}

// deliver sends a delivery, and fails the test unless the answer has that status.
func (s *site) deliver(d githubtest.Delivery, status int) string {
	s.t.Helper()
	reply, err := s.github.Deliver(s.t.Context(), d)
	if err != nil {
		s.t.Fatal(err)
	}
	if reply.Status != status {
		s.t.Fatalf("delivery %s = %d %s, want %d", d.Body, reply.Status, reply.Body, status)
	}
	return reply.Body
}

func since(d time.Duration) func(*githubtest.Payload) {
	return func(p *githubtest.Payload) { p.Sponsorship.CreatedAt = time.Now().Add(d).UTC().Format(time.RFC3339) }
}

// A sponsorship that comes and goes by webhook, without anybody signing in.
func TestWebhook_ComesAndGoes(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, nil)
	created := s.github.Event("created", "visitor-1", since(-time.Hour))
	if got := s.deliver(created, http.StatusAccepted); !strings.Contains(got, "accepted") {
		t.Errorf("answer %s", got)
	}
	s.wantSponsors("visitor-1")
	pending := s.github.Event("pending_cancellation", "visitor-1", func(p *githubtest.Payload) {
		since(-time.Hour)(p)
		p.EffectiveDate = time.Now().Add(10 * day).UTC().Format(time.DateOnly)
	})
	s.deliver(pending, http.StatusAccepted)
	b := s.browser()
	s.github.Update("visitor-1", func(a *githubtest.Account) {
		a.Sponsorship = &githubtest.Sponsorship{Active: true, CreatedAt: time.Now().Add(-time.Hour), TierSelectedAt: time.Now().Add(-time.Hour), TierName: "$5 a month", TierCents: 500}
	})
	b.signIn("visitor-1")
	wantPage(t, b, "when your cancellation takes effect")
	clock.advance(8 * day)
	s.wantSponsors("visitor-1")
	// The date passes, and GitHub's event comes on the day.
	clock.advance(3 * day)
	s.deliver(s.github.Event("cancelled", "visitor-1", since(-time.Hour)), http.StatusAccepted)
	s.wantSponsors("visitor-1")
	wantPage(t, b, "Nothing is taken from you at once")
	clock.advance(4 * day)
	s.wantSponsors()
	// Somebody delivers the first event once more: by hand, with another GUID.
	again := created
	again.GUID = "another-guid"
	s.deliver(again, http.StatusAccepted)
	s.wantSponsors()
}

// The event of a cancellation comes once more after its date: it changes nothing.
func TestWebhook_PendingCancellationComesAgain(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, nil)
	s.deliver(s.github.Event("created", "visitor-1", since(-time.Hour)), http.StatusAccepted)
	pending := s.github.Event("pending_cancellation", "visitor-1", func(p *githubtest.Payload) {
		since(-time.Hour)(p)
		p.EffectiveDate = time.Now().Add(10 * day).UTC().Format(time.RFC3339)
	})
	s.deliver(pending, http.StatusAccepted)
	clock.advance(10*day + time.Hour)
	pending.GUID = "another-guid"
	s.deliver(pending, http.StatusAccepted)
	s.wantSponsors("visitor-1")
	clock.advance(3 * day)
	s.wantSponsors()
}

// Even without GitHub's last event the effective date holds, and the grace after it.
func TestWebhook_PendingCancellationWithoutItsEnd(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, nil)
	s.deliver(s.github.Event("pending_cancellation", "sponsor-1", func(p *githubtest.Payload) {
		p.EffectiveDate = time.Now().Add(10 * day).UTC().Format(time.RFC3339)
	}), http.StatusAccepted)
	s.wantSponsors("sponsor-1")
	clock.advance(10*day + 71*time.Hour)
	s.wantSponsors("sponsor-1")
	clock.advance(2 * time.Hour)
	s.wantSponsors()
}

func TestWebhook_Repeated(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	d := s.github.Event("created", "visitor-1", since(-time.Hour))
	s.deliver(d, http.StatusAccepted)
	if got := s.deliver(d, http.StatusOK); !strings.Contains(got, "repeated") {
		t.Errorf("answer %s, want repeated", got)
	}
	keys := s.keys("api:webhook:*")
	if len(keys) != 1 {
		t.Fatalf("remembered %v, want one", keys)
	}
	if ttl := s.db().TTL(t.Context(), keys[0]).Val(); ttl < 3*day || ttl > 5*day {
		t.Errorf("it is remembered for %v", ttl)
	}
}

// What failed is not remembered: GitHub's redelivery has the same GUID and succeeds.
func TestWebhook_FailsAndIsRedelivered(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	d := s.github.Event("created", "visitor-1", since(-time.Hour))
	// The record is something else: the transaction fails as a whole.
	s.db().Set(t.Context(), "sponsors:"+testOrg, "no set", 0)
	s.deliver(d, http.StatusInternalServerError)
	s.db().ConfigSet(t.Context(), "maxmemory", "1")
	s.db().Del(t.Context(), "sponsors:"+testOrg)
	s.deliver(d, http.StatusServiceUnavailable)
	s.db().ConfigSet(t.Context(), "maxmemory", "0")
	if keys := s.keys("api:webhook:*"); len(keys) != 0 {
		t.Fatalf("remembered %v of what failed", keys)
	}
	s.deliver(d, http.StatusAccepted)
	s.wantSponsors("visitor-1")
}

func TestWebhook_Hostile(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	good := s.github.Event("created", "visitor-1", since(-time.Hour))
	post := func(d githubtest.Delivery, change func(http.Header)) (int, string) {
		t.Helper()
		h := d.Header()
		if change != nil {
			change(h)
		}
		var headers []string
		for name := range h {
			for _, v := range h[name] {
				headers = append(headers, name, v)
			}
		}
		a := s.browser().do(http.MethodPost, webhookPath, string(d.Body), headers...)
		return a.StatusCode, a.body
	}
	with := func(change func(*githubtest.Delivery)) githubtest.Delivery {
		d := good
		change(&d)
		return d
	}
	signature := good.Header().Get("X-Hub-Signature-256")
	for _, tt := range []struct {
		name   string
		d      githubtest.Delivery
		change func(http.Header)
		want   int
	}{
		{"another secret", with(func(d *githubtest.Delivery) { d.Secret = "another secret of some length" }), nil, 401},
		{"no signature", good, func(h http.Header) { h.Del("X-Hub-Signature-256") }, 401},
		{"sha1 only", good, func(h http.Header) { h.Set("X-Hub-Signature-256", h.Get("X-Hub-Signature")) }, 401},
		{"empty signature", good, func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256=") }, 401},
		{"half a signature", good, func(h http.Header) { h.Set("X-Hub-Signature-256", signature[:40]) }, 401},
		{"without its name", good, func(h http.Header) { h.Set("X-Hub-Signature-256", signature[7:]) }, 401},
		{"two signatures", good, func(h http.Header) { h.Add("X-Hub-Signature-256", signature) }, 401},
		{"another body", good, func(h http.Header) {
			h.Set("X-Hub-Signature-256", s.github.Event("cancelled", "visitor-1", nil).Header().Get("X-Hub-Signature-256"))
		}, 401},
		{"a form", good, func(h http.Header) { h.Set("Content-Type", "application/x-www-form-urlencoded") }, 415},
		{"no GUID", good, func(h http.Header) { h.Del("X-GitHub-Delivery") }, 400},
		{"a GUID that is none", good, func(h http.Header) { h.Set("X-GitHub-Delivery", "a b*") }, 400},
		{"no JSON", with(func(d *githubtest.Delivery) { d.Body = []byte("{") }), nil, 400},
		{"an array", with(func(d *githubtest.Delivery) { d.Body = []byte("[]") }), nil, 400},
		{"nothing in it", with(func(d *githubtest.Delivery) { d.Body = []byte("{}") }), nil, 400},
		{"an id that is none", with(func(d *githubtest.Delivery) {
			d.Body = []byte(strings.Replace(string(good.Body), `"id":`, `"id":-`, -1))
		}), nil, 400},
		{"too large", with(func(d *githubtest.Delivery) { d.Body = []byte(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`) }), nil, 413},
		{"another event", good, func(h http.Header) { h.Set("X-GitHub-Event", "push") }, 200},
		{"somebody else's sponsors", s.github.Event("created", "visitor-1", func(p *githubtest.Payload) { p.Sponsorship.Sponsorable.Login = "another-org" }), nil, 200},
		{"a sponsor whose account is gone", s.github.Event("created", "visitor-1", func(p *githubtest.Payload) { p.Sponsorship.Sponsor = nil }), nil, 200},
		{"an action of next year", s.github.Event("exploded", "visitor-1", nil), nil, 202},
		{"created in the future", s.github.Event("created", "visitor-1", since(48*time.Hour)), nil, 202},
		{"ping", s.github.Ping(), nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, body := post(tt.d, tt.change); got != tt.want {
				t.Errorf("status %d %s, want %d", got, body, tt.want)
			}
			if got := s.members("sponsors:" + testOrg); len(got) != 0 {
				t.Fatalf("sponsors = %v", got)
			}
		})
	}
	large := with(func(d *githubtest.Delivery) {
		var v map[string]any
		if err := json.Unmarshal(good.Body, &v); err != nil {
			t.Fatal(err)
		}
		v["padding"] = strings.Repeat("x", 1_000_000)
		d.Body, _ = json.Marshal(v)
	})
	if got, body := post(large, nil); got != http.StatusAccepted {
		t.Errorf("a body of a million bytes = %d %s, want 202", got, body)
	}
	s.wantSponsors("visitor-1")
	for _, word := range []string{webhookSecret, signature} {
		if strings.Contains(s.log.String(), word) {
			t.Errorf("the log has %q", word)
		}
	}
}

func TestWebhook_NotConfigured(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	a := s.browser().do(http.MethodPost, webhookPath, "{}", "Content-Type", "application/json", "X-Hub-Signature-256", "sha256=")
	wantStatus(t, "webhook", a, http.StatusNotFound)
	if got := s.metric("sponsor_api_webhooks_total", ""); got != 0 {
		t.Errorf("%v deliveries were counted, although there is no webhook", got)
	}
}

// An organisation that sponsors is recorded by its own id, and its members are not.
func TestWebhook_Organisation(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	s.github.Update("acme-corp", func(a *githubtest.Account) { a.Organization = true })
	s.deliver(s.github.Event("created", "acme-corp", since(-time.Hour)), http.StatusAccepted)
	s.wantSponsors("acme-corp")
}

// An event is a hint: with a maintainer's token GitHub is asked what is true.
func TestWebhook_AHintIsChecked(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, withMaintainer)
	s.main.keeper.Kick()
	s.wantSponsors("sponsor-1")
	s.deliver(s.github.Event("cancelled", "sponsor-1", nil), http.StatusAccepted)
	b := s.browser()
	redistest.Eventually(t, 10*time.Second, func() error {
		got := s.db().Get(t.Context(), "api:sponsorship:"+s.id("sponsor-1")).Val()
		if !strings.Contains(got, `"sponsoring":true`) || strings.Contains(got, `"ended"`) {
			return fmt.Errorf("the record is %s, want that GitHub was asked", got)
		}
		return nil
	})
	b.signIn("sponsor-1")
	wantPage(t, b, "Thank you!")
}

func TestWebhook_Tiers(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, func(m map[string]string) { m["SPONSOR_ENTITLEMENTS"] = "early-access=500,priority=5000" })
	b := s.browser()
	b.signIn("sponsor-1")
	entitlements := func(want string) {
		t.Helper()
		if got := fmt.Sprint(b.get("/me").json(t)["entitlements"]); got != want {
			t.Errorf("entitlements = %s, want %s", got, want)
		}
	}
	entitlements("[early-access]")
	a, _ := s.github.Account("sponsor-1")
	change := func(cents int) func(*githubtest.Payload) {
		return func(p *githubtest.Payload) {
			p.Sponsorship.CreatedAt = a.Sponsorship.CreatedAt.Format(time.RFC3339)
			p.EffectiveDate = clock.now().Add(20 * day).Format(time.RFC3339)
			p.Sponsorship.Tier.Name, p.Sponsorship.Tier.MonthlyPriceInCents = "the new tier", cents
			p.Changes.Tier.From.Name, p.Changes.Tier.From.MonthlyPriceInCents = "$5 a month", 500
		}
	}
	s.deliver(s.github.Event("pending_tier_change", "sponsor-1", change(100)), http.StatusAccepted)
	entitlements("[early-access]")
	wantPage(t, b, "the new tier")
	s.deliver(s.github.Event("tier_changed", "sponsor-1", change(5000)), http.StatusAccepted)
	entitlements("[early-access priority]")
}
