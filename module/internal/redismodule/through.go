package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

import (
	"errors"
	"runtime/cgo"
	"strings"
	"time"
	"unsafe"
)

// Commands of ours by which others pass through us. Users need a grant for them.
const (
	ThroughRead  = C.THROUGH_READ
	ThroughWrite = C.THROUGH_WRITE
)

// A Use is a command of a client that uses keys which may not be settled: commands
// that use settled keys alone are none of our business.
type Use struct {
	Name string   // in lower case
	Keys []string // that begin with one of the prefixes of SetKeyPrefixes

	argv   **C.RedisModuleString
	argc   C.int
	client C.uint64_t // 0: not known
}

// newUse reads a command. ok is false if it is not one that uses such keys.
func newUse(argv **C.RedisModuleString, argc C.int) (u Use, ok bool) {
	var n C.int
	positions := C.key_positions(argv, argc, &n)
	if positions == nil {
		return Use{}, false
	}
	defer C.free_positions(positions)
	args := unsafe.Slice(argv, argc)
	u = Use{Name: strings.ToLower(copyString(args[0])), argv: argv, argc: argc}
	for _, at := range unsafe.Slice(positions, n) {
		if at < 1 || at >= argc {
			continue
		}
		var length C.size_t
		p := C.string_bytes(args[at], &length)
		if C.is_reported(p, length) != 0 {
			u.Keys = append(u.Keys, copyString(args[at]))
		}
	}
	return u, len(u.Keys) > 0
}

// Sub is the command's first argument in lower case: the subcommand, if it has some.
func (u Use) Sub() string {
	if u.argc < 2 {
		return ""
	}
	return strings.ToLower(copyString(unsafe.Slice(u.argv, u.argc)[1]))
}

// Args are the command's arguments, its name first.
func (u Use) Args() []string { return copyArgs(u.argv, u.argc) }

// UserMay reports whether the client's user may run u as verdict has it. Where the server
// does not tell who it is (Redis 7.0), known is false.
func (u Use) UserMay(verdict Verdict) (may, known bool) {
	return C.client_may(mainThread.ctx, u.client, u.argv, u.argc, C.int(verdict)) != 0, u.client != 0
}

// A Verdict is what becomes of a command.
type Verdict int

// Verdicts.
const (
	PassBy  Verdict = C.FILTER_PASS // it is run as it is
	AsRead  Verdict = C.FILTER_READ // it passes through us, as a read, or as a write
	AsWrite Verdict = C.FILTER_WRITE
)

// SetThrough chooses whether commands on keys that are not settled are shown to
// Module.Filter. It forgets what is settled. Call it on the main thread.
func SetThrough(on bool) { C.set_through(flag(on)) }

// Settle has commands on key pass by without asking, until a time, or, if that is zero,
// until the key has gone, or Unsettle is called, or was called since known was what
// Knowledge returned. Call it on the main thread.
func Settle(key string, until time.Time, known uint64) {
	ms := C.int64_t(0)
	if !until.IsZero() {
		ms = C.int64_t(until.UnixMilli())
	}
	C.settle_key(stringPointer(key), C.size_t(len(key)), ms, C.uint64_t(known))
}

// TableBytes is how much memory it takes to know what is settled. It is the main thread's
// to ask.
func TableBytes() int64 { return int64(C.table_bytes()) }

// Knowledge is a number that Unsettle changes.
func Knowledge() uint64 { return uint64(C.knowledge()) }

// Unsettle forgets which keys are settled. It may be called from any goroutine.
func Unsettle() { C.unsettle() }

//export go_filter
func go_filter(argv **C.RedisModuleString, argc C.int, client C.uint64_t) (verdict C.int) {
	defer recovered("a command filter", func(error) { verdict = C.FILTER_PASS })
	u, ok := newUse(argv, argc)
	if !ok {
		return C.FILTER_PASS
	}
	u.client = client
	return C.int(module.Filter(u))
}

// A Passage is a command that passes through us, for the time of the callback that it
// is handed to.
type Passage struct {
	Context
	Use
	Write bool
}

// AddThroughCommands adds the commands by which others pass through us. Call it while
// the module loads.
func (c Context) AddThroughCommands(doc CommandDoc) error {
	if C.create_through_commands(c.ptr) != C.RM_OK {
		return errors.New("add the commands by which others pass through: refused")
	}
	for _, name := range []string{ThroughRead, ThroughWrite} {
		if err := c.describe(name, doc); err != nil {
			return err
		}
	}
	return nil
}

// InDatabase0 reports whether the command is about database 0.
func (p Passage) InDatabase0() bool { return C.selected_db(p.ptr) == 0 }

// MayRun reports whether the client's user may run the command itself.
func (p Passage) MayRun() bool { return C.may_run(p.ptr, p.argv, p.argc) != 0 }

// Run runs the command as the client would, with its user, database and protocol, and
// answers with its answer. asked says that what it misses is known: no event tells of
// that then.
func (p Passage) Run(asked bool) {
	how := C.int(C.THROUGH_UNASKED)
	if asked {
		how = C.THROUGH_ASKED
	}
	C.run_through(p.ptr, p.argv, p.argc, how)
}

// Tracks reports whether the client caches what it reads (CLIENT TRACKING).
func (p Passage) Tracks() bool { return C.tracks(p.ptr) != 0 }

// RunRenamed runs the command, which only reads, with other names for some of its keys. The
// client's user need not have rights for these: ask MayRun first.
func (p Passage) RunRenamed(names map[string]string) {
	var n C.int
	positions := C.key_positions(p.argv, p.argc, &n)
	if positions == nil {
		p.Run(true)
		return
	}
	defer C.free_positions(positions)
	args := unsafe.Slice(p.argv, p.argc)
	var (
		at    []C.int
		bytes []byte
		lens  []C.size_t
	)
	for _, position := range unsafe.Slice(positions, n) {
		if name, ok := names[copyString(args[position])]; ok {
			at, lens = append(at, position), append(lens, C.size_t(len(name)))
			bytes = append(bytes, name...)
		}
	}
	if len(at) == 0 {
		p.Run(true)
		return
	}
	C.run_renamed(p.ptr, p.argv, p.argc, &at[0], (*C.char)(unsafe.Pointer(&bytes[0])), &lens[0], C.int(len(at)))
}

// Block makes the client wait. Ask MayBlock first.
func (p Passage) Block() *BlockedPassage {
	return &BlockedPassage{Blocked{ptr: C.block_client(p.ptr, 1)}}
}

// A BlockedPassage is a client that waits in the midst of a command.
type BlockedPassage struct{ blocked Blocked }

// Unblock lets the command go on with then, on the main thread, soon. If the client has
// gone, then is dropped. It may be called from any goroutine; only the first call
// counts, and there must be one.
func (b *BlockedPassage) Unblock(then func(Passage)) {
	b.blocked.once.Do(func() {
		C.unblock_client(b.blocked.ptr, C.uintptr_t(cgo.NewHandle(then)))
	})
}

//export go_through
func go_through(ctx *C.RedisModuleCtx, argv **C.RedisModuleString, argc, write C.int) {
	c := Context{ctx}
	defer recovered("a command that passes through", func(err error) { c.ReplyError("ERR " + err.Error()) })
	module.Through(newPassage(c, argv, argc, write != 0))
}

func newPassage(c Context, argv **C.RedisModuleString, argc C.int, write bool) Passage {
	u, ok := newUse(argv, argc)
	if !ok {
		u = Use{argv: argv, argc: argc}
	}
	return Passage{Context: c, Use: u, Write: write}
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
