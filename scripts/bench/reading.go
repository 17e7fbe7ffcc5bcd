package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// missedElements is how many members the set has that is missed.
const missedElements = 50

// followingASet starts a local server with a sponsor's set, which the remote has, too.
func (l *lab) followingASet(ctx context.Context) (local *server, key string, err error) {
	if local, err = l.following(ctx, 1); err != nil {
		return nil, "", err
	}
	key = keyspace.ExcludedNodesKey(owner(0))
	if err := local.addMembers(ctx, key, missedElements, node); err != nil {
		return nil, "", err
	}
	return local, key, local.safe(ctx)
}

// measureMiss reads a set that is away, and against that the same set here and then on
// the remote.
func measureMiss(ctx context.Context, l *lab, e effort) (string, error) {
	local, key, err := l.followingASet(ctx)
	if err != nil {
		return "", err
	}
	here, err := dial(ctx, local)
	if err != nil {
		return "", err
	}
	defer here.close()
	there, err := dialTLS(ctx, l.remote)
	if err != nil {
		return "", err
	}
	defer there.close()
	command := encode("SMEMBERS", key)
	timed := func(c *conn) (float64, error) {
		begun := time.Now()
		n, err := c.array(command)
		took := time.Since(begun).Seconds()
		if err == nil && n != missedElements {
			err = fmt.Errorf("SMEMBERS answers %d members, want %d", n, missedElements)
		}
		return took, err
	}
	missed := func() (float64, error) {
		if err := local.loseAll(ctx); err != nil {
			return 0, err
		}
		return timed(here)
	}
	both := func() (float64, error) {
		if _, err := timed(here); err != nil { // it may be away
			return 0, err
		}
		hit, err := timed(here)
		if err != nil {
			return 0, err
		}
		remote, err := timed(there)
		return hit + remote, err
	}
	turns := e.writes / 5
	if _, err := inTurns(turns/10+1, missed, both); err != nil { // to warm up
		return "", err
	}
	o, err := inTurns(turns, missed, both)
	if err != nil {
		return "", err
	}
	ours, theirs := median(o.ours), median(o.theirs)
	return fmt.Sprintf("%.2f (%s against %s)", ours/theirs, ms(seconds(ours)), ms(seconds(theirs))), nil
}

// measureHits compares reads of sponsors' keys that are here with the same reads of a server
// that knows nothing of sponsors.
func measureHits(ctx context.Context, l *lab, e effort) (string, error) {
	local, err := l.following(ctx, manySponsors)
	if err != nil {
		return "", err
	}
	plain, err := l.startPlain(ctx)
	if err != nil {
		return "", err
	}
	const people = 1000
	for _, s := range []*server{local, plain} {
		for i := range people {
			if err := s.db.SAdd(ctx, keyspace.ExcludedNodesKey(owner(i)), node(i)).Err(); err != nil {
				return "", err
			}
		}
	}
	if err := local.safe(ctx); err != nil {
		return "", err
	}
	side := func(s *server) func() (float64, error) {
		return func() (float64, error) {
			rates, err := s.benchmark(ctx, "-n", strconv.Itoa(pipelinedRequests), "-P", strconv.Itoa(pipelining), "-r", strconv.Itoa(people),
				"SMEMBERS", keyspace.ExcludedNodesKey("__rand_int__"))
			for _, r := range rates {
				return r, err // there is but one
			}
			return 0, err
		}
	}
	o, err := inTurns(e.many, side(local), side(plain))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f (%s against %s)", o.ratio(), rate(median(o.ours)), rate(median(o.theirs))), nil
}

// missingClients is how many miss one key at once.
const missingClients = 1000

// measureMissStorm has many clients miss one key at once, and counts the fetches.
func measureMissStorm(ctx context.Context, l *lab, _ effort) (string, error) {
	local, key, err := l.followingASet(ctx)
	if err != nil {
		return "", err
	}
	conns := make([]*conn, missingClients)
	for i := range conns {
		if conns[i], err = dial(ctx, local); err != nil {
			return "", err
		}
		defer conns[i].close()
	}
	if err := local.loseAll(ctx); err != nil {
		return "", err
	}
	before, err := mapOf(local.db.Do(ctx, "SPONSOR.STATUS"))
	if err != nil {
		return "", err
	}
	var (
		all  sync.WaitGroup
		errs = make(chan error, missingClients)
	)
	begun := time.Now()
	for _, c := range conns {
		all.Go(func() {
			n, err := c.array(encode("SMEMBERS", key))
			if err == nil && n != missedElements {
				err = fmt.Errorf("SMEMBERS answers %d members, want %d", n, missedElements)
			}
			errs <- err
		})
	}
	all.Wait()
	took := time.Since(begun)
	for range conns {
		if err := <-errs; err != nil {
			return "", err
		}
	}
	after, err := mapOf(local.db.Do(ctx, "SPONSOR.STATUS"))
	if err != nil {
		return "", err
	}
	fetches, err := difference(before["fetched"], after["fetched"])
	return fmt.Sprintf("%d (all have their answers after %s)", fetches, ms(took)), err
}

func difference(before, after string) (int, error) {
	b, err := strconv.Atoi(before)
	if err != nil {
		return 0, err
	}
	a, err := strconv.Atoi(after)
	return a - b, err
}

// loseAll empties the server, and waits until the sponsors are back.
func (s *server) loseAll(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	for {
		n, err := s.db.SCard(ctx, keyspace.SponsorsKey(org)).Result()
		if err != nil || n > 0 {
			return err
		}
	}
}

// dialTLS connects to the remote as the module does.
func dialTLS(ctx context.Context, s *server) (*conn, error) {
	dialer := tls.Dialer{Config: s.TLS().Config()}
	socket, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.Host(), strconv.Itoa(s.Port())))
	if err != nil {
		return nil, err
	}
	c := &conn{
		socket: socket, r: bufio.NewReaderSize(socket, 1<<16),
		stop: context.AfterFunc(ctx, func() { socket.Close() }),
	}
	if _, err := c.do(encode("AUTH", s.Login().User, s.Login().Password)); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// array sends a command that answers with an array of bulk strings, and returns how many
// there are.
func (c *conn) array(command []byte) (int, error) {
	line, err := c.do(command)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil || line[0] != '*' {
		return 0, fmt.Errorf("the answer is no array: %.50q", line)
	}
	for range n {
		head, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		length, err := strconv.Atoi(string(head[1 : len(head)-2]))
		if err != nil {
			return 0, err
		}
		if _, err := c.r.Discard(length + 2); err != nil {
			return 0, err
		}
	}
	return n, nil
}
