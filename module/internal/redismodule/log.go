package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

import (
	"strings"
	"sync"
	"unsafe"
)

// Level is the importance of a line in the server's log, as its setting
// loglevel names it.
type Level string

// The levels of Redis.
const (
	LevelDebug   Level = "debug"
	LevelNotice  Level = "notice"
	LevelWarning Level = "warning"
)

// logContext tells the server whose lines it logs. Whoever uses it holds logMu,
// because MODULE UNLOAD takes it away.
var (
	logMu      sync.RWMutex
	logContext Context // zero: the server writes <module>
)

func setLogContext(ctx Context) {
	logMu.Lock()
	defer logMu.Unlock()
	logContext = ctx
}

// Log writes one entry to the server's own log. It may be called from any
// goroutine once the module is loading.
func Log(level Level, line string) {
	logMu.RLock()
	defer logMu.RUnlock()
	// The server cuts an entry at 1024 bytes (LOG_MAX_LEN of server.h), so a
	// stack trace goes line by line.
	cLevel := C.CString(string(level))
	defer C.free(unsafe.Pointer(cLevel))
	for part := range strings.SplitSeq(strings.TrimRight(line, "\n"), "\n") {
		cLine := C.CString(strings.ReplaceAll(part, "\x00", "\\0"))
		C.log_line(logContext.ptr, cLevel, cLine)
		C.free(unsafe.Pointer(cLine))
	}
}
