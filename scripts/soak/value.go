package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A kind is a type of values.
type kind int

const (
	aSet kind = iota
	aHash
	aZset
	aList
	aString
	aStream
)

// A value is what a key should hold: the model of one key. The zero value is a key that
// is not there.
type value struct {
	here     bool
	kind     kind
	elements map[string]string // of a set, without values; of a hash; of a sorted set, with scores
	list     []string          // of a list; of a stream, as id=value; of a string, alone
	at       int64             // when it expires, in unix milliseconds; 0: never
}

func (v value) clone() value {
	v.elements, v.list = maps.Clone(v.elements), slices.Clone(v.list)
	return v
}

// size is how many elements there are; of a string, bytes.
func (v value) size() int {
	if v.kind == aString && len(v.list) == 1 {
		return len(v.list[0])
	}
	return len(v.elements) + len(v.list)
}

func (v value) equal(other value) bool {
	if !v.here || !other.here {
		return v.here == other.here
	}
	return v.kind == other.kind && v.at == other.at && maps.Equal(v.elements, other.elements) && slices.Equal(v.list, other.list)
}

// shown is how much of a value is printed, in bytes.
const shown = 300

// String is the value for people.
func (v value) String() string {
	if !v.here {
		return "nothing"
	}
	text := fmt.Sprintf("%q", v.list)
	if v.elements != nil {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(v.elements)) {
			pairs = append(pairs, name+"="+v.elements[name])
		}
		text = fmt.Sprintf("%q", pairs)
	}
	if len(text) > shown {
		text = fmt.Sprintf("%d in all, %s…", v.size(), text[:shown])
	}
	if v.at != 0 {
		text += fmt.Sprintf(" until %d", v.at)
	}
	return text
}

// difference says what of two values is not the same, for values that are long.
func difference(want, got value) string {
	var missing, more []string
	for name, text := range want.elements {
		if other, ok := got.elements[name]; !ok || other != text {
			missing = append(missing, name+"="+text)
		}
	}
	for name, text := range got.elements {
		if other, ok := want.elements[name]; !ok || other != text {
			more = append(more, name+"="+text)
		}
	}
	slices.Sort(missing)
	slices.Sort(more)
	return fmt.Sprintf("missing %.200q, more %.200q", missing, more)
}

// A state is what a person's keys hold, by their names. Keys that are not there may be
// missing in it.
type state map[string]value

// of is a clone of some keys.
func (s state) of(keys []string) state {
	some := make(state, len(keys))
	for _, key := range keys {
		some[key] = s[key].clone()
	}
	return some
}

func (s state) equal(other state) bool {
	for key, v := range s {
		if !v.equal(other[key]) {
			return false
		}
	}
	return true
}

// without leaves out what has expired at that time.
func (s state) without(now time.Time) state {
	rest := maps.Clone(s)
	for key, v := range rest {
		if v.at != 0 && v.at <= now.UnixMilli() {
			rest[key] = value{}
		}
	}
	return rest
}

// A command is one of Redis's with its arguments. They are all of the form in which the
// second word is a key, and, where there are more keys, these follow.
type command []string

// keys are those that the command uses.
func (c command) keys() []string {
	switch c[0] {
	case "SMOVE", "RENAME":
		return c[1:3]
	case "DEL", "UNLINK", "SUNIONSTORE", "SDIFFSTORE":
		return c[1:]
	}
	return c[1:2]
}

