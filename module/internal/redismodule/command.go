package redismodule

// #include <stdlib.h>
// #include "binding.h"
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// A Command is one that the module adds to the server.
type Command struct {
	// Name is in lower case, with its family: sponsor.sync.
	Name string

	// Flags are those of RedisModule_CreateCommand, separated by spaces.
	Flags string

	// Doc is what COMMAND DOCS tells.
	Doc CommandDoc

	// Run carries it out and answers exactly once, at once or through Block.
	// args begins with the command's name.
	Run func(ctx Context, args []string)
}

// A CommandDoc describes a command to people.
type CommandDoc struct {
	Summary    string
	Complexity string
	Since      string // version of the module
	Arity      int    // number of arguments with the name; -n: at least n
	Args       []Arg
}

// An Arg describes an argument of a command.
type Arg struct {
	Name     string
	Type     ArgType
	Token    string // the word that announces it; the word itself for ArgToken
	Summary  string
	Optional bool
	Multiple bool
}

// ArgType is the kind of an argument.
type ArgType int

// Kinds of arguments.
const (
	ArgString  ArgType = C.RM_ARG_TYPE_STRING
	ArgInteger ArgType = C.RM_ARG_TYPE_INTEGER
	ArgToken   ArgType = C.RM_ARG_TYPE_PURE_TOKEN
)

// AddCommand adds a command. Call it while the module loads.
func (c Context) AddCommand(cmd Command) error {
	mem := new(cMemory)
	defer mem.free()
	name := mem.string(cmd.Name)
	if C.create_command(c.ptr, name, mem.string(cmd.Flags)) != C.RM_OK {
		return fmt.Errorf("add command %s: the server refused the name or the flags %q", cmd.Name, cmd.Flags)
	}
	if err := c.describe(cmd.Name, cmd.Doc); err != nil {
		return err
	}
	commands[cmd.Name] = cmd
	return nil
}

// describe gives a command of ours its description.
func (c Context) describe(command string, doc CommandDoc) error {
	mem := new(cMemory)
	defer mem.free()
	info := (*C.RedisModuleCommandInfo)(mem.alloc(C.sizeof_RedisModuleCommandInfo, 1))
	info.summary = mem.string(doc.Summary)
	info.complexity = mem.string(doc.Complexity)
	info.since = mem.string(doc.Since)
	info.arity = C.int(doc.Arity)
	info.args = mem.args(doc.Args)
	if C.set_command_info(c.ptr, mem.string(command), info) != C.RM_OK {
		return fmt.Errorf("add command %s: the server refused its description", command)
	}
	return nil
}

//export go_command
func go_command(ctx *C.RedisModuleCtx, argv **C.RedisModuleString, argc C.int) C.int {
	c := Context{ctx}
	defer recovered("a command", func(err error) { c.ReplyError("ERR " + err.Error()) })
	args := copyArgs(argv, argc)
	// The server has found the command by this name, in whatever case.
	commands[strings.ToLower(args[0])].Run(c, args)
	return C.RM_OK
}

// cMemory is C's memory for the time of one call.
type cMemory struct{ blocks []unsafe.Pointer }

func (m *cMemory) alloc(size C.size_t, n int) unsafe.Pointer {
	p := C.calloc(C.size_t(n), size)
	m.blocks = append(m.blocks, p)
	return p
}

// string copies s, or gives NULL for the empty string.
func (m *cMemory) string(s string) *C.char {
	if s == "" {
		return nil
	}
	p := C.CString(s)
	m.blocks = append(m.blocks, unsafe.Pointer(p))
	return p
}

// args lays out args as the server wants them: an array that ends in a zero.
func (m *cMemory) args(args []Arg) *C.RedisModuleCommandArg {
	if len(args) == 0 {
		return nil
	}
	first := (*C.RedisModuleCommandArg)(m.alloc(C.sizeof_RedisModuleCommandArg, len(args)+1))
	for i, out := range unsafe.Slice(first, len(args)) {
		arg := args[i]
		out.name = m.string(arg.Name)
		out._type = C.int(arg.Type)
		out.key_spec_index = -1
		out.token = m.string(arg.Token)
		out.summary = m.string(arg.Summary)
		if arg.Optional {
			out.flags |= C.RM_CMD_ARG_OPTIONAL
		}
		if arg.Multiple {
			out.flags |= C.RM_CMD_ARG_MULTIPLE
		}
		unsafe.Slice(first, len(args))[i] = out
	}
	return first
}

func (m *cMemory) free() {
	for _, p := range m.blocks {
		C.free(p)
	}
	m.blocks = nil
}
