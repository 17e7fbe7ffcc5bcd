package redistest

import (
	"fmt"
	"slices"
	"strconv"
)

// Config says what server to start. The zero Config is an empty server of the
// Default flavor that saves nothing.
type Config struct {
	// Flavor is the program. Zero means Default.
	Flavor Flavor
	// Name tells the server from others in what a failing test prints, for
	// example "remote". Empty means the flavor's name.
	Name string
	// Conf are lines of redis.conf. They come after our own and override
	// them.
	Conf []string
	// Modules are loaded at start: a path and its arguments each, as after
	// loadmodule in redis.conf.
	Modules []string
	// Env is added to the server's environment, as NAME=value. Of our own
	// environment it sees PATH, HOME and TMPDIR alone, so that a developer's
	// REDISENT_HOST does not leak into a test.
	Env []string
	// TLS makes the server's port speak TLS and nothing else. The socket is
	// plain always.
	TLS *TLS
	// Password is the default user's. Empty means none. Set it here and not
	// as requirepass in Conf: Client, CLI and Monitor use it.
	Password string
	// Enterprise adds a user who may do only what Redis Enterprise allows.
	Enterprise *Login
	// Dir is the server's working folder and is kept at the end. Empty means
	// a temporary one.
	Dir string
	// MayCrash says that a test means to crash the server. A server that
	// ends with an error by itself fails the test otherwise.
	MayCrash bool
}

// Login is the name of a user and the password.
type Login struct{ User, Password string }

// configuration returns the lines of redis.conf.
func (s *Server) configuration() ([]string, error) {
	plain, secure := s.port.Number, 0
	if s.cfg.TLS != nil {
		plain, secure = 0, s.port.Number
	}
	lines := []string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", plain),
		"unixsocket " + strconv.Quote(s.Socket()),
		"unixsocketperm 700",
		"dir " + strconv.Quote(s.dir),
		"logfile " + strconv.Quote(s.logFile()),
		"daemonize no",
		`save ""`,
		"appendonly no",
		"enable-debug-command yes",
		"enable-module-command yes",
	}
	if c := s.cfg.TLS; c != nil {
		lines = append(lines,
			fmt.Sprintf("tls-port %d", secure),
			"tls-cert-file "+strconv.Quote(c.CertFile),
			"tls-key-file "+strconv.Quote(c.KeyFile),
			"tls-ca-cert-file "+strconv.Quote(c.CAFile),
			"tls-auth-clients no")
	}
	if s.cfg.Password != "" {
		lines = append(lines, "requirepass "+strconv.Quote(s.cfg.Password))
	}
	if e := s.cfg.Enterprise; e != nil {
		lines = append(lines, EnterpriseACL(*e))
	}
	// The bus of a cluster listens on port + 10000 unless told otherwise,
	// which may be taken or more than there are.
	if slices.Contains(s.cfg.Conf, "cluster-enabled yes") {
		var err error
		if s.busPort, err = ReservePort(); err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("cluster-port %d", s.busPort.Number))
	}
	lines = append(lines, s.cfg.Conf...)
	for _, module := range s.cfg.Modules {
		lines = append(lines, "loadmodule "+module)
	}
	return lines, nil
}
