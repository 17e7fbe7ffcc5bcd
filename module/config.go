package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/replication"
	"github.com/applied-knowledge-systems/redis-sponsor/module/keyspace"
)

// settings are what CONFIG GET sponsor.* shows, and the password, which it does
// not.
type settings struct {
	org, keys, keysUnfiltered                 string
	host, username, passwordFile              string
	cacert, serverName                        string
	readThrough, onLapse                      string
	port, readTimeout, absentTTL, bufferLimit int64
	tls, cluster, writeBehind                 bool

	password string
}

// A setting is one of them: its name without "sponsor.", and its variable in the
// environment, if it has one. Exactly one of the pointers is set.
type setting struct {
	name, env string
	text      *string
	choices   []string
	number    *int64
	least     int64
	most      int64
	yes       *bool
	check     func(string) error
}

func (s *settings) list() []setting {
	return []setting{
		{name: "org", env: "SPONSOR_ORG", text: &s.org, check: checkOrg},
		{name: "keys", env: "SPONSOR_KEYS", text: &s.keys, check: checkFiltered},
		{name: "keys-unfiltered", env: "SPONSOR_KEYS_UNFILTERED", text: &s.keysUnfiltered, check: checkTemplates},
		{name: "remote-host", env: "REDISENT_HOST", text: &s.host},
		{name: "remote-port", env: "REDISENT_PORT", number: &s.port, least: 1, most: 65535},
		{name: "remote-username", env: "REDISENT_USER", text: &s.username},
		{name: "remote-password-file", env: "REDISENT_PWD_FILE", text: &s.passwordFile},
		{name: "remote-tls", env: "REDISENT_TLS", yes: &s.tls},
		{name: "remote-cacert", env: "REDISENT_CACERT", text: &s.cacert},
		{name: "remote-server-name", env: "REDISENT_SNI", text: &s.serverName},
		{name: "remote-cluster", env: "REDISENT_CLUSTER", yes: &s.cluster},
		{name: "write-behind", env: "SPONSOR_WRITE_BEHIND", yes: &s.writeBehind},
		{
			name: "read-through", env: "SPONSOR_READ_THROUGH", text: &s.readThrough,
			choices: []string{"block", "async", "off"}, check: checkReadThrough,
		},
		{name: "read-timeout-ms", number: &s.readTimeout, least: 1, most: 3_600_000},
		{name: "absent-ttl-ms", number: &s.absentTTL, least: 0, most: 3_600_000},
		{name: "on-lapse", text: &s.onLapse, choices: []string{"keep", "purge"}, check: checkOnLapse},
		{name: "buffer-limit-mb", number: &s.bufferLimit, least: 1, most: 1 << 20},
	}
}

// readSettings makes the settings' defaults: ours, then the environment, then
// the module's arguments, which are pairs of a name and a value. Every fault is
// reported.
func readSettings(getenv func(string) (string, bool), args []string) (settings, error) {
	s := settings{
		keys: keyspace.DefaultTemplates, port: 6379,
		readThrough: string(replication.ReadBlock), readTimeout: 500, absentTTL: 5000,
		onLapse: string(replication.LapseKeep), bufferLimit: 64, writeBehind: true,
	}
	var errs []error
	list := s.list()
	for _, st := range list {
		if value, ok := getenv(st.env); ok && st.env != "" && value != "" {
			if err := st.set(value); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", st.env, err))
			}
		}
	}
	s.password, _ = getenv("REDISENT_PWD")
	for ; len(args) > 0; args = args[min(2, len(args)):] {
		if err := setByName(list, args); err != nil {
			errs = append(errs, err)
		}
	}
	return s, errors.Join(errs...)
}

func setByName(list []setting, args []string) error {
	name := strings.TrimPrefix(strings.ToLower(args[0]), "sponsor.")
	for _, st := range list {
		if st.name != name {
			continue
		}
		if len(args) < 2 {
			return fmt.Errorf("module argument %s: its value is missing", args[0])
		}
		if err := st.set(args[1]); err != nil {
			return fmt.Errorf("module argument %s: %w", args[0], err)
		}
		return nil
	}
	return fmt.Errorf("module argument %q: no such setting (arguments are pairs, such as: org acme remote-host 10.0.0.7)", args[0])
}

