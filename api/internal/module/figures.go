package module

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// words are the fields of INFO sponsor that are text, whatever stands in them, and what
// they are as numbers, by the names of these. Without a name they are none.
var words = map[string]struct {
	name   string
	number func(text string) float64
}{
	"state":               {"connected", is("connected")},
	"self_test":           {"self_test", is("ok")},
	"users_without_grant": {"users_without_grant", count},
	"role":                {},
	"org":                 {},
	"last_error":          {},
}

// is returns 1 for the text that it should be, else 0.
func is(good string) func(string) float64 {
	return func(text string) float64 {
		if text == good {
			return 1
		}
		return 0
	}
}

// count returns how many words there are. INFO names 20 users at most.
func count(text string) float64 { return float64(len(strings.Fields(text))) }

// Figures are the numbers of INFO sponsor, by the names of the fields without the
// prefix sponsor_, and what some of its words are as numbers: connected and self_test
// are 1 or 0, users_without_grant is how many INFO names.
func (c *Client) Figures(ctx context.Context) (map[string]float64, error) {
	info, err := c.redis.Info(ctx, "sponsor").Result()
	if err != nil {
		return nil, fmt.Errorf("read INFO: %w", err)
	}
	figures := figuresOf(info)
	if len(figures) == 0 {
		return nil, ErrMissing
	}
	return figures, nil
}

func figuresOf(info string) map[string]float64 {
	figures := make(map[string]float64)
	for scanner := bufio.NewScanner(strings.NewReader(info)); scanner.Scan(); {
		field, value, _ := strings.Cut(scanner.Text(), ":")
		name, ours := strings.CutPrefix(field, "sponsor_")
		if !ours {
			continue
		}
		if word, ok := words[name]; ok {
			if word.number != nil {
				figures[word.name] = word.number(value)
			}
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			figures[name] = n
		}
	}
	return figures
}
