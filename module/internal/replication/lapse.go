package replication

import (
	"fmt"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// OnLapse is what becomes of the remote's copy when somebody stops sponsoring.
type OnLapse string

// What can become of it.
const (
	LapseKeep  OnLapse = "keep"
	LapsePurge OnLapse = "purge"
)

// lapsing reports whether the owner of key has stopped sponsoring, and their keys are
// still to be brought here and purged from the remote. What is known of these keys
// must not be forgotten until then.
func (s *session) lapsing(key string) bool {
	if s.tuning.Load().OnLapse != LapsePurge {
		return false
	}
	owner, ok := s.config.Templates.Match(key)
	if !ok {
		return false
	}
	element, ok := s.changes.onItsWay(s.config.sponsorsKey(), nil).Elements[owner]
	return ok && !element.Present
}

// bidFarewell purges the keys of people whom l removes from the sponsors. It does
// nothing for whom has come back, and l is what says so: it lands when all is done,
// and what is written about somebody later comes after it. Nobody lapses by a change
// of the set as a whole, such as DEL.
func (s *session) bidFarewell(l *letter) error {
	if s.tuning.Load().OnLapse != LapsePurge || l.whole != nil || l.Base != journal.Keep {
		return nil
	}
	for id, element := range l.Elements {
		if !element.Present && keyspace.ValidOwner(id) && !s.sponsors.has(id) {
			if err := s.purge(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// purge brings the keys of owner, who is no sponsor any more, here, and then removes
// them from the remote: those that are here now.
func (s *session) purge(owner string) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	keys, wild := ownedBy(owner, s.config.Templates)
	listed, err := s.listThere(client, owner, wild)
	if err != nil {
		return err
	}
	keys, err = s.exist(client, distinctKeys(append(keys, listed...)))
	if err != nil {
		return err
	}
	for rest := keys; len(rest) > 0; {
		n := min(len(rest), fetchBatch)
		err := s.bringHere(rest[:n], func(string) bool { return !s.sponsors.has(owner) }, func(v value, _ *stub, _ bool) {
			if v.err != nil {
				s.fail("a key of somebody who stopped sponsoring could not be brought back; the remote keeps it", v.err)
			}
		})
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	_, err = s.dropThere(client, keys, false)
	return err
}

// dropThere removes those of keys from the remote whose owners are no sponsors, and
// that are here and complete. It counts them; count says not to do more.
func (s *session) dropThere(client *remote.Client, keys []string, count bool) (n int, err error) {
	for len(keys) > 0 {
		batch := min(len(keys), fetchBatch)
		dropped, err := s.dropSome(client, keys[:batch], count)
		if n += dropped; err != nil {
			return n, err
		}
		keys = keys[batch:]
	}
	return n, nil
}

func (s *session) dropSome(client *remote.Client, keys []string, count bool) (n int, err error) {
	s.holdAll(keys)
	defer s.releaseAll(keys)
	for _, key := range keys {
		for deadline := time.Now().Add(patience); s.changes.flies(key); {
			if time.Now().After(deadline) {
				return 0, keyError("remove from the remote", key, errStillSent)
			}
			if err := pause(s.ctx, landingPause); err != nil {
				return 0, err
			}
		}
	}
	var drop []*remote.Command
	rest := keys
	err = inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		if len(rest) == 0 {
			return true, nil
		}
		key := rest[0]
		rest = rest[1:]
		owner, ok := s.config.Templates.Match(key)
		if _, unfiltered := s.config.Unfiltered.Match(key); !ok || owner == "" || unfiltered {
			return false, nil
		}
		is, err := isMember(d, s.config.sponsorsKey(), owner)
		if err != nil {
			return false, err
		}
		if !is && s.sponsors.isKnown() && d.Stat(key).Type != typeNone && !s.changes.isStub(key) {
			drop = append(drop, remote.NewCommand("UNLINK", key))
		}
		return false, nil
	}, nil)
	if err != nil || len(drop) == 0 || count {
		return len(drop), err
	}
	if err := client.Exec(s.ctx, drop...); err != nil {
		return 0, err
	}
	for _, cmd := range drop {
		if err := cmd.Err(); err != nil {
			s.fail("a key of somebody who is no sponsor could not be removed from the remote", keyError(cmd.Name(), fmt.Sprint(cmd.Args()[1]), err))
			continue
		}
		n++
	}
	return n, nil
}

// prune removes what the remote has of people who are no sponsors, and is here. It
// counts them; count says not to do more.
func (s *session) prune(client *remote.Client, count bool) (n int, err error) {
	for _, t := range s.config.Templates {
		if !t.Owned() {
			continue
		}
		err := client.Scan(s.ctx, t.Glob(""), func(page []string) error {
			var keys []string
			for _, key := range page {
				if owner, ok := t.Match(key); ok && !s.sponsors.has(owner) {
					keys = append(keys, key)
				}
			}
			dropped, err := s.dropThere(client, distinctKeys(keys), count)
			n += dropped
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
