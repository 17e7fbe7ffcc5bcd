package replication

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// metHere is where this data set notes with whom it has met: in a field of the
// journal, which is no key's name.
const metHere = keyspace.OwnPrefix + "dataset"

// contactPause is how often we look whether the two can meet.
const contactPause = 100 * time.Millisecond

// meetRemote copies what is here when this data set and the remote meet for the
// first time, and notes that they have: from then on, changes alone travel. It
// merges.
func (s *session) meetRemote() {
	pauses := retryPauses()
	try := func(what func() error) bool {
		err := what()
		if err == nil {
			pauses.Reset()
			return true
		}
		if s.ctx.Err() == nil {
			s.fail("what is here could not be compared with the remote, or copied to it; trying again", err)
			_ = pause(s.ctx, pauses.NextBackOff())
		}
		return false
	}
	sponsorsTaken := false
	for s.ctx.Err() == nil {
		switch {
		case !s.link.up() || !s.changes.isRead():
			_ = pause(s.ctx, contactPause)
		case !s.maySend.Load():
			ok := try(s.greet)
			s.greeted.Store(true) // if it cannot be seen, nobody waits for that
			if ok {
				_ = pause(s.ctx, sendRest) // what another session has sent last may be on its way
				s.maySend.Store(true)
				signal(s.changes.wake)
			}
		case s.old.Load() && !sponsorsTaken:
			sponsorsTaken = try(s.takeSponsorsBack)
		case !s.sponsors.isKnown():
			_ = pause(s.ctx, contactPause)
		case s.old.Load():
			if try(s.takeAllBack) {
				s.old.Store(false)
			}
		case !s.changes.isMet():
			if try(s.meet) {
				s.changes.setMet(true)
			}
		default:
			select {
			case <-s.ctx.Done():
			case <-s.estranged:
			}
		}
	}
}

// meetAgain has everything copied to the remote anew. It takes the place of what is
// there, or is merged into it.
func (s *session) meetAgain(why error, replace bool) {
	s.fail("what is here is copied to the remote again", why)
	s.changes.setNoted(noted{high: s.changes.lastNoted().high}) // until it is there
	s.afresh.Store(replace)
	s.changes.setMet(false)
	signal(s.estranged)
}

// terms are what two servers that have met agreed upon. Others mean that there
// may be keys that were never copied.
func (c Config) terms(id string) string {
	return fmt.Sprintf("%s %q %q %q %s", id, c.Org, c.Templates, c.Unfiltered, c.Remote.Addr())
}

func (s *session) meet() error {
	client, r, here, err := s.compareRecords()
	if err != nil {
		return err
	}
	members := s.sponsors.memberships()
	if r.id != "" && here == s.config.terms(r.id) && !s.afresh.Load() {
		// Those of whom a change speaks that the remote does not have yet may be new.
		m := s.changes.unsent(s.config.sponsorsKey())
		for id, member := range members {
			if m.Base == journal.Keep && !m.Elements[id].Present {
				member.copied.Store(true)
			}
		}
		s.met.Store(&here)
		s.recordID.Store(&r.id)
		return nil
	}
	afresh := s.afresh.Load()
	s.changes.makeWhole(!afresh)
	s.local.Unsettle()
	run, err := s.copyBy(SyncRequest{}, afresh)
	if err != nil {
		return err
	}
	if r.id == "" {
		r.id = rand.Text()
	}
	r.epoch = s.epoch.Load()
	if err := s.writeRecord(client, r); err != nil {
		return err
	}
	for _, member := range members {
		member.copied.Store(true)
	}
	terms := s.config.terms(r.id)
	s.met.Store(&terms)
	s.recordID.Store(&r.id)
	s.afresh.Store(false)
	s.log.Info("what was here has been copied to the remote; from now on changes travel", "keys", run.keys.Load())
	return s.local.Do(func(d Data) { s.mustWrite(d, "HSET", metHere, terms) })
}

