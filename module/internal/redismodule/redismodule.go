// Package redismodule binds the part of the Redis Modules API that
// redis-sponsor uses. It is the only package with cgo and unsafe.
//
// Threads: Redis calls in on its main thread, and whatever it calls (load,
// commands, key and server events, settings, INFO) runs there, one at a time,
// and must not wait. Any other goroutine uses the keyspace through
// MainThread.Do only. Log, Unblock and MainThread.Do may be called from any
// goroutine; everything that takes a Context belongs to the callback it was
// handed to.
//
// Memory: bytes are copied at the boundary, in both directions. Keys and
// values are Go strings holding any bytes.
//
// Panics: every call from Redis into Go recovers, logs the stack and answers
// with an error. The same must be done by whoever starts a goroutine.
//
// Forks: a child of Redis (BGSAVE, AOF rewrite, diskless sync) has one thread
// and no Go scheduler. Nothing here is called in a child: there are no RDB or
// AOF callbacks, no PERSISTENCE events, and INFO in a crash report ends in C.
package redismodule

/*
#cgo CFLAGS: -std=c11 -Wall -Wextra -Werror -O2
#include <errno.h>
#include <stdlib.h>
#include "binding.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"
)

// A Module is what the server sees of us. All functions but Unload are
// optional; they run on the main thread.
type Module struct {
	Name    string
	Version int

	// Load registers commands, settings and events through ctx. args are the
	// arguments of loadmodule or MODULE LOAD. An error refuses the load.
	Load func(ctx Context, args []string) error

	// MayUnload refuses MODULE UNLOAD by an error. Nothing has been done yet.
	MayUnload func(ctx Context) error

	// Unload ends all work; MainThread.Do has ended already. An error
	// refuses MODULE UNLOAD, and Do works again.
	Unload func() error

	// KeyEvent is told what happens to the keys that SetKeyPrefixes asked
	// for, in database 0, but for what the module does itself. It reports
	// whether the event's Args were of use; then they are used up.
	KeyEvent func(Context, KeyEvent) (used bool)

	// Filter says what becomes of a command that uses keys which are not settled, if
	// SetThrough has asked for that. The keyspace must not be touched. Through is
	// told of those that pass through us, and answers each exactly once: by Run, or
	// by an error, at once or after Block.
	Filter  func(Use) Verdict
	Through func(Passage)

	// UnitEnd is called after Context.AtUnitEnd.
	UnitEnd func(Context)

	// ServerEvent is told what happens to the server.
	ServerEvent func(ServerEvent)

	// Info answers INFO.
	Info func(*Info)

	// Apply is called after CONFIG SET has changed one or several settings.
	Apply func() error
}

// The server loads a shared library once, so that there is one module in a
// process. commands and settings are set up while it loads, and read on the
// main thread only.
var (
	module     Module
	mainThread *MainThread
	commands   map[string]Command
	settings   map[string]*setting
)

// Register names the module that this shared library is. Call it from an init
// of package main; the last call counts.
func Register(m Module) { module = m }

//export go_load
func go_load(ctx *C.RedisModuleCtx, argv **C.RedisModuleString, argc C.int) (rc C.int) {
	defer recovered("load", func(error) { rc = C.RM_ERR })
	if missing := C.load_api(ctx); missing != nil {
		// The server's log may be what is missing.
		fmt.Fprintf(os.Stderr, "%s: not loaded: this server's Modules API lacks %s\n", module.Name, C.GoString(missing))
		return C.RM_ERR
	}
	name := C.CString(module.Name)
	defer C.free(unsafe.Pointer(name))
	if C.name_is_busy(name) != 0 {
		// The module is loaded already, and what is below is its state.
		Log(LevelWarning, "not loaded: a module of this name is loaded already")
		return C.RM_ERR
	}
	// A library that was unloaded and is loaded again has kept its state.
	commands = make(map[string]Command)
	settings = make(map[string]*setting)

	C.set_attributes(ctx, name, C.int(module.Version))
	mainThread = newMainThread(ctx)
	if err := load(Context{ctx}, copyArgs(argv, argc)); err != nil {
		Log(LevelWarning, "not loaded: "+err.Error())
		mainThread.free()
		return C.RM_ERR
	}
	return C.RM_OK
}

//export go_unload
func go_unload(ctx *C.RedisModuleCtx) (rc C.int) {
	defer recovered("unload", func(error) { rc = C.RM_ERR })
	err := module.MayUnload(Context{ctx})
	if err == nil {
		err = end()
	}
	if err != nil {
		Log(LevelWarning, "not unloaded: "+err.Error())
		return C.RM_ERR
	}
	mainThread.free()
	return C.RM_OK
}

// end ends all work, or none.
func end() (err error) {
	mainThread.close()
	defer func() {
		if err != nil {
			mainThread.reopen()
		}
	}()
	defer recovered("unload", func(e error) { err = e })
	return module.Unload()
}

func load(ctx Context, args []string) error {
	turn := Command{
		Name:  turnCommand,
		Flags: "admin allow-loading allow-stale",
		Doc:   CommandDoc{Summary: "Internal: the module uses the keyspace. It does nothing for a client.", Arity: 1},
		Run:   runTurn,
	}
	if err := ctx.AddCommand(turn); err != nil {
		return err
	}
	return module.Load(ctx, args)
}

// recovered ends a panic in what Redis called: it logs the stack and hands an
// error to fail. Use it as "defer recovered(…)".
func recovered(where string, fail func(error)) {
	if r := recover(); r != nil {
		Log(LevelWarning, fmt.Sprintf("panic in %s: %v\n%s", where, r, debug.Stack()))
		fail(fmt.Errorf("internal error in %s: %v (please report it with the server's log)", where, r))
	}
}

// Getenv is the variable of the server's environment. The Go runtime of a shared
// library does not see it: the server has moved its environment by then, to
// make room for its title.
func Getenv(name string) (value string, ok bool) {
	withCString(name, func(name *C.char) {
		if p := C.getenv(name); p != nil {
			value, ok = C.GoString(p), true
		}
	})
	return value, ok
}

func copyArgs(argv **C.RedisModuleString, argc C.int) []string {
	args := make([]string, argc)
	for i, s := range unsafe.Slice(argv, argc) {
		args[i] = copyString(s)
	}
	return args
}

func copyString(s *C.RedisModuleString) string {
	var n C.size_t
	p := C.string_bytes(s, &n)
	return string(unsafe.Slice((*byte)(unsafe.Pointer(p)), int(n)))
}
