package main

import (
	"slices"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/resp"
)

func (m *sponsor) keyEvent(ctx redismodule.Context, event redismodule.KeyEvent) (used bool) {
	// What fails here must not make the engine miss a change.
	defer m.writeMarks(ctx)
	fault.Point("key-event")
	ev := replication.Event{What: meaningOf(event), Key: event.Key, Unit: event.Unit}
	// When the last field of a hash expires, Redis 7.4 and later say "hexpired",
	// then "del": nobody has deleted the key.
	if ev.What == replication.Deleted && m.lastEvent.Event == "hexpired" && m.lastEvent.Key == event.Key && m.lastEvent.Unit == event.Unit {
		ev.What = replication.Expired
	}
	// Valkey says "expired" of a key that is given a time in the past.
	if ev.What == replication.Expired && expires(event) {
		ev.What = replication.Deleted
	}
	m.lastEvent = event
	if ev.What == replication.Written {
		ev.Kind, ev.Elements = elementsOf(newData(ctx), event)
		ev.Early, ev.Shrinking = shrinking[event.Event]
	}
	if mark := m.engine.KeyEvent(ev, newData(ctx)); mark != "" {
		m.marks[event.Key] = mark
	}
	return ev.Elements != nil || ev.What == replication.ExpirySet
}

// writeMarks writes the marks into the journal, in the same transaction as what
// they speak of: where the server can do that, after the command, else at once.
func (m *sponsor) writeMarks(ctx redismodule.Context) {
	if len(m.marks) > 0 && !m.unitEndAsked {
		if m.unitEndAsked = ctx.AtUnitEnd(); !m.unitEndAsked {
			m.writeMarksNow(ctx)
		}
	}
}

// unitEnd writes the marks of a command that has ended.
func (m *sponsor) unitEnd(ctx redismodule.Context) {
	m.unitEndAsked = false
	if redismodule.Paused() {
		// The command was a transaction with CLIENT PAUSE in it. A write now
		// would make Redis 8 propagate while it must not, and end itself.
		// The marks are written when clients go on.
		clear(m.marks)
		m.engine.JournalLost()
		return
	}
	m.writeMarksNow(ctx)
}

func (m *sponsor) writeMarksNow(ctx redismodule.Context) {
	if len(m.marks) == 0 {
		return // they were written by a command that has passed through us
	}
	args := make([]string, 0, 1+2*len(m.marks))
	args = append(args, replication.JournalKey)
	for key, mark := range m.marks {
		args = append(args, key, mark)
	}
	clear(m.marks)
	reply, err := ctx.WriteAlways("HSET", args...)
	if err == nil {
		err = resp.Err(reply)
	}
	if err != nil {
		m.engine.JournalFailed(err)
	}
}

// meaningOf is what an event says of the key's value.
func meaningOf(event redismodule.KeyEvent) replication.KeyEvent {
	switch event.Class {
	case redismodule.ClassMiss:
		return replication.Missed
	case redismodule.ClassNew:
		return replication.Created
	case redismodule.ClassExpired:
		return replication.Expired
	case redismodule.ClassEvicted:
		return replication.Evicted
	}
	switch event.Event {
	case "del":
		return replication.Deleted
	case "rename_from", "move_from":
		return replication.MovedAway
	case "expire", "persist":
		return replication.ExpirySet
	case "rename_to", "move_to", "copy_to", "restore", "set", "sortstore", "sinterstore", "sunionstore", "sdiffstore",
		"zinterstore", "zunionstore", "zdiffstore", "zrangestore", "georadiusstore", "geosearchstore":
		return replication.Replaced
	}
	return replication.Written
}

// shrinking are the events of commands that may leave a key without elements, which
// Redis then deletes; of those that are true, it may tell before the elements have
// gone.
var shrinking = map[string]bool{
	"spop": true, "zpopmin": true, "zpopmax": true, "hexpired": true,
	"srem": false, "hdel": false, "lpop": false, "rpop": false, "lrem": false, "ltrim": false,
	"zrem": false, "zremrangebyscore": false, "zremrangebyrank": false, "zremrangebylex": false,
}

// telling are the commands that tell by their arguments what they do, and the event
// that they cause.
var telling = map[string]string{
	"sadd": "sadd", "srem": "srem", "hset": "hset", "hmset": "hset", "hsetnx": "hset", "hdel": "hdel",
	"hincrby": "hincrby", "hincrbyfloat": "hincrbyfloat",
}

// expires reports whether the event's command gives its key an expiry.
func expires(event redismodule.KeyEvent) bool {
	if len(event.Args) < 3 || event.Key != event.Args[1] {
		return false
	}
	switch strings.ToLower(event.Args[0]) {
	case "expire", "pexpire", "expireat", "pexpireat", "getex":
		return true
	}
	return false
}

// elementsOf are the states of the elements that the event's command has changed,
// or nil if its arguments do not tell.
func elementsOf(d data, event redismodule.KeyEvent) (replication.Kind, map[string]replication.Element) {
	args := event.Args
	if len(args) < 3 {
		return replication.NoKind, nil
	}
	name := strings.ToLower(args[0])
	if name == "smove" && len(args) == 4 {
		switch {
		case event.Event == "srem" && event.Key == args[1]:
			return replication.Set, elements(args[3:], false)
		case event.Event == "sadd" && event.Key == args[2]:
			return replication.Set, elements(args[3:], true)
		}
		return replication.NoKind, nil
	}
	if telling[name] != event.Event || event.Key != args[1] {
		return replication.NoKind, nil
	}
	switch name {
	case "sadd", "srem":
		return replication.Set, elements(args[2:], name == "sadd")
	case "hdel":
		return replication.Hash, elements(args[2:], false)
	case "hincrby", "hincrbyfloat":
		reply, err := d.Read("HGET", event.Key, args[2])
		if err != nil {
			return replication.NoKind, nil
		}
		value, ok, err := resp.Bulk(reply)
		if !ok || err != nil {
			return replication.NoKind, nil
		}
		return replication.Hash, map[string]replication.Element{args[2]: {Present: true, Value: value}}
	}
	fields := make(map[string]replication.Element, len(args)/2)
	for pair := range slices.Chunk(args[2:], 2) {
		if len(pair) < 2 {
			return replication.NoKind, nil
		}
		fields[pair[0]] = replication.Element{Present: true, Value: pair[1]}
	}
	return replication.Hash, fields
}

func elements(names []string, present bool) map[string]replication.Element {
	m := make(map[string]replication.Element, len(names))
	for _, name := range names {
		m[name] = replication.Element{Present: present}
	}
	return m
}

func (m *sponsor) serverEvent(event redismodule.ServerEvent) {
	fault.Point("server-event")
	switch event {
	case redismodule.BecameMaster:
		m.engine.SetMaster(true)
	case redismodule.BecameReplica:
		m.engine.SetMaster(false)
	case redismodule.Flushed:
		m.engine.Flushed()
	case redismodule.Loaded, redismodule.DBsSwapped:
		m.engine.DataSetReplaced()
	}
}