// readMet reads what this data set has noted.
func (s *session) readMet() (terms string, err error) {
	doErr := s.local.Do(func(d Data) {
		var reply string
		if reply, err = d.Read("HGET", journal.Key, metHere); err == nil {
			terms, _, err = resp.Bulk(reply)
		}
	})
	return terms, errors.Join(doErr, err)
}

// forgetMeeting notes that changes are not sent for now, so that all has to be
// copied before they are sent again.
func (s *session) forgetMeeting() {
	for s.ctx.Err() == nil {
		err := s.local.Do(func(d Data) {
			if reply, err := d.Read("HEXISTS", journal.Key, metHere); err == nil && reply == ":1\r\n" {
				s.mustWrite(d, "HDEL", metHere)
			}
		})
		if err == nil {
			<-s.ctx.Done()
			return
		}
		_ = pause(s.ctx, contactPause)
	}
}

// copyBy is a run of the engine's own, which copies what both sides may have: what
// the remote has of a key beside that is fetched, and merged here; or, with replace,
// goes.
func (s *session) copyBy(request SyncRequest, replace bool) (*SyncRun, error) {
	run := s.newRun(request)
	run.own, run.replace = true, replace
	err := guard("copy", func() error { return s.sync(run, s.syncs.own) })
	s.endRun(run, err)
	return run, err
}

// suspectWhatIsThere makes stubs of those of keys of which the remote has more than
// this server, or something else.
func (s *session) suspectWhatIsThere(keys []planned) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	here, err := s.keysHere(keys)
	if err != nil {
		return err
	}
	doubts := make(map[string]*stub)
	for _, key := range here {
		if st := s.changes.unasked(key); st != nil {
			doubts[key] = st
		}
	}
	there, err := s.exist(client, here)
	if err != nil {
		return err
	}
	for _, key := range there {
		delete(doubts, key)
	}
	for key, st := range doubts {
		s.alone(key, st)
	}
	for batch := range slices.Chunk(there, fetchBatch) {
		if err := s.suspectSome(client, batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) suspectSome(client *remote.Client, keys []string) error {
	fetches := s.holdAll(keys)
	defer s.releaseAll(keys)
	if fetches = s.landed(fetches); len(fetches) < len(keys) {
		return errStillSent
	}
	fault.Point("suspect")
	values, err := fetchOnce(s.ctx, client, keys)
	if err != nil {
		return err
	}
	for i, v := range values {
		if v.kind == nil && v.err == nil {
			continue // gone meanwhile
		}
		all, err := s.hasAllOf(v, fetches[i])
		switch {
		case err != nil:
		case all:
			s.alone(v.key, fetches[i].stub)
		default:
			err = s.suspect(v.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keysHere are those of keys that are here and that can travel, but for the set of
// sponsors.
func (s *session) keysHere(keys []planned) (here []string, err error) {
	err = eachInSlices(s.ctx, s.local, keys, func(d Data, p planned) error {
		if p.key != s.config.sponsorsKey() && kinds[d.Stat(p.key).Type] != nil {
			here = append(here, p.key)
		}
		return nil
	})
	return here, err
}

// suspect makes key a stub, if it is here. What cannot be merged is sent, if nothing
// speaks against it, as a change.
func (s *session) suspect(key string) error {
	return s.local.Do(func(d Data) {
		stat := d.Stat(key)
		k := kinds[stat.Type]
		if k == nil || !s.changes.suspect(key) {
			return
		}
		s.local.Unsettle()
		if k.merges() {
			s.touchAll(d, key, stat)
			s.mustWrite(d, "HSET", key, s.changes.marks([]string{key})[key]) // it must outlive a crash
			return
		}
		old := func() string { return readMark(d, key) }
		s.mustWrite(d, "HSET", key, s.changes.add(key, journal.Mark{Base: journal.Whole}, old))
	})
}
