package github

import (
	"context"
	"encoding/json"
	"net/http"

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

// ParseAnswer is the inverse of String. Anything else is Unknown.
func ParseAnswer(s string) Answer {
	switch s {
	case "yes":
		return Yes
	case "no":
		return No
	default:
		return Unknown
	}
}

// A Sponsorship is GitHub's answer about one person and the organisation.
type Sponsorship struct {
	Answer Answer
	// Reason tells in a few words why the answer is Unknown, for the log.
	Reason string
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
			SponsorshipForViewerAsSponsor *struct {
				IsActive         githubv4.Boolean
				IsOneTimePayment githubv4.Boolean
				CreatedAt        githubv4.DateTime
				TierSelectedAt   *githubv4.DateTime
				PrivacyLevel     githubv4.String
				Tier             *struct {
					ID                  githubv4.String
					Name                githubv4.String
					MonthlyPriceInCents githubv4.Int
					IsOneTime           githubv4.Boolean
					IsCustomAmount      githubv4.Boolean
				}
			} `graphql:"sponsorshipForViewerAsSponsor(activeOnly: false)"`
		} `graphql:"... on Sponsorable"`
	} `graphql:"repositoryOwner(login: $org)"`
}

func (c *Client) sponsorship(ctx context.Context, token string) (s Sponsorship) {
	unknown := func(reason string) Sponsorship { return Sponsorship{Unknown, reason} }
	defer func() {
		// It runs beside the request, where nobody else would recover.
		if r := recover(); r != nil {
			s = unknown("panic while reading the answer")
		}
	}()

	transport := &withToken{next: c.http.Transport, token: token}
	client := *c.http
	client.Transport = transport
	var q sponsorshipQuery
	err := githubv4.NewEnterpriseClient(c.graphQL, &client).
		Query(ctx, &q, map[string]any{"org": githubv4.String(c.org)})
	switch {
	case transport.status != 0 && transport.status != http.StatusOK:
		return unknown("status " + http.StatusText(transport.status))
	case err != nil && transport.status == 0:
		return unknown("no answer")
	case err != nil:
		// Not its text: it quotes the answer.
		return unknown("errors in the answer")
	case q.RepositoryOwner == nil:
		return unknown("no such account")
	case q.RepositoryOwner.Sponsorable.ViewerIsSponsoring == nil, !complete(transport.body):
		return unknown("partial answer")
	}
	sponsoring := bool(*q.RepositoryOwner.Sponsorable.ViewerIsSponsoring)
	details := q.RepositoryOwner.Sponsorable.SponsorshipForViewerAsSponsor
	switch {
	case details != nil && bool(details.IsActive) != sponsoring:
		return unknown("contradictory answer")
	case sponsoring:
		return Sponsorship{Answer: Yes}
	default:
		return Sponsorship{Answer: No}
	}
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
