package githubtest

import (
	"errors"
	"fmt"
	"time"
)

// Sponsorship is an account's sponsorship of the organisation.
type Sponsorship struct {
	Active         bool
	OneTime        bool
	Private        bool
	CreatedAt      time.Time
	TierSelectedAt time.Time
	TierName       string // empty: GitHub does not tell the tier
	TierCents      int
}

// SetSponsoring starts or ends the sponsorship of login, creating the account if
// need be. A new one is of $5 a month. It sends no webhook.
func (s *Server) SetSponsoring(login string, sponsoring bool) {
	s.sponsor(login, sponsoring, terms{})
}

// sponsor starts, changes or ends the sponsorship of login. It returns what it
// was and what it is; a zero Sponsorship is none.
func (s *Server) sponsor(login string, sponsoring bool, t terms) (before, after Sponsorship) {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	s.Update(login, func(a *Account) {
		if a.Sponsorship != nil {
			before = *a.Sponsorship
		}
		after = before
		after.Active = sponsoring
		switch {
		case !sponsoring && a.Sponsorship == nil:
			return
		case a.Sponsorship == nil:
			after.CreatedAt, after.TierCents, after.TierName = now, 500, tierName(500, false)
		}
		if sponsoring {
			t.apply(&after)
			if !before.Active || !sameTier(before, after) {
				after.TierSelectedAt = now
			}
		}
		changed := after
		a.Sponsorship = &changed
	})
	return before, after
}

// terms are what somebody sponsors with. What is nil stays as it is.
type terms struct {
	TierCents *int    `json:"tier_cents"`
	TierName  *string `json:"tier_name"`
	OneTime   *bool   `json:"one_time"`
}

func (t terms) check() error {
	if t.TierCents != nil && *t.TierCents < 0 {
		return errors.New("tier_cents is below zero")
	}
	return nil
}

// apply puts the terms into the sponsorship. The tier takes the name that GitHub
// would give it, if there is none among the terms.
func (t terms) apply(s *Sponsorship) {
	before := *s
	if t.OneTime != nil {
		s.OneTime = *t.OneTime
	}
	if t.TierCents != nil {
		s.TierCents = *t.TierCents
	}
	if s.OneTime != before.OneTime || s.TierCents != before.TierCents {
		s.TierName = tierName(s.TierCents, s.OneTime)
	}
	if t.TierName != nil {
		s.TierName = *t.TierName
	}
}

// tierName is how GitHub calls a tier.
func tierName(cents int, oneTime bool) string {
	if oneTime {
		return fmt.Sprintf("$%d one time", cents/100)
	}
	return fmt.Sprintf("$%d a month", cents/100)
}

func sameTier(a, b Sponsorship) bool {
	return a.OneTime == b.OneTime && a.TierCents == b.TierCents && a.TierName == b.TierName
}

// happened is the action of the event that GitHub sends for a change, or empty
// for none. The end of a one-time payment is no event.
func happened(before, after Sponsorship) string {
	switch {
	case after.Active && (!before.Active || before.OneTime != after.OneTime):
		return "created"
	case after.Active && !sameTier(before, after):
		return "tier_changed"
	case before.Active && !after.Active && !before.OneTime:
		return "cancelled"
	default:
		return ""
	}
}
