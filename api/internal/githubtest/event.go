package githubtest

import (
	"encoding/json"
	"time"
)

// A Payload is the body of a sponsorship event, as far as GitHub documents it.
type Payload struct {
	// Action is created, cancelled, edited, tier_changed, pending_cancellation or
	// pending_tier_change.
	Action      string             `json:"action"`
	Sponsorship PayloadSponsorship `json:"sponsorship"`
	// EffectiveDate is a date or an RFC 3339 timestamp; only pending events have
	// it.
	EffectiveDate string   `json:"effective_date,omitempty"`
	Changes       *Changes `json:"changes,omitempty"`
	Sender        Actor    `json:"sender"`
}

// PayloadSponsorship is the sponsorship that an event is about.
type PayloadSponsorship struct {
	NodeID       string `json:"node_id"`
	CreatedAt    string `json:"created_at"`
	Sponsorable  Actor  `json:"sponsorable"`
	Sponsor      *Actor `json:"sponsor"` // nil: the account is gone
	Maintainer   *Actor `json:"maintainer,omitempty"`
	PrivacyLevel string `json:"privacy_level"` // public or private
	Tier         *Tier  `json:"tier"`
}

// An Actor is an account in an event.
type Actor struct {
	Login  string `json:"login"`
	ID     int64  `json:"id"`
	NodeID string `json:"node_id"`
	Type   string `json:"type"` // User or Organization
}

// A Tier is what a sponsor of an event pays.
type Tier struct {
	NodeID                string `json:"node_id"`
	CreatedAt             string `json:"created_at"`
	Description           string `json:"description"`
	Name                  string `json:"name"`
	MonthlyPriceInCents   int    `json:"monthly_price_in_cents"`
	MonthlyPriceInDollars int    `json:"monthly_price_in_dollars"`
	IsOneTime             bool   `json:"is_one_time"`
	IsCustomAmount        bool   `json:"is_custom_amount"`
}

// Changes is what a sponsorship was before.
type Changes struct {
	Tier         *From[Tier]   `json:"tier,omitempty"`
	PrivacyLevel *From[string] `json:"privacy_level,omitempty"`
}

// From is the old value of what changed.
type From[T any] struct {
	From T `json:"from"`
}

// Event makes a sponsorship event about the account with that login, creating
// the account if need be; a sponsorship that it has none of is told as one of $5
// a month. The state stays as it is. Beside that, a change of tier comes from $1
// a month, and a pending event takes effect in a month. Change, if it is not nil,
// has the last word on the payload.
func (s *Server) Event(action, login string, change func(*Payload)) Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	a := s.findOrAdd(login)
	sp := Sponsorship{CreatedAt: now, TierCents: 500, TierName: tierName(500, false)}
	if a.Sponsorship != nil {
		sp = *a.Sponsorship
	}
	p := Payload{
		Action: action,
		Sponsorship: PayloadSponsorship{
			NodeID: sponsorshipID(a), CreatedAt: stamp(sp.CreatedAt),
			Sponsorable: actor(s.sponsored()), Sponsor: sponsorActor(a), Maintainer: s.maintainerActor(),
			PrivacyLevel: privacyLevel(sp.Private), Tier: payloadTier(sp),
		},
		Sender: sender(a),
	}
	switch action {
	case "tier_changed", "pending_tier_change":
		old := payloadTier(Sponsorship{TierCents: 100, TierName: tierName(100, false)})
		p.Changes = &Changes{Tier: &From[Tier]{*old}}
	case "edited":
		p.Changes = &Changes{PrivacyLevel: &From[string]{privacyLevel(!sp.Private)}}
	}
	switch action {
	case "pending_cancellation", "pending_tier_change":
		p.EffectiveDate = stamp(now.UTC().AddDate(0, 1, 0).Truncate(24 * time.Hour))
	}
	if change != nil {
		change(&p)
	}
	body, _ := json.Marshal(p) // text and numbers only
	return s.delivery("sponsorship", body)
}

// Ping makes the event that GitHub sends when a webhook is set up.
func (s *Server) Ping() Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := json.Marshal(map[string]any{
		"zen":     "It stands in for GitHub.",
		"hook_id": hookID,
		"hook": map[string]any{
			"id": hookID, "name": "web", "active": true, "events": []string{"sponsorship"},
			"config": map[string]string{"content_type": "json", "insecure_ssl": "0", "url": s.webhook.url},
		},
		"sender": actor(s.sponsored()),
	})
	return s.delivery("ping", body)
}

func actor(a *Account) Actor {
	return Actor{Login: a.Login, ID: a.ID, NodeID: a.nodeID(), Type: a.typename()}
}

func sponsorActor(a *Account) *Actor {
	if a.Deleted {
		return nil
	}
	sponsor := actor(a)
	return &sponsor
}

// maintainerActor is nil where nobody is known to be the maintainer. The caller
// holds s.mu.
func (s *Server) maintainerActor() *Actor {
	a := s.find(s.maintainer.Login)
	if s.cfg.OrgIsUser {
		a = s.sponsored()
	}
	if a == nil {
		return nil
	}
	m := actor(a)
	return &m
}

// sender is who caused an event: the sponsor, a member of an organisation that
// sponsors, or the account that stands for the deleted ones.
func sender(a *Account) Actor {
	switch {
	case a.Deleted:
		return Actor{Login: "ghost", ID: 10137, NodeID: "U_10137", Type: "User"}
	case a.Organization:
		return actor(&Account{ID: a.ID + 1_000_000, Login: "member-of-" + a.Login})
	default:
		return actor(a)
	}
}

// payloadTier is nil if GitHub does not tell the tier.
func payloadTier(sp Sponsorship) *Tier {
	if sp.TierName == "" {
		return nil
	}
	return &Tier{
		NodeID: tierID(sp.TierCents), CreatedAt: "2020-01-01T00:00:00+00:00",
		Description: "For those who give " + sp.TierName, Name: sp.TierName,
		MonthlyPriceInCents: sp.TierCents, MonthlyPriceInDollars: sp.TierCents / 100,
		IsOneTime: sp.OneTime,
	}
}

func privacyLevel(private bool) string {
	if private {
		return "private"
	}
	return "public"
}

// stamp writes a time as GitHub's webhooks do, with an offset for UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05-07:00") }
