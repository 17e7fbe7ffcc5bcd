package sponsors

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
)

const day = 24 * time.Hour

// day0 is when the stories of these tests begin.
var day0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return day0.Add(d) }

var (
	policy  = Policy{Grace: 3 * day, OneTime: 30 * day}
	five    = github.Tier{Name: "$5 a month", Cents: 500}
	ten     = github.Tier{Name: "$10 a month", Cents: 1000}
	monthly = github.Sponsorship{Answer: github.Yes, Since: day0, Selected: day0, Tier: five}
	once    = github.Sponsorship{Answer: github.Yes, Since: day0, Selected: day0, OneTime: true, Tier: ten}
	gone    = github.Sponsorship{Answer: github.No}
	silence = github.Sponsorship{Answer: github.Unknown}
)

// told is a sponsor of whom GitHub said s at the time.
func told(st Standing, s github.Sponsorship, at time.Duration) Standing {
	return st.Told(s, after(at), policy.Counts(st, after(at)) && st.Answer != github.Unknown)
}

func hinted(st Standing, e github.Event, at time.Duration) Standing {
	return st.Hinted(e, after(at), policy.Counts(st, after(at)) && st.Answer != github.Unknown)
}

func event(action string, since time.Duration) github.Event {
	return github.Event{Action: action, Sponsorable: "example-org", ID: 7, Since: after(since), Tier: five}
}

