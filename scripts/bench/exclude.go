package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// How the API is asked.
const (
	apiRate     = 2000 // requests a second
	apiPeople   = 64   // who sponsor and have signed in, a connection each
	listedNodes = 50   // of each, where they are listed
)

// measureExclude has the people exclude nodes, each of which is new and travels. All
// runs together give a person less than the 5,000 that are allowed.
func measureExclude(ctx context.Context, l *lab, e effort) (string, error) {
	local, people, err := l.signedIn(ctx)
	if err != nil {
		return "", err
	}
	defer closeAll(people)
	nodes := 0
	figure, err := askSteadily(ctx, e, people, func(number int) func(c *caller, i int) error {
		first := nodes
		nodes += number
		return func(c *caller, i int) error {
			name := node(first + i)
			if err := c.get("/exclude?id=" + name); err != nil {
				return err
			}
			return c.answered("Finished " + name + " and " + c.id)
		}
	})
	if err != nil {
		return "", err
	}
	if err := local.safe(ctx); err != nil {
		return "", err
	}
	return figure, l.remote.holdsNodes(ctx, people, nodes)
}

// measureExcludeList has the people list their nodes.
func measureExcludeList(ctx context.Context, l *lab, e effort) (string, error) {
	local, people, err := l.signedIn(ctx)
	if err != nil {
		return "", err
	}
	defer closeAll(people)
	lists := make(map[*caller]string, len(people))
	for _, c := range people {
		if err := local.addMembers(ctx, keyspace.ExcludedNodesKey(c.id), listedNodes, node); err != nil {
			return "", err
		}
		nodes, err := c.list()
		if err != nil {
			return "", err
		}
		if len(nodes) != listedNodes {
			return "", fmt.Errorf("GET /exclude answers %d nodes, want %d", len(nodes), listedNodes)
		}
		lists[c] = c.body.String()
	}
	if err := local.safe(ctx); err != nil {
		return "", err
	}
	return askSteadily(ctx, e, people, func(int) func(c *caller, _ int) error {
		return func(c *caller, _ int) error {
			if err := c.get("/exclude"); err != nil {
				return err
			}
			return c.answered(lists[c])
		}
	})
}

// askSteadily has the people ask for a while at a fixed rate, all together, again and
// again. Begin tells how one of that number of requests is made.
func askSteadily(ctx context.Context, e effort, people []*caller, begin func(number int) func(c *caller, i int) error) (string, error) {
	var p50, p99 []time.Duration
	for run := range e.runs + 1 {
		number := int(e.api.Seconds() * apiRate)
		if run == 0 { // to warm up
			number /= 5
		}
		ask := begin(number)
		took, err := openLoop(ctx, number, apiRate, len(people), func(lane, i int) error { return ask(people[lane], i) })
		if err != nil {
			return "", err
		}
		if run > 0 {
			p50, p99 = append(p50, percentile(0.50, took)), append(p99, percentile(0.99, took))
		}
	}
	return fmt.Sprintf("%s (p50 %s)", ms(median(p99)), ms(median(p50))), nil
}

// answered is an error unless the last answer has want in it. The API tells who it took
// somebody for, and answers 200 to anybody.
func (c *caller) answered(want string) error {
	if !bytes.Contains(c.body.Bytes(), []byte(want)) {
		return fmt.Errorf("GET /exclude answers %s, want %s", c.body.Bytes(), want)
	}
	return nil
}

// signedIn starts the servers and the API, and signs the people in.
func (l *lab) signedIn(ctx context.Context) (*server, []*caller, error) {
	local, err := l.startLocal(ctx, "yes")
	if err != nil {
		return nil, nil, err
	}
	addr, err := l.startAPI(ctx, local, apiPeople)
	if err != nil {
		return nil, nil, err
	}
	var people []*caller
	for i := range apiPeople {
		c, err := call(ctx, addr, i)
		if err != nil {
			closeAll(people)
			return nil, nil, err
		}
		people = append(people, c)
	}
	return local, people, nil
}

func closeAll(people []*caller) {
	for _, c := range people {
		c.close()
	}
}

// holdsNodes is an error unless the people have that many excluded nodes on the server.
func (s *server) holdsNodes(ctx context.Context, people []*caller, nodes int) error {
	var got int64
	for _, c := range people {
		n, err := s.db.SCard(ctx, keyspace.ExcludedNodesKey(c.id)).Result()
		if err != nil {
			return err
		}
		got += n
	}
	if got != int64(nodes) {
		return fmt.Errorf("%s has %d excluded nodes, want %d", s.Config().Name, got, nodes)
	}
	return nil
}
