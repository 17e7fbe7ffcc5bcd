package githubtest

import (
	"fmt"
	"slices"
	"time"
)

// sponsorable adds the fields that tell who sponsors a to its object o. The
// caller holds s.mu, also while the fields are read.
func (s *Server) sponsorable(o *object, a, viewer *Account) {
	var of *Account // whose sponsorship the viewer's is
	if viewer.Sponsorship != nil && a.ID == s.sponsored().ID {
		of = viewer
	}
	o.fields["viewerIsSponsoring"] = of != nil && of.Sponsorship.Active
	o.fields["sponsorshipForViewerAsSponsor"] = func(args map[string]any) any {
		if of == nil || (!of.Sponsorship.Active && args["activeOnly"] != false) {
			return (*object)(nil)
		}
		return s.sponsorship(of, viewer)
	}
	o.fields["sponsorshipsAsMaintainer"] = func(args map[string]any) any {
		var list []*Account
		if a.ID == s.sponsored().ID {
			list = s.sponsors(viewer, args)
		}
		return s.connection(list, viewer, args)
	}
}

// sponsors lists whose sponsorships the viewer sees. GitHub leaves private ones
// out in silence, unless they are asked for by somebody who administers the
// account.
func (s *Server) sponsors(viewer *Account, args map[string]any) []*Account {
	private := args["includePrivate"] == true && s.administers(viewer)
	activeOnly := args["activeOnly"] != false
	var list []*Account
	for _, a := range s.accounts {
		switch sp := a.Sponsorship; {
		case sp == nil, sp.Private && !private, !sp.Active && activeOnly:
		default:
			list = append(list, a)
		}
	}
	return list
}

// connection answers sponsorshipsAsMaintainer. Without orderBy the order is that
// of creation; GitHub promises none.
func (s *Server) connection(list []*Account, viewer *Account, args map[string]any) any {
	sign := 1
	if order, _ := args["orderBy"].(map[string]any); order["direction"] == "DESC" {
		sign = -1
	}
	slices.SortFunc(list, func(a, b *Account) int { return sign * positionOf(a).compare(positionOf(b)) })
	page, info, f := paginate(list, "sponsorshipsAsMaintainer", args, func(a, b position) bool {
		return sign*a.compare(b) < 0
	})
	if f.kind != "" {
		return f
	}
	nodes := make([]*object, len(page))
	for i, a := range page {
		nodes[i] = s.sponsorship(a, viewer)
	}
	return &object{"SponsorshipConnection", map[string]any{
		"totalCount": len(list), "pageInfo": info, "nodes": nodes,
	}}
}

// sponsorship is the one that a pays for.
func (s *Server) sponsorship(a, viewer *Account) *object {
	sp := a.Sponsorship
	privacy := "PUBLIC"
	if sp.Private {
		privacy = "PRIVATE"
	}
	var tier *object
	if sp.TierName != "" {
		tier = &object{"SponsorsTier", map[string]any{
			"id": tierID(sp.TierCents), "name": sp.TierName,
			"monthlyPriceInCents": sp.TierCents, "monthlyPriceInDollars": sp.TierCents / 100,
			"isOneTime": sp.OneTime, "isCustomAmount": false,
		}}
	}
	return &object{"Sponsorship", map[string]any{
		"id": sponsorshipID(a), "isActive": sp.Active, "isOneTimePayment": sp.OneTime,
		"createdAt": timestamp(sp.CreatedAt), "tierSelectedAt": timestamp(sp.TierSelectedAt),
		"privacyLevel": privacy, "tier": tier,
		"sponsorEntity": func(map[string]any) any {
			if a.Deleted {
				return (*object)(nil)
			}
			return s.account(a, viewer)
		},
	}}
}

func sponsorshipID(a *Account) string { return fmt.Sprintf("S_%d", a.ID) }

func tierID(cents int) string { return fmt.Sprintf("ST_%d", cents) }

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
