// Package sponsors decides who counts as a sponsor, of what GitHub has said and
// when, and keeps that in Redis.
//
// Who counts is in the set sponsors:<org>, which the module replicates by. Why, and
// until when, is in a record of our own beside it, a Standing, which lies under api:
// and stays on this server. If it is lost, who is in the set stays there until
// GitHub says no.
//
// GitHub speaks in two ways: it answers our questions (Told), and it sends events
// (Hinted), which may be late, old or repeated. A question without an answer takes
// nothing from anybody.
package sponsors

import (
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
)

// A Standing is what GitHub has said about somebody's sponsorship. Its zero value
// is somebody of whom it has said nothing. Times that are zero are not known.
type Standing struct {
	// Answer is GitHub's last word, and Seen when it was asked for it.
	Answer github.Answer `json:"sponsoring"`
	Seen   time.Time     `json:"seen,omitzero"`
	// Unanswered is when GitHub was asked for the last time, if it did not answer
	// then.
	Unanswered time.Time `json:"unanswered,omitzero"`

	// Since is when the sponsorship began, and Selected when its tier was selected:
	// of a one-time payment, when it was made.
	Since    time.Time   `json:"since,omitzero"`
	Selected time.Time   `json:"selected,omitzero"`
	OneTime  bool        `json:"one_time,omitempty"`
	Tier     github.Tier `json:"tier,omitzero"`

	// Cancels is when a cancellation takes effect that is noted at GitHub, and
	// Noted when we heard of it.
	Cancels time.Time `json:"cancels,omitzero"`
	Noted   time.Time `json:"noted,omitzero"`
	// Next is the tier that is to come at NextAt.
	Next   github.Tier `json:"next,omitzero"`
	NextAt time.Time   `json:"next_at,omitzero"`

	// Ended is since when somebody who counted as a sponsor is none at GitHub.
	Ended time.Time `json:"ended,omitzero"`
}

// Told returns the standing after GitHub's answer to a question that was asked at
// the given time. Counted tells whether the person counts as a sponsor so far. An
// answer that is older than what is known changes nothing.
func (s Standing) Told(g github.Sponsorship, at time.Time, counted bool) Standing {
	at = at.UTC().Truncate(time.Millisecond)
	switch {
	case at.Before(s.Seen):
		return s
	case g.Answer == github.Unknown:
		s.Unanswered = at
		return s
	}
	another := !g.Since.IsZero() && !g.Since.Equal(s.Since)
	s.Answer, s.Seen, s.Unanswered = g.Answer, at, time.Time{}
	if !g.Since.IsZero() {
		s.Since, s.Selected, s.OneTime = g.Since, g.Selected, g.OneTime
	}
	// GitHub may keep the tier to itself; then the one that we know stays.
	if g.Tier.Known() || another {
		s.Tier = g.Tier
	}
	if g.Answer == github.No {
		return s.stopped(at, counted)
	}
	s.Ended = time.Time{}
	if another || !at.Before(s.Cancels) || s.Selected.After(s.Noted) {
		s.Cancels, s.Noted = time.Time{}, time.Time{} // it was taken back
	}
	if another || !at.Before(s.NextAt) || s.Tier == s.Next {
		s.Next, s.NextAt = github.Tier{}, time.Time{}
	}
	return s
}

// stopped is somebody of whom GitHub says that they do not sponsor.
func (s Standing) stopped(at time.Time, counted bool) Standing {
	if counted && s.Ended.IsZero() {
		s.Ended = at
		if !s.Cancels.IsZero() && s.Cancels.Before(at) {
			s.Ended = s.Cancels
		}
	}
	s.Cancels, s.Noted = time.Time{}, time.Time{}
	s.Next, s.NextAt = github.Tier{}, time.Time{}
	return s
}

// farFuture bounds what is pending: GitHub bills once a month, or once a year.
const farFuture = 400 * 24 * time.Hour

// Hinted returns the standing after an event that arrived at the given time. Events
// of a sponsorship that is older than the one we know, or whose end we know, change
// nothing: they are repeated or late.
func (s Standing) Hinted(e github.Event, at time.Time, counted bool) Standing {
	at = at.UTC().Truncate(time.Millisecond)
	known := !s.Since.IsZero()
	older := known && e.Since.Before(s.Since)
	over := known && e.Since.Equal(s.Since) && s.Answer == github.No
	if older || over || e.Since.IsZero() || e.Since.After(at.Add(time.Hour)) {
		return s
	}
	if e.Action == github.Cancelled {
		s.Answer, s.Seen, s.Since = github.No, at, e.Since
		return s.stopped(at, counted)
	}
	goesOn := github.Sponsorship{Answer: github.Yes, Since: e.Since, Selected: s.Selected, OneTime: e.OneTime, Tier: e.Tier}
	if e.OneTime && e.Since.After(s.Selected) {
		goesOn.Selected = e.Since
	}
	pending := e.Effective.After(at) && e.Effective.Before(at.Add(farFuture))
	switch e.Action {
	case github.Created, github.Edited:
	case github.TierChanged:
		if !e.OneTime {
			goesOn.Selected = at // and so a cancellation is taken back
		}
	case github.PendingCancellation:
		s = s.Told(goesOn, at, counted)
		if pending {
			s.Cancels, s.Noted = e.Effective, at
		}
		return s
	case github.PendingTierChange:
		goesOn.Tier = e.Was
		s = s.Told(goesOn, at, counted)
		if pending {
			s.Next, s.NextAt = e.Tier, e.Effective
		}
		return s
	default:
		return s
	}
	return s.Told(goesOn, at, counted)
}
