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
	// Answer is GitHub's last word, Seen when it was asked the last time and
	// answered, and Heard when its last event came.
	Answer github.Answer `json:"sponsoring"`
	Seen   time.Time     `json:"seen,omitzero"`
	Heard  time.Time     `json:"heard,omitzero"`
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

// slowest is how long a question to GitHub may take, with some to spare. What is
// further ahead of an answer was noted by a clock that was wrong.
const slowest = 15 * time.Minute

// Told returns the standing after GitHub's answer to a question that was asked at
// the given time. Counted tells whether the person counts as a sponsor so far. An
// answer that is older than what is known changes nothing.
func (s Standing) Told(g github.Sponsorship, at time.Time, counted bool) Standing {
	at = at.UTC().Truncate(time.Millisecond)
	last := latest(s.Seen, s.Heard)
	switch {
	case at.Before(last) && last.Sub(at) <= slowest:
		return s
	case g.Answer == github.Unknown:
		s.Unanswered = at
		return s
	}
	passed := !at.Before(s.Cancels) // for GitHub it goes on after that date
	s.Answer, s.Seen, s.Unanswered = g.Answer, at, time.Time{}
	if g.Answer == github.No {
		return s.with(g).stopped(at, counted)
	}
	s = s.goesOn(g)
	if passed {
		s.Cancels, s.Noted = time.Time{}, time.Time{}
	}
	if !at.Before(s.NextAt) {
		s.Next, s.NextAt = github.Tier{}, time.Time{}
	}
	return s
}

// with takes over what GitHub says of the sponsorship itself. It may keep the tier
// to itself; then the one that we know stays.
func (s Standing) with(g github.Sponsorship) Standing {
	if g.Tier.Known() || s.another(g) {
		s.Tier = g.Tier
	}
	if !g.Since.IsZero() {
		s.Since, s.Selected, s.OneTime = g.Since, g.Selected, g.OneTime
	}
	return s
}

// another tells a sponsorship that is not the one we know.
func (s Standing) another(g github.Sponsorship) bool {
	return !g.Since.IsZero() && !g.Since.Equal(s.Since)
}

// goesOn is somebody of whom GitHub says that they sponsor. What was pending is taken
// back if the sponsorship is another one, or if they have selected a tier since.
func (s Standing) goesOn(g github.Sponsorship) Standing {
	another := s.another(g)
	s = s.with(g)
	s.Ended = time.Time{}
	if another || s.Selected.After(s.Noted) {
		s.Cancels, s.Noted = time.Time{}, time.Time{}
	}
	if another || s.Tier == s.Next {
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

// lateEvent is how long GitHub lets people repeat a delivery, and a day.
const lateEvent = 4 * 24 * time.Hour

// Hinted returns the standing after an event that arrived at the given time. Events
// of a sponsorship that is older than the one we know, or whose end we know, change
// nothing: they are repeated or late.
func (s Standing) Hinted(e github.Event, at time.Time, counted bool) Standing {
	at = at.UTC().Truncate(time.Millisecond)
	if s.meansNothing(e, at) {
		return s
	}
	if e.Action == github.Cancelled {
		s.Answer, s.Since = github.No, e.Since
		s = s.stopped(at, counted)
		s.Heard = at
		return s
	}
	g := github.Sponsorship{Answer: github.Yes, Since: e.Since, Selected: s.Selected, OneTime: e.OneTime, Tier: e.Tier}
	if e.OneTime {
		g.Selected = latest(s.Selected, e.Since) // when it was paid
	}
	switch e.Action {
	case github.Created, github.Edited, github.PendingCancellation:
	case github.TierChanged:
		// The event came at once, and so it was selected now; of a payment that we
		// know it only comes again.
		if !e.OneTime || !s.OneTime || e.Tier != s.Tier {
			g.Selected = at
		}
	case github.PendingTierChange:
		g.Tier, g.OneTime = e.Was, e.WasOneTime
	default:
		return s // an action that we do not know
	}
	s = s.goesOn(g)
	s.Answer, s.Heard = github.Yes, at
	if e.Effective.IsZero() || e.Effective.After(at.Add(farFuture)) {
		return s
	}
	switch {
	case e.Action == github.PendingCancellation && !e.Effective.Equal(s.Cancels):
		// A date that has passed already ends it now: nobody is to be surprised.
		s.Cancels, s.Noted = latest(e.Effective.UTC(), at), at
	case e.Action == github.PendingTierChange && e.Effective.After(at):
		s.Next, s.NextAt = e.Tier, e.Effective.UTC()
	}
	return s
}

// meansNothing tells an event that is late, repeated, or about something else than
// the sponsorship that counts.
func (s Standing) meansNothing(e github.Event, at time.Time) bool {
	known := !s.Since.IsZero()
	switch {
	case e.Since.IsZero(), e.Since.After(at.Add(time.Hour)):
		return true
	case known && e.Since.Before(s.Since):
		return true // of an older sponsorship
	case known && e.Since.Equal(s.Since) && s.Answer == github.No:
		return true // of one that is over
	case !known && e.Action == github.Created && at.Sub(e.Since) > lateEvent:
		return true // it came in time once, and its end is not known any more
	default:
		// A payment beside a sponsorship that goes on adds nothing to it.
		running := s.Answer == github.Yes && !s.OneTime && s.Cancels.IsZero()
		return e.OneTime && e.Action == github.Created && known && running
	}
}
