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

// The reconciliation finds who came and who left without anybody signing in, and
// who sponsors as an organisation or in private.
func TestReconcile(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, withMaintainer)
	s.github.Update("acme-corp", func(a *githubtest.Account) { a.Organization = true })
	s.github.SetSponsoring("acme-corp", true)
	s.github.SetSponsoring("sponsor-2", true)
	s.github.Update("sponsor-2", func(a *githubtest.Account) { a.Sponsorship.Private = true })
	var everybody []string
	for i := range 250 { // several pages
		login := fmt.Sprintf("person-%d", i)
		s.github.SetSponsoring(login, true)
		everybody = append(everybody, login)
	}
	everybody = append(everybody, "sponsor-1", "sponsor-2", "acme-corp")
	s.main.keeper.Kick()
	s.wantSponsors(everybody...)

	s.github.SetSponsoring("person-7", false)
	s.main.keeper.Kick()
	redistest.Eventually(t, 10*time.Second, func() error {
		if got := s.db().ZScore(t.Context(), "api:sponsorships:ending", s.id("person-7")).Val(); got == 0 {
			return fmt.Errorf("no alarm for who has left")
		}
		return nil
	})
	s.wantSponsors(everybody...)
	clock.advance(4 * day)
	everybody = slices.DeleteFunc(everybody, func(login string) bool { return login == "person-7" })
	s.wantSponsors(everybody...)
	for _, query := range s.github.Queries() {
		if err := githubtest.CheckQuery(query, map[string]any{"org": testOrg, "first": 100, "after": nil}); err != nil {
			t.Errorf("query %s: %v", query, err)
		}
	}
}

// Whatever is wrong with GitHub's list, nobody is taken for gone who is not on it.
func TestReconcile_TakesNobodysRights(t *testing.T) {
	t.Parallel()
	second := func(f githubtest.Fault) githubtest.Fault { f.After = 1; return f }
	for name, fault := range map[string]githubtest.Fault{
		"bad gateway":       githubtest.BadGateway(),
		"second page fails": second(githubtest.BadGateway()),
		"rate limited":      githubtest.GraphQLError("RATE_LIMITED"),
		"scopes":            githubtest.GraphQLError("INSUFFICIENT_SCOPES"),
		"nonsense":          githubtest.Nonsense(),
		"dropped":           {Drop: true},
		"null data":         {Body: `{"data":null}`},
		"null owner":        {Body: `{"data":{"repositoryOwner":null}}`},
		"empty owner":       {Body: `{"data":{"repositoryOwner":{}}}`},
		"null list":         {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":null}}}`},
		"empty list":        {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":{}}}}`},
		"fewer than counted": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
			{"totalCount":2,"pageInfo":{"hasNextPage":false,"endCursor":null},"nodes":[]}}}}`},
		"no rights": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":false,"sponsorshipsAsMaintainer":
			{"totalCount":0,"pageInfo":{"hasNextPage":false,"endCursor":null},"nodes":[]}}}}`},
		"circles": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
			{"totalCount":0,"pageInfo":{"hasNextPage":true,"endCursor":"a"},"nodes":[
			{"isActive":true,"isOneTimePayment":false,"createdAt":"2026-01-01T00:00:00Z","tierSelectedAt":null,"tier":null,"sponsorEntity":null}]}}}}`},
		"a node is null": githubtest.NullNode(),
		"a node is lost": githubtest.LostNode(),
		"partial error":  githubtest.PartialError("SERVICE_UNAVAILABLE"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := newClockedSite(t, withMaintainer)
			for i := range 120 {
				s.github.SetSponsoring(fmt.Sprintf("person-%d", i), true)
			}
			b := s.browser()
			b.signIn("sponsor-1")
			s.main.keeper.Kick()
			redistest.Eventually(t, 30*time.Second, func() error {
				if n := len(s.members("sponsors:" + testOrg)); n != 121 {
					return fmt.Errorf("%d sponsors, want 121", n)
				}
				return nil
			})
			s.github.SetFault(githubtest.GraphQL, fault)
			before := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`)
			redistest.Eventually(t, 30*time.Second, func() error {
				s.main.keeper.Kick()
				if got := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`); got < before+2 {
					return fmt.Errorf("%v reconciliations have failed", got)
				}
				return nil
			})
			clock.advance(10 * day)
			redistest.Eventually(t, 30*time.Second, func() error {
				s.main.keeper.Kick()
				if got := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`); got < before+4 {
					return fmt.Errorf("%v reconciliations have failed", got)
				}
				return nil
			})
			if n := len(s.members("sponsors:" + testOrg)); n != 121 {
				t.Errorf("%d sponsors, want all 121", n)
			}
		})
	}
}

// A token that does not see private sponsorships finds sponsors, and loses none.
func TestReconcile_TokenWithoutRights(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, withMaintainer)
	s.github.SetSponsoring("sponsor-2", true)
	s.github.Update("sponsor-2", func(a *githubtest.Account) { a.Sponsorship.Private = true })
	s.main.keeper.Kick()
	s.wantSponsors("sponsor-1", "sponsor-2")
	s.github.SetMaintainer(func(m *githubtest.Maintainer) { m.Administers = false })
	s.github.SetSponsoring("visitor-1", true)
	s.main.keeper.Kick()
	s.wantSponsors("sponsor-1", "sponsor-2", "visitor-1")
	clock.advance(10 * day)
	s.wantSponsors("sponsor-1", "sponsor-2", "visitor-1")
	if !strings.Contains(s.log.String(), "does not administer") {
		t.Error("the log does not say what is wrong with the token")
	}
}

