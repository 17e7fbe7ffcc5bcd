package githubtest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const hookSecret = "secret-of-the-webhook"

// A hook is a webhook's receiver that keeps what it gets.
type hook struct {
	status   int
	location string
	got      chan answer // as a request: header and body
}

// newHook starts a receiver and makes it the stand-in's webhook.
func (l *lab) newHook() *hook {
	l.t.Helper()
	h := &hook{status: http.StatusAccepted, got: make(chan answer, 10)}
	l.hookFunc(h.ServeHTTP)
	return h
}

func (l *lab) hookFunc(receive http.HandlerFunc) {
	l.t.Helper()
	web := httptest.NewServer(receive)
	l.t.Cleanup(web.Close)
	l.s.SetWebhook(web.URL+"/webhooks/github", hookSecret)
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.got <- answer{0, r.Header, r.Method + " " + r.URL.Path + "\n" + string(body)}
	if h.location != "" {
		w.Header().Set("Location", h.location)
	}
	w.WriteHeader(h.status)
	_, _ = io.WriteString(w, "thanks")
}

// next is the payload that came, or fails: deliveries are never on their way
// still.
func (h *hook) next(t *testing.T) (p Payload, header http.Header) {
	t.Helper()
	select {
	case got := <-h.got:
		if err := json.Unmarshal([]byte(strings.TrimPrefix(got.body, "POST /webhooks/github\n")), &p); err != nil {
			t.Fatalf("delivery %s: %v", got.body, err)
		}
		return p, got.header
	default:
		t.Fatal("nothing was delivered")
		return Payload{}, nil
	}
}

func (h *hook) nothing(t *testing.T, why string) {
	t.Helper()
	select {
	case got := <-h.got:
		t.Errorf("%s: delivered %s", why, got.body)
	default:
	}
}

func TestDeliver(t *testing.T) {
	l := newLab(t)
	h := l.newHook()
	d := l.s.Event("created", "sponsor-1", nil)
	reply, err := l.s.Deliver(t.Context(), d)
	if err != nil || reply != (Reply{http.StatusAccepted, "thanks"}) {
		t.Fatalf("reply %+v, %v", reply, err)
	}
	_, header := h.next(t)
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write(d.Body)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": "sponsorship", "X-GitHub-Delivery": d.GUID,
		"X-GitHub-Hook-ID": "400000001", "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := header.Get("X-Hub-Signature"); len(got) != len("sha1=")+40 || !strings.HasPrefix(got, "sha1=") {
		t.Errorf("X-Hub-Signature = %q", got)
	}
	if got := header.Get("User-Agent"); !strings.HasPrefix(got, "GitHub-Hookshot/") {
		t.Errorf("User-Agent = %q", got)
	}

	if _, err := l.s.Deliver(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if _, again := h.next(t); again.Get("X-GitHub-Delivery") != d.GUID || again.Get("X-Hub-Signature-256") != header.Get("X-Hub-Signature-256") {
		t.Errorf("redelivery: %v", again)
	}
	if other := l.s.Event("created", "sponsor-1", nil); other.GUID == d.GUID || len(other.GUID) != 36 {
		t.Errorf("GUID of another event = %s", other.GUID)
	}

	ping := l.s.Ping()
	ping.Secret = ""
	if _, err := l.s.Deliver(t.Context(), ping); err != nil {
		t.Fatal(err)
	}
	if _, header := h.next(t); header.Get("X-GitHub-Event") != "ping" || header.Get("X-Hub-Signature-256") != "" || !strings.Contains(string(ping.Body), `"hook_id":400000001`) {
		t.Errorf("ping without a secret: %v %s", header, ping.Body)
	}
}

