package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// A setting is one of CONFIG GET's: a text, or a number (yes and no, and a
// choice out of several, are numbers to the server).
type setting struct {
	getText   func() string
	setText   func(string) error
	getNumber func() int64
	setNumber func(int64) error

	// shown is what the last CONFIG GET was handed; the server does not
	// free it.
	shown *C.RedisModuleString
}

// AddString adds the setting MODULE.name. *value is its default now, and its
// value from LoadSettings on; the server changes it on the main thread. check
// refuses values; nil accepts all. Call it while the module loads.
func (c Context) AddString(name string, value *string, check func(string) error) error {
	settings[name] = &setting{
		getText: func() string { return *value },
		setText: func(s string) error {
			if check != nil {
				if err := check(s); err != nil {
					return err
				}
			}
			*value = s
			return nil
		},
	}
	var rc C.int
	withCString(name, func(name *C.char) {
		withCString(*value, func(def *C.char) { rc = C.register_string(c.ptr, name, def) })
	})
	return registered(name, rc)
}

// AddInt adds a setting as AddString does: a number from least to most.
func (c Context) AddInt(name string, value *int64, least, most int64) error {
	settings[name] = &setting{
		getNumber: func() int64 { return *value },
		setNumber: func(n int64) error { *value = n; return nil },
	}
	var rc C.int
	withCString(name, func(name *C.char) {
		rc = C.register_int(c.ptr, name, C.longlong(*value), C.longlong(least), C.longlong(most))
	})
	return registered(name, rc)
}

// AddBool adds a setting as AddString does: yes or no.
func (c Context) AddBool(name string, value *bool) error {
	number := func() int64 {
		if *value {
			return 1
		}
		return 0
	}
	settings[name] = &setting{
		getNumber: number,
		setNumber: func(n int64) error { *value = n != 0; return nil },
	}
	var rc C.int
	withCString(name, func(name *C.char) { rc = C.register_bool(c.ptr, name, C.int(number())) })
	return registered(name, rc)
}

// AddEnum adds a setting as AddString does: one of choices.
func (c Context) AddEnum(name string, value *string, choices []string, check func(string) error) error {
	number := func() int64 { return int64(slices.Index(choices, *value)) }
	settings[name] = &setting{
		getNumber: number,
		setNumber: func(n int64) error {
			if err := check(choices[n]); err != nil {
				return err
			}
			*value = choices[n]
			return nil
		},
	}
	mem := new(cMemory)
	defer mem.free()
	names := unsafe.Slice((**C.char)(mem.alloc(C.size_t(unsafe.Sizeof(uintptr(0))), len(choices))), len(choices))
	numbers := unsafe.Slice((*C.int)(mem.alloc(C.sizeof_int, len(choices))), len(choices))
	for i, choice := range choices {
		names[i], numbers[i] = mem.string(choice), C.int(i)
	}
	return registered(name, C.register_enum(c.ptr, mem.string(name), C.int(number()),
		&names[0], &numbers[0], C.int(len(choices))))
}

// LoadSettings gives the settings that were added the values that redis.conf
// or MODULE LOADEX have for them. Call it once, after adding them all.
func (c Context) LoadSettings() error {
	if C.load_configs(c.ptr) != C.RM_OK {
		return errors.New("a setting was refused; the line above says which, and why")
	}
	return nil
}

func registered(name string, rc C.int) error {
	if rc != C.RM_OK {
		return fmt.Errorf("add setting %s: refused by the server", name)
	}
	return nil
}

// named is the setting that the server means. Redis 8 calls some by their full
// names.
func named(name *C.char) *setting {
	return settings[strings.TrimPrefix(C.GoString(name), module.Name+".")]
}

//export go_get_string
func go_get_string(name *C.char) (shown *C.RedisModuleString) {
	defer recovered("CONFIG GET", func(error) {})
	s := named(name)
	if s.shown != nil {
		C.free_string(s.shown)
	}
	text := s.getText()
	s.shown = C.new_string(stringPointer(text), C.size_t(len(text)))
	return s.shown
}

//export go_set_string
func go_set_string(name, value *C.char, n C.size_t, message **C.RedisModuleString) (rc C.int) {
	refuse := refusal(&rc, message)
	defer recovered("CONFIG SET", refuse)
	text := string(unsafe.Slice((*byte)(unsafe.Pointer(value)), int(n)))
	if err := named(name).setText(text); err != nil {
		refuse(err)
	}
	return rc
}

//export go_get_number
func go_get_number(name *C.char) (n C.longlong) {
	defer recovered("CONFIG GET", func(error) {})
	return C.longlong(named(name).getNumber())
}

//export go_set_number
func go_set_number(name *C.char, value C.longlong, message **C.RedisModuleString) (rc C.int) {
	refuse := refusal(&rc, message)
	defer recovered("CONFIG SET", refuse)
	if err := named(name).setNumber(int64(value)); err != nil {
		refuse(err)
	}
	return rc
}

//export go_apply
func go_apply(message **C.RedisModuleString) (rc C.int) {
	refuse := refusal(&rc, message)
	defer recovered("CONFIG SET", refuse)
	if err := module.Apply(); err != nil {
		refuse(err)
	}
	return rc
}

// refusal makes the function that refuses a setting: the server shows the
// message to the client, or in the log at start, and frees it.
func refusal(rc *C.int, message **C.RedisModuleString) func(error) {
	return func(err error) {
		text := oneLine(err.Error())
		*message = C.new_string(stringPointer(text), C.size_t(len(text)))
		*rc = C.RM_ERR
	}
}
