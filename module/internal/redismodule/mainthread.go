package redismodule

// #include "binding.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrUnloading is what MainThread.Do answers once MODULE UNLOAD has begun.
var ErrUnloading = errors.New("the module is being unloaded")

// deferral is how long Do waits before it asks again for a turn that the server
// could not give: a script or a transaction is under way, or clients are
// paused.
const deferral = 5 * time.Millisecond

// turnCommand is a command of ours that lends its context to whoever has the
// turn. Only within a command does Redis propagate what is written, and delete
// what has expired, as it should.
const turnCommand = "sponsor.turn"

// A MainThread lets goroutines use the keyspace, on the server's main thread.
//
// The API also has a lock by which another thread can stop the main one. But
// Redis 8.0 ends itself if a command is called from another thread while a
// client uses MONITOR (an assertion in updateClientMemUsageAndBucket).
type MainThread struct {
	ctx  *C.RedisModuleCtx
	turn chan struct{} // holds one token while nobody has the turn

	granted *turn // the main thread's own: set around turnCommand, and only there

	mu      sync.Mutex
	waiting *turn         // asked for, and not begun
	closing chan struct{} // closed by close
}

// A turn is one call of Do.
type turn struct {
	f    func(Context)
	done chan error // gets one value
}

// errLater: this is no moment to use the keyspace.
var errLater = errors.New("not now")

func newMainThread(ctx *C.RedisModuleCtx) *MainThread {
	m := &MainThread{ctx: C.new_detached(ctx), turn: make(chan struct{}, 1), closing: make(chan struct{})}
	m.turn <- struct{}{}
	setLogContext(Context{m.ctx})
	return m
}

// Main is the main thread of the server that has loaded us.
func Main() *MainThread { return mainThread }

// Do runs f on the main thread and waits for it; one f at a time, whoever calls.
// The whole server waits for f: keep it under half a millisecond, and pause a
// millisecond before the next. What f runs with Context.Write reaches the AOF
// and the replicas as one transaction. Never in f's way are a script or a
// transaction of a client, CLIENT PAUSE or a failover: Do waits until they have
// ended. A panic in f becomes an error. Calling Do on the main thread itself
// would wait for ever.
func (m *MainThread) Do(f func(Context)) error {
	closing := m.closingNow()
	select {
	case <-m.turn:
		defer func() { m.turn <- struct{}{} }()
	case <-closing:
		return ErrUnloading
	}
	for {
		t := &turn{f: f, done: make(chan error, 1)}
		if err := m.ask(t); err != nil {
			return err
		}
		err := <-t.done
		if !errors.Is(err, errLater) {
			return err
		}
		select {
		case <-time.After(deferral):
		case <-closing:
			return ErrUnloading
		}
	}
}

func (m *MainThread) closingNow() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closing
}

func (m *MainThread) ask(t *turn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if isClosed(m.closing) {
		return ErrUnloading
	}
	if C.ask_for_turn() != C.RM_OK {
		return errors.New("use the keyspace: the server's event loop has refused")
	}
	m.waiting = t
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// take is the turn that was asked for, or nil.
func (m *MainThread) take() *turn {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.waiting
	m.waiting = nil
	return t
}

// go_turn is called on the main thread, between commands, but sometimes in the
// midst of a long script.
//
//export go_turn
func go_turn() {
	defer recovered("a turn", func(error) {})
	t := mainThread.take()
	if t == nil {
		return // unloading
	}
	if C.busy() != 0 {
		t.done <- errLater
		return
	}
	mainThread.granted = t
	// The ! lets what is written within reach the AOF and the replicas; the
	// command itself, being a module's, does not go there.
	_, err := Context{mainThread.ctx}.call("!E", turnCommand, nil)
	if mainThread.granted != nil {
		mainThread.granted = nil
		t.done <- fmt.Errorf("use the keyspace: %w", errors.Join(err, errors.New("the server did not run "+turnCommand)))
	}
}

// runTurn is the command sponsor.turn. A client that sends it finds no turn
// granted: its context, which may be another database or a transaction, is not
// for us.
func runTurn(ctx Context, _ []string) {
	t := mainThread.granted
	if t == nil {
		ctx.ReplyError("ERR SPONSOR.TURN is for the module itself")
		return
	}
	mainThread.granted = nil
	err := errors.New("no result")
	defer func() { t.done <- err }()
	defer recovered("a turn", func(e error) { err = e; ctx.ReplyError("ERR " + e.Error()) })
	t.f(ctx)
	err = nil
	ctx.ReplySimple("OK")
}

// Paused reports whether clients are paused, so that nothing must be written. It is
// the main thread's to ask.
func Paused() bool { return C.paused() != 0 }

// close makes Do answer ErrUnloading, now and from now on. It is called on the
// main thread, so that nobody's f is running.
func (m *MainThread) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !isClosed(m.closing) {
		close(m.closing)
	}
	if m.waiting != nil {
		m.waiting.done <- ErrUnloading
		m.waiting = nil
	}
}

// reopen undoes close.
func (m *MainThread) reopen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing = make(chan struct{})
}

// free gives the server its context back. Nobody may be in Do.
func (m *MainThread) free() {
	m.close()
	setLogContext(Context{})
	C.free_detached(m.ctx)
}
