package main

import (
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
)

func (m *sponsor) keyEvent(event redismodule.KeyEvent) {
	fault.Point("key-event")
	meaning := meaningOf(event)
	// When the last field of a hash expires, Redis 7.4 and later say "hexpired",
	// then "del": nobody has deleted the key.
	if meaning == replication.Deleted && m.lastEvent == (redismodule.KeyEvent{Class: m.lastEvent.Class, Event: "hexpired", Key: event.Key}) {
		meaning = replication.Lost
	}
	m.lastEvent = event
	m.engine.KeyEvent(meaning, event.Key)
}

// meaningOf is what an event says of the key's value.
func meaningOf(event redismodule.KeyEvent) replication.KeyEvent {
	switch event.Class {
	case redismodule.ClassMiss:
		return replication.Missed
	case redismodule.ClassExpired, redismodule.ClassEvicted:
		return replication.Lost
	}
	switch event.Event {
	case "del", "rename_from", "move_from":
		return replication.Deleted
	case "rename_to", "move_to", "copy_to", "restore", "set", "sinterstore", "sunionstore", "sdiffstore", "sortstore":
		return replication.Replaced
	}
	return replication.Written
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