func TestDeliver_Fails(t *testing.T) {
	l := newLab(t)
	d := l.s.Event("created", "sponsor-1", nil)
	if _, err := l.s.Deliver(t.Context(), d); !errors.Is(err, ErrNoWebhook) {
		t.Errorf("without a webhook: %v", err)
	}
	h := l.newHook()
	h.status, h.location = http.StatusFound, "/elsewhere"
	if reply, err := l.s.Deliver(t.Context(), d); err != nil || reply.Status != http.StatusFound {
		t.Errorf("redirect: %+v, %v", reply, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.s.Deliver(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	l.s.SetWebhook("http://127.0.0.1:1", "")
	if _, err := l.s.Deliver(t.Context(), d); err == nil {
		t.Error("nobody listens: no error")
	}
	l.s.SetWebhook("::", "")
	if _, err := l.s.Deliver(t.Context(), d); err == nil {
		t.Error("no URL: no error")
	}
}

func TestControl_Deliveries(t *testing.T) {
	l := newLab(t)
	h := l.newHook()
	h.status = http.StatusInternalServerError
	put := func(login, body string, want int) {
		t.Helper()
		if a := l.do(http.MethodPut, "/control/accounts/"+login, "application/json", body, ""); a.status != want {
			t.Fatalf("PUT %s %s = %d %s, want %d", login, body, a.status, a.body, want)
		}
	}
	for _, tt := range []struct {
		name, login, body string
		action            string
		cents             int
		tier              string
		oneTime           bool
	}{
		{"new", "new", `{"sponsoring":true}`, "created", 500, "$5 a month", false},
		{"no change", "new", `{"sponsoring":true}`, "", 0, "", false},
		{"tier", "new", `{"sponsoring":true,"tier_cents":2500}`, "tier_changed", 2500, "$25 a month", false},
		{"end", "new", `{"sponsoring":false}`, "cancelled", 2500, "$25 a month", false},
		{"end again", "new", `{"sponsoring":false}`, "", 0, "", false},
		{"end of nothing", "nobody", `{"sponsoring":false}`, "", 0, "", false},
		{"again, with a name", "new", `{"sponsoring":true,"tier_cents":700,"tier_name":"Gold"}`, "created", 700, "Gold", false},
		{"one-time", "once", `{"sponsoring":true,"one_time":true,"tier_cents":1000}`, "created", 1000, "$10 one time", true},
		{"end of one-time", "once", `{"sponsoring":false}`, "", 0, "", false},
	} {
		put(tt.login, tt.body, http.StatusNoContent)
		if tt.action == "" {
			h.nothing(t, tt.name)
			continue
		}
		p, _ := h.next(t)
		if p.Action != tt.action || p.Sponsorship.Sponsor.Login != tt.login || p.Sponsorship.Tier.MonthlyPriceInCents != tt.cents ||
			p.Sponsorship.Tier.Name != tt.tier || p.Sponsorship.Tier.IsOneTime != tt.oneTime {
			t.Errorf("%s: %+v of %+v, %+v", tt.name, p, p.Sponsorship.Sponsor, p.Sponsorship.Tier)
		}
		if tt.action == "tier_changed" && p.Changes.Tier.From.MonthlyPriceInCents != 500 {
			t.Errorf("%s: from %+v", tt.name, p.Changes.Tier.From)
		}
		h.nothing(t, tt.name)
	}
	if a, _ := l.s.Account("once"); a.Sponsorship.Active || !a.Sponsorship.OneTime {
		t.Errorf("once: %+v", a.Sponsorship)
	}
	put("new", `{"sponsoring":true,"tier_name":""}`, http.StatusNoContent)
	if p, _ := h.next(t); p.Action != "tier_changed" || p.Sponsorship.Tier != nil {
		t.Errorf("tier that is not told: %+v", p)
	}
	put("new", `{"sponsoring":true,"tier_cents":-1}`, http.StatusBadRequest)
	l.s.SetSponsoring("new", false)
	l.s.Update("new", func(a *Account) { a.Sponsorship.Active = true })
	h.nothing(t, "the Go methods")
	l.s.SetWebhook("", "")
	put("new", `{"sponsoring":false}`, http.StatusNoContent)
}