// Check again: with the maintainer's token GitHub is asked, without one the person
// is sent there.
func TestRefresh(t *testing.T) {
	t.Parallel()
	s, _ := newClockedSite(t, withMaintainer)
	b := s.browser()
	b.signIn("visitor-1")
	if got := b.get("/me").json(t)["sponsor"]; got != false {
		t.Fatalf("sponsor = %v, want false", got)
	}
	s.github.SetSponsoring("visitor-1", true)
	if got := b.do(http.MethodPost, "/me/refresh", "").json(t)["sponsor"]; got != true {
		t.Errorf("sponsor = %v after they were asked about again, want true", got)
	}
	wantPage(t, b, `action="/account/refresh"`)
	s.github.SetSponsoring("visitor-1", false)
	a := b.form("/account/refresh", nil)
	if a.StatusCode != http.StatusSeeOther || a.location() != "/account?done=asked" {
		t.Errorf("refresh = %d to %q", a.StatusCode, a.location())
	}
	wantPage(t, b, "Nothing is taken from you at once")
	s.github.SetFault(githubtest.GraphQL, githubtest.BadGateway())
	wantStatus(t, "refresh while GitHub is down", b.do(http.MethodPost, "/me/refresh", ""), http.StatusOK)
	wantPage(t, b, "GitHub did not answer")
	s.wantSponsors("visitor-1", "sponsor-1")
	wantStatus(t, "refresh from elsewhere", b.do(http.MethodPost, "/me/refresh", "", "Origin", testOrigin), http.StatusForbidden)
	wantStatus(t, "refresh of nobody", s.browser().do(http.MethodPost, "/me/refresh", ""), http.StatusUnauthorized)

	alone := newSite(t, nil, nil)
	b = alone.browser()
	b.signIn("visitor-1")
	wantPage(t, b, `href="/?again=1`)
	again := b.do(http.MethodPost, "/me/refresh", "").json(t)
	location, _ := again["location"].(string)
	alone.github.SetSponsoring("visitor-1", true)
	if got := b.get(b.authorize("visitor-1", strings.TrimPrefix(location, alone.url)), "Accept", "application/json").json(t)["sponsor"]; got != true {
		t.Errorf("sponsor = %v after %v, want true", got, again)
	}
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

// A list by which more than half would leave is believed when it comes twice.
func TestReconcile_EmptyList(t *testing.T) {
	t.Parallel()
	s, _ := newClockedSite(t, func(m map[string]string) { withMaintainer(m); m["SPONSOR_GRACE"] = "0" })
	for i := range 9 {
		s.github.SetSponsoring(fmt.Sprintf("person-%d", i), true)
	}
	s.main.keeper.Kick()
	redistest.Eventually(t, 10*time.Second, func() error {
		if n := len(s.members("sponsors:" + testOrg)); n != 10 {
			return fmt.Errorf("%d sponsors, want 10", n)
		}
		return nil
	})
	const empty = `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
		{"totalCount":0,"pageInfo":{"hasNextPage":false,"endCursor":null},"nodes":[]}}}}`
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Body: empty, Times: 1})
	failed := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`)
	s.main.keeper.Kick()
	redistest.Eventually(t, 10*time.Second, func() error {
		if got := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`); got == failed {
			return fmt.Errorf("it was not asked yet")
		}
		return nil
	})
	if n := len(s.members("sponsors:" + testOrg)); n != 10 {
		t.Fatalf("%d sponsors after one empty list, want 10", n)
	}
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Body: empty})
	redistest.Eventually(t, 10*time.Second, func() error {
		s.main.keeper.Kick()
		if n := len(s.members("sponsors:" + testOrg)); n != 0 {
			return fmt.Errorf("%d sponsors after empty lists, want none", n)
		}
		return nil
	})
}

// Who asks all the time costs GitHub one list in a while, not one each.
func TestRefresh_SharesOneList(t *testing.T) {
	t.Parallel()
	s := newSite(t, withMaintainer, func(m *Main) { m.ReconcilePause = time.Hour })
	redistest.Eventually(t, 10*time.Second, func() error {
		if s.metric("sponsor_api_reconciliations_total", `outcome="complete"`) == 0 {
			return fmt.Errorf("nothing was reconciled yet")
		}
		return nil
	})
	b := s.browser()
	b.signIn("visitor-1")
	calls := s.github.Calls(githubtest.GraphQL)
	for range 20 {
		if got := b.do(http.MethodPost, "/me/refresh", "").json(t)["sponsor"]; got != false {
			t.Errorf("sponsor = %v, want false", got)
		}
		s.main.keeper.Kick()
	}
	if got := s.github.Calls(githubtest.GraphQL); got != calls {
		t.Errorf("GitHub was asked %d times more, want none", got-calls)
	}
}
