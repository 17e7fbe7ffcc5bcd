package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A clock is the time by which sponsorships end, moved by a test.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

const (
	maintainerToken = "token-of-a-maintainer"
	day             = 24 * time.Hour
)

// newClockedSite is a site whose time a test moves, and that looks often for those
// who cease to count.
func newClockedSite(t *testing.T, change func(map[string]string)) (*site, *clock) {
	t.Helper()
	c := &clock{}
	return newSite(t, change, func(m *Main) { m.Now, m.LapseEvery, m.ReconcilePause = c.now, 10*time.Millisecond, time.Millisecond }), c
}

func withMaintainer(m map[string]string) { m["GITHUB_MAINTAINER_TOKEN"] = maintainerToken }

// wantSponsors waits until just these are in the set.
func (s *site) wantSponsors(logins ...string) {
	s.t.Helper()
	want := []string{}
	for _, login := range logins {
		want = append(want, s.id(login))
	}
	slices.Sort(want)
	redistest.Eventually(s.t, 10*time.Second, func() error {
		if got := s.members("sponsors:" + testOrg); !slices.Equal(got, want) {
			return fmt.Errorf("sponsors = %v, want %v %v", got, logins, want)
		}
		return nil
	})
}

// wantPage fails the test unless the account page says it.
func wantPage(t *testing.T, b *browser, says string) {
	t.Helper()
	if page := b.get("/account", "Accept", "text/html"); !strings.Contains(page.body, says) {
		t.Fatalf("the page does not say %q: %s", says, page.body)
	}
}

// Somebody who lapses at GitHub loses nothing at once and is told; when the grace is
// over they are no sponsor any more, without anybody signing in.
func TestLapse_GraceThenEnd(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	wantPage(t, b, "Thank you!")

	s.github.SetSponsoring("sponsor-1", false)
	if got := b.signIn("sponsor-1").json(t)["sponsor"]; got != true {
		t.Errorf("sponsor = %v on the day of the end, want true: the grace has begun", got)
	}
	s.wantSponsors("sponsor-1")
	wantPage(t, b, "Nothing is taken from you at once")
	me := b.get("/me").json(t)
	told, _ := me["sponsorship"].(map[string]any)
	until, err := time.Parse(time.RFC3339, fmt.Sprint(told["counts_until"]))
	if err != nil || until.Sub(clock.now()) < 71*time.Hour || until.Sub(clock.now()) > 72*time.Hour || told["sponsoring"] != false {
		t.Errorf("sponsorship = %v, want not sponsoring, counts_until in 72 hours", told)
	}

	clock.advance(71 * time.Hour)
	b.signIn("sponsor-1") // which does not begin the grace anew
	s.wantSponsors("sponsor-1")
	clock.advance(2 * time.Hour)
	s.wantSponsors()
	wantPage(t, b, "ended on")
	if got := s.members("user:" + s.id("sponsor-1") + ":mnodes"); !slices.Equal(got, []string{"C1"}) {
		t.Errorf("nodes = %v after the end, want them kept", got)
	}
	if keys := s.keys("api:sponsorships:ending"); len(keys) != 0 {
		t.Error("there is still an alarm for them")
	}
	s.github.SetSponsoring("sponsor-1", true)
	b.signIn("sponsor-1")
	s.wantSponsors("sponsor-1")
}

func TestLapse_NoGrace(t *testing.T) {
	t.Parallel()
	s, _ := newClockedSite(t, func(m map[string]string) { m["SPONSOR_GRACE"] = "0" })
	b := s.browser()
	b.signIn("sponsor-1")
	s.github.SetSponsoring("sponsor-1", false)
	if got := b.signIn("sponsor-1").json(t)["sponsor"]; got != false {
		t.Errorf("sponsor = %v, want false: there is no grace", got)
	}
	s.wantSponsors()
}

