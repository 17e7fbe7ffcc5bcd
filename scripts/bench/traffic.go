package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// Requests of one run of redis-benchmark, so that it takes a good quarter of a second.
const (
	requests          = 50_000
	pipelinedRequests = 250_000
	pipelining        = 16
)

// measureTraffic compares people who have nothing to do with sponsors, one
// request after the other.
func measureTraffic(ctx context.Context, l *lab, e effort) (string, error) {
	return compareTraffic(ctx, l, e.many, "-n", strconv.Itoa(requests))
}

// measurePipelinedTraffic is the same with pipelines, where the server does
// nothing but execute commands.
func measurePipelinedTraffic(ctx context.Context, l *lab, e effort) (string, error) {
	return compareTraffic(ctx, l, e.many, "-n", strconv.Itoa(pipelinedRequests), "-P", strconv.Itoa(pipelining))
}

func compareTraffic(ctx context.Context, l *lab, turns int, args ...string) (string, error) {
	local, err := l.following(ctx, manySponsors)
	if err != nil {
		return "", err
	}
	plain, err := l.startPlain(ctx)
	if err != nil {
		return "", err
	}
	outcomes := make(map[string]outcome)
	for _, test := range []string{"SET", "GET"} { // so that GET finds the keys
		side := func(s *server) func() (float64, error) {
			return func() (float64, error) {
				rates, err := s.benchmark(ctx, append([]string{"-t", test, "-r", "100000"}, args...)...)
				return rates[test], err
			}
		}
		if outcomes[test], err = inTurns(turns, side(local), side(plain)); err != nil {
			return "", err
		}
	}
	get, set := outcomes["GET"], outcomes["SET"]
	return fmt.Sprintf("GET %.2f, SET %.2f (GET %s against %s)",
		get.ratio(), set.ratio(), rate(median(get.ours)), rate(median(get.theirs))), nil
}

// measureJournal compares writes to what is replicated with the same writes to a
// server that knows nothing of that.
func measureJournal(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.following(ctx, manySponsors)
	if err != nil {
		return "", err
	}
	plain, err := l.startPlain(ctx)
	if err != nil {
		return "", err
	}
	side := func(s *server) func() (float64, error) {
		return func() (float64, error) {
			// Sponsors and members are so many that hardly a member is there already.
			rates, err := s.benchmark(ctx, "-n", strconv.Itoa(requests), "-r", strconv.Itoa(manySponsors),
				"SADD", keyspace.ExcludedNodesKey("__rand_int__"), "C__rand_int__")
			for _, r := range rates {
				return r, err // there is but one
			}
			return 0, err
		}
	}
	ours := side(local)
	o, err := inTurns(e.many, func() (float64, error) {
		r, err := ours()
		if err != nil {
			return 0, err
		}
		return r, local.safe(ctx) // or what is left disturbs the other side
	}, side(plain))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f (%s against %s)", o.ratio(), rate(median(o.ours)), rate(median(o.theirs))), nil
}
