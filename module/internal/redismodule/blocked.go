package redismodule

// #include "binding.h"
import "C"

import (
	"runtime/cgo"
	"strings"
	"sync"
	"unsafe"
)

// A Blocked is a client that waits for an answer.
type Blocked struct {
	ptr  *C.RedisModuleBlockedClient
	once sync.Once
}

// Block makes the client of a command wait until Unblock. Ask MayBlock first.
// The server refuses MODULE UNLOAD as long as a client waits.
func (c Context) Block() *Blocked {
	return &Blocked{ptr: C.block_client(c.ptr, 0)}
}

// Unblock answers the client through reply, on the main thread, soon. If the
// client has gone, reply is dropped. It may be called from any goroutine; only
// the first call counts, and there must be one.
func (b *Blocked) Unblock(reply func(Context)) {
	b.once.Do(func() {
		C.unblock_client(b.ptr, C.uintptr_t(cgo.NewHandle(reply)))
	})
}

//export go_unblocked
func go_unblocked(ctx *C.RedisModuleCtx, argv **C.RedisModuleString, argc C.int, privdata C.uintptr_t) C.int {
	c := Context{ctx}
	defer recovered("an answer", func(err error) { c.ReplyError("ERR " + err.Error()) })
	switch then := cgo.Handle(privdata).Value().(type) {
	case func(Context):
		then(c)
	case func(Passage):
		args := unsafe.Slice(argv, argc)
		then(newPassage(c, &args[1], argc-1, strings.EqualFold(copyString(args[0]), ThroughWrite)))
	}
	return C.RM_OK
}

//export go_free_blocked
func go_free_blocked(privdata C.uintptr_t) {
	defer recovered("freeing an answer", func(error) {})
	cgo.Handle(privdata).Delete()
}
