package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
)

// forgetPatience is how long Forget waits for the remote.
const forgetPatience = 30 * time.Second

// A Forgetting is the erasure of one person's keys.
type Forgetting struct {
	done chan struct{}

	// Valid once done is closed.
	keys int
	err  error
}

// Wait waits until the erasure has ended, and returns how many keys there were,
// here or on the remote.
func (f *Forgetting) Wait() (keys int, err error) {
	<-f.done
	return f.keys, f.err
}

// Forget begins to erase the keys of owner, sponsor or not, on both sides. It does
// not wait. Call it on the server's main thread.
func (e *Engine) Forget(owner string) (*Forgetting, error) {
	if err := e.following(); err != nil {
		return nil, err
	}
	s, err := e.open()
	if err != nil {
		return nil, err
	}
	f := &Forgetting{done: make(chan struct{})}
	s.work.Go(func() {
		defer close(f.done)
		f.err = guard("forget", func() error {
			var err error
			f.keys, err = s.forget(owner)
			return err
		})
		if f.err != nil && s.ctx.Err() != nil {
			f.err = context.Cause(s.ctx)
		}
	})
	return f, nil
}

// forget erases: here at once, with a mark for each key that outlives a crash; on the
// remote when these marks have been sent.
func (s *session) forget(owner string) (int, error) {
	keys, wild := ownedBy(owner, s.config.Templates, s.config.Unfiltered)
	here, err := s.listHere(owner, wild)
	if err != nil {
		return 0, err
	}
	keys = append(keys, here...)
	for _, t := range wild {
		keys = append(keys, ofOwner(t, owner, s.changes.names())...) // on their way, or refused
	}
	there, unlisted := s.thereToo(owner, keys)
	keys = distinctKeys(append(keys, there...))

	n, err := s.erase(keys, there)
	if err != nil {
		return n, fmt.Errorf("some keys are left: %w; run SPONSOR.FORGET again", err)
	}
	if err := s.safely(keys); err != nil {
		return n, err
	}
	if unlisted != nil && len(wild) > 0 {
		return n, fmt.Errorf("erased here, and what the remote has under %s could not be listed: %w; run SPONSOR.FORGET again", wild, unlisted)
	}
	return n, nil
}

// thereToo tells which keys of owner, those of keys and others, the remote has.
func (s *session) thereToo(owner string, keys []string) (there []string, err error) {
	err = persist(s.ctx, patienceAtStart, func() error {
		client, err := s.link.get()
		if err != nil {
			return err
		}
		_, wild := ownedBy(owner, s.config.Templates, s.config.Unfiltered)
		listed, err := s.listThere(client, owner, wild)
		if err != nil {
			return err
		}
		there, err = s.exist(client, distinctKeys(append(slices.Clone(keys), listed...)))
		return err
	})
	return there, err
}

// erase removes keys here, and notes that they have to go on the remote. It counts
// those that are here or there.
func (s *session) erase(keys, there []string) (n int, err error) {
	isThere := make(map[string]bool, len(there))
	for _, key := range there {
		isThere[key] = true
	}
	err = eachInSlices(s.ctx, s.local, keys, func(d Data, key string) error {
		isHere := d.Stat(key).Type != typeNone
		if isHere {
			if err := write(d, "UNLINK", key); err != nil {
				return err
			}
		}
		if isHere || isThere[key] {
			n++
		}
		s.keyEvent(Event{What: Deleted, Key: key}, d)
		s.changes.completed(key) // also somebody's who is no sponsor
		s.residency.deleted.add(key)
		mark := journal.Mark{Base: journal.Deleted, Erase: true}
		s.mustWrite(d, "HSET", key, s.changes.add(key, mark, func() string { return readMark(d, key) }))
		return nil
	})
	return n, err
}

// safely waits until the remote has done what was noted of keys.
func (s *session) safely(keys []string) error {
	waiter := s.changes.waitFor(keys)
	timer := time.NewTimer(forgetPatience)
	defer timer.Stop()
	select {
	case err := <-waiter.done:
		if err != nil {
			return err
		}
	case <-timer.C:
		s.changes.stop(waiter)
		err := s.link.down()
		if err == nil {
			err = errors.New("it is slow")
		}
		return fmt.Errorf("erased here, and not on the remote yet: %w; it is noted in the journal and goes on by itself; SPONSOR.WAIT tells when it is done", err)
	case <-s.ctx.Done():
		s.changes.stop(waiter)
		return context.Cause(s.ctx)
	}
	for _, letter := range s.changes.deadLetters() {
		if slices.Contains(keys, letter.Key) {
			return fmt.Errorf("erased here, and the remote has refused: %s; SPONSOR.RETRY tries again", letter.Reason)
		}
	}
	return nil
}

func distinctKeys(keys []string) []string {
	slices.Sort(keys)
	return slices.Compact(keys)
}