// set reads a value as people write it.
func (st setting) set(value string) error {
	switch {
	case st.number != nil:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < st.least || n > st.most {
			return fmt.Errorf("%q is not a number from %d to %d", value, st.least, st.most)
		}
		*st.number = n
		return nil
	case st.yes != nil:
		switch strings.ToLower(value) {
		case "yes", "true", "on", "1":
			*st.yes = true
		case "no", "false", "off", "0":
			*st.yes = false
		default:
			return fmt.Errorf("%q is neither yes nor no", value)
		}
		return nil
	}
	if st.check != nil {
		if err := st.check(value); err != nil {
			return err
		}
	}
	*st.text = value
	return nil
}

// register adds the settings to the server's, and reads what redis.conf says of
// them.
func (s *settings) register(ctx redismodule.Context) error {
	var errs []error
	for _, st := range s.list() {
		var err error
		switch {
		case st.number != nil:
			err = ctx.AddInt(st.name, st.number, st.least, st.most)
		case st.yes != nil:
			err = ctx.AddBool(st.name, st.yes)
		case st.choices != nil:
			err = ctx.AddEnum(st.name, st.text, st.choices, st.check)
		default:
			err = ctx.AddString(st.name, st.text, st.check)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return ctx.LoadSettings()
}

// config is what the settings mean to the engine.
func (s *settings) config() (replication.Config, error) {
	filtered, err := keyspace.ParseTemplates(s.keys)
	if err != nil {
		return replication.Config{}, fmt.Errorf("sponsor.keys: %w", err)
	}
	unfiltered, err := keyspace.ParseTemplates(s.keysUnfiltered)
	if err != nil {
		return replication.Config{}, fmt.Errorf("sponsor.keys-unfiltered: %w", err)
	}
	return replication.Config{
		Org: s.org, Templates: filtered, Unfiltered: unfiltered,
		Remote: replication.Remote{
			Host: s.host, Port: int(s.port), Username: s.username,
			PasswordFile: s.passwordFile, Password: s.password,
			TLS: s.tls, CACert: s.cacert, ServerName: s.serverName, Cluster: s.cluster,
		},
		WriteBehind: s.writeBehind,
		Tuning: replication.Tuning{
			ReadThrough: replication.ReadThrough(s.readThrough),
			ReadTimeout: time.Duration(s.readTimeout) * time.Millisecond,
			AbsentTTL:   time.Duration(s.absentTTL) * time.Millisecond,
			OnLapse:     replication.OnLapse(s.onLapse),
			BufferLimit: s.bufferLimit << 20,
		},
	}, nil
}

// warnings are what a person should know when the module has been loaded.
func (s *settings) warnings() []string {
	var list []string
	if s.org == "" {
		list = append(list, "nothing is replicated: "+replication.ErrNoOrg.Error())
	}
	if s.host == "" {
		list = append(list, "nothing is replicated: "+replication.ErrNoRemote.Error())
		return list
	}
	if !s.tls && !onThisMachine(s.host) {
		list = append(list, "the sponsors' data and the password travel to "+s.host+" in clear text: set sponsor.remote-tls yes")
	}
	return list
}

func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func checkOrg(org string) error {
	for _, c := range []byte(org) {
		if c <= ' ' || c == ':' || c == 0x7f {
			return fmt.Errorf("%q is not the login of an organisation or a person at GitHub", org)
		}
	}
	return nil
}

func checkTemplates(s string) error {
	_, err := keyspace.ParseTemplates(s)
	return err
}

func checkFiltered(s string) error {
	templates, err := keyspace.ParseTemplates(s)
	if err != nil {
		return err
	}
	for _, t := range templates {
		if !t.Owned() {
			return fmt.Errorf("template %q has no <id>, so that its keys belong to nobody: put it into sponsor.keys-unfiltered", t)
		}
	}
	return nil
}

func checkReadThrough(s string) error {
	switch s {
	case "block", "async", "off":
		return nil
	}
	return fmt.Errorf("%q is none of block, async, off", s)
}

func checkOnLapse(s string) error {
	switch replication.OnLapse(s) {
	case replication.LapseKeep, replication.LapsePurge:
		return nil
	}
	return fmt.Errorf("%q is neither keep nor purge", s)
}