func TestStories(t *testing.T) {
	sponsor := told(Standing{}, monthly, day)
	cancelling := event(github.PendingCancellation, 0)
	cancelling.Effective = after(20 * day)
	oneTime := event(github.Created, 0)
	oneTime.OneTime = true
	late := cancelling // it comes again after its date
	privacy := event(github.Edited, 0)
	toOnce := event(github.TierChanged, 0)
	toOnce.OneTime, toOnce.Tier, toOnce.Was = true, ten, five
	onceToCome := event(github.PendingTierChange, 0)
	onceToCome.OneTime, onceToCome.Tier, onceToCome.Was, onceToCome.Effective = true, ten, five, after(20*day)
	besides := event(github.Created, 20*day)
	besides.OneTime = true
	oneTimePrivacy := oneTime
	oneTimePrivacy.Action = github.Edited
	undated := once
	undated.Selected = time.Time{}
	lapsed := policy.lapsed(told(Standing{}, once, day))
	for _, tt := range []struct {
		name  string
		st    Standing
		until time.Duration // 0: it goes on; -1: never counted; -2: nothing is known
	}{
		{"a sponsor", sponsor, 0},
		{"silence takes nothing", told(sponsor, silence, 2*day), 0},
		{"gone: the grace begins", told(sponsor, gone, 10*day), 13 * day},
		{"gone, asked again: the grace does not begin anew", told(told(sponsor, gone, 10*day), gone, 12*day), 13 * day},
		{"gone, then silence", told(told(sponsor, gone, 10*day), silence, 11*day), 13 * day},
		{"gone and back within the grace", told(told(sponsor, gone, 10*day), monthly, 11*day), 0},
		{"an old answer", told(told(sponsor, gone, 10*day), monthly, 10*day-5*time.Minute), 13 * day},
		{"an answer after the clock was a year ahead", told(told(sponsor, gone, 365*day), monthly, 10*day), 0},
		{"cancelled for later, and its event comes again after the date", hinted(hinted(sponsor, cancelling, 5*day), late, 21*day), 23 * day},
		{"cancelled for later, and something else comes after the date", hinted(hinted(sponsor, cancelling, 5*day), privacy, 21*day), 23 * day},
		{"cancelled for a date that has passed", hinted(sponsor, cancelling, 21*day), 24 * day},
		{"heard of for the first time when its date has passed", hinted(Standing{}, cancelling, 21*day), 24 * day},
		{"one-time payment of which GitHub does not tell when", told(Standing{}, undated, day), 33 * day},
		{"one-time payment whose privacy changes all the time", hinted(hinted(told(Standing{}, once, day), oneTimePrivacy, 30*day), oneTimePrivacy, 32*day), 33 * day},
		{"for years, and now a one-time payment in its place", hinted(told(Standing{}, monthly, 700*day), toOnce, 710*day), 743 * day},
		{"a one-time payment is to take its place", hinted(sponsor, onceToCome, 5*day), 0},
		{"a one-time payment beside it", hinted(sponsor, besides, 20*day), 0},
		{"lapsed, and then GitHub answers yes to what was asked before", told(lapsed, monthly, 34*day), 0},
		{"created long ago, and heard of for the first time", hinted(Standing{}, event(github.Created, 0), 10*day), -2},
		{"never a sponsor", told(Standing{}, gone, day), -1},
		{"one-time payment", told(Standing{}, once, day), 33 * day},
		{"one-time payment that GitHub does not call active", told(Standing{}, github.Sponsorship{Answer: github.No, Since: day0, Selected: day0, OneTime: true}, 5*day), 33 * day},
		{"one-time payment that is active for longer", told(told(Standing{}, once, day), once, 40*day), 43 * day},
		{"one-time payment, then gone", told(told(Standing{}, once, day), gone, 5*day), 33 * day},
		{"a second one-time payment", told(told(Standing{}, once, day), github.Sponsorship{Answer: github.Yes, Since: day0, Selected: after(20 * day), OneTime: true}, 21*day), 53 * day},
		{"cancelled for later", hinted(sponsor, cancelling, 5*day), 23 * day},
		{"cancelled for later, still active when asked", told(hinted(sponsor, cancelling, 5*day), monthly, 10*day), 23 * day},
		{"cancelled for later, and active after that", told(hinted(sponsor, cancelling, 5*day), monthly, 21*day), 0},
		{"cancelled for later, taken back by another tier", told(hinted(sponsor, cancelling, 5*day), github.Sponsorship{Answer: github.Yes, Since: day0, Selected: after(6 * day), Tier: ten}, 7*day), 0},
		{"cancelled for later, and another sponsorship", told(hinted(sponsor, cancelling, 5*day), github.Sponsorship{Answer: github.Yes, Since: after(6 * day)}, 7*day), 0},
		{"cancelled for later, then gone on the day after", told(hinted(sponsor, cancelling, 5*day), gone, 21*day), 23 * day},
		{"cancelled", hinted(sponsor, event(github.Cancelled, 0), 10*day), 13 * day},
		{"cancelled twice", hinted(hinted(sponsor, event(github.Cancelled, 0), 10*day), event(github.Cancelled, 0), 12*day), 13 * day},
		{"an older sponsorship was cancelled", hinted(sponsor, event(github.Cancelled, -10*day), 10*day), 0},
		{"created after the end of the same", hinted(hinted(sponsor, event(github.Cancelled, 0), 10*day), event(github.Created, 0), 11*day), 13 * day},
		{"another one created after the end", hinted(hinted(sponsor, event(github.Cancelled, 0), 10*day), event(github.Created, 11*day), 11*day), 0},
		{"created, and heard of for the first time", hinted(Standing{}, event(github.Created, 0), day), 0},
		{"cancelled, and heard of for the first time", hinted(Standing{}, event(github.Cancelled, 0), day), -1},
		{"created in the future", hinted(Standing{}, event(github.Created, 10*day), day), -2},
		{"a one-time payment was created", hinted(Standing{}, oneTime, day), 33 * day},
		{"and its event came again later", hinted(hinted(Standing{}, oneTime, day), oneTime, 25*day), 33 * day},
		{"an action that does not exist", hinted(Standing{}, event("exploded", 0), 10*day), -2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			until, ends := policy.Until(tt.st)
			switch {
			case tt.until == 0 && (ends || tt.st.Answer != github.Yes):
				t.Errorf("it ends at %v, want that it goes on: %+v", until, tt.st)
			case tt.until == -2 && tt.st != Standing{}:
				t.Errorf("%+v, want nothing", tt.st)
			case tt.until == -1 && (!ends || !until.IsZero()):
				t.Errorf("until = %v, %v, want that it never counted", until, ends)
			case tt.until > 0 && (!ends || !until.Equal(after(tt.until))):
				t.Errorf("until = %v, %v, want day %d", until, ends, tt.until/day)
			}
			b, err := json.Marshal(tt.st)
			if err != nil {
				t.Fatal(err)
			}
			if back := decode(string(b)); !reflect.DeepEqual(back, tt.st) {
				t.Errorf("%s is read as %+v, want %+v", b, back, tt.st)
			}
		})
	}
}

