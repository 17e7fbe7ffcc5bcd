package redismodule

// #include "binding.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// A KeyEvent is a keyspace notification
// (https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/).
type KeyEvent struct {
	Class KeyEventClass
	Event string // sadd, del, keymiss …
	Key   string

	// Args are the arguments of the command that has caused the event, its
	// name first, if it is one of those that tell by their arguments what
	// they do: SADD, SREM, SMOVE, HSET, HMSET, HSETNX, HDEL, HINCRBY,
	// HINCRBYFLOAT, GETEX, EXPIRE and its kin. Empty: they are not known, as within MULTI.
	Args []string

	// Unit is the same for all events of one command.
	Unit uint64
}

// KeyEventClass groups events. Exactly one bit is set.
type KeyEventClass int

// The classes that mean more than "somebody wrote".
const (
	ClassGeneric KeyEventClass = C.RM_NOTIFY_GENERIC // del, rename_from, rename_to, expire …
	ClassExpired KeyEventClass = C.RM_NOTIFY_EXPIRED
	ClassEvicted KeyEventClass = C.RM_NOTIFY_EVICTED
	ClassMiss    KeyEventClass = C.RM_NOTIFY_KEY_MISS // a read found nothing
	ClassNew     KeyEventClass = C.RM_NOTIFY_NEW      // a key was made; its value may still be empty
)

// A ServerEvent is what happened to the server as a whole.
type ServerEvent int

// Events of the server. After any of them, nothing that was known about the
// keyspace may be relied upon.
const (
	BecameMaster  ServerEvent = iota + 1
	BecameReplica             // its data set will be the master's
	Flushed                   // FLUSHALL, FLUSHDB, of whichever database
	Loaded                    // a data set was read from disk or from a master, or failed to be
	DBsSwapped                // SWAPDB
)

// SetKeyPrefixes chooses the keys whose events are reported: those that begin
// with one of prefixes. Call it on the main thread.
func SetKeyPrefixes(prefixes []string) error {
	var bytes []byte
	lens := make([]C.size_t, len(prefixes)+1)
	for i, prefix := range prefixes {
		bytes = append(bytes, prefix...)
		lens[i] = C.size_t(len(prefix))
	}
	bytes = append(bytes, 0) // never empty
	if C.set_key_prefixes((*C.char)(unsafe.Pointer(&bytes[0])), &lens[0], C.int(len(prefixes))) != C.RM_OK {
		return fmt.Errorf("set key prefixes: out of memory")
	}
	return nil
}

// Probe reads key, which is not there and begins with one of the prefixes of
// SetKeyPrefixes, as a client would, and tells whether the server shows the module the
// command and the miss: without either, nothing is read through.
func (c Context) Probe(key string) (command, miss bool) {
	seen := C.probe(c.ptr, stringPointer(key), C.size_t(len(key)))
	return seen&C.COMMAND_SEEN != 0, seen&C.MISS_SEEN != 0
}

// SubscribeEvents has the server report key events and server events to the
// Module. Call it while the module loads.
func (c Context) SubscribeEvents() error {
	if C.subscribe_key_events(c.ptr) != C.RM_OK {
		return fmt.Errorf("subscribe to key events: refused")
	}
	if C.register_filter(c.ptr) != C.RM_OK {
		return fmt.Errorf("register a command filter: refused")
	}
	for _, event := range []C.uint64_t{
		C.RM_EVENT_REPLICATION_ROLE_CHANGED, C.RM_EVENT_FLUSHDB, C.RM_EVENT_LOADING,
		C.RM_EVENT_SWAPDB, C.RM_EVENT_CONFIG,
	} {
		if C.subscribe_server_event(c.ptr, event) != C.RM_OK {
			return fmt.Errorf("subscribe to server event %d: refused", event)
		}
	}
	return nil
}

//export go_key_event
func go_key_event(ctx *C.RedisModuleCtx, class C.int, event, key *C.char, n C.size_t, argv *C.struct_bytes, argc C.int, unit C.uint64_t) (used C.int) {
	defer recovered("a key event", func(error) {})
	e := KeyEvent{
		Class: KeyEventClass(class),
		Event: C.GoString(event),
		Key:   string(unsafe.Slice((*byte)(unsafe.Pointer(key)), int(n))),
		Unit:  uint64(unit),
	}
	if e.Class != ClassNew && e.Class != ClassMiss {
		e.Args = make([]string, argc)
		for i, arg := range unsafe.Slice(argv, argc) {
			e.Args[i] = string(unsafe.Slice((*byte)(unsafe.Pointer(arg.p)), int(arg.n)))
		}
	}
	if module.KeyEvent(Context{ctx}, e) {
		used = 1
	}
	return used
}

// AtUnitEnd has Module.UnitEnd called when the command, script or transaction
// that has caused the current key event has ended; what UnitEnd writes belongs to
// it. It reports false if the server cannot do that (Redis 7.0), so that writing
// at once is the way.
func (c Context) AtUnitEnd() bool { return C.at_unit_end(c.ptr) == C.RM_OK }

// Commands counts the commands that the server has been sent since the module was
// loaded. It may be called from any goroutine.
func Commands() uint64 { return uint64(C.commands()) }

//export go_unit_end
func go_unit_end(ctx *C.RedisModuleCtx) {
	defer recovered("the end of a unit", func(error) {})
	module.UnitEnd(Context{ctx})
}

//export go_server_event
func go_server_event(id, subevent C.uint64_t) {
	defer recovered("a server event", func(error) {})
	if event, ok := serverEvent(id, subevent); ok {
		module.ServerEvent(event)
	}
}

func serverEvent(id, subevent C.uint64_t) (ServerEvent, bool) {
	switch id {
	case C.RM_EVENT_REPLICATION_ROLE_CHANGED:
		if subevent == C.RM_EVENT_REPLROLECHANGED_NOW_MASTER {
			return BecameMaster, true
		}
		return BecameReplica, true
	case C.RM_EVENT_FLUSHDB:
		return Flushed, subevent == C.RM_SUBEVENT_FLUSHDB_END
	case C.RM_EVENT_LOADING:
		return Loaded, subevent == C.RM_SUBEVENT_LOADING_ENDED || subevent == C.RM_SUBEVENT_LOADING_FAILED
	case C.RM_EVENT_SWAPDB:
		return DBsSwapped, true
	}
	return 0, false
}
