package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestMaintainer(t *testing.T) {
	l := newSponsorsLab(t)
	if a := l.do(http.MethodGet, "/api/v3/user", "", "", maintainerToken); !strings.Contains(a.body, `"login":"maintainer-1"`) || a.header.Get("X-OAuth-Scopes") != "read:user, read:org" {
		t.Errorf("user = %s with scopes %s", a.body, a.header.Get("X-OAuth-Scopes"))
	}
	l.s.SetMaintainer(func(m *Maintainer) { m.Login = "visitor-1" })
	if a := l.do(http.MethodGet, "/api/v3/user", "", "", maintainerToken); !strings.Contains(a.body, `"login":"visitor-1"`) {
		t.Errorf("user after a change = %s", a.body)
	}
	l.s.Update("visitor-1", func(a *Account) { a.Deleted = true })
	if a := l.do(http.MethodGet, "/api/v3/user", "", "", maintainerToken); a.status != http.StatusUnauthorized {
		t.Errorf("token of a deleted account = %d, want 401", a.status)
	}
}

// Who administers may also sign in like everybody else.
func TestMaintainer_SignsIn(t *testing.T) {
	l := newSponsorsLab(t)
	scope := map[string]string{"scope": "read:user read:org", "account": "maintainer-1"}
	if got := l.list(l.token(scope), nil); !slices.Contains(got.logins(), "private") {
		t.Errorf("the maintainer sees %v", got.logins())
	}
	scope["account"] = "visitor-1"
	if got := l.list(l.token(scope), nil); slices.Contains(got.logins(), "private") || len(got.logins()) != 3 {
		t.Errorf("a visitor sees %v", got.logins())
	}
}

func TestMaintainer_None(t *testing.T) {
	l := newLab(t)
	for _, token := range []string{"", maintainerToken} {
		if a := l.do(http.MethodGet, "/api/v3/user", "", "", token); a.status != http.StatusUnauthorized {
			t.Errorf("user with token %q = %d, want 401", token, a.status)
		}
	}
	if _, ok := l.s.Account("maintainer-1"); ok {
		t.Error("there is a maintainer without a token")
	}
}

func TestOrgIsUser(t *testing.T) {
	l := newLab(t)
	l.serve(Config{
		Org: "example-org", OrgIsUser: true, MaintainerToken: maintainerToken,
		ClientID: "id", ClientSecret: "secret", Callback: callback, Sponsors: []string{"sponsor-1", "sponsor-2"},
	})
	l.s.Update("sponsor-2", func(a *Account) { a.Sponsorship.Private = true })
	check := func(name, token string, viewer bool, want ...string) {
		t.Helper()
		got := l.list(token, nil)
		slices.Sort(want)
		logins := got.logins()
		slices.Sort(logins)
		if !slices.Equal(logins, want) {
			t.Fatalf("%s: sponsors %v with errors %v, want %v", name, logins, got.Errors, want)
		}
		if o := got.Data.RepositoryOwner; o.Typename != "User" || o.IsViewer == nil || *o.IsViewer != viewer || o.ViewerCanAdminister != nil {
			t.Errorf("%s: owner %+v", name, o)
		}
	}
	check("maintainer", maintainerToken, true, "sponsor-1", "sponsor-2")
	check("the account itself", l.token(map[string]string{"account": "example-org"}), true, "sponsor-1", "sponsor-2")
	check("visitor", l.token(map[string]string{"account": "visitor-1"}), false, "sponsor-1")
	l.s.SetMaintainer(func(m *Maintainer) { m.Login = "visitor-1" })
	check("token of somebody else", maintainerToken, false, "sponsor-1")
	l.s.SetMaintainer(func(m *Maintainer) { m.Scopes = nil })
	if got := l.list(maintainerToken, nil); got.types() != "INSUFFICIENT_SCOPES" {
		t.Errorf("errors without scopes: %v", got.Errors)
	}
	const question = `{repositoryOwner(login:"example-org"){... on Sponsorable{viewerIsSponsoring}} user(login:"example-org"){login}}`
	if a := l.graphQL(l.token(nil), question, nil); !strings.Contains(a.body, `{"data":{"repositoryOwner":{"viewerIsSponsoring":true},"user":{"login":"example-org"}}}`) {
		t.Errorf("sponsor's question: %s", a.body)
	}
}

func TestOrganizationAccount(t *testing.T) {
	l := newSponsorsLab(t)
	for login, want := range map[string]string{"firm": "only people", "deleted": "no account"} {
		a := l.do(http.MethodPost, "/login/oauth/authorize", form, l.params(map[string]string{"account": login}).Encode(), "")
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, want) {
			t.Errorf("sign in as %s = %d %s", login, a.status, a.body)
		}
	}
	page := l.do(http.MethodGet, "/login/oauth/authorize?"+l.params(nil).Encode(), "", "", "").body
	if strings.Contains(page, `"firm"`) || strings.Contains(page, `"deleted"`) || !strings.Contains(page, `"public"`) {
		t.Errorf("the page offers %s", page)
	}
	for query, want := range map[string]string{
		`{organization(login:"firm"){login viewerCanAdminister}}`: `{"login":"firm","viewerCanAdminister":false}`,
		`{user(login:"firm"){login}}`:                             `NOT_FOUND`,
		`{organization(login:"public"){login}}`:                   `NOT_FOUND`,
		`{repositoryOwner(login:"deleted"){login}}`:               `NOT_FOUND`,
		`{user(login:"public"){isViewer}viewer{isViewer}}`:        `{"user":{"isViewer":false},"viewer":{"isViewer":true}}`,
	} {
		if a := l.graphQL(maintainerToken, query, nil); !strings.Contains(a.body, want) {
			t.Errorf("%s = %s, want %s", query, a.body, want)
		}
	}
}
