package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// startTimeout bounds New and a Restart whose context has no deadline.
	startTimeout = 30 * time.Second
	// stopGrace is how long a server may take to end after SIGTERM.
	stopGrace = 15 * time.Second
	// logTail is how many lines of the log a failing test prints.
	logTail = 100
)

// Server is a server process, or one that was stopped and can start again.
// All methods may be called from several goroutines.
type Server struct {
	cfg       Config
	dir       string
	socketDir string // short, because the path of a socket is 108 bytes at most
	port      *Port
	busPort   *Port // for cluster-enabled yes, else nil

	mu      sync.Mutex
	process *Process
	ended   bool // by Kill or Stop
	env     []string
	clients []*redis.Client
	closed  bool
}

// New starts a server for a test and closes it at the end. Without the
// program it skips the test, or fails it where CI=true. If the test fails,
// the end of the server's log is printed. A server that crashed, or did not
// end after SIGTERM, fails the test.
func New(t testing.TB, cfg Config) *Server {
	t.Helper()
	if len(cfg.Flavor.Command) == 0 {
		flavor, err := Default()
		if err != nil {
			missing(t, err)
		}
		cfg.Flavor = flavor
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.crashed(); err != nil && !cfg.MayCrash {
			t.Error(err)
		}
		err := s.Stop()
		if err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.cfg.Name, s.logTail())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start starts a server and waits until it answers and has loaded its data;
// ctx bounds that wait and nothing after it. Without the program the error is
// ErrNoServer; any other holds the end of the server's log. The caller must
// Close the server.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if len(cfg.Flavor.Command) == 0 {
		flavor, err := Default()
		if err != nil {
			return nil, err
		}
		cfg.Flavor = flavor
	}
	if cfg.Name == "" {
		cfg.Name = cfg.Flavor.Name
	}
	s := &Server{cfg: cfg, env: slices.Clone(cfg.Env)}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.Name, err), s.Close())
	}
	if err := s.Restart(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare makes the folders and the ports, and writes redis.conf.
func (s *Server) prepare() error {
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	var err error
	if s.socketDir, err = os.MkdirTemp(parent, "rs"); err != nil {
		return err
	}
	s.dir = filepath.Join(s.socketDir, "data")
	if s.cfg.Dir != "" {
		if s.dir, err = filepath.Abs(s.cfg.Dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if s.port, err = ReservePort(); err != nil {
		return err
	}
	lines, err := s.configuration()
	if err != nil {
		return err
	}
	return os.WriteFile(s.confFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// Restart starts the server again, after Kill or Stop or in place of the run
// that still lasts, which it stops: same folder, port, socket and
// redis.conf, with what CONFIG REWRITE wrote there. It waits as Start does.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return fmt.Errorf("restart %s: %w", s.cfg.Name, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	p, err := s.launch()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.cfg.Name, err)
	}
	if err := s.ready(ctx, p); err != nil {
		return fmt.Errorf("start %s: %w\n%s", s.cfg.Name, err, s.logTail())
	}
	return nil
}

func (s *Server) launch() (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the server is closed")
	}
	env := s.env
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append([]string{name + "=" + value}, env...)
		}
	}
	argv := append(slices.Clone(s.cfg.Flavor.Command), s.confFile())
	p, err := StartProcess(argv, env, s.dir, s.outputFile())
	if err != nil {
		return nil, err
	}
	s.process, s.ended = p, false
	return p, nil
}

// ready waits until p answers PING and is not loading.
func (s *Server) ready(ctx context.Context, p *Process) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := s.ping()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it ended: %w", exitError(p.err))
		case <-ctx.Done():
			return fmt.Errorf("%w; last answer: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// ping asks on a connection of its own. An answer other than LOADING means
// that the server is up, an error too: a replica says MASTERDOWN, for one.
func (s *Server) ping() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	answer, err := c.do("PING")
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(answer, "-LOADING"):
		return errors.New(answer)
	}
	return nil
}

// Kill ends the server with SIGKILL, with its children, and waits.
func (s *Server) Kill() error {
	p := s.end()
	if p == nil {
		return nil
	}
	return p.Kill()
}

// Stop ends the server with SIGTERM and waits. A server that does not end is
// killed, and that is an error. Stopping one that has ended does nothing.
func (s *Server) Stop() error {
	p := s.end()
	if p == nil {
		return nil
	}
	return p.Stop(stopGrace)
}

// end notes that the process is about to end because we want it to.
func (s *Server) end() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil && s.process.Alive() {
		s.ended = true
	}
	return s.process
}

