package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// signInAs goes through the pages as a person does, from the page that is open.
func (b *tab) signInAs(login string) {
	b.t.Helper()
	b.sees("Sign in as")
	b.do("choose "+login, chromedp.Click(chromedp.CSS(`input[name=account][value="`+login+`"]`)))
	b.click("Authorize")
	b.sees("Excluded nodes")
}

// The story of a sponsor, with a mouse and a keyboard, in a real browser.
func TestPage_Story(t *testing.T) {
	t.Parallel()
	b := chromium(t)
	axe := axeCore(t)
	s, remote, _ := newReplicatedSite(t, func(m map[string]string) { m["SPONSOR_ENTITLEMENTS"] = "early-access=500" })
	key := "user:" + s.id("sponsor-1") + ":mnodes"

	b.open(s.url + "/account")
	b.sees("You are not signed in")
	b.accessible("signed out", axe)
	b.screenshot("welcome-light")
	b.click("Sign in with GitHub")
	b.signInAs("sponsor-1")
	b.sees("You sponsor example-org. Thank you!")
	b.sees("early-access")
	b.sees("Redis Enterprise has everything of yours")

	// By keyboard: what cannot be an id stays in the form.
	b.do("type", chromedp.SendKeys(chromedp.ID("id"), "C1 2"+kb.Enter))
	if got := script[bool](b, `document.querySelector("#id").validity.patternMismatch`); !got {
		t.Error("the browser takes what is no id")
	}
	for _, node := range []string{"C5162902", "C0000002", "C0018681"} {
		script[bool](b, `document.querySelector("#id").value = "", true`)
		b.do("type", chromedp.SendKeys(chromedp.ID("id"), node+kb.Enter))
		b.sees(node + " is excluded.")
	}
	redistest.Eventually(t, 10*time.Second, func() error {
		if got := remote.SMembers(t.Context(), key).Val(); len(got) != 3 {
			return fmt.Errorf("the remote has %v", got)
		}
		return nil
	})
	b.click("Take back C0000002")
	b.sees("C0000002 is back in your graph.")
	if got := s.members(key); !slices.Equal(got, []string{"C0018681", "C5162902"}) {
		t.Errorf("nodes = %v", got)
	}

	b.open(s.url + "/account")
	b.sees("2 of 5000")
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		b.accessible("account, "+theme, axe)
		b.screenshot("account-" + theme)
	}
	b.fits(t)
	b.reachableByKeyboard(t)

	b.click("Check again")
	b.signInAs("sponsor-1")
	b.click("Sign out everywhere")
	b.sees("You are signed out.")

	b.click("Sign in with GitHub")
	b.signInAs("sponsor-1")
	b.click("Delete everything…")
	b.sees("which are 2 now")
	b.accessible("delete", axe)
	b.screenshot("delete-dark")
	b.click("Delete everything")
	b.sees("You are sponsor-1") // the box was not ticked: still there
	if got := s.members(key); len(got) != 2 {
		t.Errorf("nodes = %v before the box was ticked", got)
	}
	b.do("tick", chromedp.Click(chromedp.CSS(`input[name=sure]`)))
	b.click("Delete everything")
	b.sees("Everything is erased")
	if got := len(s.members(key)) + len(remote.SMembers(t.Context(), key).Val()); got != 0 {
		t.Errorf("%d nodes are left", got)
	}
}

// fits fails the test if the page is wider than a telephone, or if fingers miss what
// is on it.
func (b *tab) fits(t *testing.T) {
	t.Helper()
	b.resize(360, 740)
	b.screenshot("account-narrow")
	if wide := script[int](b, `document.documentElement.scrollWidth`); wide > 360 {
		t.Errorf("the page is %d pixels wide on a screen of 360", wide)
	}
	small := script[[]string](b, `[...document.querySelectorAll("button, a.button, input:not([type=hidden])")]
		.filter(e => { const r = e.getBoundingClientRect(); return r.height < 44 || r.width < 44 || r.right > innerWidth })
		.map(e => e.outerHTML)`)
	if len(small) > 0 {
		t.Errorf("too small for a finger, or off the screen: %v", small)
	}
	b.resize(1100, 900)
}

