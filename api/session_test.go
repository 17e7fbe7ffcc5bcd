package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestSession_Cookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.get("/exclude?id=C1")
	begin := b.get("/")
	a := b.signIn("visitor-1")
	for _, r := range []answer{begin, a} {
		for _, c := range r.Cookies() {
			if c.MaxAge < 0 {
				continue
			}
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("cookie %s", c.Raw)
			}
		}
	}
	if age := a.Cookies()[0].MaxAge; age < 89*24*3600 || age > 90*24*3600 {
		t.Errorf("Max-Age = %d, want 90 days", age)
	}
	token, _, _ := strings.Cut(b.cookie(sessionCookie), ".")
	random, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(random) < 16 {
		t.Errorf("the session's id %q has %d bytes (%v), want 16 or more", token, len(random), err)
	}
	sum := sha256.Sum256([]byte(token))
	want := "api:session:" + base64.RawURLEncoding.EncodeToString(sum[:])
	if keys := s.keys("api:session:*"); !slices.Equal(keys, []string{want}) {
		t.Errorf("keys %v, want the hash of the id", keys)
	}
	if ttl := s.db().PTTL(t.Context(), want).Val(); ttl < 13*24*time.Hour || ttl > 14*24*time.Hour {
		t.Errorf("time to live %v, want 14 days", ttl)
	}
}

// A session that an attacker planted is worth nothing after the sign-in.
func TestSession_Fixation(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	attacker, victim := s.browser(), s.browser()
	attacker.signIn("visitor-2")
	planted := attacker.cookie(sessionCookie)
	callback := victim.authorize("visitor-1", "/")
	victim.setCookie(sessionCookie, planted)
	wantStatus(t, "callback", victim.get(callback, "Accept", "application/json"), http.StatusOK)
	if victim.cookie(sessionCookie) == planted {
		t.Error("the session's id is the same after the sign-in")
	}
	wantStatus(t, "attacker's /me", attacker.get("/me"), http.StatusUnauthorized)
	if n := len(s.keys("api:session:*")); n != 1 {
		t.Errorf("%d sessions, want the victim's only", n)
	}
}

// Cookies that we did not sign never reach Redis. The random ones come from a
// seed that a failure prints.
func TestSession_ForgedCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.get("/exclude?id=C1")
	visitor := b.cookie(visitorCookie)
	b.signIn("visitor-1")
	good := b.cookie(sessionCookie)
	value, mac, _ := strings.Cut(good, ".")
	forged := []string{
		"", ".", value, value + ".", "." + mac, value + "." + mac[:len(mac)-2], value + "x." + mac,
		"AAAA" + good, good + "A", visitor, value + "." + strings.Repeat("A", 43),
		value + "." + strings.Repeat("A", 10_000),
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		c := []byte(good)
		for range 1 + rng.IntN(3) {
			c[rng.IntN(len(c))] = "ABCabc019-_.=+/"[rng.IntN(15)]
		}
		// The last character of a MAC has two bits that do not count.
		if string(c) != good && string(c[:len(c)-1]) != good[:len(good)-1] {
			forged = append(forged, string(c))
		}
	}
	monitor := s.redis.Monitor(t)
	for _, cookie := range forged {
		x := s.browser()
		x.http.Jar = nil
		a := x.get("/me", "Cookie", sessionCookie+"="+cookie)
		if a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("cookie %q: /me = %d (seed %d)", cookie, a.StatusCode, seed)
		}
	}
	// The old system's cookie, and ours without its prefix.
	x := s.browser()
	x.http.Jar = nil
	a := x.get("/me", "Cookie", "user_id="+s.id("visitor-1")+"; sponsor-session="+good)
	wantStatus(t, "old cookies", a, http.StatusUnauthorized)
	if lines := monitor.Lines(); len(lines) != 0 {
		t.Errorf("forged cookies reached Redis: %v", lines[0])
	}
	wantStatus(t, "the good cookie", b.get("/me"), http.StatusOK)
}

func TestSession_KeyRotation(t *testing.T) {
	t.Parallel()
	const newKey = "another key that has more than 32 bytes too"
	first := newSite(t, nil, nil)
	b := first.browser()
	b.signIn("visitor-1")
	cookie := b.cookie(sessionCookie)
	for _, tt := range []struct {
		name, keys string
		want       int
	}{
		{"rotated", newKey + "," + testKey, http.StatusOK},
		{"the old one dropped", newKey, http.StatusUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiteOn(t, first.redis, func(m map[string]string) { m["SESSION_KEYS"] = tt.keys }, nil)
			x := s.browser()
			x.setCookie(sessionCookie, cookie)
			wantStatus(t, "/me", x.get("/me"), tt.want)
		})
	}
}

func TestSession_Ends(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		tune func(*Main)
	}{
		{"idle", func(m *Main) { m.SessionIdle = 300 * time.Millisecond }},
		{"absolute, however much it is used", func(m *Main) { m.SessionAbsolute = 600 * time.Millisecond }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil, tt.tune)
			b := s.browser()
			b.signIn("visitor-1")
			cookie := b.cookie(sessionCookie)
			wantStatus(t, "/me", b.get("/me"), http.StatusOK)
			x := s.browser()
			x.http.Jar = nil // that would forget the cookie by itself
			used := tt.name != "idle"
			redistest.Eventually(t, 5*time.Second, func() error {
				if !used && len(s.keys("api:session:*")) != 0 {
					return errStill("the session is in Redis")
				}
				if a := x.get("/me", "Cookie", sessionCookie+"="+cookie); a.StatusCode != http.StatusUnauthorized {
					return errStill("signed in")
				}
				return nil
			})
		})
	}
}

