package githubtest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// maxFirst is the most nodes that GitHub gives in one page.
const maxFirst = 100

// A failure is a field's answer when it is an error of GraphQL.
type failure struct{ kind, message string }

// paginate cuts the page out of list that a connection's arguments ask for. The
// list is in the order asked for; its cursors stand for an account and not for a
// place, so that what comes and goes between two pages moves nothing. A failure
// has a kind.
func paginate(list []*Account, connection string, args map[string]any, before func(a, b position) bool) (page []*Account, info *object, f failure) {
	if args["last"] != nil || args["before"] != nil {
		return nil, nil, failure{"NOT_IMPLEMENTED", "the stand-in pages with first and after only"}
	}
	first, ok := whole(args["first"])
	switch {
	case !ok || first < 0:
		return nil, nil, failure{"MISSING_PAGINATION_BOUNDARIES", fmt.Sprintf("`first` must say how many nodes of `%s` to return", connection)}
	case first > maxFirst:
		return nil, nil, failure{"EXCESSIVE_PAGINATION", fmt.Sprintf("`first` is %d, and `%s` returns no more than %d at once", first, connection, maxFirst)}
	}
	rest := list
	if after, _ := args["after"].(string); after != "" {
		from, err := readCursor(after)
		if err != nil {
			return nil, nil, failure{"INVALID_CURSOR_ARGUMENTS", fmt.Sprintf("`after` is no cursor: %v", err)}
		}
		for len(rest) > 0 && !before(from, positionOf(rest[0])) {
			rest = rest[1:]
		}
	}
	page = rest[:min(first, len(rest))]
	fields := map[string]any{
		"hasNextPage": len(rest) > len(page), "hasPreviousPage": len(rest) < len(list),
		"startCursor": nil, "endCursor": nil,
	}
	if len(page) > 0 {
		fields["startCursor"] = positionOf(page[0]).cursor()
		fields["endCursor"] = positionOf(page[len(page)-1]).cursor()
	}
	return page, &object{"PageInfo", fields}, failure{}
}

// whole reads an Int: literals and variables come as different types.
func whole(v any) (int, bool) {
	switch v := v.(type) {
	case int64:
		return int(v), true
	case float64:
		return int(v), v == float64(int(v))
	default:
		return 0, false
	}
}

// A position is where an account stands in the list of sponsorships.
type position struct {
	created time.Time
	id      int64
}

func positionOf(a *Account) position {
	return position{a.Sponsorship.CreatedAt, a.ID}
}

// compare orders by time of creation; the id decides between equal ones.
func (p position) compare(q position) int {
	if c := p.created.Compare(q.created); c != 0 {
		return c
	}
	return cmp.Compare(p.id, q.id)
}

const cursorPrefix = "cursor:v2:"

func (p position) cursor() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%d %s", cursorPrefix, p.id, p.created.UTC().Format(time.RFC3339Nano)))
}

func readCursor(cursor string) (position, error) {
	text, err := base64.StdEncoding.DecodeString(cursor)
	if err != nil {
		return position{}, err
	}
	var p position
	var created string
	if _, err := fmt.Sscanf(strings.TrimPrefix(string(text), cursorPrefix), "%d %s", &p.id, &created); err != nil {
		return position{}, err
	}
	p.created, err = time.Parse(time.RFC3339Nano, created)
	return p, err
}
