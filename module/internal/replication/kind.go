package replication

import (
	"slices"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// A kind is a type of value, as a list of items: width of them make an element,
// which is a member of a set, a field and its value, a member and its score, an
// element of a list, a piece of a string, or a command that makes a part of a stream
// (stream.go).
type kind struct {
	name  string // as the command TYPE names it
	width int
	count string // tells how long it is, zero if it is not there

	// mark is the kind of the elements' names, by which values merge. NoKind: they
	// have no names, and the value travels as a whole only.
	mark   journal.Kind
	remove string // removes elements by name

	all  []string // reads everything at once; the key stands second. nil: walk does
	walk walk     // reads page by page
	add  string   // adds elements, or sets them anew
}

// kinds are the types that travel. A value of another type is counted and
// named by whoever meets it.
var kinds = map[string]*kind{
	"set": {
		name: "set", width: 1, count: "SCARD", mark: journal.Set, remove: "SREM",
		all: []string{"SMEMBERS"}, walk: byCursor("SSCAN"), add: "SADD",
	},
	"hash": {
		name: "hash", width: 2, count: "HLEN", mark: journal.Hash, remove: "HDEL",
		all: []string{"HGETALL"}, walk: byCursor("HSCAN"), add: "HSET",
	},
	"zset": {
		name: "zset", width: 2, count: "ZCARD", mark: journal.ZSet, remove: "ZREM",
		all: []string{"ZRANGE", "0", "-1", "WITHSCORES"}, walk: byCursor("ZSCAN"), add: "ZADD",
	},
	"string": {name: "string", width: 1, count: "EXISTS", walk: byOffset("GETRANGE"), add: "APPEND"},
	"list":   {name: "list", width: 1, count: "LLEN", walk: byOffset("LRANGE"), add: "RPUSH"},
	"stream": {name: "stream", width: 1, count: "EXISTS", walk: byID{}},
}

// kindOf is the kind whose elements a mark holds; nil: it holds none.
func kindOf(mark journal.Kind) *kind {
	switch mark {
	case journal.Set:
		return kinds["set"]
	case journal.Hash:
		return kinds["hash"]
	case journal.ZSet:
		return kinds["zset"]
	}
	return nil
}

// markKind is the kind of mark for a type of value.
func markKind(typ string) journal.Kind {
	if k := kinds[typ]; k != nil {
		return k.mark
	}
	return journal.NoKind
}

// merges reports whether values of the kind can be merged.
func (k *kind) merges() bool { return k.mark != journal.NoKind }

const typeNone = "none"

// How much of a value is read or written at a time, some hundred microseconds of
// work. What has more than either is large.
const (
	partElements = 1000
	partBytes    = 256 << 10
)

// part cuts off items, which is not empty, what is written at a time: at least
// one element.
func (k *kind) part(items []string) int {
	bytes, n := 0, 0
	for n < len(items) && n < partElements*k.width && bytes < partBytes {
		for range k.width {
			bytes += len(items[n])
			n++
		}
	}
	return n
}

// length is how long a value of items is, as Stat tells it.
func (k *kind) length(items []string) int {
	n := 0
	switch k.name {
	case "string":
		for _, piece := range items {
			n += len(piece)
		}
	case "stream":
		for _, item := range items {
			if isEntry(item) {
				n++
			}
		}
	default:
		n = len(items) / k.width
	}
	return n
}

// elements counts what people call the elements of a value.
func (k *kind) elements(items []string) int {
	if k.name == "string" {
		return min(1, len(items))
	}
	return k.length(items)
}

// distinct drops elements that items has twice, as cursors may give them; of a
// field the later value stays.
func (k *kind) distinct(items []string) []string {
	if !k.merges() {
		return items
	}
	at := make(map[string]int, len(items)/k.width)
	out := items[:0]
	for i := 0; i < len(items); i += k.width {
		if j, ok := at[items[i]]; ok {
			copy(out[j:], items[i:i+k.width])
			continue
		}
		at[items[i]] = len(out)
		out = append(out, items[i:i+k.width]...)
	}
	return out
}

// equal reports whether items and others, without repetitions, make the same value.
func (k *kind) equal(items, others []string) bool {
	switch {
	case k.name == "string":
		return strings.Join(items, "") == strings.Join(others, "") // in pieces of any length
	case !k.merges():
		return slices.Equal(items, others)
	}
	return len(items) == len(others) && k.has(items, others)
}

// has reports whether items hold all elements of others.
func (k *kind) has(items, others []string) bool {
	is := make(map[string]string, len(items)/k.width)
	for i := 0; i < len(items); i += k.width {
		is[items[i]] = items[i+k.width-1]
	}
	for i := 0; i < len(others); i += k.width {
		if value, ok := is[others[i]]; !ok || value != others[i+k.width-1] {
			return false
		}
	}
	return true
}

// names are what the elements in items are called: members, or fields.
func (k *kind) names(items []string) []string {
	if k.width == 1 {
		return items
	}
	names := make([]string, 0, len(items)/k.width)
	for i := 0; i < len(items); i += k.width {
		names = append(names, items[i])
	}
	return names
}

// A command is one for a server: its name, and its arguments.
type command []string

// adds are what writes items to key, behind what is there.
func (k *kind) adds(key string, items []string) []command {
	var list []command
	for len(items) > 0 {
		n := 1
		switch k.name {
		case "stream":
			list = append(list, streamCommand(key, items[0]))
		case "string":
			list = append(list, command{k.add, key, items[0]})
		default:
			n = k.part(items)
			list = append(list, append(command{k.add, key}, k.arguments(items[:n])...))
		}
		items = items[n:]
	}
	return list
}

// arguments are items as the kind's command takes them.
func (k *kind) arguments(items []string) []string {
	if k.mark != journal.ZSet {
		return items
	}
	args := make([]string, len(items))
	for i := 0; i < len(items); i += 2 {
		args[i], args[i+1] = items[i+1], items[i] // the score first
	}
	return args
}

// removes are what removes the elements names from key.
func (k *kind) removes(key string, names []string) []command {
	var list []command
	for len(names) > 0 {
		n := min(len(names), partElements)
		list = append(list, append(command{k.remove, key}, names[:n]...))
		names = names[n:]
	}
	return list
}

// merge adds items to a key that is there, and leaves what it has: local
// elements are newer than those that come from the remote.
func (k *kind) merge(d Data, key string, items []string) error {
	switch k.mark {
	case journal.Hash:
		for i := 0; i < len(items); i += 2 {
			if err := write(d, "HSETNX", key, items[i], items[i+1]); err != nil {
				return err
			}
		}
		return nil
	case journal.ZSet:
		return write(d, k.add, append([]string{key, "NX"}, k.arguments(items)...)...)
	}
	return writeAll(d, k.adds(key, items))
}

// writeAll runs commands on the local data set.
func writeAll(d Data, list []command) error {
	for _, cmd := range list {
		if err := write(d, cmd[0], cmd[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// write runs a command, whose first argument is most often a key, on the local data
// set, and makes an error reply an error.
func write(d Data, name string, args ...string) error {
	reply, err := d.Write(name, args...)
	if err == nil {
		err = resp.Err(reply)
	}
	if err != nil {
		return keyError(name, args[0], err)
	}
	return nil
}
