package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

// Info is the answer to INFO, written field by field from within Module.Info.
type Info struct{ ptr *C.RedisModuleInfoCtx }

// RegisterInfo has the server ask Module.Info for a section of INFO that is
// called as the module. Call it while the module loads.
func (c Context) RegisterInfo() { C.register_info(c.ptr) }

// String adds a field. The server puts the module's name and _ before it.
func (i *Info) String(field, value string) {
	withCString(field, func(f *C.char) {
		withCString(oneLine(value), func(v *C.char) { C.info_string(i.ptr, f, v) })
	})
}

// Int adds a field, as String does.
func (i *Info) Int(field string, value int64) {
	withCString(field, func(f *C.char) { C.info_int(i.ptr, f, C.longlong(value)) })
}

//export go_info
func go_info(ctx *C.RedisModuleInfoCtx) {
	defer recovered("INFO", func(error) {})
	withCString("", func(name *C.char) { C.info_section(ctx, name) })
	module.Info(&Info{ctx})
}
