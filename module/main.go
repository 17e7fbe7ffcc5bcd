// Command module is sponsor.so, a module for Redis and Valkey: build it with
// -buildmode=c-shared and load it with loadmodule.
//
// This package wires the server (internal/redismodule) to the engine
// (internal/replication), and decides nothing else.
package main

import "C" // makes the package a shared library

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/fault"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
)

// version is the module's, as MODULE LIST shows it: major*10000 + minor*100 +
// patch.
const version = 100

// gcPercent is how much the heap may grow before it is collected.
const gcPercent = 400

func main() {} // a shared library is not run

func init() {
	m := new(sponsor)
	redismodule.Register(redismodule.Module{
		Name:        "sponsor",
		Version:     version,
		Load:        m.load,
		MayUnload:   m.mayUnload,
		Unload:      m.unload,
		KeyEvent:    m.keyEvent,
		Filter:      m.filter,
		Through:     m.through,
		UnitEnd:     m.unitEnd,
		ServerEvent: m.serverEvent,
		Info:        m.info,
		Apply:       m.apply,
	})
}

// sponsor is the module. Its methods run on the server's main thread.
type sponsor struct {
	settings settings
	engine   *replication.Engine
	log      *slog.Logger

	warned    []string             // what warn has logged last
	lastEvent redismodule.KeyEvent // of a key

	table        commandTable
	checks       *checks
	marks        map[string]string // by key: to be written into the journal
	unitEndAsked bool              // unitEnd will be called
}

func (m *sponsor) load(ctx redismodule.Context, args []string) error {
	if ctx.Role().Cluster {
		return errors.New("sponsor.so does not work with cluster-enabled yes; load it into a server that is not part of a cluster")
	}
	// Our heap is small, and collecting it often would take the server's time.
	debug.SetGCPercent(gcPercent)
	m.log = slog.New(&logHandler{})
	m.marks, m.unitEndAsked = make(map[string]string), false
	var err error
	if m.settings, err = readSettings(redismodule.Getenv, args); err != nil {
		return err
	}
	if err := m.settings.register(ctx); err != nil {
		return err
	}
	for _, cmd := range m.commands() {
		if err := ctx.AddCommand(cmd); err != nil {
			return err
		}
	}
	if err := ctx.AddThroughCommands(throughDoc); err != nil {
		return err
	}
	if m.table, err = readCommandTable(ctx); err != nil {
		return err
	}
	config, err := m.settings.config()
	if err != nil {
		return err
	}
	m.warn()
	if err := redismodule.SetKeyPrefixes(config.KeyPrefixes()); err != nil {
		return err
	}
	m.engine = replication.New(local{redismodule.Main()}, m.log, ctx.Role().Master)
	// Last, because Redis 7.0 goes on reporting events to a module that it has
	// failed to load.
	if err := ctx.SubscribeEvents(); err != nil {
		return err
	}
	ctx.RegisterInfo()
	m.engine.Configure(config)
	redismodule.SetThrough(config.Blocks())
	m.checks = m.startChecks()
	return nil
}

// warn logs what a person should know of the settings, once.
func (m *sponsor) warn() {
	warnings := m.settings.warnings()
	for _, warning := range warnings {
		if !slices.Contains(m.warned, warning) {
			m.log.Warn(warning)
		}
	}
	m.warned = warnings
}

// apply takes over what CONFIG SET has changed.
func (m *sponsor) apply() error {
	fault.Point("apply")
	config, err := m.settings.config()
	if err != nil {
		return err
	}
	if err := redismodule.SetKeyPrefixes(config.KeyPrefixes()); err != nil {
		return err
	}
	m.warn()
	m.engine.Configure(config)
	redismodule.SetThrough(config.Blocks())
	return nil
}
