package sponsors

import (
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
)

// The defaults of Policy.
const (
	DefaultGrace   = 72 * time.Hour
	DefaultOneTime = 30 * 24 * time.Hour
)

// A Policy says how long a sponsorship counts, and what it entitles to.
type Policy struct {
	// Grace is how long a sponsorship that ended still counts. Zero: not at all.
	Grace time.Duration
	// OneTime is how long a one-time payment counts.
	OneTime time.Duration
	// Entitlements are what tiers give, in any order.
	Entitlements []Entitlement
}

// An Entitlement is a feature for sponsors who give at least Cents US cents, a
// month or at once.
type Entitlement struct {
	Name  string
	Cents int
}

// Until tells when somebody ceases to count, grace included. Ends is false for a
// sponsorship that goes on, and for somebody of whom GitHub has said nothing.
func (p Policy) Until(s Standing) (until time.Time, ends bool) {
	end, ends := p.end(s)
	if !ends || end.IsZero() {
		return time.Time{}, ends
	}
	return end.Add(p.Grace), true
}

// end is Until without the grace.
func (p Policy) end(s Standing) (end time.Time, ends bool) {
	if s.OneTime {
		paid := s.Selected
		if paid.IsZero() {
			paid = s.Since // GitHub does not always tell when
		}
		if !paid.IsZero() {
			end = paid.Add(p.OneTime)
		}
	}
	switch s.Answer {
	case github.Yes:
		if !end.IsZero() {
			end = latest(end, s.Seen) // when asked, GitHub said that it goes on
		}
		end = latest(end, s.Cancels)
		return end, !end.IsZero()
	case github.No:
		return latest(end, s.Ended), true
	default:
		return time.Time{}, false
	}
}

// Counts tells whether somebody is a sponsor for us. It means nothing for somebody
// of whom GitHub has said nothing.
func (p Policy) Counts(s Standing, now time.Time) bool {
	until, ends := p.Until(s)
	return !ends || now.Before(until)
}

// lapsed is the standing of somebody who has ceased to count without a word of
// GitHub's.
func (p Policy) lapsed(s Standing) Standing {
	if s.Answer == github.Yes {
		s.Ended, _ = p.end(s)
	}
	s.Answer = github.No
	return s.stopped(s.Ended, false)
}

// entitled lists what somebody who counts is entitled to. Of a tier that GitHub
// does not tell it is what every sponsor is.
func (p Policy) entitled(s Standing) []string {
	names := []string{}
	for _, e := range p.Entitlements {
		if s.Tier.Cents >= e.Cents {
			names = append(names, e.Name)
		}
	}
	return names
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