// reachableByKeyboard fails the test unless the tabulator leads to everything that
// can be used, in the order of the page, and shows where it is.
func (b *tab) reachableByKeyboard(t *testing.T) {
	t.Helper()
	b.open(script[string](b, `location.href`))
	want := script[[]string](b, `[...document.querySelectorAll("a[href], button, input:not([type=hidden])")].map(e => e.outerHTML)`)
	var got []string
	for range want {
		b.do("tab", chromedp.KeyEvent(kb.Tab))
		got = append(got, script[string](b, `document.activeElement.outerHTML`))
		if width := script[string](b, `getComputedStyle(document.activeElement).outlineStyle`); width == "none" {
			t.Errorf("nothing shows that this has the focus: %s", got[len(got)-1])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tabulator leads to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What else there is to say about a sponsorship.
func TestPage_Cases(t *testing.T) {
	t.Parallel()
	b := chromium(t)
	axe := axeCore(t)
	s, clock := newWebhookSite(t, withMaintainer)
	open := func(login string) {
		t.Helper()
		b.open(s.url + "/?again=1")
		b.signInAs(login)
	}
	open("visitor-1")
	b.sees("GitHub does not see a sponsorship of example-org")
	b.sees("On this server only")
	b.accessible("no sponsor", axe)

	s.github.Update("visitor-2", func(a *githubtest.Account) {
		a.Sponsorship = &githubtest.Sponsorship{Active: true, OneTime: true, CreatedAt: time.Now(), TierSelectedAt: time.Now(), TierName: "$50 one time", TierCents: 5000}
	})
	open("visitor-2")
	b.sees("You made a one-time payment to example-org")

	open("sponsor-1")
	b.sees("Thank you!")
	s.github.SetFault(githubtest.GraphQL, githubtest.BadGateway())
	b.click("Check again")
	b.sees("GitHub did not answer when we asked")
	s.github.Heal()
	s.github.SetSponsoring("sponsor-1", false)
	b.click("Check again")
	b.sees("Nothing is taken from you at once")
	b.accessible("grace", axe)
	b.screenshot("grace-light")
	clock.advance(4 * day)
	s.wantSponsors("visitor-2")
	b.open(s.url + "/account")
	b.sees("Your sponsorship of example-org ended on")

	// A problem is a page, too.
	b.open(s.url + "/nowhere")
	b.sees("There is nothing at this address")
	b.accessible("problem", axe)
}

// The Pattern's page, as it is, from another origin: it shows "Oops!" on any status
// outside 2xx.
const graphPage = `<!DOCTYPE html><html lang="en"><title>graph</title><p id="said">ready</p><script>
const say = s => document.getElementById("said").textContent = s;
window.exclude = (api, id) => fetch(api + "/exclude?id=" + id, {credentials: "include", headers: {"Content-Type": "application/json"}})
	.then(r => say(r.ok ? "fine " + id : "Oops!"), e => say("Oops! " + e));
window.image = (api, id) => { const i = new Image(); i.onload = i.onerror = () => say("image " + id); i.src = api + "/exclude?id=" + id; };
window.post = (api, path) => { const f = document.createElement("form"); f.method = "post"; f.action = api + path; document.body.append(f); f.submit(); };
</script>`

func TestPage_FromTheGraph(t *testing.T) {
	t.Parallel()
	b := chromium(t)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, graphPage)
	})
	graph, evil := httptest.NewTLSServer(page), httptest.NewTLSServer(page)
	t.Cleanup(graph.Close)
	t.Cleanup(evil.Close)
	s := newSite(t, func(m map[string]string) { m["ALLOWED_ORIGINS"] = graph.URL }, nil)
	call := func(function, argument string) {
		t.Helper()
		script[bool](b, fmt.Sprintf(`%s(%q, %q), true`, function, s.url, argument))
	}

	b.open(graph.URL)
	call("exclude", "C5162902")
	b.sees("fine C5162902")
	call("exclude", "C0000002")
	b.sees("fine C0000002")
	visitors := s.keys("api:visitor:*")
	if len(visitors) != 1 || len(s.members(visitors[0])) != 2 {
		t.Fatalf("visitors %v, want one with two nodes", visitors)
	}
	b.open(s.url + "/")
	b.signInAs("sponsor-1")
	b.sees("C5162902")
	b.sees("C0000002")
	key := "user:" + s.id("sponsor-1") + ":mnodes"
	b.open(graph.URL)
	call("exclude", "C0000003")
	b.sees("fine C0000003")
	want := []string{"C0000002", "C0000003", "C5162902"}
	if got := s.members(key); !slices.Equal(got, want) {
		t.Errorf("nodes = %v, want %v", got, want)
	}

	// A picture excludes nothing, on the page itself neither; and a page that is not
	// on the list does nothing at all.
	call("image", "C0000004")
	b.sees("image C0000004")
	b.open(evil.URL)
	call("exclude", "C0000005")
	b.sees("Oops!")
	call("image", "C0000006")
	b.sees("image C0000006")
	for _, path := range []string{"/logout", "/logout/everywhere", "/me/refresh", "/account/delete"} {
		b.open(evil.URL)
		call("post", path)
		b.sees("not sent by our own page")
	}
	if got := s.members(key); !slices.Equal(got, want) {
		t.Errorf("nodes = %v, want %v", got, want)
	}
	b.open(s.url + "/account")
	b.sees("sponsor-1")
}
