package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const maintainerToken = "token-of-the-maintainer"

// listQuery asks as a maintainer does.
const listQuery = `query($o:String!,$first:Int,$after:String,$private:Boolean=true,$active:Boolean=true,$direction:OrderDirection=DESC){
  repositoryOwner(login:$o){
    __typename
    ... on Organization{viewerCanAdminister}
    ... on User{isViewer}
    ... on Sponsorable{sponsorshipsAsMaintainer(first:$first,after:$after,includePrivate:$private,activeOnly:$active,orderBy:{field:CREATED_AT,direction:$direction}){
      totalCount
      pageInfo{hasNextPage endCursor hasPreviousPage startCursor}
      nodes{createdAt isActive isOneTimePayment tierSelectedAt privacyLevel tier{name monthlyPriceInCents}
        sponsorEntity{__typename ... on User{databaseId login} ... on Organization{databaseId login}}}
    }}
  }}`

// listAnswer is what comes of listQuery.
type listAnswer struct {
	Data struct {
		RepositoryOwner *struct {
			Typename                 string `json:"__typename"`
			ViewerCanAdminister      *bool
			IsViewer                 *bool
			SponsorshipsAsMaintainer struct {
				TotalCount int
				PageInfo   struct {
					HasNextPage, HasPreviousPage bool
					EndCursor, StartCursor       *string
				}
				Nodes []*struct {
					CreatedAt, TierSelectedAt, PrivacyLevel string
					IsActive, IsOneTimePayment              bool
					Tier                                    *struct{ MonthlyPriceInCents int }
					SponsorEntity                           *struct {
						Typename   string `json:"__typename"`
						DatabaseID int64
						Login      string
					}
				}
			}
		}
	}
	Errors []struct {
		Type string
		Path []any
	}
}

// logins names the sponsors of a page in their order.
func (a listAnswer) logins() []string {
	if a.Data.RepositoryOwner == nil {
		return []string{"no owner"}
	}
	logins := []string{}
	for _, n := range a.Data.RepositoryOwner.SponsorshipsAsMaintainer.Nodes {
		switch {
		case n == nil:
			logins = append(logins, "null")
		case n.SponsorEntity == nil:
			logins = append(logins, "gone")
		default:
			logins = append(logins, n.SponsorEntity.Login)
		}
	}
	return logins
}

func (a listAnswer) types() string {
	var types []string
	for _, e := range a.Errors {
		types = append(types, e.Type)
	}
	return strings.Join(types, " ")
}

func (l *lab) graphQL(token, query string, variables map[string]any) answer {
	l.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		l.t.Fatal(err)
	}
	return l.do(http.MethodPost, "/api/graphql", "application/json", string(body), token)
}

// list asks listQuery for ten sponsors, or what the change of variables says.
func (l *lab) list(token string, change map[string]any) (list listAnswer) {
	l.t.Helper()
	variables := map[string]any{"o": "example-org", "first": 10}
	for k, v := range change {
		variables[k] = v
	}
	a := l.graphQL(token, listQuery, variables)
	if a.status != http.StatusOK {
		l.t.Fatalf("list = %d %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		l.t.Fatalf("list = %s: %v", a.body, err)
	}
	return list
}

// newSponsorsLab has four sponsors, each newer than the one before, of whom one
// is private, one is an organisation and one is gone, and a former sponsor.
func newSponsorsLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.serve(Config{Org: "example-org", ClientID: "id", ClientSecret: "secret", Callback: callback, MaintainerToken: maintainerToken})
	for i, login := range []string{"former", "public", "private", "firm", "deleted"} {
		l.s.SetSponsoring(login, true)
		l.s.Update(login, func(a *Account) {
			a.Sponsorship.CreatedAt = l.now.Add(time.Duration(i) * time.Hour)
			a.Sponsorship.Active = login != "former"
			a.Sponsorship.Private = login == "private"
			a.Organization = login == "firm"
			a.Deleted = login == "deleted"
		})
	}
	return l
}

func TestSponsorships_WhoSeesWhat(t *testing.T) {
	all, public := []string{"gone", "firm", "private", "public"}, []string{"gone", "firm", "public"}
	for _, tt := range []struct {
		name   string
		change map[string]any
		who    func(*Maintainer)
		want   []string
	}{
		{"everything", nil, nil, all},
		{"oldest first", map[string]any{"direction": "ASC"}, nil, []string{"public", "private", "firm", "gone"}},
		{"former too", map[string]any{"active": false}, nil, append(slices.Clone(all), "former")},
		{"public only", map[string]any{"private": false}, nil, public},
		{"no administrator", nil, func(m *Maintainer) { m.Administers = false }, public},
		{"none of the first", map[string]any{"first": 0}, nil, []string{}},
		{"of an account without sponsors", map[string]any{"o": "visitor-1"}, nil, []string{}},
		{"login in capitals", map[string]any{"o": "EXAMPLE-ORG"}, nil, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newSponsorsLab(t)
			if tt.who != nil {
				l.s.SetMaintainer(tt.who)
			}
			got := l.list(maintainerToken, tt.change)
			if !slices.Equal(got.logins(), tt.want) || len(got.Errors) > 0 {
				t.Fatalf("sponsors %v with errors %v, want %v", got.logins(), got.Errors, tt.want)
			}
			if total := got.Data.RepositoryOwner.SponsorshipsAsMaintainer.TotalCount; tt.change["first"] == nil && total != len(tt.want) {
				t.Errorf("totalCount = %d, want %d", total, len(tt.want))
			}
			if can := got.Data.RepositoryOwner.ViewerCanAdminister; can != nil && *can != (tt.who == nil) {
				t.Errorf("viewerCanAdminister = %v", *can)
			}
		})
	}
}