// Close stops the server and frees what it holds; a folder that the caller
// gave stays. The server cannot start again.
func (s *Server) Close() error {
	s.mu.Lock()
	clients := s.clients
	already := s.closed
	s.clients, s.closed = nil, true
	s.mu.Unlock()
	if already {
		return nil
	}
	for _, c := range clients {
		_ = c.Close() // a client of a server that is gone has nothing to say
	}
	errs := []error{s.Stop()}
	if s.port != nil {
		s.port.Release()
	}
	if s.busPort != nil {
		s.busPort.Release()
	}
	if s.socketDir != "" {
		errs = append(errs, os.RemoveAll(s.socketDir))
	}
	return errors.Join(errs...)
}

// SetEnv adds NAME=value to the environment from the next Restart on. A later
// value of the same name wins.
func (s *Server) SetEnv(env ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env = append(s.env, env...)
}

// Client returns a new go-redis client on the unix socket, as the default
// user. It is closed with the server; the caller may close it before. Each of
// options changes the client's options.
func (s *Server) Client(options ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{
		Network:  "unix",
		Addr:     s.Socket(),
		Password: s.cfg.Password,
		// Nothing of the client's own in MONITOR and in the counters.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	for _, option := range options {
		option(o)
	}
	c := redis.NewClient(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, c)
	return c
}

// RemoteClient returns a client as redis-sponsor has one of its remote: on
// the TCP port, by TLS if the server has it, and as the user Config.Enterprise
// if there is one. It is closed with the server.
func (s *Server) RemoteClient(options ...func(*redis.Options)) *redis.Client {
	return s.Client(append([]func(*redis.Options){func(o *redis.Options) {
		o.Network, o.Addr = "tcp", s.Addr()
		if e := s.cfg.Enterprise; e != nil {
			o.Username, o.Password = e.User, e.Password
		}
		if s.cfg.TLS != nil {
			o.TLSConfig = s.cfg.TLS.Config()
		}
	}}, options...)...)
}

// Config returns what the server was started with.
func (s *Server) Config() Config { return s.cfg }

// TLS returns the server's certificates, nil if its port is plain.
func (s *Server) TLS() *TLS { return s.cfg.TLS }

// Addr returns the TCP address, host:port. It stays the same over restarts.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host(), strconv.Itoa(s.Port())) }

// Host returns 127.0.0.1.
func (s *Server) Host() string { return "127.0.0.1" }

// Port returns the TCP port, which speaks TLS if the server has it.
func (s *Server) Port() int { return s.port.Number }

// Socket returns the path of the unix socket.
func (s *Server) Socket() string { return filepath.Join(s.socketDir, "s") }

// URL returns the address as redis:// or rediss://, with the default user's
// password.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr()}
	if s.cfg.TLS != nil {
		u.Scheme = "rediss"
	}
	if s.cfg.Password != "" {
		u.User = url.UserPassword("default", s.cfg.Password)
	}
	return u.String()
}

// Dir returns the server's working folder, which holds redis.conf, redis.log
// and what the server saves.
func (s *Server) Dir() string { return s.dir }

// PID returns the number of the process, of the last run if it has ended.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.PID
}

// Alive reports whether the process runs.
func (s *Server) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Alive()
}

// Exited returns a channel that is closed when the run that lasts now, or the
// last one, has ended.
func (s *Server) Exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.exited
}

// crashed returns an error if the process ended by itself and not well.
func (s *Server) crashed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process.Alive() || s.ended || s.process.err == nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %w", s.cfg.Name, s.process.err)
}

// Log returns all that the server has written, over all its runs: its log and
// its standard output and error.
func (s *Server) Log() string {
	// A file that is not there yet is an empty log.
	text, _ := os.ReadFile(s.logFile())
	output, _ := os.ReadFile(s.outputFile())
	return string(text) + string(output)
}

// LogContains reports whether text is in the log.
func (s *Server) LogContains(text string) bool { return strings.Contains(s.Log(), text) }

// logTail is the end of the log, or the beginning of a crash report, which says
// what happened where.
func (s *Server) logTail() string {
	lines := strings.Split(strings.TrimRight(s.Log(), "\n"), "\n")
	for i, line := range lines {
		if strings.Contains(line, "BUG REPORT START") {
			return strings.Join(lines[max(0, i-logTail/4):min(len(lines), i+logTail)], "\n")
		}
	}
	return strings.Join(lines[max(0, len(lines)-logTail):], "\n")
}

func (s *Server) confFile() string   { return filepath.Join(s.dir, "redis.conf") }
func (s *Server) logFile() string    { return filepath.Join(s.dir, "redis.log") }
func (s *Server) outputFile() string { return filepath.Join(s.dir, "output.log") }

// exitError gives an end without an error one.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
