package module

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// verifyTimeout is how long the comparison of one person's data may take.
const verifyTimeout = 3 * time.Second

// A State tells where somebody's data is.
type State string

// The states.
const (
	// Safe: Redis Enterprise has all of it.
	Safe State = "safe"
	// OnTheWay: it has not yet, and will in a moment.
	OnTheWay State = "on_the_way"
	// Refused: it has refused some of it; the operator has to look.
	Refused State = "refused"
	// Unreachable: it cannot be asked. What it does not have goes there when it
	// can.
	Unreachable State = "unreachable"
	// Unknown: the module did not tell, or there is none.
	Unknown State = "unknown"
	// Here: it is on the local server only, as for everybody who is no sponsor.
	Here State = "here"
)

// A Safety is the answer to the question whether somebody's data is safe.
type Safety struct {
	State State `json:"state"`
	// Keys is how many keys were compared, and Same how many of them are the same
	// on both servers, or are on Redis Enterprise and not in memory here.
	Keys int `json:"keys"`
	Same int `json:"same"`
}

// Safety compares what both servers have of a sponsor, which may have been done up to
// believed ago. It does not fail: what cannot be found out is Unknown.
func (c *Client) Safety(ctx context.Context, id string) Safety {
	if s, ok := c.safeties.young(id); ok {
		return s
	}
	v, _, _ := c.safeties.asking.Do(id, func() (any, error) {
		s := c.safety(ctx, id)
		c.safeties.keep(id, s)
		return s, nil
	})
	return v.(Safety)
}

// The remote sends all that it has of a person to be compared: somebody who asks all
// the time gets the same answer for a while.
const (
	believed    = 3 * time.Second
	mostAnswers = 10_000
)

// safeties are the answers of the last seconds.
type safeties struct {
	asking singleflight.Group

	mu    sync.Mutex
	known map[string]answer
}

type answer struct {
	safety Safety
	at     time.Time
}

func (s *safeties) young(id string) (Safety, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.known[id]
	return a.safety, ok && time.Since(a.at) < believed
}

func (s *safeties) keep(id string, safety Safety) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= mostAnswers {
		clear(s.known)
	}
	s.known[id] = answer{safety, time.Now()}
}

func (c *Client) safety(ctx context.Context, id string) Safety {
	// Whoever asked first may go away, the others still want to know.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyTimeout)
	defer cancel()
	status, link := c.link(ctx)
	if link != Safe {
		return Safety{State: link}
	}
	result, err := c.ask(ctx, "SPONSOR.VERIFY", "USER", id)
	if late(err) {
		return Safety{State: Unreachable}
	}
	if err != nil {
		// Did it fail because the remote has gone away?
		if _, link = c.link(ctx); link == Safe {
			link = Unknown
		}
		return Safety{State: link}
	}
	// What is away, or was written all the time, is not among what was checked.
	s := Safety{
		Keys: number(result["checked"]) + number(result["away"]) + number(result["busy"]),
		Same: number(result["same"]) + number(result["away"]),
	}
	switch {
	case number(result["failed"]) > 0:
		s.State = Refused
	case s.Same >= s.Keys:
		s.State = Safe
	case number(status["dead_letters"]) > 0:
		s.State = Refused
	default:
		s.State = OnTheWay
	}
	return s
}
