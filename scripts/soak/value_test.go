package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// after runs commands on an empty state, and returns what is in it then. Where the reply
// matters it stands behind an equals sign.
func after(lines ...string) state {
	s := make(state)
	for _, line := range lines {
		text, reply, _ := strings.Cut(line, " = ")
		s.apply(strings.Fields(text), any(reply))
	}
	return s
}

func TestModel(t *testing.T) {
	for _, test := range []struct {
		name     string
		commands []string
		want     map[string]string
	}{
		{"a set", []string{"SADD s b a", "SADD s c", "SREM s a x"}, map[string]string{"s": `["b=" "c="]`}},
		{"an empty set is none", []string{"SADD s a", "SREM s a"}, map[string]string{"s": "nothing"}},
		{"a member that was popped", []string{"SADD s a b", "SPOP s = a"}, map[string]string{"s": `["b="]`}},
		{"moved", []string{"SADD s a b", "SMOVE s t a", "SMOVE s t x"}, map[string]string{"s": `["b="]`, "t": `["a="]`}},
		{"moved to itself", []string{"SADD s a", "SMOVE s s a"}, map[string]string{"s": `["a="]`}},
		{"the last one moved", []string{"SADD s a", "SMOVE s t a"}, map[string]string{"s": "nothing", "t": `["a="]`}},
		{"a union", []string{"SADD s a", "SADD t b", "SUNIONSTORE s s t"}, map[string]string{"s": `["a=" "b="]`, "t": `["b="]`}},
		{"a difference", []string{"SADD s a b", "SADD t b", "SDIFFSTORE s s t"}, map[string]string{"s": `["a="]`}},
		{"an empty difference", []string{"SADD s b", "SADD t b", "PEXPIREAT s 9", "SDIFFSTORE s s t"}, map[string]string{"s": "nothing"}},
		{"a hash", []string{"HSET h f 1 g 2", "HSET h f 3", "HDEL h g", "HINCRBY h n 5", "HINCRBY h n 6"}, map[string]string{"h": `["f=3" "n=11"]`}},
		{"a sorted set", []string{"ZADD z 1 a", "ZADD z 2 a", "ZINCRBY z 3 b", "ZINCRBY z 4 b", "ZADD z 9 c", "ZREM z c"}, map[string]string{"z": `["a=2" "b=7"]`}},
		{"a list", []string{"RPUSH l a b", "LPUSH l c d", "LPOP l", "LTRIM l 0 1"}, map[string]string{"l": `["c" "a"]`}},
		{"an empty list", []string{"RPUSH l a", "LPOP l", "LPOP l"}, map[string]string{"l": "nothing"}},
		{"a string", []string{"APPEND t a", "APPEND t b"}, map[string]string{"t": `["ab"]`}},
		{"SET ends an expiry", []string{"SET t a", "PEXPIREAT t 9", "SET t b"}, map[string]string{"t": `["b"]`}},
		{"APPEND keeps one", []string{"SET t a", "PEXPIREAT t 9", "APPEND t b"}, map[string]string{"t": `["ab"] until 9`}},
		{"PERSIST", []string{"SET t a", "PEXPIREAT t 9", "PERSIST t"}, map[string]string{"t": `["a"]`}},
		{"an expiry of nothing", []string{"PEXPIREAT t 9", "PERSIST t"}, map[string]string{"t": "nothing"}},
		{
			"a stream",
			[]string{"XADD e MAXLEN 2 1-1 f a", "XADD e MAXLEN 2 2-1 f b", "XADD e MAXLEN 2 3-1 f c", "XDEL e 3-1"},
			map[string]string{"e": `["2-1=b"]`},
		},
		{"an empty stream is one", []string{"XADD e MAXLEN 2 1-1 f a", "XDEL e 1-1"}, map[string]string{"e": "[]"}},
		{"DEL", []string{"SADD s a", "SADD t a", "DEL s t u"}, map[string]string{"s": "nothing", "t": "nothing"}},
		{"RENAME", []string{"SADD s a", "PEXPIREAT s 9", "SADD t b", "RENAME s t"}, map[string]string{"s": "nothing", "t": `["a="] until 9`}},
		{"RENAME of nothing", []string{"SADD t b", "RENAME s t"}, map[string]string{"t": `["b="]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := after(test.commands...)
			for key, want := range test.want {
				if got := s[key].String(); got != want {
					t.Errorf("%s = %s, want %s", key, got, want)
				}
			}
		})
	}
}

// What is seen after a connection broke is what was before, or what is after all.
func TestSettle(t *testing.T) {
	before := after("SADD s a b", "SADD t c", "SET u x", "PEXPIREAT u 5000")
	for _, test := range []struct {
		name     string
		commands []command
		seen     state
		now      int64
		want     bool
	}{
		{"nothing was done", []command{{"SADD", "s", "x"}}, after("SADD s a b"), 0, true},
		{"it was done", []command{{"SADD", "s", "x"}}, after("SADD s a b x"), 0, true},
		{"something else was done", []command{{"SADD", "s", "x"}}, after("SADD s a b y"), 0, false},
		{"all is gone", []command{{"SADD", "s", "x"}}, after(), 0, false},
		{"half of it was done", []command{{"SADD", "s", "x"}, {"SADD", "t", "x"}}, after("SADD s a b x", "SADD t c"), 0, false},
		{"two were done", []command{{"SADD", "s", "x"}, {"SADD", "t", "x"}}, after("SADD s a b x", "SADD t c x"), 0, true},
		{"one was popped", []command{{"SPOP", "s"}}, after("SADD s b"), 0, true},
		{"none was popped", []command{{"SPOP", "s"}}, after("SADD s a b"), 0, true},
		{"two were popped", []command{{"SPOP", "s"}}, after(), 0, false},
		{"it has expired meanwhile", []command{{"APPEND", "u", "y"}}, after(), 5000, true},
		{"it expires later", []command{{"APPEND", "u", "y"}}, after(), 4999, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := settle(before.of(keysOf(test.commands)), test.commands, test.seen, time.UnixMilli(test.now)); got != test.want {
				t.Errorf("settled = %v, want %v", got, test.want)
			}
		})
	}
	if got := before["s"].String(); got != `["a=" "b="]` {
		t.Errorf("what was before is %s now", got)
	}
}

func TestValuesDiffer(t *testing.T) {
	one := after("HSET h f 1")["h"]
	for name, other := range map[string]value{
		"missing":        {},
		"another field":  after("HSET h f 1 g 2")["h"],
		"another value":  after("HSET h f 2")["h"],
		"another expiry": after("HSET h f 1", "PEXPIREAT h 9")["h"],
		"another type":   after("ZADD h 1 f")["h"],
	} {
		if one.equal(other) || other.equal(one) {
			t.Errorf("%s is equal", name)
		}
	}
	if !one.equal(one.clone()) || !(value{}).equal(value{kind: aList}) {
		t.Error("equal values differ")
	}
	if got, want := difference(after("SADD s a b")["s"], after("SADD s b c")["s"]), `missing ["a="], more ["c="]`; got != want {
		t.Errorf("difference = %s, want %s", got, want)
	}
}

// Every command that the dice know uses keys that the model knows, and does something in
// it.
func TestDiceAreModelled(t *testing.T) {
	d := newDice(options{length: time.Minute}, 1)
	kinds := keysFor("7")
	does := make(map[string]bool)
	for i := range 4000 {
		commands := []command{d.any("7"), d.byMember("7")}
		commands = append(append(commands, d.transaction("7")...), d.script("7")...)
		if i%40 == 0 {
			commands = append(commands, d.big("7", 0), d.big("7", 1), d.big("7", bigMost))
		}
		for _, c := range commands {
			s := make(state)
			for _, key := range c.keys() {
				kind, ok := kinds[key]
				if !ok {
					t.Fatalf("%.100q uses %q", c, key)
				}
				s[key] = full(kind)
			}
			before := s.of(c.keys())
			s.apply(c, "m1")
			does[c[0]] = does[c[0]] || !s.equal(before)
		}
	}
	for name, something := range does {
		if !something {
			t.Errorf("%s changes nothing in the model", name)
		}
	}
	if len(does) < 25 {
		t.Errorf("the dice know %d commands only: %v", len(does), does)
	}
}

// full is a value with something in it, which expires.
func full(k kind) value {
	v := value{here: true, kind: k, at: 9}
	switch k {
	case aSet, aHash, aZset:
		v.elements = make(map[string]string)
		for i := range longMost / 2 {
			v.elements[fmt.Sprintf("m%d", i)] = ""
		}
	case aString:
		v.list = []string{"text"}
	default:
		for i := range longMost {
			v.list = append(v.list, fmt.Sprintf("%d-1=x", i))
		}
	}
	return v
}

func TestMentions(t *testing.T) {
	line := `12:00:00.000 [["SADD" "user:7:more" "m1"]]`
	if !mentions(line, "user:7:more") || mentions(line, "user:7") || mentions(line, "user:7:mnodes") {
		t.Errorf("%s is not about what it is about", line)
	}
}
