//go:build !fault

package main

import "github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"

// faultCommands are for builds with the tag "fault" only.
func faultCommands() []redismodule.Command { return nil }
