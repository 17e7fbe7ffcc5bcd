package githubtest

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestEvent(t *testing.T) {
	l := newLab(t)
	l.serve(Config{
		Org: "example-org", MaintainerToken: maintainerToken, Sponsors: []string{"person", "private", "firm", "deleted", "hidden"},
	})
	l.s.Update("private", func(a *Account) { a.Sponsorship.Private = true })
	l.s.Update("firm", func(a *Account) { a.Organization = true })
	l.s.Update("deleted", func(a *Account) { a.Deleted = true })
	l.s.Update("hidden", func(a *Account) { a.Sponsorship.TierName = "" })
	h := l.newHook()
	for _, tt := range []struct {
		name, action, login string
		change              func(*Payload)
		has, lacks          string
	}{
		{
			"created", "created", "person", nil,
			`"created_at":"2026-01-02T03:04:05+00:00","sponsorable":{"login":"example-org","id":1,"node_id":"O_1","type":"Organization"},"sponsor":{"login":"person","id":9000005,"node_id":"U_9000005","type":"User"},"maintainer":{"login":"maintainer-1","id":9000010,`,
			`effective_date`,
		},
		{"tier", "created", "person", nil, `"name":"$5 a month","monthly_price_in_cents":500,"monthly_price_in_dollars":5,"is_one_time":false,"is_custom_amount":false`, `changes`},
		{"sender", "created", "person", nil, `"sender":{"login":"person","id":9000005`, `ghost`},
		{"cancelled", "cancelled", "person", nil, `"action":"cancelled"`, `effective_date`},
		{"edited", "edited", "person", nil, `"changes":{"privacy_level":{"from":"private"}}`, `effective_date`},
		{"edited to private", "edited", "private", nil, `"privacy_level":"private"`, `"from":"private"`},
		{"tier changed", "tier_changed", "person", nil, `"changes":{"tier":{"from":{"node_id":"ST_100"`, `effective_date`},
		{"pending cancellation", "pending_cancellation", "person", nil, `"effective_date":"2026-02-02T00:00:00+00:00"`, `changes`},
		{"pending tier change", "pending_tier_change", "person", nil, `"effective_date":"2026-02-02T00:00:00+00:00","changes":{"tier":{"from":{`, `private`},
		{"only a date", "pending_cancellation", "person", func(p *Payload) { p.EffectiveDate = "2026-02-05" }, `"effective_date":"2026-02-05"`, `changes`},
		{"organisation", "created", "firm", nil, `"type":"Organization"},"maintainer"`, `"sender":{"login":"firm"`},
		{"deleted", "cancelled", "deleted", nil, `"sponsor":null`, `"deleted"`},
		{"tier is not told", "created", "hidden", nil, `"tier":null`, `monthly_price`},
		{"account without a sponsorship", "created", "visitor-1", nil, `"monthly_price_in_cents":500`, `effective_date`},
		{"account that is new", "created", "new", nil, `"login":"new"`, `effective_date`},
		{"action that GitHub does not have", "novelty", "person", nil, `"action":"novelty"`, `changes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := l.s.Deliver(t.Context(), l.s.Event(tt.action, tt.login, tt.change)); err != nil {
				t.Fatal(err)
			}
			if body := (<-h.got).body; !strings.Contains(body, tt.has) || strings.Contains(body, tt.lacks) {
				t.Errorf("body %s, want %s and no %s", body, tt.has, tt.lacks)
			}
		})
	}
	if a, _ := l.s.Account("visitor-1"); a.Sponsorship != nil {
		t.Errorf("an event changed the state: %+v", a.Sponsorship)
	}
}

func TestEvent_OrgIsUser(t *testing.T) {
	l := newLab(t)
	l.serve(Config{Org: "example-org", OrgIsUser: true, Sponsors: []string{"sponsor-1"}})
	var p Payload
	if err := json.Unmarshal(l.s.Event("created", "sponsor-1", nil).Body, &p); err != nil {
		t.Fatal(err)
	}
	want, _ := l.s.Account("example-org")
	if got := p.Sponsorship.Sponsorable; got.ID != want.ID || got.Type != "User" || !reflect.DeepEqual(p.Sponsorship.Maintainer, &got) {
		t.Errorf("sponsorable %+v, maintainer %+v, want both %+v", got, p.Sponsorship.Maintainer, want)
	}
}

// A change through the control route is told as GitHub would, to the receiver
// that asks back before it answers.
func TestControl_ReceiverAsksBack(t *testing.T) {
	l := newSponsorsLab(t)
	seen := make(chan []string, 1)
	l.hookFunc(func(http.ResponseWriter, *http.Request) { seen <- l.list(maintainerToken, nil).logins() })
	if a := l.do(http.MethodPut, "/control/accounts/private", "application/json", `{"sponsoring":false}`, ""); a.status != http.StatusNoContent {
		t.Fatalf("control = %d %s", a.status, a.body)
	}
	if got := <-seen; strings.Join(got, " ") != "gone firm public" {
		t.Errorf("the receiver sees %v", got)
	}
}
