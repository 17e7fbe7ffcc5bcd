package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/githubtest"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// loseAllButSessions flushes the local Redis. What was replicated is away then.
func (s *site) loseAllButSessions() {
	s.t.Helper()
	dumps := map[string]string{}
	for _, key := range s.keys("api:session*") {
		dumps[key] = s.db().Dump(s.t.Context(), key).Val()
	}
	s.db().FlushAll(s.t.Context())
	for key, dump := range dumps {
		if err := s.db().RestoreReplace(s.t.Context(), key, 0, dump).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Everything local is lost but the sessions: what the person does next finds what
// they had, and adds to it.
func TestExclude_BringsBackWhatIsAway(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	key := "user:" + id + ":mnodes"
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	s.db().HSet(t.Context(), "user:"+id, "theme", "dark")
	b.safety("safe")
	s.loseAllButSessions()
	wantStatus(t, "exclude", b.get("/exclude?id=C2"), http.StatusOK)
	if got := s.members(key); !slices.Equal(got, []string{"C1", "C2"}) {
		t.Errorf("nodes = %v after everything was lost, want C1 and C2", got)
	}
	b.safety("safe")

	// What lies on Redis Enterprise only is safe, too.
	s.loseAllButSessions()
	b.safety("safe")

	// A visitor's nodes do not replace what is away, and the sign-in neither.
	s.loseAllButSessions()
	visitor := s.browser()
	wantStatus(t, "visitor", visitor.get("/exclude?id=C3"), http.StatusOK)
	visitor.signIn("sponsor-1")
	if got := s.members(key); !slices.Equal(got, []string{"C1", "C2", "C3"}) {
		t.Errorf("nodes = %v after the sign-in, want all three", got)
	}
	redistest.Eventually(t, 20*time.Second, func() error {
		if got := remote.SMembers(t.Context(), key).Val(); len(got) != 3 {
			return fmt.Errorf("the remote has %v", got)
		}
		return nil
	})
}

// Data that is not there yet, and a remote that has just gone silent, are called what
// they are.
func TestSafety_MissingAndSilent(t *testing.T) {
	t.Parallel()
	s, remote, link := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	b.safety("safe")
	// The module may be sending it just now.
	redistest.Eventually(t, 20*time.Second, func() error {
		remote.Del(t.Context(), "user_details:"+s.id("sponsor-1"))
		if safety, _ := b.get("/me").json(t)["safety"].(map[string]any); safety["state"] != "on_the_way" || fmt.Sprint(safety["same"]) != "0" {
			return fmt.Errorf("safety = %v, want on_the_way", safety)
		}
		return nil
	})
	b.signIn("sponsor-1") // writes it again
	b.safety("safe")

	link.Silent()
	redistest.Eventually(t, 20*time.Second, func() error {
		safety, _ := b.get("/me").json(t)["safety"].(map[string]any)
		switch safety["state"] {
		case "unreachable":
			return nil
		case "unknown":
			t.Fatalf("safety = %v of a remote that is silent", safety)
		}
		return fmt.Errorf("safety = %v", safety)
	})
}

// What is left after a deletion that broke off is said, and can be tried again; who
// could not even begin keeps everything.
func TestErase_BreaksOff(t *testing.T) {
	t.Parallel()
	s, _, link := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")

	link.Silent()
	s.waitForModule("down")
	wantStatus(t, "DELETE while the remote is silent", b.do(http.MethodDelete, "/me", ""), http.StatusServiceUnavailable)
	if keys := s.keys("api:sponsorship:" + id); len(keys) != 1 {
		t.Errorf("the record is gone although nothing was erased: %v", keys)
	}
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
	if err := link.Heal(); err != nil {
		t.Fatal(err)
	}
	s.waitForModule("connected")

	// What was erased on both servers is gone; what is left here cannot be removed.
	if err := s.db().Do(t.Context(), "ACL", "SETUSER", "default", "-del").Err(); err != nil {
		t.Fatal(err)
	}
	a := b.do(http.MethodDelete, "/me", "")
	wantStatus(t, "DELETE that breaks off", a, http.StatusServiceUnavailable)
	if !strings.Contains(a.body, "may still be here") || a.Header.Get("Retry-After") == "" {
		t.Errorf("answer %s", a.body)
	}
	if b.cookie(sessionCookie) == "" {
		t.Fatal("the session is gone: they cannot try again")
	}
	if err := s.db().Do(t.Context(), "ACL", "SETUSER", "default", "+del").Err(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
	if b.cookie(sessionCookie) != "" {
		t.Error("the cookie is still there")
	}
	if keys := slices.DeleteFunc(s.keys("*"+id+"*"), closedForAMoment(t, s.db())); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
}

// Who has paid once and deletes everything counts until that is over, and not longer.
func TestErase_AlarmStays(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	s.github.Update("visitor-1", func(a *githubtest.Account) {
		a.Sponsorship = &githubtest.Sponsorship{Active: true, OneTime: true, CreatedAt: time.Now(), TierSelectedAt: time.Now(), TierName: "$50 one time", TierCents: 5000}
	})
	id := s.id("visitor-1")
	b := s.browser()
	b.signIn("visitor-1")
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
	if got := s.members("sponsors:" + testOrg); !slices.Equal(got, []string{id}) {
		t.Errorf("sponsors = %v, want the id kept", got)
	}
	end := time.Unix(int64(s.db().ZScore(t.Context(), "api:sponsorships:ending", id).Val()), 0)
	if left := time.Until(end); left < 32*day || left > 34*day {
		t.Errorf("they cease to count in %v, want 33 days", left)
	}
}

// Our connections do not keep an operator from unloading the module.
func TestModule_CanBeUnloaded(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	b.safety("safe")
	redistest.Eventually(t, 20*time.Second, func() error {
		return s.db().Do(t.Context(), "MODULE", "UNLOAD", "sponsor").Err()
	})
	b.safety("unknown")
	a := b.do(http.MethodDelete, "/me", "")
	wantStatus(t, "DELETE", a, http.StatusServiceUnavailable)
	if !strings.Contains(a.body, "sponsor.so") {
		t.Errorf("answer %s", a.body)
	}
}

// What is away counts as safe, and makes up for nothing that is not: a key that the
// remote has refused, beside one that is on Redis Enterprise only.
func TestSafety_AwayHidesNothing(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	key := "user:" + id + ":mnodes"
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	s.db().HSet(t.Context(), "user:"+id, "theme", "dark")
	b.safety("safe")
	s.loseAllButSessions()
	// The page reads the details and the nodes, and so brings them back; the hash
	// user:<id>, which other programs write, stays away.
	b.safety("safe")
	safety, _ := b.get("/me").json(t)["safety"].(map[string]any)
	if fmt.Sprint(safety["keys"]) != "3" || fmt.Sprint(safety["same"]) != "3" {
		t.Errorf("safety = %v, want 3 keys of 3", safety)
	}

	remote.Del(t.Context(), key)
	remote.Set(t.Context(), key, "a string", 0)
	wantStatus(t, "exclude", b.get("/exclude?id=C2"), http.StatusOK)
	redistest.Eventually(t, 20*time.Second, func() error {
		if info := s.db().Info(t.Context(), "sponsor").Val(); !strings.Contains(info, "sponsor_dead_letters:1") {
			return fmt.Errorf("nothing was refused: %s", info)
		}
		return nil
	})
	b.safety("refused")
}

// What is away counts against the cap.
func TestExclude_CapHoldsForWhatIsAway(t *testing.T) {
	t.Parallel()
	s, _, _ := newReplicatedSite(t, nil)
	key := "user:" + s.id("sponsor-1") + ":mnodes"
	b := s.browser()
	b.signIn("sponsor-1")
	nodes := make([]any, 5000)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("N%d", i)
	}
	s.db().SAdd(t.Context(), key, nodes...)
	b.safety("safe")
	for _, tt := range []struct {
		name   string
		attack func()
	}{
		{"exclude", func() { wantStatus(t, "one too many", b.get("/exclude?id=C1"), http.StatusConflict) }},
		{"sign-in of a visitor", func() {
			visitor := s.browser()
			wantStatus(t, "visitor", visitor.get("/exclude?id=C2"), http.StatusOK)
			visitor.signIn("sponsor-1")
		}},
		{"a visitor who is signed in", func() {
			visitor := s.browser()
			wantStatus(t, "visitor", visitor.get("/exclude?id=C3"), http.StatusOK)
			visitor.setCookie(sessionCookie, b.cookie(sessionCookie))
			wantStatus(t, "/me", visitor.get("/me"), http.StatusOK)
		}},
	} {
		s.loseAllButSessions()
		tt.attack()
		if n := s.db().SCard(t.Context(), key).Val(); n != 5000 {
			t.Errorf("%s: %d nodes, want 5000", tt.name, n)
		}
	}
}

// A remote that takes its time to erase is waited for.
func TestErase_Patient(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	b.safety("safe")
	// Longer than other commands wait, and are repeated.
	if err := remote.Do(t.Context(), "CLIENT", "PAUSE", "7500", "WRITE").Err(); err != nil {
		t.Fatal(err)
	}
	b.http.Timeout = 40 * time.Second
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
}

// The remote refuses to erase: what is erased here is said to be, and the rest is done
// when it does not refuse any more.
func TestErase_RemoteRefuses(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	id := s.id("sponsor-1")
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")
	allow := func(rules ...any) {
		t.Helper()
		users, err := remote.Do(t.Context(), "ACL", "USERS").StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range users {
			if err := remote.Do(t.Context(), append([]any{"ACL", "SETUSER", user}, rules...)...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	allow("-del", "-unlink")
	b.http.Timeout = 40 * time.Second
	a := b.do(http.MethodDelete, "/me", "")
	wantStatus(t, "DELETE", a, http.StatusServiceUnavailable)
	if !strings.Contains(a.body, "refuses to erase it there") || len(s.members("user:"+id+":mnodes")) != 0 {
		t.Errorf("answer %s", a.body)
	}
	wantStatus(t, "/me: they can try again", b.get("/me"), http.StatusOK)
	allow("+del", "+unlink")
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

// A remote that does not let the module look at somebody's data is no place where it
// is safe.
func TestSafety_RemoteRefusesToBeRead(t *testing.T) {
	t.Parallel()
	s, remote, _ := newReplicatedSite(t, nil)
	b := s.browser()
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C1"), http.StatusOK)
	b.safety("safe")
	users, err := remote.Do(t.Context(), "ACL", "USERS").StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range users {
		if err := remote.Do(t.Context(), "ACL", "SETUSER", user, "resetkeys", "~user_details:*", "~sponsor*").Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.safety("refused")
}
