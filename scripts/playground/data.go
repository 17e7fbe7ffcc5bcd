package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// What the story knows of the data on both servers. It looks with an admin's
// eyes, over the servers' unix sockets.

func (s *story) sponsorsKey() string { return keyspace.SponsorsKey(s.w.cfg.org) }

// sponsorKeys are all keys that may be on the remote, sorted.
func (s *story) sponsorKeys() []string {
	keys := []string{s.sponsorsKey(), keyspace.UserDetailsKey(s.sponsor.id), keyspace.ExcludedNodesKey(s.sponsor.id)}
	slices.Sort(keys)
	return keys
}

// allKeys lists a server's keys, sorted, without the API's own of sessions.
func allKeys(ctx context.Context, c *redis.Client) ([]string, error) {
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return strings.HasPrefix(key, "api:") || strings.HasPrefix(key, keyspace.OwnPrefix)
	})
	slices.Sort(keys)
	return keys, nil
}

// has compares what a server holds of a person with what it should hold.
func has(ctx context.Context, c *redis.Client, p *person) error {
	nodes, err := c.SMembers(ctx, keyspace.ExcludedNodesKey(p.id)).Result()
	if err != nil {
		return err
	}
	slices.Sort(nodes)
	details, err := c.HGetAll(ctx, keyspace.UserDetailsKey(p.id)).Result()
	if err != nil {
		return err
	}
	return errors.Join(
		differ(keyspace.ExcludedNodesKey(p.id), nodes, p.nodes),
		differ(keyspace.UserDetailsKey(p.id), details, p.details()))
}

func (p *person) details() map[string]string {
	return map[string]string{"id": p.id, "user_login": p.login, "email": p.email}
}

func (s *story) localHas(ctx context.Context, p *person) error {
	if err := has(ctx, s.w.localDB, p); err != nil {
		return fmt.Errorf("on the local server: %w", err)
	}
	return nil
}

// remoteHas compares every key on the remote with what should be there, which
// is the sponsor's and nothing else.
func (s *story) remoteHas(ctx context.Context) error {
	c := s.w.remoteDB
	keys, err := allKeys(ctx, c)
	if err != nil {
		return fmt.Errorf("on the remote: %w", err)
	}
	if err := differ("keys", keys, s.sponsorKeys()); err != nil {
		return fmt.Errorf("on the remote: %w", err)
	}
	ids, err := c.SMembers(ctx, s.sponsorsKey()).Result()
	if err != nil {
		return fmt.Errorf("on the remote: %w", err)
	}
	if err := errors.Join(differ(s.sponsorsKey(), ids, []string{s.sponsor.id}), has(ctx, c, s.sponsor)); err != nil {
		return fmt.Errorf("on the remote: %w", err)
	}
	return nil
}

// sponsorsAre compares the set of sponsors on the local server.
func (s *story) sponsorsAre(ctx context.Context, ids ...string) error {
	got, err := s.w.localDB.SMembers(ctx, s.sponsorsKey()).Result()
	if err != nil {
		return err
	}
	slices.Sort(got)
	return differ(s.sponsorsKey()+" on the local server", got, ids)
}

// status is the answer of SPONSOR.STATUS.
func (s *story) status(ctx context.Context) (map[string]string, error) {
	fields, err := mapOf(s.w.localDB.Do(ctx, "SPONSOR.STATUS"))
	if err != nil {
		return nil, fmt.Errorf("SPONSOR.STATUS: %w", err)
	}
	return fields, nil
}

// sync runs SPONSOR.SYNC, which must copy the keys of one sponsor in full.
func (s *story) sync(ctx context.Context) (map[string]string, error) {
	reply, err := mapOf(s.w.localDB.Do(ctx, "SPONSOR.SYNC"))
	if err != nil {
		return nil, fmt.Errorf("SPONSOR.SYNC: %w", err)
	}
	return reply, errors.Join(
		differ("SPONSOR.SYNC sponsors", reply["sponsors"], 1),
		differ("SPONSOR.SYNC keys", reply["keys"], len(s.sponsorKeys())),
		differ("SPONSOR.SYNC skipped", reply["skipped"], 0),
		differ("SPONSOR.SYNC failed", reply["failed"], 0))
}

// safe waits until the remote has acknowledged every change.
func (s *story) safe(ctx context.Context) error {
	left, err := s.w.localDB.Do(ctx, "SPONSOR.WAIT", 2000).Int()
	if err != nil {
		return fmt.Errorf("SPONSOR.WAIT: %w", err)
	}
	return differ("SPONSOR.WAIT", left, 0)
}

func mapOf(cmd *redis.Cmd) (map[string]string, error) {
	reply, err := cmd.Result()
	if err != nil {
		return nil, err
	}
	pairs, ok := reply.(map[any]any)
	if !ok {
		return nil, fmt.Errorf("the answer is no map: %v", reply)
	}
	fields := make(map[string]string, len(pairs))
	for name, value := range pairs {
		fields[fmt.Sprint(name)] = fmt.Sprint(value)
	}
	return fields, nil
}
