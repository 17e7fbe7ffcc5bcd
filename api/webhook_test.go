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
		{"a GUID without end", good, func(h http.Header) { h.Set("X-GitHub-Delivery", strings.Repeat("a", 65)) }, 400},
		{"a signature's beginning", good, func(h http.Header) { h.Set("X-Hub-Signature-256", signature[:len(signature)-2]) }, 401},
		{"no action", s.github.Event("", "visitor-1", since(-time.Hour)), nil, 400},
		{"no sponsorable", s.github.Event("created", "visitor-1", func(p *githubtest.Payload) { p.Sponsorship.Sponsorable.Login = "" }), nil, 400},
		{"no effective date", s.github.Event("pending_cancellation", "visitor-1", func(p *githubtest.Payload) { p.EffectiveDate = "soon" }), nil, 400},
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
		{"created long ago, says nobody", s.github.Event("created", "visitor-1", func(p *githubtest.Payload) { p.Sponsorship.CreatedAt = "0001-01-01T00:00:00Z" }), nil, 202},
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
	// In chunks, where there is no length to refuse it by.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+webhookPath, struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", 1<<20+1))})
	if err != nil {
		t.Fatal(err)
	}
	req.Header = good.Header()
	resp, err := s.browser().http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large in chunks = %d, want 413", resp.StatusCode)
	}
	for _, word := range []string{webhookSecret, signature, "sha256="} {
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

// While the secret is being replaced both sign.
func TestWebhook_TwoSecrets(t *testing.T) {
	t.Parallel()
	const previous = "the previous secret of the webhook"
	s, _ := newWebhookSite(t, func(m map[string]string) { m["GITHUB_WEBHOOK_SECRET"] = webhookSecret + ", " + previous })
	for secret, want := range map[string]int{webhookSecret: http.StatusOK, previous: http.StatusOK, "a third secret of the webhook": http.StatusUnauthorized} {
		d := s.github.Ping()
		d.Secret = secret
		if got := s.deliver(d, want); want == http.StatusOK && !strings.Contains(got, "pong") {
			t.Errorf("the answer to a ping is %s", got)
		}
	}
}

// GitHub writes logins as their owners do, whatever SPONSOR_ORG says.
func TestWebhook_LoginInCapitals(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	s.deliver(s.github.Event("created", "visitor-1", func(p *githubtest.Payload) {
		since(-time.Hour)(p)
		p.Sponsorship.Sponsorable.Login = strings.ToUpper(testOrg)
	}), http.StatusAccepted)
	s.wantSponsors("visitor-1")
}

// An event that names nobody tells that the list has changed.
func TestWebhook_NamelessEventAsksForTheList(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, withMaintainer)
	s.wantSponsors("sponsor-1")
	s.github.SetSponsoring("visitor-1", true)
	s.deliver(s.github.Event("created", "visitor-1", func(p *githubtest.Payload) { p.Sponsorship.Sponsor = nil }), http.StatusOK)
	s.wantSponsors("sponsor-1", "visitor-1")
}

