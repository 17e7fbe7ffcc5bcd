package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// newReplicatedSite is a site whose Redis has the module, with a remote that is
// reached through a proxy which fails on demand.
func newReplicatedSite(t *testing.T, change func(map[string]string)) (s *site, remote *redis.Client, link *redistest.Proxy) {
	t.Helper()
	return newTunedReplicatedSite(t, change, nil)
}

func newTunedReplicatedSite(t *testing.T, change func(map[string]string), tune func(*Main)) (s *site, remote *redis.Client, link *redistest.Proxy) {
	t.Helper()
	there := redistest.Remote(t, redistest.Config{})
	link = redistest.NewProxy(t, there.Addr())
	here := redistest.New(t, redistest.Config{
		Name: "local", Modules: []string{redistest.Module(t) + " org " + testOrg},
		Conf: append(redistest.RemoteConf(there, "127.0.0.1", link.Port()), "appendonly yes", "appendfsync always"),
	})
	s = newSiteOn(t, here, change, tune)
	s.waitForModule("connected")
	return s, there.Client(), link
}

func (s *site) waitForModule(state string) {
	s.t.Helper()
	redistest.Eventually(s.t, 20*time.Second, func() error {
		info := s.db().Info(s.t.Context(), "sponsor").Val()
		if !strings.Contains(info, "sponsor_state:"+state) {
			return fmt.Errorf("want %s: %s", state, info)
		}
		return nil
	})
}

// safety waits until /me says that the person's data is in that state.
func (b *browser) safety(want string) {
	b.t.Helper()
	redistest.Eventually(b.t, 20*time.Second, func() error {
		safety, _ := b.get("/me").json(b.t)["safety"].(map[string]any)
		if safety["state"] != want {
			return fmt.Errorf("safety = %v, want %s", safety, want)
		}
		return nil
	})
}

func TestSafety(t *testing.T) {
	t.Parallel()
	s, remote, link := newReplicatedSite(t, nil)
	visitor := s.browser()
	visitor.signIn("visitor-1")
	visitor.safety("here")
	wantPage(t, visitor, "On this server only")

	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")
	wantPage(t, b, "Redis Enterprise has everything of yours: 2 records were compared just now")
	key := "user:" + s.id("sponsor-1") + ":mnodes"
	if got := remote.SMembers(t.Context(), key).Val(); !slices.Equal(got, []string{"C1"}) {
		t.Errorf("the remote has %v", got)
	}

	link.Silent()
	wantStatus(t, "exclude while the remote is silent", b.get("/exclude?id=C2"), http.StatusOK)
	b.safety("unreachable")
	wantPage(t, b, "Cannot be checked")
	if err := link.Heal(); err != nil {
		t.Fatal(err)
	}
	s.waitForModule("connected")
	b.safety("safe")

	// The remote refuses: the key is something else there.
	remote.Del(t.Context(), key)
	remote.Set(t.Context(), key, "a string", 0)
	wantStatus(t, "exclude", b.get("/exclude?id=C3"), http.StatusOK)
	b.safety("refused")
	wantPage(t, b, "Not all")

	// Without the module nobody can tell.
	plain := newSite(t, nil, nil)
	b = plain.browser()
	b.signIn("sponsor-1")
	b.safety("unknown")
	wantPage(t, b, "This server cannot tell")
}

// The evicted, lost and flushed come back when the person looks.
func TestReadThroughTheAPI(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")
	s.db().FlushAll(t.Context())
	// The session is gone with everything else that is not replicated.
	wantStatus(t, "/me", b.get("/me"), http.StatusUnauthorized)
	b.signIn("sponsor-1")
	if got := fmt.Sprint(b.get("/exclude").json(t)["nodes"]); got != "[C1]" {
		t.Errorf("nodes = %s after everything was lost here, want [C1]", got)
	}
}

