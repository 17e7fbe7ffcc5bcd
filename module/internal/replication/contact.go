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

// Where two servers note that they have met: the remote under a key, the local
// server in a field of the journal, which is no key's name.
const (
	metOnRemote = keyspace.OwnPrefix + "dataset"
	metHere     = keyspace.OwnPrefix + "dataset"
)

// contactPause is how often we look whether the two can meet.
const contactPause = 100 * time.Millisecond

// meetRemote copies what is here when this data set and the remote meet for the
// first time, and notes that they have: from then on, changes alone travel. It
// merges.
func (s *session) meetRemote() {
	pauses := retryPauses()
	for {
		switch {
		case !s.link.up() || !s.sponsors.isKnown() || !s.changes.isRead():
			_ = pause(s.ctx, contactPause)
		default:
			err := s.meet()
			if err == nil {
				s.changes.setMet(true)
				<-s.ctx.Done()
			} else if s.ctx.Err() == nil {
				s.fail("what is here could not be copied to the remote; trying again", err)
				_ = pause(s.ctx, pauses.NextBackOff())
			}
		}
		if s.ctx.Err() != nil {
			return
		}
	}
}

// terms are what two servers that have met agreed upon. Others mean that there
// may be keys that were never copied.
func (c Config) terms(id string) string {
	return fmt.Sprintf("%s %q %q %q %s", id, c.Org, c.Templates, c.Unfiltered, c.Remote.Addr())
}

func (s *session) meet() error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	id, err := remoteID(s, client)
	if err != nil {
		return err
	}
	here, err := s.readMet()
	if err != nil {
		return err
	}
	members := s.sponsors.memberships()
	if id != "" && here == s.config.terms(id) {
		// Those of whom a change speaks that the remote does not have yet may be new.
		m := s.changes.onItsWay(s.config.sponsorsKey(), nil)
		for id, member := range members {
			if m.Base == journal.Keep && !m.Elements[id].Present {
				member.copied.Store(true)
			}
		}
		s.met.Store(&here)
		return nil
	}
	s.changes.makeWhole()
	run, err := s.copyBy(SyncRequest{})
	if err != nil {
		return err
	}
	if id == "" {
		id = rand.Text()
		set := remote.NewCommand("SET", metOnRemote, id)
		if err := client.Exec(s.ctx, set); err != nil {
			return err
		}
		if err := set.Err(); err != nil {
			return keyError("SET", metOnRemote, err)
		}
	}
	for _, member := range members {
		member.copied.Store(true)
	}
	terms := s.config.terms(id)
	s.met.Store(&terms)
	s.log.Info("what was here has been copied to the remote; from now on changes travel", "keys", run.keys.Load())
	return s.local.Do(func(d Data) { s.mustWrite(d, "HSET", metHere, terms) })
}

func remoteID(s *session, client *remote.Client) (string, error) {
	get := remote.NewCommand("GET", metOnRemote)
	if err := client.Exec(s.ctx, get); err != nil {
		return "", err
	}
	if remote.Missing(get) {
		return "", nil
	}
	id, err := get.Text()
	if err != nil {
		return "", keyError("GET", metOnRemote, err)
	}
	return id, nil
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
// the remote has of a key beside that is fetched, and merged here.
func (s *session) copyBy(request SyncRequest) (*SyncRun, error) {
	run := s.newRun(request)
	run.own = true
	err := s.sync(run, s.syncs.own)
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
	here, err := s.suspects(keys)
	if err != nil {
		return err
	}
	there, err := s.exist(client, here)
	if err != nil {
		return err
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
		if err == nil && !all {
			err = s.suspect(v.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// suspects are those of keys that are here and that may be a part of what the remote
// has.
func (s *session) suspects(keys []planned) (here []string, err error) {
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
		if k.merges() {
			s.touchAll(d, key, stat)
			return
		}
		old := func() string { return readMark(d, key) }
		s.mustWrite(d, "HSET", key, s.changes.add(key, journal.Mark{Base: journal.Whole}, old))
	})
}
