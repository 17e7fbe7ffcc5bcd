package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

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
	s, clock := newClockedSite(t, withMaintainer)
	for i := range 120 { // more than a page
		s.github.SetSponsoring(fmt.Sprintf("person-%d", i), true)
	}
	s.main.keeper.Kick()
	redistest.Eventually(t, 30*time.Second, func() error {
		if n := len(s.members("sponsors:" + testOrg)); n != 121 {
			return fmt.Errorf("%d sponsors, want 121", n)
		}
		return nil
	})
	fails := func(times float64) {
		t.Helper()
		before := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`)
		redistest.Eventually(t, 30*time.Second, func() error {
			s.main.keeper.Kick()
			if got := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`); got < before+times {
				return fmt.Errorf("%v reconciliations have failed, want %v", got-before, times)
			}
			return nil
		})
	}
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
			s.github.SetFault(githubtest.GraphQL, fault)
			defer s.github.Heal()
			fails(2)
			clock.advance(10 * day) // whoever was taken for gone has no grace left
			fails(2)
			if n := len(s.members("sponsors:" + testOrg)); n != 121 {
				t.Fatalf("%d sponsors, want all 121", n)
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

// Who asks about somebody else than the last of a long list stops there, and who is
// not on a list that breaks off is not told that they are no sponsor.
func TestRefresh_IncompleteList(t *testing.T) {
	t.Parallel()
	s, _ := newClockedSite(t, withMaintainer)
	b := s.browser()
	b.signIn("sponsor-1")
	redistest.Eventually(t, 20*time.Second, func() error {
		if s.metric("sponsor_api_reconciliations_total", `outcome="complete"`) == 0 {
			return errStill("no reconciliation")
		}
		return nil
	})
	s.github.SetSponsoring("sponsor-1", false)
	s.github.SetSponsoring("visitor-1", true)
	s.github.SetFault(githubtest.GraphQL, githubtest.LostNode())
	if got := b.do(http.MethodPost, "/me/refresh", "").json(t)["sponsorship"].(map[string]any); got["sponsoring"] != true || got["unanswered"] == nil {
		t.Errorf("sponsorship = %v, want as before, and that GitHub did not answer", got)
	}
	s.github.Heal()
	if got := b.do(http.MethodPost, "/me/refresh", "").json(t)["sponsorship"].(map[string]any); got["sponsoring"] != false {
		t.Errorf("sponsorship = %v, want that it has ended", got)
	}
}

// Two entries of one account, as of an old sponsorship and a new one, make the list
// no less complete; the newest counts.
func TestReconcile_OneAccountTwice(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, withMaintainer)
	b := s.browser()
	b.signIn("sponsor-1")
	entry := func(cents int) string {
		return fmt.Sprintf(`{"isActive":true,"isOneTimePayment":false,"createdAt":"2026-01-01T00:00:00Z","tierSelectedAt":null,"tier":{"name":"t","monthlyPriceInCents":%d},
			"sponsorEntity":{"databaseId":%s}}`, cents, s.id("visitor-1"))
	}
	nonsense := strings.Replace(entry(1), s.id("visitor-1"), "-7", 1) // nobody has such an id
	s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
		{"totalCount":3,"pageInfo":{"hasNextPage":false,"endCursor":null},"nodes":[` + entry(1000) + "," + entry(100) + "," + nonsense + `]}}}}`})
	s.main.keeper.Kick()
	redistest.Eventually(t, 20*time.Second, func() error {
		if got := s.db().Get(t.Context(), "api:sponsorship:"+s.id("sponsor-1")).Val(); !strings.Contains(got, `"sponsoring":false`) {
			return fmt.Errorf("who is not on the list: %s", got)
		}
		return nil
	})
	if got := s.db().Get(t.Context(), "api:sponsorship:"+s.id("visitor-1")).Val(); !strings.Contains(got, `"cents":1000`) {
		t.Errorf("the record is %s, want the newest", got)
	}
	clock.advance(4 * day)
	s.wantSponsors("visitor-1")
}

// An answer counts from when GitHub was asked, also if it is the maintainer who asks:
// what a sign-in has found out meanwhile stays.
func TestReconcile_AnswerThatIsLate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ask  func(s *site, b *browser) error
	}{
		{"refresh", func(_ *site, b *browser) error {
			_, err := b.try(http.MethodPost, "/me/refresh", "")
			return err
		}},
		{"reconciliation", func(s *site, _ *browser) error {
			s.main.keeper.Kick()
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := newClockedSite(t, withMaintainer)
			b, other := s.browser(), s.browser()
			b.signIn("sponsor-1")
			passes := func(n float64) {
				t.Helper()
				redistest.Eventually(t, 20*time.Second, func() error {
					if got := s.metric("sponsor_api_reconciliations_total", `outcome="complete"`); got < n {
						return fmt.Errorf("%v reconciliations, want %v", got, n)
					}
					return nil
				})
			}
			passes(1)
			calls := s.github.Calls(githubtest.GraphQL)
			s.github.SetFault(githubtest.GraphQL, githubtest.Fault{Hang: true, Times: 1})
			done := make(chan error, 1)
			go func() { done <- tt.ask(s, b) }()
			redistest.Eventually(t, 10*time.Second, func() error {
				if s.github.Calls(githubtest.GraphQL) == calls {
					return errStill("not asked")
				}
				return nil
			})
			s.github.SetSponsoring("sponsor-1", false)
			other.signIn("sponsor-1")
			s.github.SetSponsoring("sponsor-1", true) // what the late answer will say
			s.github.Heal()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if tt.name == "reconciliation" {
				passes(2)
			}
			if got := s.db().Get(t.Context(), "api:sponsorship:"+s.id("sponsor-1")).Val(); !strings.Contains(got, `"sponsoring":false`) {
				t.Errorf("the record is %s, want what was found out last", got)
			}
		})
	}
}

// Lists that are odd, and so not complete: nobody is taken for gone who is not on
// them.
func TestReconcile_OddLists(t *testing.T) {
	t.Parallel()
	s, clock := newClockedSite(t, withMaintainer)
	s.github.SetSponsoring("sponsor-2", true)
	s.main.keeper.Kick()
	s.wantSponsors("sponsor-1", "sponsor-2")
	for name, fault := range map[string]githubtest.Fault{
		"an entry that is not active": listed(`"isActive":false,"createdAt":"2026-01-01T00:00:00Z"`),
		"an entry without isActive":   listed(`"isActive":null,"createdAt":"2026-01-01T00:00:00Z"`),
		"an entry without createdAt":  listed(`"isActive":true,"createdAt":"0001-01-01T00:00:00Z"`),
		"no count": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
			{"totalCount":null,"pageInfo":{"hasNextPage":false,"endCursor":null},"nodes":[]}}}}`},
		"no word of more pages": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
			{"totalCount":0,"pageInfo":{"hasNextPage":null,"endCursor":null},"nodes":[]}}}}`},
		"more pages without a cursor": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
			{"totalCount":1,"pageInfo":{"hasNextPage":true,"endCursor":null},"nodes":[` + entryOfNobody + `]}}}}`},
		"an empty page before more": {Body: `{"data":{"repositoryOwner":{"viewerCanAdminister":true,"sponsorshipsAsMaintainer":
			{"totalCount":0,"pageInfo":{"hasNextPage":true,"endCursor":"a"},"nodes":[]}}}}`},
	} {
		s.github.SetFault(githubtest.GraphQL, fault)
		before := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`)
		redistest.Eventually(t, 10*time.Second, func() error {
			s.main.keeper.Kick()
			if got := s.metric("sponsor_api_reconciliations_total", `outcome="failed"`); got < before+2 {
				return fmt.Errorf("%s: %v reconciliations have failed", name, got-before)
			}
			return nil
		})
		for _, login := range []string{"sponsor-1", "sponsor-2"} {
			if got := s.db().Get(t.Context(), "api:sponsorship:"+s.id(login)).Val(); !strings.Contains(got, `"sponsoring":true`) {
				t.Errorf("%s: the record of %s is %s", name, login, got)
			}
		}
		s.github.Heal()
	}
	clock.advance(10 * day)
	s.wantSponsors("sponsor-1", "sponsor-2")
}