func TestErase(t *testing.T) {
	t.Parallel()
	s, remote, link := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	b, elsewhere, other := s.browser(), s.browser(), s.browser()
	b.signIn("sponsor-1")
	elsewhere.signIn("sponsor-1")
	other.signIn("visitor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	wantStatus(t, "exclude", other.get("/exclude?id=C1"), http.StatusOK)
	s.db().HSet(t.Context(), "user:"+id, "theme", "dark")
	b.safety("safe")

	a := b.get("/me/export")
	export := a.json(t)
	if got := fmt.Sprintf("%v %v %v", export["nodes"], export["graph"], export["email"]); got != "[C1] map[theme:dark] sponsor-1@example.org" {
		t.Errorf("export = %s", got)
	}
	if got := a.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("Content-Disposition = %q", got)
	}

	wantStatus(t, "from another origin", b.do(http.MethodDelete, "/me", "", "Origin", testOrigin), http.StatusForbidden)
	wantStatus(t, "a form without the tick", b.form("/account/delete", nil), http.StatusBadRequest)
	link.Silent()
	s.waitForModule("down")
	a = b.do(http.MethodDelete, "/me", "")
	wantStatus(t, "DELETE while the remote is silent", a, http.StatusServiceUnavailable)
	if !strings.Contains(a.body, "Nothing is erased") || a.Header.Get("Retry-After") == "" {
		t.Errorf("answer %s", a.body)
	}
	if got := s.members("user:" + id + ":mnodes"); len(got) != 1 {
		t.Errorf("nodes = %v although nothing was erased", got)
	}
	if err := link.Heal(); err != nil {
		t.Fatal(err)
	}
	s.waitForModule("connected")

	wantStatus(t, "the question", b.get("/account/delete", "Accept", "text/html"), http.StatusOK)
	a = b.form("/account/delete", url.Values{"sure": {"yes"}})
	if a.StatusCode != http.StatusSeeOther || a.location() != "/account?done=erased" {
		t.Fatalf("delete = %d to %q %s", a.StatusCode, a.location(), a.body)
	}
	wantStatus(t, "/me", b.get("/me"), http.StatusUnauthorized)
	wantStatus(t, "/me elsewhere", elsewhere.get("/me"), http.StatusUnauthorized)
	for name, db := range map[string]*redis.Client{"local": s.db(), "remote": remote} {
		keys, err := db.Keys(t.Context(), "*"+id+"*").Result()
		keys = slices.DeleteFunc(keys, closedForAMoment(t, db))
		if err != nil || len(keys) != 0 {
			t.Errorf("%s still has %v (%v)", name, keys, err)
		}
	}
	if got := s.members("sponsors:" + testOrg); !slices.Equal(got, []string{id}) {
		t.Errorf("sponsors = %v, want the id kept: it is GitHub's to say", got)
	}
	if got := s.members("user:" + s.id("visitor-1") + ":mnodes"); !slices.Equal(got, []string{"C1"}) {
		t.Errorf("somebody else's nodes = %v", got)
	}
	// For programs, and for somebody who is no sponsor.
	if got := other.do(http.MethodDelete, "/me", "").json(t)["status"]; got != "erased" {
		t.Errorf("status = %v", got)
	}
	if keys := slices.DeleteFunc(s.keys("*"+s.id("visitor-1")+"*"), closedForAMoment(t, s.db())); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
	b.signIn("sponsor-1")
	if got := fmt.Sprint(b.get("/exclude").json(t)["nodes"]); got != "[]" {
		t.Errorf("nodes = %s after signing in again, want none", got)
	}
}

// closedForAMoment tells the key that keeps requests under way from writing.
func closedForAMoment(t *testing.T, db *redis.Client) func(key string) bool {
	return func(key string) bool {
		ttl := db.PTTL(t.Context(), key).Val()
		return strings.HasPrefix(key, "api:closed:") && ttl > 0 && ttl <= 5*time.Second
	}
}

