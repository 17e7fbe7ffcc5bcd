package replication

import (
	"fmt"
	"slices"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// How far write-behind has come is noted on both sides: here, in a field of the journal,
// which is no key's name, and then on the remote in a record, under a key. So it can be
// told who has an old state: the remote after a failover that has lost something, or this
// server when it comes back from an old snapshot.
const (
	recordPrefix = keyspace.OwnPrefix + "dataset:"
	notedHere    = keyspace.OwnPrefix + "noted"
)

// recordKey is where the record is: two organisations may share a remote.
func (c Config) recordKey() string { return recordPrefix + c.Org }

// recordPause is how often the record is brought up to date while changes land.
const recordPause = time.Second

// A record is what the remote notes of who writes to it.
type record struct {
	id    string // of the data set; empty: none
	epoch uint64 // of the session that writes: who begins later has a higher one

	// Numbers of changes: all up to low have been acknowledged or refused, and high is
	// the highest that was acknowledged.
	low, high uint64
}

// A noted is what this data set knows of the record.
type noted struct {
	high      uint64 // it is not higher than this,
	confirmed uint64 // nor lower than this
}

func (n noted) String() string { return fmt.Sprintf("%d %d", n.high, n.confirmed) }

func parseNoted(text string) (n noted, err error) {
	_, err = fmt.Sscan(text, &n.high, &n.confirmed)
	return n, err
}

func (r record) String() string { return fmt.Sprintf("%s %d %d %d", r.id, r.epoch, r.low, r.high) }

// parseRecord reads what String has made.
func parseRecord(text string) (r record, err error) {
	if _, err := fmt.Sscan(text, &r.id, &r.epoch, &r.low, &r.high); err != nil {
		return record{}, fmt.Errorf("somebody else has written %.64q there: %w; delete the key, and what is here is merged into what is on the remote", text, err)
	}
	return r, nil
}

func (s *session) readRecord(client *remote.Client) (record, error) {
	get := remote.NewCommand("GET", s.config.recordKey())
	if err := client.Exec(s.ctx, get); err != nil {
		return record{}, err
	}
	if remote.Missing(get) {
		return record{}, nil
	}
	text, err := get.Text()
	if err != nil {
		return record{}, keyError("GET", s.config.recordKey(), err)
	}
	r, err := parseRecord(text)
	if err != nil {
		return record{}, keyError("GET", s.config.recordKey(), err)
	}
	return r, nil
}

func (s *session) writeRecord(client *remote.Client, r record) error {
	set := remote.NewCommand("SET", s.config.recordKey(), r.String())
	if err := client.Exec(s.ctx, set); err != nil {
		return err
	}
	if err := set.Err(); err != nil {
		return keyError("SET", s.config.recordKey(), err)
	}
	return nil
}

// compareRecords reads what the remote knows of whose data set it has, and with whom
// this data set has met.
func (s *session) compareRecords() (client *remote.Client, there record, here string, err error) {
	if client, err = s.link.get(); err != nil {
		return nil, record{}, "", err
	}
	if there, err = s.readRecord(client); err != nil {
		return nil, record{}, "", err
	}
	here, err = s.readMet()
	return client, there, here, err
}

// greet looks at the remote's record before anything is sent. If that knows of changes
// of which this data set knows nothing, the data set is an old one: what its marks
// speak of is older than what the remote has, and so are the keys without marks.
func (s *session) greet() error {
	client, r, here, err := s.compareRecords()
	if err != nil {
		return err
	}
	s.epoch.Store(max(r.epoch+1, uint64(time.Now().UnixMicro())))
	if r.id == "" || here != s.config.terms(r.id) {
		return nil // they have not met
	}
	switch noted := s.changes.lastNoted(); {
	case r.high < noted.confirmed:
		s.meetAgain(errRemoteOld, true)
	case r.high > noted.high:
		s.old.Store(true)
		s.local.Unsettle()
		stale := s.changes.dropStale(r.low, r.high)
		s.log.Warn("this data set is older than what the remote has; it takes from there what is newer",
			"number", noted.high, "remote", r.high, "stale_marks", stale)
	}
	r.epoch = s.epoch.Load()
	return s.writeRecord(client, r) // whoever writes still has to stop
}

// keepRecord keeps the record up to date, and looks at what has become of it.
func (s *session) keepRecord() {
	var last record
	for pause(s.ctx, recordPause) == nil {
		id := s.recordID.Load()
		if id == nil || !s.link.up() || !s.changes.isRead() || !s.changes.isMet() {
			continue
		}
		now := record{id: *id, epoch: s.epoch.Load()}
		now.low, now.high = s.changes.progress()
		if now == last {
			continue
		}
		if err := s.noteProgress(now); err != nil {
			s.fail("how far write-behind has come could not be noted; trying again", err)
			continue
		}
		last = now
	}
}

// noteProgress notes now, here and then on the remote, unless the remote's record is
// not what it was.
func (s *session) noteProgress(now record) error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	here := s.changes.lastNoted()
	here.high = now.high
	err = s.local.Do(func(d Data) { s.mustWrite(d, "HSET", notedHere, here.String()) })
	if err == nil {
		// When the server takes another turn, the AOF has it.
		err = s.local.Do(func(Data) {})
	}
	if err != nil {
		return err
	}
	s.changes.setNoted(here)
	there, err := s.readRecord(client)
	switch {
	case err != nil:
		return err
	case there.epoch > now.epoch:
		s.yield(there)
		return nil
	case there.id != now.id && there.id != "":
		s.meetAgain(errRemoteOther, false)
		return nil
	case there.id == "", there.high < here.confirmed:
		s.meetAgain(errRemoteOld, true)
		return nil
	}
	if err := s.writeRecord(client, now); err != nil {
		return err
	}
	here.confirmed = now.high
	s.changes.setNoted(here)
	return nil
}

