// Package replication keeps the sponsors' keys of the local server on a remote
// one, and brings them back when they are missing.
//
// The way of the data: a write comes in through KeyEvent (capture.go), is noted as
// a change, with a mark in the journal (changes.go, marks.go, stub.go), and is sent
// (writebehind.go; whole.go and large.go where the whole value is wanted); when the
// remote has acknowledged, the mark goes (journalkeeper.go). How values of each type are
// read and written is in kind.go, walk.go and stream.go. What cannot be decided here
// becomes a dead letter (dispute.go, deadletter.go). Sync reads values from the local
// data set in slices (backfill.go) and writes them to the remote over several
// connections (writer.go); so does the first contact with a remote (contact.go). A
// command that uses a key which is away asks Look and Need, and waits (await.go; apart.go
// for clients that cache); a read that found nothing comes in through KeyEvent. Either has
// the key fetched and put back (readthrough.go, fetch.go, restore.go); what is known of keys
// that are away is in residency.go. Pull and Verify (pull.go, verify.go) are jobs (jobs.go)
// over all keys. Who is a sponsor is known from a
// copy of the set sponsors:<org> (sponsors.go); what becomes of the keys of who is none
// any more is in lapse.go, of who wants to be forgotten in forget.go. Which side has an
// old state is told by record.go.
//
// Nothing here knows Redis's Modules API: the local server is the interface
// Local. The methods of Engine named after events are called on the server's
// main thread and never wait.
package replication

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// Reasons why there is nothing to replicate, or nowhere to.
var (
	ErrNoOrg    = errors.New("no organisation: set sponsor.org, or SPONSOR_ORG in the environment")
	ErrNoRemote = errors.New("no remote: set sponsor.remote-host, or REDISENT_HOST in the environment")
)

// ReadThrough is what happens when a read finds no key.
type ReadThrough string

// Ways of reading through.
const (
	// ReadBlock has a command wait until what it uses is here.
	ReadBlock ReadThrough = "block"
	// ReadAsync answers the reader at once and fetches the key beside it, so
	// that the next read finds it.
	ReadAsync ReadThrough = "async"
	ReadOff   ReadThrough = "off"
)

// Config is what an Engine is told to do. It is a value; do not change what its
// slices hold once the Engine has it.
type Config struct {
	Org        string // whose sponsors; empty: replicate nothing
	Templates  keyspace.Templates
	Unfiltered keyspace.Templates // replicated for everybody
	Remote     Remote

	// WriteBehind sends every change. Without it, data travels by Sync alone.
	WriteBehind bool

	Tuning
}

// Blocks reports whether commands may have to wait for what is away.
func (c Config) Blocks() bool {
	return c.Org != "" && c.Remote.Host != "" && c.ReadThrough == ReadBlock
}

// Remote tells where the remote is.
type Remote = remote.Options

// Tuning is the part of a Config that can change while work goes on.
type Tuning struct {
	ReadThrough ReadThrough
	ReadTimeout time.Duration // how long a command waits for the remote, at most
	AbsentTTL   time.Duration // how long "the remote has no such key" is believed
	OnLapse     OnLapse
	BufferLimit int64 // bytes of values on their way, roughly
}

// KeyPrefixes are what the keys begin with whose events the Engine needs.
func (c Config) KeyPrefixes() []string {
	if c.Org == "" {
		return nil
	}
	prefixes := []string{keyspace.SponsorsKey(c.Org), journal.Key}
	for _, templates := range []keyspace.Templates{c.Templates, c.Unfiltered} {
		for _, t := range templates {
			prefixes = append(prefixes, t.Prefix())
		}
	}
	return prefixes
}

// An Engine replicates. Make one with New, then Configure it; Close ends it.
type Engine struct {
	local Local
	log   *slog.Logger
	count counters

	deleted *deletions
	changes *changes

	mu      sync.Mutex
	config  Config
	master  bool
	session *session        // nil: nothing to do here and now
	opened  int64           // how many sessions there were
	ending  []chan struct{} // closed when an earlier session has ended
	closed  bool
}

// New makes an engine that does nothing yet. master tells whether the local
// server is one.
func New(local Local, log *slog.Logger, master bool) *Engine {
	remote.LogTo(log)
	return &Engine{local: local, log: log, master: master, deleted: newDeletions(), changes: newChanges()}
}