// The remote stops in the midst: the answer is no success, and says what is left.
func TestErase_HalfWay(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")
	// The remote stops answering to writes, and is still there.
	if err := remote.Do(t.Context(), "CLIENT", "PAUSE", "60000", "WRITE").Err(); err != nil {
		t.Fatal(err)
	}
	b.http.Timeout = 40 * time.Second
	a := b.do(http.MethodDelete, "/me", "")
	wantStatus(t, "DELETE", a, http.StatusServiceUnavailable)
	if !strings.Contains(a.body, "goes on by itself") {
		t.Errorf("answer %s", a.body)
	}
	wantStatus(t, "/me: they can try again", b.get("/me"), http.StatusOK)
	if err := remote.Do(t.Context(), "CLIENT", "UNPAUSE").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, 20*time.Second, func() error {
		if a := b.do(http.MethodDelete, "/me", ""); a.StatusCode != http.StatusOK {
			return errors.New(a.body)
		}
		return nil
	})
	if keys := remote.Keys(t.Context(), "*"+id+"*").Val(); len(keys) != 0 {
		t.Errorf("the remote still has %v", keys)
	}
}

func TestErase_WithoutTheModule(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	a := b.do(http.MethodDelete, "/me", "")
	wantStatus(t, "DELETE", a, http.StatusServiceUnavailable)
	if !strings.Contains(a.body, "sponsor.so") || len(s.members("user:"+s.id("visitor-1")+":mnodes")) != 1 {
		t.Errorf("answer %s", a.body)
	}
}

// Who is in the grace and deletes everything is no sponsor any more.
func TestErase_InTheGrace(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	s.github.SetSponsoring("sponsor-1", false)
	b.signIn("sponsor-1")
	s.wantSponsors("sponsor-1")
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
	s.wantSponsors()
	if keys := s.keys("api:sponsorship*"); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
}

// Other sessions of theirs write all the time: nothing of it is left.
func TestErase_BesideWrites(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	b := s.browser()
	for round := range 3 {
		b.signIn("sponsor-1")
		var (
			work sync.WaitGroup
			sent atomic.Int64
			end  atomic.Bool
		)
		for i := range 4 {
			other := s.browser()
			other.signIn("sponsor-1")
			cookie := sessionCookie + "=" + other.cookie(sessionCookie)
			other.http.Jar = nil // it keeps its cookie, and goes on as somebody else without it
			work.Go(func() {
				for n := 0; !end.Load() && n < 2000; n++ {
					a, err := other.try(http.MethodDelete, fmt.Sprintf("/exclude?id=C%d-%d", i, n), "", "Cookie", cookie)
					if err == nil && a.StatusCode == http.StatusOK {
						_, err = other.try(http.MethodGet, fmt.Sprintf("/exclude?id=C%d-%d", i, n), "", "Cookie", cookie)
					}
					if err != nil {
						t.Error(err)
						return
					}
					sent.Add(1)
				}
			})
		}
		redistest.Eventually(t, 10*time.Second, func() error {
			if sent.Load() < 50 {
				return errors.New("they have hardly begun")
			}
			return nil
		})
		wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
		end.Store(true)
		work.Wait()
		for name, db := range map[string]*redis.Client{"local": s.db(), "remote": remote} {
			if keys := db.Keys(t.Context(), "user*"+id+"*").Val(); len(keys) != 0 {
				t.Fatalf("round %d: %s still has %v", round, name, keys)
			}
		}
	}
}

// What a visitor excluded, and found no room with the person, goes too.
func TestErase_TheVisitorsNodes(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	b := s.browser()
	wantStatus(t, "visitor", b.get("/exclude?id=VISITED"), http.StatusOK)
	key := "user:" + s.id("visitor-1") + ":mnodes"
	pipe := s.db().Pipeline()
	for i := range preferences.MaxNodes {
		pipe.SAdd(t.Context(), key, fmt.Sprintf("C%d", i))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.signIn("visitor-1")
	if n := len(s.keys("api:visitor:*")); n != 1 {
		t.Fatalf("%d visitors, want one whose node found no room", n)
	}
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
	if keys := s.keys("api:visitor:*"); len(keys) != 0 || b.cookie(visitorCookie) != "" {
		t.Errorf("left %v, cookie %q", keys, b.cookie(visitorCookie))
	}
}
