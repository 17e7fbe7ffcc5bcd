package github

import (
	"context"
	"errors"
	"fmt"

	"github.com/shurcooL/githubv4"
)

// A Sponsor is one entry of the maintainer's list: a person or an organisation.
type Sponsor struct {
	// ID is GitHub's numeric id, of the organisation itself if it is one.
	ID int64
	Sponsorship
}

// A List is what a maintainer's token sees of the sponsorships that are active.
type List struct {
	Sponsors []Sponsor
	// Complete tells that nobody is missing: all pages came, they hold as many as
	// GitHub counts, and the token is one of those that see private
	// sponsorships. Who is not on a list that is not complete may sponsor all the
	// same.
	Complete bool
	// Reason says why it is not complete.
	Reason string
}

// ErrNoMaintainer is a question for which a maintainer's token is needed, and
// there is none.
var ErrNoMaintainer = errors.New("there is no maintainer's token")

// sponsorsPerPage is the most that GitHub gives at once.
const sponsorsPerPage = 100

// maxPages bounds a list; GitHub's answers may lead in circles.
const maxPages = 1000

// listQuery needs read:user, and read:org for an organisation. Private
// sponsorships are left out, in silence, unless the token's owner administers the
// account: so it asks for that, too.
type listQuery struct {
	RepositoryOwner *struct {
		Organization struct {
			ViewerCanAdminister *githubv4.Boolean
		} `graphql:"... on Organization"`
		User struct {
			IsViewer *githubv4.Boolean
		} `graphql:"... on User"`
		Sponsorable struct {
			SponsorshipsAsMaintainer *listPage `graphql:"sponsorshipsAsMaintainer(first: $first, after: $after, includePrivate: true, activeOnly: true, orderBy: {field: CREATED_AT, direction: DESC})"`
		} `graphql:"... on Sponsorable"`
	} `graphql:"repositoryOwner(login: $org)"`
}

type listPage struct {
	TotalCount *githubv4.Int
	PageInfo   struct {
		HasNextPage *githubv4.Boolean
		EndCursor   *githubv4.String
	}
	Nodes []*listNode
}

type listNode struct {
	sponsorshipFields
	SponsorEntity *struct {
		User         account `graphql:"... on User"`
		Organization account `graphql:"... on Organization"`
	}
}

type account struct {
	DatabaseID *githubv4.Int
}

// Sponsors lists who sponsors, by the maintainer's token. An error is
// ErrNoMaintainer, or that of ctx; what GitHub does wrong makes the list incomplete.
func (c *Client) Sponsors(ctx context.Context) (list List, err error) {
	token := c.maintainer()
	if token == "" {
		return List{}, ErrNoMaintainer
	}
	var after *githubv4.String
	seen := make(map[int64]bool)
	entries := 0
	for range maxPages {
		var q listQuery
		_, reason := c.query(ctx, token, &q, map[string]any{
			"org": githubv4.String(c.org), "first": githubv4.Int(sponsorsPerPage), "after": after,
		})
		if err := ctx.Err(); err != nil {
			return list, fmt.Errorf("list the sponsors: %w", err)
		}
		if reason == "" {
			reason = q.fault()
		}
		if reason != "" {
			list.Reason = reason
			return list, nil
		}
		page := q.RepositoryOwner.Sponsorable.SponsorshipsAsMaintainer
		for _, n := range page.Nodes {
			entries++
			s, known := n.sponsor()
			if !known || seen[s.ID] {
				continue
			}
			seen[s.ID] = true
			list.Sponsors = append(list.Sponsors, s)
		}
		if after != nil && page.PageInfo.EndCursor != nil && *page.PageInfo.EndCursor == *after {
			list.Reason = "the pages lead in circles"
			return list, nil
		}
		if !bool(*page.PageInfo.HasNextPage) {
			list.Reason = q.missing(entries)
			list.Complete = list.Reason == ""
			return list, nil
		}
		after = page.PageInfo.EndCursor
	}
	list.Reason = "too many pages"
	return list, nil
}

// fault says why a page cannot be used, or is empty.
func (q *listQuery) fault() string {
	if q.RepositoryOwner == nil {
		return "no such account"
	}
	page := q.RepositoryOwner.Sponsorable.SponsorshipsAsMaintainer
	if page == nil || page.TotalCount == nil || page.PageInfo.HasNextPage == nil {
		return "partial answer"
	}
	for _, n := range page.Nodes {
		if n == nil || n.IsActive == nil || !bool(*n.IsActive) || n.CreatedAt.IsZero() {
			return "partial answer"
		}
	}
	if bool(*page.PageInfo.HasNextPage) && (page.PageInfo.EndCursor == nil || len(page.Nodes) == 0) {
		return "partial answer"
	}
	return ""
}

// missing says, after the last page, why somebody may be missing, or is empty.
func (q *listQuery) missing(entries int) string {
	owner := q.RepositoryOwner
	switch administers := is(owner.Organization.ViewerCanAdminister) || is(owner.User.IsViewer); {
	case !administers:
		return "the token's owner does not administer the account, and does not see private sponsorships"
	case entries != int(*owner.Sponsorable.SponsorshipsAsMaintainer.TotalCount):
		return "GitHub counts another number of sponsorships than it lists"
	default:
		return ""
	}
}

func is(b *githubv4.Boolean) bool { return b != nil && bool(*b) }

// sponsor is the entry of the list; known is false for an account that is gone.
func (n *listNode) sponsor() (s Sponsor, known bool) {
	if n.SponsorEntity == nil {
		return Sponsor{}, false
	}
	a := n.SponsorEntity.User // githubv4 fills both with the fields of the one that it is
	if a.DatabaseID == nil || *a.DatabaseID <= 0 {
		return Sponsor{}, false
	}
	return Sponsor{ID: int64(*a.DatabaseID), Sponsorship: n.sponsorship(Yes)}, true
}
