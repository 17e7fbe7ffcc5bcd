package replication

import (
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/journal"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

// A kind is a type of value that travels element by element.
type kind struct {
	name   string // as the command TYPE names it
	all    string // reads everything at once
	page   string // reads a part, by cursor
	count  string // tells how many elements there are
	add    string // adds elements, or sets them anew
	remove string // removes elements by name
	width  int    // strings that make one element
}

// kinds are the types that travel. A value of another type is counted and
// named by whoever meets it.
var kinds = map[string]*kind{
	"set":  {name: "set", all: "SMEMBERS", page: "SSCAN", count: "SCARD", add: "SADD", remove: "SREM", width: 1},
	"hash": {name: "hash", all: "HGETALL", page: "HSCAN", count: "HLEN", add: "HSET", remove: "HDEL", width: 2},
}

// kindOf is the kind whose elements a mark holds; nil: it holds none.
func kindOf(k journal.Kind) *kind {
	switch k {
	case journal.Set:
		return kinds["set"]
	case journal.Hash:
		return kinds["hash"]
	}
	return nil
}

// markKind is the kind of mark for a type of value.
func markKind(typ string) journal.Kind {
	switch typ {
	case "set":
		return journal.Set
	case "hash":
		return journal.Hash
	}
	return journal.NoKind
}

const typeNone = "none"

// How much of a value is read or written at a time, some hundred microseconds of
// work. What has more than either is large.
const (
	partElements = 1000
	partBytes    = 256 << 10
	pageSize     = "1000" // COUNT of a cursor, where sizes are not known
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

// distinct drops elements that items has twice, as cursors may give them; of a
// field the later value stays.
func (k *kind) distinct(items []string) []string {
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

// merge adds items to a key that is there, and leaves what it has: local
// elements are newer than those that come from the remote.
func (k *kind) merge(d Data, key string, items []string) error {
	if k.width == 1 {
		return write(d, k.add, key, items...)
	}
	for i := 0; i < len(items); i += 2 {
		if err := write(d, "HSETNX", key, items[i], items[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// write runs a command on a key of the local data set, and makes an error reply
// an error.
func write(d Data, name, key string, args ...string) error {
	reply, err := d.Write(name, append([]string{key}, args...)...)
	if err == nil {
		err = resp.Err(reply)
	}
	if err != nil {
		return keyError(name, key, err)
	}
	return nil
}
