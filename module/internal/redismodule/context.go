package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

import "unsafe"

// A Context is what a callback acts through. It is valid until the callback
// returns, and on the thread that the callback runs on.
type Context struct{ ptr *C.RedisModuleCtx }

// Role tells what the server is at this moment.
type Role struct {
	Master  bool // not a replica
	Loading bool // reading its data set from disk or from a master
	Cluster bool // cluster-enabled yes
}

// Role is the server's role.
func (c Context) Role() Role {
	flags := C.context_flags(c.ptr)
	return Role{
		Master:  flags&C.RM_CTX_FLAGS_MASTER != 0,
		Loading: flags&C.RM_CTX_FLAGS_LOADING != 0,
		Cluster: flags&C.RM_CTX_FLAGS_CLUSTER != 0,
	}
}

// MayBlock reports whether the client can be made to wait: not inside MULTI, a
// script, or another module's call.
func (c Context) MayBlock() bool {
	return C.context_flags(c.ptr)&(C.RM_CTX_FLAGS_MULTI|C.RM_CTX_FLAGS_LUA|C.RM_CTX_FLAGS_DENY_BLOCKING) == 0
}

// ReplyError answers with an error. message begins with its code, as in
// "ERR no such user"; line breaks become spaces.
func (c Context) ReplyError(message string) {
	withCString(oneLine(message), func(s *C.char) { C.reply_error(c.ptr, s) })
}

// ReplySimple answers with a simple string, such as OK.
func (c Context) ReplySimple(message string) {
	withCString(oneLine(message), func(s *C.char) { C.reply_simple(c.ptr, s) })
}

// ReplyBulk answers with any bytes.
func (c Context) ReplyBulk(s string) {
	C.reply_bulk(c.ptr, stringPointer(s), C.size_t(len(s)))
}

// ReplyInt answers with a number.
func (c Context) ReplyInt(n int64) { C.reply_int(c.ptr, C.longlong(n)) }

// ReplyArray begins an array of n replies.
func (c Context) ReplyArray(n int) { C.reply_array(c.ptr, C.long(n)) }

// ReplyMap begins a map of n pairs, each a key and a value: a map in RESP3, a
// flat array in RESP2.
func (c Context) ReplyMap(n int) { C.reply_map(c.ptr, C.long(n)) }

func withCString(s string, use func(*C.char)) {
	cs := C.CString(s)
	defer C.free(unsafe.Pointer(cs))
	use(cs)
}

// oneLine makes s fit a line of the protocol.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '\r' || c == '\n' || c == 0 {
			b[i] = ' '
		}
	}
	return string(b)
}

// CurrentRole is the server's role, for callbacks that have no Context. It is
// the main thread's to ask.
func CurrentRole() Role { return Context{}.Role() }
