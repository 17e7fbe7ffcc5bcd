package main

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The rights that OPERATIONS.md gives the API's user are enough for everything.
func TestRights(t *testing.T) {
	t.Parallel()
	handbook, err := os.ReadFile("../scripts/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER sponsor-api (on .*)$`).FindSubmatch(handbook)
	if line == nil {
		t.Fatal("OPERATIONS.md has no rule of sponsor-api")
	}
	rule := []any{"ACL", "SETUSER", "sponsor-api"}
	for word := range strings.FieldsSeq(strings.NewReplacer("<org>", testOrg, "<password>", "hidden").Replace(string(line[1]))) {
		rule = append(rule, word)
	}
	s, _, _ := newReplicatedSite(t, nil)
	if err := s.db().Do(t.Context(), rule...).Err(); err != nil {
		t.Fatal(err)
	}
	limited := newSiteOn(t, s.redis, func(m map[string]string) {
		u := url.URL{Scheme: "redis", Host: s.redis.Addr(), User: url.UserPassword("sponsor-api", "hidden")}
		m["REDIS_ADDR"], m["GITHUB_WEBHOOK_SECRET"], m["GITHUB_MAINTAINER_TOKEN"] = u.String(), webhookSecret, maintainerToken
	}, func(m *Main) { m.LapseEvery = 10 * time.Millisecond })
	limited.github.SetWebhook("http://"+limited.main.Addr()+webhookPath, webhookSecret)
	b := limited.browser()
	wantStatus(t, "visitor", b.get("/exclude?id=C1"), http.StatusOK)
	b.signIn("sponsor-1")
	wantStatus(t, "exclude", b.get("/exclude?id=C2"), http.StatusOK)
	wantStatus(t, "take back", b.do(http.MethodDelete, "/exclude?id=C1", ""), http.StatusOK)
	b.safety("safe")
	wantStatus(t, "/account", b.get("/account", "Accept", "text/html"), http.StatusOK)
	wantStatus(t, "export", b.get("/me/export"), http.StatusOK)
	wantStatus(t, "/auth", b.get("/auth"), http.StatusOK)
	wantStatus(t, "refresh", b.do(http.MethodPost, "/me/refresh", ""), http.StatusOK)
	limited.deliver(limited.github.Event("created", "visitor-2", since(-time.Hour)), http.StatusAccepted)
	if up := limited.metric("sponsor_api_redis_up", "") + limited.metric("sponsor_module_up", ""); up != 2 {
		t.Errorf("Redis and module are up: %v, want both", up)
	}
	wantStatus(t, "/readyz", b.get("/readyz"), http.StatusOK)
	wantStatus(t, "sign out", b.do(http.MethodPost, "/logout", ""), http.StatusOK)
	b.signIn("sponsor-1")
	wantStatus(t, "DELETE", b.do(http.MethodDelete, "/me", ""), http.StatusOK)
	for _, word := range []string{"NOPERM", "cannot"} {
		if strings.Contains(limited.log.String(), word) {
			t.Errorf("the log says %s", word)
		}
	}
}