func TestSponsorships_Node(t *testing.T) {
	l := newSponsorsLab(t)
	l.s.Update("private", func(a *Account) {
		a.Sponsorship.OneTime, a.Sponsorship.TierCents = true, 2500
		a.Sponsorship.TierSelectedAt = l.now.Add(time.Minute)
	})
	l.s.Update("firm", func(a *Account) { a.Sponsorship.TierName = "" })
	nodes := l.list(maintainerToken, nil).Data.RepositoryOwner.SponsorshipsAsMaintainer.Nodes
	firm, private := nodes[1], nodes[2]
	if firm.SponsorEntity.Typename != "Organization" || firm.SponsorEntity.DatabaseID < firstID || firm.Tier != nil || firm.PrivacyLevel != "PUBLIC" {
		t.Errorf("organisation: %+v of %+v", firm, firm.SponsorEntity)
	}
	if private.SponsorEntity.Typename != "User" || private.PrivacyLevel != "PRIVATE" || !private.IsActive || !private.IsOneTimePayment ||
		private.Tier.MonthlyPriceInCents != 2500 || private.CreatedAt != "2026-01-02T05:04:05Z" || private.TierSelectedAt != "2026-01-02T03:05:05Z" {
		t.Errorf("person: %+v of %+v", private, private.SponsorEntity)
	}
}

func TestSponsorships_Pages(t *testing.T) {
	l := newSponsorsLab(t)
	for i := range 8 { // all at once: the id decides
		login := fmt.Sprintf("more-%d", i)
		l.s.SetSponsoring(login, true)
		l.s.Update(login, func(a *Account) { a.Sponsorship.CreatedAt = l.now.Add(-time.Hour) })
	}
	for _, direction := range []string{"DESC", "ASC"} {
		whole := l.list(maintainerToken, map[string]any{"first": 100, "direction": direction}).logins()
		var got []string
		var after *string
		for range whole {
			page := l.list(maintainerToken, map[string]any{"first": 5, "after": after, "direction": direction})
			got = append(got, page.logins()...)
			c := page.Data.RepositoryOwner.SponsorshipsAsMaintainer
			if c.TotalCount != 12 || c.PageInfo.HasPreviousPage != (after != nil) || c.PageInfo.StartCursor == nil {
				t.Errorf("page after %v: %+v", after, c)
			}
			after = c.PageInfo.EndCursor
			if !c.PageInfo.HasNextPage {
				break
			}
		}
		if len(got) != 12 || !slices.Equal(got, whole) {
			t.Errorf("%s: pages %v, want %v", direction, got, whole)
		}
	}
	t.Run("one leaves and one comes between two pages", func(t *testing.T) {
		first := l.list(maintainerToken, map[string]any{"first": 2})
		l.s.Update("firm", func(a *Account) { a.Sponsorship.Active = false }) // the cursor's own
		l.s.SetSponsoring("newest", true)
		l.s.Update("newest", func(a *Account) { a.Sponsorship.CreatedAt = l.now.Add(24 * time.Hour) })
		second := l.list(maintainerToken, map[string]any{"first": 2, "after": first.Data.RepositoryOwner.SponsorshipsAsMaintainer.PageInfo.EndCursor})
		if want := []string{"private", "public"}; !slices.Equal(second.logins(), want) {
			t.Errorf("second page %v, want %v", second.logins(), want)
		}
	})
}

func TestSponsorships_Errors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change map[string]any
		scopes []string
		want   string
	}{
		{"no first", map[string]any{"first": nil}, nil, "MISSING_PAGINATION_BOUNDARIES"},
		{"first below zero", map[string]any{"first": -1}, nil, "MISSING_PAGINATION_BOUNDARIES"},
		{"first above 100", map[string]any{"first": 101}, nil, "EXCESSIVE_PAGINATION"},
		{"first of 100", map[string]any{"first": 100}, nil, ""},
		{"cursor that is no base64", map[string]any{"after": "?"}, nil, "INVALID_CURSOR_ARGUMENTS"},
		{"cursor of nonsense", map[string]any{"after": "bm9uc2Vuc2U="}, nil, "INVALID_CURSOR_ARGUMENTS"},
		{"without read:org", nil, []string{"read:user"}, "INSUFFICIENT_SCOPES"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newSponsorsLab(t)
			if tt.scopes != nil {
				l.s.SetMaintainer(func(m *Maintainer) { m.Scopes = tt.scopes })
			}
			got := l.list(maintainerToken, tt.change)
			if got.types() != tt.want {
				t.Errorf("errors %v, want %s", got.Errors, tt.want)
			}
			if null := got.Data.RepositoryOwner == nil; null != (tt.want != "") {
				t.Errorf("owner is null: %v; the list must not be null alone", null)
			}
		})
	}
	l := newSponsorsLab(t)
	const last = `{repositoryOwner(login:"example-org"){... on Sponsorable{sponsorshipsAsMaintainer(last:1){totalCount}}}}`
	if a := l.graphQL(maintainerToken, last, nil); !strings.Contains(a.body, "NOT_IMPLEMENTED") {
		t.Errorf("last: answer %s", a.body)
	}
	const literal = `{repositoryOwner(login:"example-org"){... on Sponsorable{sponsorshipsAsMaintainer(first:1){totalCount}}}}`
	if a := l.graphQL(maintainerToken, literal, nil); !strings.Contains(a.body, `"totalCount":3`) {
		t.Errorf("literal first, no private ones: answer %s", a.body)
	}
}