// Configure begins to work by c. Unless c differs in its Tuning only, this ends
// what went on by an earlier one: a SYNC under way fails. It does not wait for
// the network.
func (e *Engine) Configure(c Config) {
	e.mu.Lock()
	defer e.mu.Unlock()
	tuned := e.config
	tuned.Tuning = c.Tuning
	same := reflect.DeepEqual(c, tuned)
	e.config = c
	e.changes.setLimit(c.BufferLimit)
	switch {
	case !same:
		e.restart(errors.New("the configuration has changed; run SPONSOR.SYNC again"))
	case e.session != nil:
		e.session.tuning.Store(&c.Tuning)
		e.local.Unsettle()
	}
}

// SetMaster tells what the local server has become. A replica is quiet: its
// master speaks to the remote.
func (e *Engine) SetMaster(master bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.master == master {
		return
	}
	e.master = master
	e.deleted.forgetAll()
	e.changes.reset()
	e.restart(ErrReplica)
}

// restart ends the session, if there is one, and opens another if there is
// something to do. The caller holds e.mu.
func (e *Engine) restart(cause error) {
	if old := e.session; old != nil {
		e.session = nil
		old.cancel(cause)
		ended := make(chan struct{})
		e.ending = append(slices.DeleteFunc(e.ending, isClosed), ended)
		// It may wait for the data set, which our caller has.
		go func() {
			defer close(ended)
			old.close()
		}()
	}
	if e.master && !e.closed && e.config.Org != "" {
		e.opened++
		e.session = openSession(e, e.config, e.opened)
	}
}

// KeyEvent tells what happened to a key, as far as the Engine cares.
type KeyEvent int

// What can happen to a key.
const (
	Written   KeyEvent = iota // changed
	Created                   // made, and still empty; what fills it follows
	Replaced                  // overwritten: what it was before counts no more
	ExpirySet                 // given an expiry, or none
	Deleted                   // by a command: somebody meant it
	MovedAway                 // it has another name now, or is in another database
	Evicted                   // nobody meant it
	Emptied                   // by a command, and the remote may have elements that were not here
	Expired                   // its time had come
	Missed                    // read, and not found
)

// KeyEvent is told of each event of a key with one of Config.KeyPrefixes, and
// returns the mark that the journal has to hold for the key from now on; if it is
// not empty, write it into the hash JournalKey, in the same transaction as what
// has happened. d is the data set at this moment. KeyEvent never waits.
func (e *Engine) KeyEvent(ev Event, d Data) (mark string) {
	s := e.current()
	if s == nil {
		return ""
	}
	if ev.Key == journal.Key {
		s.journalEvent(ev.What)
		return ""
	}
	return s.keyEvent(ev, d)
}

// JournalFailed tells that a mark could not be written: what it speaks of is sent as
// long as the server runs. The journal is written again.
func (e *Engine) JournalFailed(err error) {
	if s := e.current(); s != nil {
		s.fail("the journal could not be written; trying again", err)
		signal(s.journalLost)
	}
}

// JournalLost tells that marks could not be written just now. The journal is written
// again.
func (e *Engine) JournalLost() {
	if s := e.current(); s != nil {
		signal(s.journalLost)
	}
}

// Flushed tells that all keys may be gone. It never waits.
func (e *Engine) Flushed() {
	e.changes.flushed()
	if s := e.current(); s != nil {
		s.generation.Add(1)
		s.paging.allLost()
		s.sponsors.lost()
		signal(s.journalLost)
	}
}

// DataSetReplaced tells that the data set is another one: loaded, or swapped. It
// never waits.
func (e *Engine) DataSetReplaced() {
	e.deleted.forgetAll()
	e.changes.readAgain()
	e.changes.setMet(false)
	if s := e.current(); s != nil {
		signal(s.estranged)
		s.generation.Add(1)
		s.paging.allLost()
		s.sponsors.forget()
		signal(s.journalNew)
		signal(s.journalLost)
	}
}

func (e *Engine) current() *session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session
}

// open is the session, or why there is none.
func (e *Engine) open() (*session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.config.Org == "":
		return nil, ErrNoOrg
	case e.closed:
		return nil, errors.New("the module is being unloaded")
	case e.session == nil:
		return nil, ErrReplica
	}
	return e.session, nil
}

// Close ends all work. It reports an error, and leaves the engine closed, if
// some of it has not ended within patience. Calling it twice does no harm.
// Whoever calls it while having the data set to itself must make sure that
// Local.Do does not wait any more.
func (e *Engine) Close(patience time.Duration) error {
	e.mu.Lock()
	e.closed = true
	e.restart(errors.New("the module is being unloaded"))
	ending := slices.Clone(e.ending)
	e.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, ended := range ending {
		select {
		case <-ended:
		case <-timer.C:
			return fmt.Errorf("work has not ended within %v", patience)
		}
	}
	return nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Reopen undoes Close.
func (e *Engine) Reopen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = false
	e.restart(nil)
}
