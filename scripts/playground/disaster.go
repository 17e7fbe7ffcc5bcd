package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// follows looks at the remote, to which nobody has copied anything.
func (s *story) follows(ctx context.Context) ([]string, error) {
	if err := s.safe(ctx); err != nil {
		return nil, err
	}
	saw := []string{"SPONSOR.WAIT: 0, all is safe"}
	return append(saw, "the remote holds "+join(s.sponsorKeys())+", and nothing of "+s.visitor.login), s.remoteHas(ctx)
}

func (s *story) syncs(ctx context.Context) ([]string, error) {
	reply, err := s.sync(ctx)
	if err != nil {
		return nil, err
	}
	saw := []string{fmt.Sprintf("sponsors %s, keys %s, elements %s, bytes %s, failed %s",
		reply["sponsors"], reply["keys"], reply["elements"], reply["bytes"], reply["failed"])}
	if err := s.remoteHas(ctx); err != nil {
		return saw, err
	}
	return append(saw, "the remote holds "+join(s.sponsorKeys())+", and nothing of "+s.visitor.login), nil
}

// loses kills the local server, which saves nothing. What the module may fetch
// back by itself afterwards is the set of sponsors.
func (s *story) loses(ctx context.Context) ([]string, error) {
	before, err := allKeys(ctx, s.w.localDB)
	if err != nil {
		return nil, err
	}
	killed := s.w.local.PID()
	if err := s.w.local.Kill(); err != nil {
		return nil, err
	}
	if err := s.w.local.Restart(ctx); err != nil {
		return nil, err
	}
	after, err := allKeys(ctx, s.w.localDB)
	if err != nil {
		return nil, err
	}
	people := slices.DeleteFunc(after, func(key string) bool { return key == s.sponsorsKey() })
	if len(people) > 0 {
		return nil, fmt.Errorf("the local server came back with %v, want no key of a person", people)
	}
	return []string{fmt.Sprintf("kill -9 %d; before: %s; after: no key of a person", killed, join(before))}, nil
}

// recovers reads each key once: a sponsor's is there.
func (s *story) recovers(ctx context.Context) ([]string, error) {
	local := s.w.localDB
	err := s.eventually(ctx, func() error { return s.sponsorsAre(ctx, s.sponsor.id) })
	if err != nil {
		return nil, fmt.Errorf("the module does not fetch the sponsors: %w", err)
	}
	saw := []string{"the module has fetched " + s.sponsorsKey() + " by itself"}
	if err := missed(ctx, local, s.visitor); err != nil {
		return saw, fmt.Errorf("the first read of %s: %w", s.visitor.login, err)
	}
	if err := s.localHas(ctx, s.sponsor); err != nil {
		return saw, fmt.Errorf("the keys of %s do not come back: %w", s.sponsor.login, err)
	}
	saw = append(saw, "the first reads see "+join(s.sponsor.nodes)+" again")
	// The visitor's keys were asked for first, so they would be here by now.
	keys, err := allKeys(ctx, local)
	if err != nil {
		return saw, err
	}
	if err := differ("keys on the local server", keys, s.sponsorKeys()); err != nil {
		return saw, err
	}
	if err := s.remoteHas(ctx); err != nil {
		return saw, err
	}
	return append(saw, "nothing of "+s.visitor.login+" came back, and nothing new went to the remote"), nil
}

// missed reads the keys of a person, none of which must be there.
func missed(ctx context.Context, c *redis.Client, p *person) error {
	nodes, err := c.SMembers(ctx, keyspace.ExcludedNodesKey(p.id)).Result()
	if err != nil {
		return err
	}
	details, err := c.HGetAll(ctx, keyspace.UserDetailsKey(p.id)).Result()
	if err != nil {
		return err
	}
	if len(nodes)+len(details) > 0 {
		return fmt.Errorf("found %v and %v, want nothing", nodes, details)
	}
	return nil
}

// survivesOutage stops the remote, works on without it, and starts it again.
func (s *story) survivesOutage(ctx context.Context) ([]string, error) {
	if err := s.w.remote.Stop(); err != nil {
		return nil, err
	}
	refusal, err := s.refused(ctx)
	if err != nil {
		return nil, err
	}
	saw := []string{"SPONSOR.SYNC: " + refusal}
	// The people's page works on meanwhile.
	if err := s.excludeByPost(ctx, s.sponsor, "C0004096"); err != nil {
		return saw, err
	}
	if err := s.w.remote.Restart(ctx); err != nil {
		return saw, err
	}
	if err := s.connected(ctx); err != nil {
		return saw, fmt.Errorf("after the remote came back: %w", err)
	}
	if err := s.safe(ctx); err != nil {
		return saw, fmt.Errorf("after the remote came back: %w", err)
	}
	if err := s.remoteHas(ctx); err != nil {
		return saw, err
	}
	return append(saw, "when the remote is back, STATUS says connected by itself, and what was excluded meanwhile is there"), nil
}

// refused has SYNC fail for want of a remote, and returns its words. All else
// on this side works on.
func (s *story) refused(ctx context.Context) (string, error) {
	_, err := s.w.localDB.Do(ctx, "SPONSOR.SYNC").Result()
	if err == nil {
		return "", errors.New("SPONSOR.SYNC succeeds without a remote")
	}
	var reply redis.Error
	if !errors.As(err, &reply) || !strings.Contains(reply.Error(), s.w.remote.Addr()) {
		return "", fmt.Errorf("SPONSOR.SYNC should answer with an error that names the remote %s: %w", s.w.remote.Addr(), err)
	}
	st, err := s.status(ctx)
	if err != nil {
		return "", err
	}
	if err := differ("SPONSOR.STATUS state", st["state"], "down"); err != nil {
		return "", err
	}
	if !s.w.local.Alive() {
		return "", errors.New("the local server has ended")
	}
	live, err := s.sponsor.browser.do(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return "", err
	}
	return reply.Error(), live.is(http.StatusOK)
}
