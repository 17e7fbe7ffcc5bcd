package main

import (
	"context"
	"fmt"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// measureCost adds members one by one to a large set and to a small one, and
// waits each time until the remote has the member.
func measureCost(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.following(ctx, 2)
	if err != nil {
		return "", err
	}
	large, small := keyspace.ExcludedNodesKey(owner(0)), keyspace.ExcludedNodesKey(owner(1))
	if err := local.addMembers(ctx, large, largeSet, node); err != nil {
		return "", err
	}
	if err := local.addMembers(ctx, small, smallSet, node); err != nil {
		return "", err
	}
	if err := local.safe(ctx); err != nil {
		return "", err
	}
	c, err := dial(ctx, local)
	if err != nil {
		return "", err
	}
	defer c.close()
	// added adds a member to a set and removes it again, so that the set stays as
	// large as it is, and returns how long it took to add it.
	number := 0
	added := func(key string) func() (float64, error) {
		return func() (float64, error) {
			number++
			member := fmt.Sprintf("new-%d", number)
			took, err := c.replicated(encode("SADD", key, member))
			if err != nil {
				return 0, err
			}
			_, err = c.replicated(encode("SREM", key, member))
			return took.Seconds(), err
		}
	}
	if _, err := inTurns(e.writes/10, added(large), added(small)); err != nil { // to warm up
		return "", err
	}
	o, err := inTurns(e.writes, added(large), added(small))
	if err != nil {
		return "", err
	}
	// A turn is two writes here, of which one may meet anything: two medians tell
	// more than a median of ratios.
	ours, theirs := median(o.ours), median(o.theirs)
	return fmt.Sprintf("%.2f (%s against %s)", ours/theirs, ms(seconds(ours)), ms(seconds(theirs))), nil
}

var waitForAll = encode("SPONSOR.WAIT", "10000")

// replicated runs a command that changes one thing, and returns how long it took
// until the remote had acknowledged it.
func (c *conn) replicated(command []byte) (time.Duration, error) {
	begun := time.Now()
	changed, err := c.do(command)
	if err != nil {
		return 0, err
	}
	if string(changed) != ":1" {
		return 0, fmt.Errorf("a change has changed nothing: %s", changed)
	}
	left, err := c.do(waitForAll)
	took := time.Since(begun)
	if err == nil && string(left) != ":0" {
		err = fmt.Errorf("SPONSOR.WAIT answers %s", left)
	}
	return took, err
}
