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
}

// KeyEventClass groups events. Exactly one bit is set.
type KeyEventClass int

// The classes that mean more than "somebody wrote".
const (
	ClassGeneric KeyEventClass = C.RM_NOTIFY_GENERIC // del, rename_from, rename_to, expire …
	ClassExpired KeyEventClass = C.RM_NOTIFY_EXPIRED
	ClassEvicted KeyEventClass = C.RM_NOTIFY_EVICTED
	ClassMiss    KeyEventClass = C.RM_NOTIFY_KEY_MISS // a read found nothing
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

// SubscribeEvents has the server report key events and server events to the
// Module. Call it while the module loads.
func (c Context) SubscribeEvents() error {
	if C.subscribe_key_events(c.ptr) != C.RM_OK {
		return fmt.Errorf("subscribe to key events: refused")
	}
	for _, event := range []C.uint64_t{
		C.RM_EVENT_REPLICATION_ROLE_CHANGED, C.RM_EVENT_FLUSHDB, C.RM_EVENT_LOADING,
		C.RM_EVENT_SWAPDB,
	} {
		if C.subscribe_server_event(c.ptr, event) != C.RM_OK {
			return fmt.Errorf("subscribe to server event %d: refused", event)
		}
	}
	return nil
}

//export go_key_event
func go_key_event(class C.int, event, key *C.char, n C.size_t) {
	defer recovered("a key event", func(error) {})
	module.KeyEvent(KeyEvent{
		Class: KeyEventClass(class),
		Event: C.GoString(event),
		Key:   string(unsafe.Slice((*byte)(unsafe.Pointer(key)), int(n))),
	})
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
