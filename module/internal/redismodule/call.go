package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"
)

// KeyType is the type of a key's value.
type KeyType int

// Types of values. KeyNone: there is no such key.
const (
	KeyNone   KeyType = C.RM_KEYTYPE_EMPTY
	KeyString KeyType = C.RM_KEYTYPE_STRING
	KeyList   KeyType = C.RM_KEYTYPE_LIST
	KeyHash   KeyType = C.RM_KEYTYPE_HASH
	KeySet    KeyType = C.RM_KEYTYPE_SET
	KeyZSet   KeyType = C.RM_KEYTYPE_ZSET
	KeyModule KeyType = C.RM_KEYTYPE_MODULE
	KeyStream KeyType = C.RM_KEYTYPE_STREAM
)

// A KeyStat is what Stat tells about a key.
type KeyStat struct {
	Type     KeyType
	Length   int       // elements, or bytes of a string
	ExpireAt time.Time // zero: never
}

// Stat looks at a key of database 0 without counting as a use of it for
// eviction. A key that is past its expiry is deleted by this, as by any read.
func (c Context) Stat(key string) KeyStat {
	stat := C.stat_key(c.ptr, stringPointer(key), C.size_t(len(key)))
	s := KeyStat{Type: KeyType(stat._type), Length: int(stat.length)}
	if stat.expire_at != C.RM_NO_EXPIRE {
		s.ExpireAt = time.UnixMilli(int64(stat.expire_at))
	}
	return s
}

// Read runs a command that changes nothing, and returns its reply as RESP2
// bytes; an error reply of the command is a reply too.
func (c Context) Read(name string, args ...string) (string, error) {
	return c.call("vE", name, args)
}

// Write runs a command that goes to the AOF and to the replicas too, and
// returns its reply as Read does. It is refused, as a client's would be, if
// maxmemory leaves no room for it.
func (c Context) Write(name string, args ...string) (string, error) {
	return c.call("!vEM", name, args)
}

// WriteAlways is Write for what must not be refused for want of memory.
func (c Context) WriteAlways(name string, args ...string) (string, error) {
	return c.call("!vE", name, args)
}

func (c Context) call(format, name string, args []string) (string, error) {
	size := 0
	for _, arg := range args {
		size += len(arg)
	}
	// Go memory that holds Go pointers must not cross, so the arguments go
	// as one run of bytes.
	bytes := make([]byte, 0, size+1)
	lens := make([]C.size_t, len(args)+1)
	for i, arg := range args {
		bytes = append(bytes, arg...)
		lens[i] = C.size_t(len(arg))
	}
	mem := new(cMemory)
	defer mem.free()
	reply, err := C.call(c.ptr, mem.string(name), mem.string(format),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(bytes))), unsafe.SliceData(lens), C.int(len(args)))
	if reply == nil {
		if err == nil {
			err = errors.New("the server did not say why")
		}
		return "", fmt.Errorf("%s was not run: %w", name, err)
	}
	defer C.free_reply(reply)
	var n C.size_t
	proto := C.reply_proto(reply, &n)
	// Not C.GoStringN: its length is an int of C, and a reply may be larger.
	return strings.Clone(unsafe.String((*byte)(unsafe.Pointer(proto)), int(n))), nil
}

func stringPointer(s string) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s)))
}
