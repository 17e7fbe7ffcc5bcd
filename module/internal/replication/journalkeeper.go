package replication

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// How many marks are removed in one go, how long we rest before the next, and how long
// once there are no more. A mark is in nobody's way, and its key may be written again
// before it goes; a hash that shrinks to nothing and grows again all the time costs
// more than one that does not.
const (
	sweepKeys  = 500
	sweepPause = 2 * time.Millisecond
	sweepRest  = 20 * time.Millisecond
)

// keepJournal reads the journal that an earlier run, or an earlier master, has
// left; then it removes the marks of what has landed, and writes the journal anew
// when it was lost.
func (s *session) keepJournal() {
	for !s.readJournal() {
		if pause(s.ctx, retryMin) != nil {
			return
		}
	}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.changes.sweep:
			if !s.sweepJournal() {
				_ = pause(s.ctx, sweepRest)
			}
		case <-s.journalLost:
			s.rewriteJournal()
		case <-s.journalNew:
			for !s.readJournal() {
				if pause(s.ctx, retryMin) != nil {
					return
				}
			}
		}
		_ = pause(s.ctx, sweepPause)
	}
}

// readJournal reads all marks, and reports whether that could be done.
func (s *session) readJournal() bool {
	cursor := "0"
	err := inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		fault.Point("read-journal")
		s.isJournal(d)
		reply, err := d.Read("HSCAN", journal.Key, cursor, "COUNT", "100")
		if err != nil {
			return false, err
		}
		next, page, err := resp.Page(reply)
		if err != nil {
			return false, keyError("HSCAN", journal.Key, err)
		}
		for i := 0; i+1 < len(page); i += 2 {
			switch key, mark := page[i], page[i+1]; key {
			case metHere:
			case notedHere:
				n, err := parseNoted(mark)
				if err != nil {
					return false, keyError("read", key, err)
				}
				s.changes.setNoted(n)
			default:
				s.changes.recovered(key, mark)
				if s.changes.isStub(key) {
					s.touchAll(d, key, d.Stat(key))
				}
			}
		}
		cursor = next
		if next == "0" {
			s.changes.allRead()
		}
		return next == "0", nil
	}, nil)
	if err != nil && !errors.Is(err, ErrLoading) && !errors.Is(err, ErrReplica) {
		s.fail("the journal could not be read; trying again", err)
	}
	return err == nil
}

// sweepJournal removes some marks of what has landed, and reports whether there are
// more.
func (s *session) sweepJournal() (more bool) {
	keys, more := s.changes.tidy(sweepKeys)
	err := s.local.Do(func(d Data) {
		var gone []string
		fault.Point("sweep")
		for _, key := range keys {
			mark, ok := s.changes.settled(key)
			switch {
			case !ok:
			case mark != "":
				s.mustWrite(d, "HSET", key, mark)
			default:
				gone = append(gone, key)
			}
		}
		if len(gone) > 0 {
			s.mustWrite(d, "HDEL", gone...)
		}
	})
	if err != nil && s.ctx.Err() == nil {
		s.fail("marks stay in the journal; what they speak of may be sent again", err)
	}
	return more
}

// mustWrite writes the journal. What cannot be written is written again later.
func (s *session) mustWrite(d Data, name string, args ...string) {
	reply, err := d.WriteAlways(name, append([]string{journal.Key}, args...)...)
	if err == nil {
		err = resp.Err(reply)
	}
	if err != nil {
		s.fail("the journal could not be written; trying again", keyError(name, journal.Key, err))
		time.AfterFunc(sendRetry, func() { signal(s.journalLost) })
	}
}

// rewriteMark writes the mark of key as it should be.
func (s *session) rewriteMark(key string) error {
	return s.local.Do(func(d Data) {
		if mark, ok := s.changes.marks([]string{key})[key]; ok {
			s.mustWrite(d, "HSET", key, mark)
		}
	})
}

// isJournal makes sure that the journal is a hash, if it is there: the key is ours.
func (s *session) isJournal(d Data) {
	if typ := d.Stat(journal.Key).Type; typ != typeNone && typ != "hash" {
		s.fail("somebody has written another value in place of the journal; it is made anew",
			keyError("read", journal.Key, errors.New("it is a "+typ)))
		s.mustWrite(d, "UNLINK")
	}
}

// rewriteJournal writes all marks again, because the server has lost them.
func (s *session) rewriteJournal() {
	names := s.changes.names()
	err := inSlices(s.ctx, s.local, func(d Data) (bool, error) {
		fault.Point("rewrite-journal")
		s.isJournal(d)
		if met := s.met.Load(); met != nil {
			s.mustWrite(d, "HSET", metHere, *met, notedHere, s.changes.lastNoted().String())
		}
		n := min(len(names), 100)
		marks := s.changes.marks(names[:n])
		names = names[n:]
		args := make([]string, 0, 2*len(marks))
		for _, key := range slices.Sorted(maps.Keys(marks)) {
			args = append(args, key, marks[key])
		}
		if len(args) > 0 {
			s.mustWrite(d, "HSET", args...)
		}
		return len(names) == 0, nil
	}, nil)
	if err != nil && s.ctx.Err() == nil && !errors.Is(err, ErrReplica) {
		s.fail("the journal was lost and could not be written again; trying again", err)
		signal(s.journalLost)
	}
}