func TestOneTimePayment(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, func(m map[string]string) { m["SPONSOR_ENTITLEMENTS"] = "early-access=500,priority=5000" })
	s.github.Update("visitor-1", func(a *githubtest.Account) {
		a.Sponsorship = &githubtest.Sponsorship{
			Active: true, OneTime: true, CreatedAt: time.Now(), TierSelectedAt: time.Now(), TierName: "$50 one time", TierCents: 5000,
		}
	})
	b := s.browser()
	b.signIn("visitor-1")
	s.wantSponsors("visitor-1")
	wantPage(t, b, "$50 one time")
	if got := fmt.Sprint(b.get("/me").json(t)["entitlements"]); got != "[early-access priority]" {
		t.Errorf("entitlements = %s", got)
	}
	clock.advance(29 * day)
	s.wantSponsors("visitor-1")
	clock.advance(5 * day) // 30 of the payment, 3 of the grace
	s.wantSponsors()
	if got := fmt.Sprint(b.get("/me").json(t)["entitlements"]); got != "[]" {
		t.Errorf("entitlements = %s after the end", got)
	}
}

const entryOfNobody = `{"isActive":true,"isOneTimePayment":false,"createdAt":"2026-01-01T00:00:00Z","tierSelectedAt":null,"tier":null,"sponsorEntity":null}`

