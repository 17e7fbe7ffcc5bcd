package replication

import (
	"fmt"
	"slices"
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
	element, ok := s.changes.elementOnItsWay(s.config.sponsorsKey(), owner)
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
// them from the remote: those of which all is here now, and those that were deleted
// here.
func (s *session) purge(owner string) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	keys, wild := ownedBy(owner, s.config.Templates)
	listed, err := s.listThere(client, owner, wild)
	if remote.Refused(err) {
		s.fail("keys of somebody who stopped sponsoring cannot be listed; the remote keeps them", err)
		return nil
	}
	if err != nil {
		return err
	}
	keys, err = s.exist(client, distinctKeys(append(keys, listed...)))
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(keys, fetchBatch) {
		wanted := func(key string) bool { return !s.sponsors.has(owner) && !s.residency.deleted.has(key) }
		err := s.bringHere(batch, wanted, func(v value, _ *stub, _ bool) {
			if v.err != nil {
				s.fail("a key of somebody who stopped sponsoring could not be brought back; the remote keeps it", v.err)
			}
		})
		if err != nil {
			return err
		}
	}
	_, err = s.dropThere(client, keys, false)
	return err
}

// dropThere removes those of keys from the remote whose owners are no sponsors, and
// of which this server has all that the remote has. It counts them; count says not to
// do more.
func (s *session) dropThere(client *remote.Client, keys []string, count bool) (n int, err error) {
	for batch := range slices.Chunk(keys, fetchBatch) {
		dropped, err := s.dropSome(client, batch, count)
		if n += dropped; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *session) dropSome(client *remote.Client, keys []string, count bool) (n int, err error) {
	fetches := s.holdAll(keys)
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
	values, err := fetchOnce(s.ctx, client, keys)
	if err != nil {
		return 0, err
	}
	var (
		drop    []*remote.Command
		dropped []string
		watches []*watch
	)
	defer func() {
		for _, w := range watches {
			s.paging.end(w)
		}
	}()
	for i, v := range values {
		w := s.paging.begin(v.key)
		watches = append(watches, w)
		all, err := s.hasAllOf(v, fetches[i])
		if err != nil {
			return n, err
		}
		if all {
			dropped = append(dropped, v.key)
		}
	}
	err = s.local.Do(func(d Data) {
		for i, v := range values {
			// What was true must still be.
			if slices.Contains(dropped, v.key) && !watches[i].broken() && s.mayDrop(d, v.key) {
				drop = append(drop, remote.NewCommand("UNLINK", v.key))
			}
		}
	})
	if err != nil || len(drop) == 0 || count {
		return len(drop), err
	}
	if err := client.Exec(s.ctx, drop...); err != nil {
		rest(sendRest) // what was sent may be on its way still, and the keys may change again
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

// mayDrop reports whether key is somebody's who is certainly no sponsor.
func (s *session) mayDrop(d Data, key string) bool {
	owner, ok := s.config.Templates.Match(key)
	if _, unfiltered := s.config.Unfiltered.Match(key); !ok || owner == "" || unfiltered || !s.sponsors.isKnown() || s.sponsors.has(owner) {
		return false
	}
	is, err := isMember(d, s.config.sponsorsKey(), owner)
	return err == nil && !is
}

// hasAllOf reports whether this server has all of v, the remote's value of a key, or
// has deleted it.
func (s *session) hasAllOf(v value, f fetch) (bool, error) {
	if v.err != nil {
		return false, nil //nolint:nilerr // whatever it is, it is not here
	}
	if v.kind == nil {
		return false, nil // it has gone there
	}
	var (
		p       pager
		begun   bool
		here    bool
		deleted bool
	)
	err := inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		stat := d.Stat(v.key)
		if !begun {
			begun = true
			s.changes.readMark(v.key, func() string { return readMark(d, v.key) })
			m := s.changes.onItsWay(v.key, f.flying)
			deleted = stat.Type == typeNone && (m.Base == journal.Deleted || s.residency.deleted.has(v.key))
			v.overlay(m)
			here = stat.Type == v.kind.name
			p = newPager(v.key, v.kind, stat, memoryUsage(d, v.key))
		}
		if !here || stat.Type != v.kind.name {
			return true, nil
		}
		return p.read(d, stat)
	}, nil)
	if err != nil || deleted {
		return deleted, err
	}
	if !here {
		return false, nil
	}
	ours := p.take()
	if v.kind.merges() {
		return len(without(v.kind.names(v.items), v.kind.names(ours))) == 0, nil
	}
	return v.kind.equal(ours, v.items), nil
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