type errStill string

func (e errStill) Error() string { return "still " + string(e) }

// Signing out holds, also against requests that are under way.
func TestSession_SignOutIsNotUndone(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for range 20 {
		b := s.browser()
		b.signIn("visitor-1")
		cookie := sessionCookie + "=" + b.cookie(sessionCookie)
		x := s.browser()
		x.http.Jar = nil
		done := make(chan error, 8)
		for range cap(done) {
			go func() {
				_, err := x.try(http.MethodGet, "/exclude?id=C1", "", "Cookie", cookie)
				done <- err
			}()
		}
		wantStatus(t, "sign out", b.do(http.MethodPost, "/logout", ""), http.StatusOK)
		for range cap(done) {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		wantStatus(t, "/me with the old cookie", x.get("/me", "Cookie", cookie), http.StatusUnauthorized)
		if b.cookie(sessionCookie) != "" {
			t.Error("the cookie is still there")
		}
	}
	if keys := s.keys("api:session:*"); len(keys) != 0 {
		t.Errorf("sessions %v after everybody signed out", keys)
	}
}

// What we cannot read in Redis is no session; it locks nobody out.
func TestSession_Unreadable(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	s.db().Set(t.Context(), s.keys("api:session:*")[0], "\x00\xff", time.Hour)
	wantStatus(t, "/me", b.get("/me"), http.StatusUnauthorized)
	b.signIn("visitor-1")
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
}

// The current key signs, the previous ones only verify; and of several cookies with
// our name the good one counts.
func TestSession_CurrentKeySigns(t *testing.T) {
	t.Parallel()
	const newKey = "another key that has more than 32 bytes too"
	rotated := newSite(t, func(m map[string]string) { m["SESSION_KEYS"] = newKey + "," + testKey }, nil)
	b := rotated.browser()
	b.signIn("visitor-1")
	s := newSiteOn(t, rotated.redis, func(m map[string]string) { m["SESSION_KEYS"] = newKey }, nil)
	x := s.browser()
	x.http.Jar = nil
	cookie := sessionCookie + "=" + b.cookie(sessionCookie)
	wantStatus(t, "/me with the new key alone", x.get("/me", "Cookie", cookie), http.StatusOK)
	wantStatus(t, "/me with a forged cookie before", x.get("/me", "Cookie", sessionCookie+"=forged.x; "+cookie), http.StatusOK)
}

// Using a session lets it live for another idle time, and not for longer than the
// absolute one.
func TestSession_UseProlongs(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	b := s.browser()
	b.signIn("visitor-1")
	key := s.keys("api:session:*")[0]
	if err := s.db().Expire(t.Context(), key, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "/me", b.get("/me"), http.StatusOK)
	if ttl := s.db().TTL(t.Context(), key).Val(); ttl < 13*day || ttl > 14*day {
		t.Errorf("after its use the session lives for %v, want 14 days", ttl)
	}
	record := s.db().Get(t.Context(), key).Val()
	var r struct{ Deadline time.Time }
	if err := json.Unmarshal([]byte(record), &r); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(r.Deadline); left < 89*day || left > 90*day {
		t.Errorf("its deadline is in %v, want 90 days", left)
	}
}

// The list of somebody's sessions holds no dead ones, does not live for ever, and
// there is no session that is not on it.
func TestSession_List(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	list := "api:sessions:" + s.id("visitor-1")
	s.db().ZAdd(t.Context(), list, redis.Z{Score: 1, Member: "dead"})
	b, idle := s.browser(), s.browser()
	idle.signIn("visitor-1")
	s.db().Del(t.Context(), s.keys("api:session:*")...) // as when the idle time is over
	b.signIn("visitor-1")
	if got := s.db().ZRange(t.Context(), list, 0, -1).Val(); len(got) != 2 || slices.Contains(got, "dead") {
		t.Errorf("the list has %v, want two that have not reached their deadline", got)
	}
	if ttl := s.db().TTL(t.Context(), list).Val(); ttl < 89*day || ttl > 90*day {
		t.Errorf("the list lives for %v, want 90 days", ttl)
	}
	if got := fmt.Sprint(b.get("/me").json(t)["sessions"]); got != "1" {
		t.Errorf("sessions = %s, want 1: the other one has ended", got)
	}
	wantStatus(t, "sign out everywhere", b.do(http.MethodPost, "/logout/everywhere", ""), http.StatusOK)
	if keys := s.keys("api:session*"); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}

	// The list cannot be written: nobody is signed in.
	s.db().Set(t.Context(), list, "no sorted set", 0)
	x := s.browser()
	a := x.get(x.authorize("visitor-1", "/"), "Accept", "application/json")
	wantStatus(t, "callback", a, http.StatusInternalServerError)
	if keys := s.keys("api:session:*"); len(keys) != 0 || x.cookie(sessionCookie) != "" {
		t.Errorf("there is a session that signing out everywhere would not end: %v", keys)
	}
}