// keysOf are those that some commands use, each once.
func keysOf(commands []command) []string {
	var keys []string
	for _, c := range commands {
		keys = append(keys, c.keys()...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// apply is what the command does, if it answers reply. Of SPOP alone the reply matters.
func (s state) apply(c command, reply any) {
	key := c[1]
	v := s[key]
	switch c[0] {
	case "SADD":
		v.become(aSet)
		for _, m := range c[2:] {
			v.elements[m] = ""
		}
	case "SREM", "HDEL", "ZREM":
		for _, m := range c[2:] {
			delete(v.elements, m)
		}
	case "SPOP":
		if m, ok := reply.(string); ok {
			delete(v.elements, m)
		}
	case "SMOVE":
		s.move(key, c[2], c[3])
		return
	case "SUNIONSTORE", "SDIFFSTORE":
		v = s.combined(c)
	case "HSET":
		v.become(aHash)
		for i := 2; i+1 < len(c); i += 2 {
			v.elements[c[i]] = c[i+1]
		}
	case "HINCRBY":
		v.become(aHash)
		v.elements[c[2]] = plus(v.elements[c[2]], c[3])
	case "ZADD":
		v.become(aZset)
		v.elements[c[3]] = c[2]
	case "ZINCRBY":
		v.become(aZset)
		v.elements[c[3]] = plus(v.elements[c[3]], c[2])
	case "RPUSH":
		v.become(aList)
		v.list = append(v.list, c[2:]...)
	case "LPUSH":
		v.become(aList)
		for _, e := range c[2:] {
			v.list = slices.Insert(v.list, 0, e)
		}
	case "LPOP":
		v.list = v.list[min(1, len(v.list)):]
	case "LTRIM": // from 0, to a number that is not negative
		last, _ := strconv.Atoi(c[3])
		v.list = v.list[:min(last+1, len(v.list))]
	case "SET":
		v = value{here: true, kind: aString, list: []string{c[2]}}
	case "APPEND":
		v.become(aString)
		v.list = []string{strings.Join(append(v.list, c[2]), "")}
	case "XADD": // key, MAXLEN, number, id, field, value
		v.become(aStream)
		v.list = append(v.list, c[4]+"="+c[6])
		most, _ := strconv.Atoi(c[3])
		v.list = v.list[max(0, len(v.list)-most):]
	case "XDEL":
		v.list = slices.DeleteFunc(v.list, func(e string) bool { return strings.HasPrefix(e, c[2]+"=") })
	case "DEL", "UNLINK":
		for _, key := range c[1:] {
			s[key] = value{}
		}
		return
	case "RENAME":
		if v.here && key != c[2] {
			s[key], s[c[2]] = value{}, v
		}
		return
	case "PEXPIREAT":
		if v.here {
			v.at, _ = strconv.ParseInt(c[2], 10, 64)
		}
	case "PERSIST":
		v.at = 0
	}
	s.put(key, v)
}

// put sets a key, which is not there if nothing is in it, unless it is a stream.
func (s state) put(key string, v value) {
	if v.kind != aStream && len(v.elements)+len(v.list) == 0 {
		v = value{}
	}
	s[key] = v
}

// become makes a key that is not there an empty one.
func (v *value) become(k kind) {
	if v.here {
		return
	}
	*v = value{here: true, kind: k}
	if k == aSet || k == aHash || k == aZset {
		v.elements = make(map[string]string)
	}
}

func (s state) move(from, to, member string) {
	source, target := s[from], s[to]
	if _, ok := source.elements[member]; !ok || from == to {
		return
	}
	delete(source.elements, member)
	target.become(aSet)
	target.elements[member] = ""
	s.put(from, source)
	s.put(to, target)
}

// combined is the set that SUNIONSTORE or SDIFFSTORE puts.
func (s state) combined(c command) value {
	var v value
	v.become(aSet)
	maps.Copy(v.elements, s[c[2]].elements)
	for _, key := range c[3:] {
		if c[0] == "SUNIONSTORE" {
			maps.Copy(v.elements, s[key].elements)
			continue
		}
		for m := range s[key].elements {
			delete(v.elements, m)
		}
	}
	return v
}

func plus(a, b string) string {
	x, _ := strconv.ParseInt(a, 10, 64) // none is 0
	y, _ := strconv.ParseInt(b, 10, 64)
	return strconv.FormatInt(x+y, 10)
}

// A connection that broke before the answer came leaves two outcomes: nothing was done,
// or all of it, since a transaction and a script are one. settle tells whether seen is
// one of them.
func settle(before state, commands []command, seen state, now time.Time) bool {
	if before.equal(seen) || before.without(now).equal(seen) {
		return true
	}
	after := before.of(keysOf(commands))
	for _, c := range commands {
		if c[0] == "SPOP" { // it takes what it likes
			after.popped(c[1], seen)
			continue
		}
		after.apply(c, nil)
	}
	return after.equal(seen) || after.without(now).equal(seen)
}

// popped takes the one member that is gone, if it is one.
func (s state) popped(key string, seen state) {
	var gone []string
	for m := range s[key].elements {
		if _, ok := seen[key].elements[m]; !ok {
			gone = append(gone, m)
		}
	}
	if len(gone) == 1 {
		s.apply(command{"SREM", key, gone[0]}, nil)
	}
}