// What events do to the record of somebody who sponsors since yesterday. None of
// them is signed with a time: those that cannot be of now change nothing.
func TestWebhook_Events(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, nil)
	began := clock.now().Add(-day).UTC().Truncate(time.Second)
	at := func(d time.Duration) string { return began.Add(d).Format(time.RFC3339) }
	tier := func(cents int) func(*githubtest.Payload) {
		return func(p *githubtest.Payload) {
			p.Sponsorship.Tier.Name, p.Sponsorship.Tier.MonthlyPriceInCents = fmt.Sprintf("tier of %d", cents), cents
			if p.Changes != nil && p.Changes.Tier != nil {
				p.Changes.Tier.From.Name, p.Changes.Tier.From.MonthlyPriceInCents = "tier of 500", 500
			}
		}
	}
	effective := func(d time.Duration) func(*githubtest.Payload) {
		return func(p *githubtest.Payload) { p.EffectiveDate = at(d) }
	}
	type event struct {
		action string
		change []func(*githubtest.Payload)
	}
	cancels := event{"pending_cancellation", []func(*githubtest.Payload){effective(20 * day)}}
	created := func(d time.Duration) func(*githubtest.Payload) {
		return func(p *githubtest.Payload) { p.Sponsorship.CreatedAt = at(d) }
	}
	for i, tt := range []struct {
		name   string
		events []event
		has    []string
		hasNot []string
	}{
		{"created", nil, []string{`"sponsoring":true`, `"cents":500`}, []string{"cancels", "next", "ended"}},
		{"cancelled", []event{{"cancelled", nil}}, []string{`"sponsoring":false`, `"ended"`}, nil},
		{"an older one was cancelled", []event{{"cancelled", []func(*githubtest.Payload){created(-day)}}}, []string{`"sponsoring":true`}, []string{"ended"}},
		{"cancelled and created again", []event{{"cancelled", nil}, {"created", nil}}, []string{`"sponsoring":false`, `"ended"`}, nil},
		{"cancelled and edited", []event{{"cancelled", nil}, {"edited", nil}}, []string{`"sponsoring":false`, `"ended"`}, nil},
		{"another one begins", []event{{"cancelled", nil}, {"created", []func(*githubtest.Payload){created(day)}}}, []string{`"sponsoring":true`}, []string{"ended"}},
		{"created in the future", []event{{"cancelled", []func(*githubtest.Payload){created(10 * day)}}}, []string{`"sponsoring":true`}, []string{"ended"}},
		{"cancels later", []event{cancels}, []string{`"sponsoring":true`, `"cancels":"` + at(20*day)}, []string{"ended"}},
		{"cancels later, a date", []event{{"pending_cancellation", []func(*githubtest.Payload){func(p *githubtest.Payload) {
			p.EffectiveDate = began.Add(20 * day).Format(time.DateOnly)
		}}}}, []string{`"cancels":"` + began.Add(20*day).Format(time.DateOnly)}, []string{"ended"}},
		{"cancels in a hundred years", []event{{"pending_cancellation", []func(*githubtest.Payload){effective(36500 * day)}}}, []string{`"sponsoring":true`}, []string{"cancels", "ended"}},
		{"cancels since long ago", []event{{"pending_cancellation", []func(*githubtest.Payload){effective(-10 * day)}}}, []string{`"sponsoring":true`, `"cancels":"` + clock.now().UTC().Format(time.DateOnly)}, []string{"ended"}},
		{"cancels later, then edited", []event{cancels, {"edited", nil}}, []string{`"cancels":"` + at(20*day)}, []string{"ended"}},
		{"cancels later, then another tier", []event{cancels, {"tier_changed", []func(*githubtest.Payload){tier(1000)}}}, []string{`"cents":1000`}, []string{"cancels", "ended"}},
		{"cancels later, then cancelled", []event{cancels, {"cancelled", nil}}, []string{`"sponsoring":false`, `"ended"`}, []string{"cancels"}},
		{"another tier later", []event{{"pending_tier_change", []func(*githubtest.Payload){tier(1000), effective(20 * day)}}}, []string{`"tier":{"name":"tier of 500","cents":500}`, `"next":{"name":"tier of 1000","cents":1000}`, `"next_at":"` + at(20*day)}, nil},
		{"another tier in a hundred years", []event{{"pending_tier_change", []func(*githubtest.Payload){tier(1000), effective(36500 * day)}}}, []string{`"cents":500`}, []string{"next"}},
		{"another tier", []event{{"tier_changed", []func(*githubtest.Payload){tier(1000)}}}, []string{`"cents":1000`}, []string{"next"}},
		{"an action of next year", []event{{"exploded", []func(*githubtest.Payload){tier(1000)}}}, []string{`"cents":500`}, []string{"next"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			login := fmt.Sprintf("person-%d", i)
			for _, e := range append([]event{{"created", []func(*githubtest.Payload){tier(500)}}}, tt.events...) {
				s.deliver(s.github.Event(e.action, login, func(p *githubtest.Payload) {
					created(0)(p)
					for _, change := range e.change {
						change(p)
					}
				}), http.StatusAccepted)
				clock.advance(time.Second)
			}
			record := s.db().Get(t.Context(), "api:sponsorship:"+s.id(login)).Val()
			for _, want := range tt.has {
				if !strings.Contains(record, want) {
					t.Errorf("the record %s has no %s", record, want)
				}
			}
			for _, no := range tt.hasNot {
				if strings.Contains(record, `"`+no+`"`) {
					t.Errorf("the record %s has %s", record, no)
				}
			}
		})
	}
}

// The event of a one-time payment counts from the payment, however often and late it
// comes.
func TestWebhook_OneTimePayment(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, nil)
	d := s.github.Event("created", "visitor-1", func(p *githubtest.Payload) {
		since(-time.Hour)(p)
		p.Sponsorship.Tier.IsOneTime = true
	})
	s.deliver(d, http.StatusAccepted)
	s.wantSponsors("visitor-1")
	clock.advance(25 * day)
	again := d
	again.GUID = "another-guid"
	s.deliver(again, http.StatusAccepted)
	clock.advance(9 * day)
	s.wantSponsors()
}

// The grace begins with the effective date, not when GitHub's event comes.
func TestWebhook_GraceBeginsWithTheEffectiveDate(t *testing.T) {
	t.Parallel()
	s, clock := newWebhookSite(t, nil)
	s.deliver(s.github.Event("pending_cancellation", "sponsor-1", func(p *githubtest.Payload) {
		p.EffectiveDate = time.Now().Add(10 * day).UTC().Format(time.RFC3339)
	}), http.StatusAccepted)
	clock.advance(12 * day)
	s.deliver(s.github.Event("cancelled", "sponsor-1", nil), http.StatusAccepted)
	s.wantSponsors("sponsor-1")
	clock.advance(day + time.Hour)
	s.wantSponsors()
}

// Events of one person that come at once interfere with each other, and all are
// recorded: each that does lets one more attempt of the others fail.
func TestWebhook_AtOnce(t *testing.T) {
	t.Parallel()
	s, _ := newWebhookSite(t, nil)
	const events = 20
	statuses := make(chan int, events)
	for range events {
		d := s.github.Event("created", "visitor-1", since(-time.Hour))
		go func() {
			reply, err := s.github.Deliver(t.Context(), d)
			if err != nil {
				t.Error(err)
			}
			statuses <- reply.Status
		}()
	}
	for range events {
		if status := <-statuses; status != http.StatusAccepted {
			t.Errorf("status %d, want 202", status)
		}
	}
	s.wantSponsors("visitor-1")
}