// yield leaves the remote alone from now on: a newer master writes to it.
func (s *session) yield(to record) {
	err := fmt.Errorf("%w since %s; if this is the one that should, restart it",
		errSuperseded, time.UnixMicro(int64(to.epoch)).UTC().Format(time.DateTime))
	s.link.end(err)
	s.fail("nothing is sent to the remote any more", err)
}

// takeBack removes those of keys from this server, whose data set is an old one, that
// nothing is known of and that are not what the remote has: the next read brings them
// here, unless they are gone there too. It counts them.
func (s *session) takeBack(client *remote.Client, keys []string) (n int, err error) {
	s.holdAll(keys)
	defer s.releaseAll(keys)
	watches := make([]*watch, len(keys))
	for i, key := range keys {
		watches[i] = s.paging.begin(key)
		watches[i].beStrict()
		defer s.paging.end(watches[i])
	}
	values, err := fetchOnce(s.ctx, client, keys)
	if err != nil {
		return 0, err
	}
	var old []int
	for i, v := range values {
		if v.err != nil {
			s.fail("a key could not be compared with the remote's; it stays as it is", v.err)
			continue
		}
		found, err := s.compare(v)
		if err != nil {
			return n, err
		}
		if found != same && found != nowhere {
			old = append(old, i)
		}
	}
	err = eachInSlices(s.ctx, s.local, old, func(d Data, i int) error {
		if watches[i].broken() || !s.changes.nothingKnown(keys[i]) || d.Stat(keys[i]).Type == typeNone {
			return nil
		}
		n++
		return write(d, "UNLINK", keys[i])
	})
	return n, err
}

// takeAllBack does so with all keys of sponsors that are here, but not with those of
// whom it is not certain that they were copied ever: a change of the set speaks of
// them that the remote does not have.
func (s *session) takeAllBack() error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	keys, err := s.plan(s.ctx, s.newRun(SyncRequest{}), s.sponsors.list())
	if err != nil {
		return err
	}
	unsent := s.changes.unsent(s.config.sponsorsKey())
	keys = slices.DeleteFunc(keys, func(p planned) bool {
		return p.owner != "" && (unsent.Base != journal.Keep || unsent.Elements[p.owner].Present)
	})
	here, err := s.keysHere(keys)
	if err != nil {
		return err
	}
	removed := 0
	for batch := range slices.Chunk(here, fetchBatch) {
		n, err := s.takeBack(client, batch)
		if err != nil {
			return err
		}
		removed += n
	}
	s.log.Warn("keys that were older than the remote's have been removed here; they come back when they are read", "keys", removed)
	return nil
}

// takeSponsorsBack does so with the set of sponsors, which is read again then.
func (s *session) takeSponsorsBack() error {
	client, err := s.link.get()
	if err != nil {
		return err
	}
	if _, err := s.takeBack(client, []string{s.config.sponsorsKey()}); err != nil {
		return err
	}
	s.sponsors.forget()
	return nil
}