// listed is a list of one entry with these fields.
func listed(fields string) githubtest.Fault {
	return githubtest.Fault{Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
		{"totalCount":1,"pageInfo":{"hasNextPage":false,"endCursor":null},"nodes":[
		{` + fields + `,"isOneTimePayment":false,"tierSelectedAt":null,"tier":null,"sponsorEntity":null}]}}}}`}
}

// The alarm of somebody in the grace is lost: they count no longer than they would
// have, and a start of ours finds them.
func TestLapse_AlarmLost(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	s.github.SetSponsoring("sponsor-1", false)
	b.signIn("sponsor-1")
	s.db().Del(t.Context(), "api:sponsorships:ending")
	wantStatus(t, "/auth", b.get("/auth"), http.StatusOK)
	clock.advance(50 * day)
	if got := b.get("/auth").Header.Get("X-Sponsor"); got != "no" {
		t.Errorf("X-Sponsor = %s long after the end, want no", got)
	}
	s.wantSponsors("sponsor-1")
	newSiteOn(t, s.redis, nil, func(m *Main) { m.Now, m.LapseEvery = clock.now, 10*time.Millisecond })
	s.wantSponsors()
}

// One record that cannot be read keeps nobody else in.
func TestLapse_OneCannotBeTakenOut(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	s.db().RPush(t.Context(), "api:sponsorship:1", "x")
	s.db().SAdd(t.Context(), "sponsors:"+testOrg, "1")
	s.db().ZAdd(t.Context(), "api:sponsorships:ending", redis.Z{Score: 1, Member: "1"})
	s.github.SetSponsoring("sponsor-1", false)
	b.signIn("sponsor-1")
	clock.advance(4 * day)
	s.wantSponsors()
}

// A lapse falls into a sign-in by which GitHub says yes: yes it is.
func TestLapse_WhileSigningIn(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	s.github.SetSponsoring("sponsor-1", false)
	b.signIn("sponsor-1")
	s.github.SetSponsoring("sponsor-1", true)
	callback := b.authorize("sponsor-1", "/?again=1")
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Hang: true})
	calls := s.github.Calls(githubtest.GraphQL)
	answers := make(chan answer, 1)
	go func() {
		a, err := b.try(http.MethodGet, callback, "", "Accept", "application/json")
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	redistest.Eventually(t, 5*time.Second, func() error {
		if s.github.Calls(githubtest.GraphQL) == calls {
			return fmt.Errorf("GitHub was not asked yet")
		}
		return nil
	})
	clock.advance(72*time.Hour + time.Second)
	s.wantSponsors()
	clock.advance(-72 * time.Hour) // a second later, as it were
	s.github.Heal()
	if got := (<-answers).json(t)["sponsor"]; got != true {
		t.Errorf("sponsor = %v, want true", got)
	}
	s.wantSponsors("sponsor-1")
}

// A record that is lost takes nothing from a sponsor at once, and does not make them
// one for ever: the alarm stays.
func TestLapse_RecordIsLost(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, nil)
	s.github.Update("visitor-1", func(a *githubtest.Account) {
		a.Sponsorship = &githubtest.Sponsorship{Active: true, OneTime: true, CreatedAt: time.Now(), TierSelectedAt: time.Now(), TierName: "$50 one time", TierCents: 5000}
	})
	b := s.browser()
	b.signIn("visitor-1")
	s.db().Del(t.Context(), "api:sponsorship:"+s.id("visitor-1"))
	if got := b.get("/me").json(t)["sponsor"]; got != true {
		t.Errorf("sponsor = %v without a record, want true as before", got)
	}
	wantPage(t, b, "visitor-1")
	clock.advance(32 * day)
	s.wantSponsors("visitor-1")
	clock.advance(2 * day)
	s.wantSponsors()
}

// What GitHub calls active counts for longer than the days of a payment; what it does
// not call active any more counts for all of them.
func TestOneTimePayment_AtGitHub(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		asked  time.Duration // when they sign in again
		active bool
		until  time.Duration // grace included
	}{
		{"active for longer", 32 * day, true, 35 * day},
		{"not active any more", 5 * day, false, 33 * day},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, clock := newClockedSite(t, nil)
			paid := time.Now()
			pays := func(active bool) {
				s.github.Update("visitor-1", func(a *githubtest.Account) {
					a.Sponsorship = &githubtest.Sponsorship{Active: active, OneTime: true, CreatedAt: paid, TierSelectedAt: paid, TierName: "$50 one time", TierCents: 5000}
				})
			}
			pays(true)
			b := s.browser()
			b.signIn("visitor-1")
			clock.advance(tt.asked)
			pays(tt.active)
			if got := b.signIn("visitor-1").json(t)["sponsor"]; got != true {
				t.Errorf("sponsor = %v, want true", got)
			}
			until := time.Unix(int64(s.db().ZScore(t.Context(), "api:sponsorships:ending", s.id("visitor-1")).Val()), 0)
			if d := until.Sub(paid); d < tt.until-time.Hour || d > tt.until+time.Hour {
				t.Errorf("it counts for %v, want %v", d, tt.until)
			}
			clock.advance(tt.until - tt.asked + time.Hour)
			s.wantSponsors()
		})
	}
}

// An alarm that is older than what is known of the person takes nobody out.
func TestLapse_AlarmThatIsOld(t *testing.T) {
	t.Parallel()
	s, _ := newClockedSite(t, nil)
	s.browser().signIn("sponsor-1")
	s.db().ZAdd(t.Context(), "api:sponsorships:ending", redis.Z{Score: 1, Member: s.id("sponsor-1")})
	redistest.Eventually(t, 10*time.Second, func() error {
		if keys := s.keys("api:sponsorships:ending"); len(keys) != 0 {
			return errStill("an alarm")
		}
		return nil
	})
	s.wantSponsors("sponsor-1")
}

// The tier that GitHub does not tell any more is the one that is known, unless it is
// another sponsorship.
func TestSponsorship_HiddenTier(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(m map[string]string) { m["SPONSOR_ENTITLEMENTS"] = "thanks=0,early-access=500" }, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	a, _ := s.github.Account("sponsor-1")
	for _, tt := range []struct {
		name  string
		since time.Time
		want  string
	}{
		{"the same sponsorship", a.Sponsorship.CreatedAt, "[thanks early-access]"},
		{"another one", a.Sponsorship.CreatedAt.Add(time.Hour), "[thanks]"},
	} {
		s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Body: `{"data":{"repositoryOwner":{"viewerIsSponsoring":true,"sponsorshipForViewerAsSponsor":
			{"isActive":true,"isOneTimePayment":false,"createdAt":"` + tt.since.UTC().Format(time.RFC3339) + `","tierSelectedAt":null,"tier":null}}}}`})
		b.signIn("sponsor-1")
		if got := fmt.Sprint(b.get("/me").json(t)["entitlements"]); got != tt.want {
			t.Errorf("%s: entitlements = %s, want %s", tt.name, got, tt.want)
		}
	}
}
