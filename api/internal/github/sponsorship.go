package github

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/shurcooL/githubv4"
)

// An Answer is what GitHub says to the question whether somebody sponsors.
type Answer int

// The answers. The zero Answer is Unknown, and Unknown takes nothing away from
// anybody.
const (
	Unknown Answer = iota
	No
	Yes
)

func (a Answer) String() string {
	switch a {
	case Yes:
		return "yes"
	case No:
		return "no"
	default:
		return "unknown"
	}
}

// MarshalJSON writes true, false, or null for Unknown.
func (a Answer) MarshalJSON() ([]byte, error) {
	switch a {
	case Yes:
		return []byte("true"), nil
	case No:
		return []byte("false"), nil
	default:
		return []byte("null"), nil
	}
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (a *Answer) UnmarshalJSON(b []byte) error {
	var v *bool
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch {
	case v == nil:
		*a = Unknown
	case *v:
		*a = Yes
	default:
		*a = No
	}
	return nil
}

// A Sponsorship is GitHub's answer about one person and the organisation.
type Sponsorship struct {
	Answer Answer
	// Reason tells in a few words why the answer is Unknown, for the log.
	Reason string

	// What follows is zero where GitHub does not say.

	// Since is when the sponsorship began.
	Since time.Time
	// Selected is when the tier was selected: of a one-time payment, when it was
	// made.
	Selected time.Time
	// OneTime is a payment that is not repeated every month.
	OneTime bool
	// Tier is what they give. Its zero value is a tier that GitHub does not tell.
	Tier Tier
}

// A Tier is what somebody gives.
type Tier struct {
	Name string `json:"name,omitempty"`
	// Cents is US cents a month, or at once for a one-time payment.
	Cents int `json:"cents,omitempty"`
}

// Known tells whether GitHub has named the tier.
func (t Tier) Known() bool { return t != Tier{} }

// sponsorshipFields are what we ask of a sponsorship, from either side. Pointers
// tell null from a value.
type sponsorshipFields struct {
	IsActive         *githubv4.Boolean
	IsOneTimePayment githubv4.Boolean
	CreatedAt        githubv4.DateTime
	TierSelectedAt   *githubv4.DateTime
	Tier             *struct {
		Name                githubv4.String
		MonthlyPriceInCents githubv4.Int
	}
}

func (f sponsorshipFields) sponsorship(answer Answer) Sponsorship {
	s := Sponsorship{Answer: answer, Since: f.CreatedAt.Time, OneTime: bool(f.IsOneTimePayment)}
	if f.TierSelectedAt != nil {
		s.Selected = f.TierSelectedAt.Time
	}
	if f.Tier != nil {
		s.Tier = Tier{Name: string(f.Tier.Name), Cents: int(f.Tier.MonthlyPriceInCents)}
	}
	return s
}

// sponsorshipQuery answers for organisations and people alike, without paging.
// It selects no profile fields: those of an organisation need read:org.
//
// Pointers tell null from false: githubv4 decodes an empty answer without an
// error.
type sponsorshipQuery struct {
	RepositoryOwner *struct {
		Sponsorable struct {
			ViewerIsSponsoring            *githubv4.Boolean
			SponsorshipForViewerAsSponsor *sponsorshipFields `graphql:"sponsorshipForViewerAsSponsor(activeOnly: false)"`
		} `graphql:"... on Sponsorable"`
	} `graphql:"repositoryOwner(login: $org)"`
}

func unknown(reason string) Sponsorship { return Sponsorship{Reason: reason} }

func (c *Client) sponsorship(ctx context.Context, token string) (s Sponsorship) {
	defer func() {
		// It runs beside the request, where nobody else would recover.
		if r := recover(); r != nil {
			s = unknown("panic while reading the answer")
		}
	}()
	var q sponsorshipQuery
	body, reason := c.query(ctx, token, &q, map[string]any{"org": githubv4.String(c.org)})
	switch {
	case reason != "":
		return unknown(reason)
	case q.RepositoryOwner == nil:
		return unknown("no such account")
	case q.RepositoryOwner.Sponsorable.ViewerIsSponsoring == nil, !complete(body):
		return unknown("partial answer")
	}
	sponsoring := bool(*q.RepositoryOwner.Sponsorable.ViewerIsSponsoring)
	answer := No
	if sponsoring {
		answer = Yes
	}
	details := q.RepositoryOwner.Sponsorable.SponsorshipForViewerAsSponsor
	switch {
	case details == nil:
		return Sponsorship{Answer: answer}
	case is(details.IsActive) != sponsoring:
		return unknown("contradictory answer")
	default:
		return details.sponsorship(answer)
	}
}

// query asks GraphQL, and returns the whole answer beside what q took from it.
// The reason says what went wrong, if anything did, without quoting the answer.
func (c *Client) query(ctx context.Context, token string, q any, variables map[string]any) (body []byte, reason string) {
	transport := &withToken{next: c.http.Transport, token: token}
	client := *c.http
	client.Transport = transport
	start := time.Now()
	err := githubv4.NewEnterpriseClient(c.graphQL, &client).Query(ctx, q, variables)
	switch {
	case transport.status != 0 && transport.status != http.StatusOK:
		reason = "status " + http.StatusText(transport.status)
	case err != nil && transport.status == 0:
		reason = "no answer"
	case err != nil:
		// Not its text: it quotes the answer.
		reason = "errors in the answer"
	}
	c.observe("graphql", reason == "", start)
	return transport.body, reason
}

// complete tells whether an answer has everything that a "no" rests on, and of
// the right types: githubv4 takes null, {} and what is missing for a "no".
func complete(body []byte) bool {
	var answer struct {
		Data struct {
			RepositoryOwner struct {
				ViewerIsSponsoring            *bool
				SponsorshipForViewerAsSponsor json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return false
	}
	owner := answer.Data.RepositoryOwner
	if owner.ViewerIsSponsoring == nil || owner.SponsorshipForViewerAsSponsor == nil {
		return false
	}
	if string(owner.SponsorshipForViewerAsSponsor) == "null" {
		return true
	}
	var details struct{ IsActive *bool }
	err := json.Unmarshal(owner.SponsorshipForViewerAsSponsor, &details)
	return err == nil && details.IsActive != nil
}