func TestTiers(t *testing.T) {
	policy := Policy{Entitlements: []Entitlement{{"thanks", 0}, {"early", 500}, {"priority", 1000}}}
	hidden := monthly
	hidden.Tier = github.Tier{}
	change := event(github.PendingTierChange, 0)
	change.Tier, change.Was, change.Effective = ten, five, after(20*day)
	changed := event(github.TierChanged, 0)
	changed.Tier, changed.Was = ten, five
	sponsor := told(Standing{}, monthly, day)
	for _, tt := range []struct {
		name string
		st   Standing
		want []string
	}{
		{"of the tier", sponsor, []string{"thanks", "early"}},
		{"GitHub does not tell the tier", told(Standing{}, hidden, day), []string{"thanks"}},
		{"GitHub does not tell it any more", told(sponsor, hidden, 2*day), []string{"thanks", "early"}},
		{"a greater one to come", hinted(sponsor, change, 2*day), []string{"thanks", "early"}},
		{"a greater one has come", hinted(hinted(sponsor, change, 2*day), changed, 20*day), []string{"thanks", "early", "priority"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := policy.entitled(tt.st); !slices.Equal(got, tt.want) {
				t.Errorf("entitled to %v, want %v", got, tt.want)
			}
		})
	}
	pending := hinted(sponsor, change, 2*day)
	if pending.Next != ten || !pending.NextAt.Equal(after(20*day)) {
		t.Errorf("to come: %v at %v", pending.Next, pending.NextAt)
	}
	if came := hinted(pending, changed, 20*day); came.Next.Known() || !came.NextAt.IsZero() {
		t.Errorf("still to come: %v at %v", came.Next, came.NextAt)
	}
}

// TestRandomStories: whatever happens in whatever order, who was a sponsor when GitHub
// was asked counts for at least the grace after that, and a question without an answer
// shortens nothing; and who pays once, or has cancelled, counts for no longer than the
// grace after the last day that was paid, or the last yes to a question.
func TestRandomStories(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	actions := []string{github.Created, github.Cancelled, github.Edited, github.TierChanged, github.PendingCancellation, github.PendingTierChange}
	for story := range 2000 {
		st, at := Standing{}, time.Duration(0)
		for range 12 {
			at += time.Duration(rng.IntN(48)) * time.Hour
			before, heldUntil := st, time.Time{}
			if policy.Counts(st, after(at)) && st.Answer == github.Yes {
				heldUntil = st.Seen.Add(policy.Grace)
			}
			switch rng.IntN(5) {
			case 0:
				st = told(st, silence, at)
				if b, _ := policy.Until(before); !reflect.DeepEqual(b, first(policy.Until(st))) || st.Answer != before.Answer {
					t.Fatalf("seed %d, story %d: silence made %+v of %+v", seed, story, st, before)
				}
			case 1:
				st = told(st, gone, at)
			case 2:
				st = told(st, []github.Sponsorship{monthly, once}[rng.IntN(2)], at)
			default:
				e := event(actions[rng.IntN(len(actions))], time.Duration(rng.IntN(3))*day)
				e.Effective, e.OneTime = after(at+time.Duration(rng.IntN(20)-5)*day), rng.IntN(4) == 0
				st = hinted(st, e, at)
			}
			until, ends := policy.Until(st)
			if st.Answer == github.Yes && (st.OneTime || !st.Cancels.IsZero()) {
				paid := latest(latest(latest(st.Selected, st.Since).Add(policy.OneTime), st.Cancels), st.Seen)
				if !ends || until.After(paid.Add(policy.Grace)) {
					t.Fatalf("seed %d, story %d: %+v ends at %v, %v", seed, story, st, until, ends)
				}
			}
			if ends && until.Before(heldUntil) {
				t.Fatalf("seed %d, story %d: %+v became %+v, which ends at %v, before %v", seed, story, before, st, until, heldUntil)
			}
		}
	}
}

func first(t time.Time, _ bool) time.Time { return t }
