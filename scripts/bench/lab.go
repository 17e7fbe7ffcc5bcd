package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const (
	org = "acme"
	// patience is for a command that works for long, such as SYNC.
	patience = time.Minute
	// logTail is how many bytes of a log are shown when what wrote it has ended.
	logTail = 4000
)

// A lab is the servers and programs of one row. They save nothing, and are gone after
// close.
type lab struct {
	build    string // where sponsor.so and our programs are
	module   string // the path of sponsor.so
	dir      string // certificates, passwords and ready-made files
	remote   *server
	all      []*server
	programs []*program
}

// A server is a process, and an admin's client on its unix socket.
type server struct {
	*redistest.Server
	db *redis.Client
}

func newLab(build string) (*lab, error) {
	module := filepath.Join(build, "sponsor.so")
	if _, err := os.Stat(module); err != nil {
		return nil, fmt.Errorf("missing: %s; run make build first", module)
	}
	dir, err := os.MkdirTemp("", "redis-sponsor-bench-")
	if err != nil {
		return nil, err
	}
	return &lab{build: build, module: module, dir: dir}, nil
}

// close stops what was started. A server that has ended by itself is an error.
func (l *lab) close() error {
	var errs []error
	for _, p := range slices.Backward(l.programs) {
		errs = append(errs, p.close())
	}
	for _, s := range slices.Backward(l.all) {
		if !s.Alive() {
			errs = append(errs, endedByItself(s.Config().Name, s.Log()))
		}
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

func (l *lab) start(ctx context.Context, cfg redistest.Config) (*server, error) {
	s, err := redistest.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	started := &server{s, s.Client(func(o *redis.Options) {
		o.ReadTimeout, o.WriteTimeout = patience, patience
		o.ContextTimeoutEnabled, o.MaxRetries = true, -1
	})}
	l.all = append(l.all, started)
	return started, nil
}

// startRemote starts the stand-in for Redis Enterprise.
func (l *lab) startRemote(ctx context.Context) error {
	cfg, err := redistest.RemoteConfig(redistest.Config{}, l.dir)
	if err != nil {
		return fmt.Errorf("start the remote: %w", err)
	}
	l.remote, err = l.start(ctx, cfg)
	return err
}

// startPlain starts a server without the module.
func (l *lab) startPlain(ctx context.Context) (*server, error) {
	return l.start(ctx, redistest.Config{Name: "plain"})
}

// startLocal starts a server with the module, beside a remote that it starts
// first if there is none, and waits until the module has reached it. With
// writeBehind "no", SYNC alone copies.
func (l *lab) startLocal(ctx context.Context, writeBehind string) (*server, error) {
	if l.remote == nil {
		if err := l.startRemote(ctx); err != nil {
			return nil, err
		}
	}
	local, err := l.start(ctx, redistest.Config{
		Name:    "local",
		Modules: []string{strconv.Quote(l.module) + " org " + org},
		Conf: []string{
			"sponsor.write-behind " + writeBehind,
			"sponsor.remote-host " + l.remote.Host(),
			fmt.Sprintf("sponsor.remote-port %d", l.remote.Port()),
			"sponsor.remote-username " + l.remote.Login().User,
			"sponsor.remote-password-file " + strconv.Quote(l.remote.PasswordFile()),
			"sponsor.remote-tls yes",
			"sponsor.remote-cacert " + strconv.Quote(l.remote.TLS().CAFile),
		},
	})
	if err != nil {
		return nil, err
	}
	return local, local.connected(ctx)
}

// following starts a local server that sends every change, and a number of
// sponsors.
func (l *lab) following(ctx context.Context, sponsors int) (*server, error) {
	local, err := l.startLocal(ctx, "yes")
	if err != nil {
		return nil, err
	}
	if err := local.addSponsors(ctx, sponsors); err != nil {
		return nil, err
	}
	return local, local.safe(ctx)
}

// connected waits until the module has reached the remote.
func (s *server) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := mapOf(s.db.Do(ctx, "SPONSOR.STATUS"))
		if err == nil && status["state"] == "connected" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the module does not reach the remote: %w; SPONSOR.STATUS: %v, %w", ctx.Err(), status, err)
		case <-tick.C:
		}
	}
}

// safe waits until the remote has acknowledged every change.
func (s *server) safe(ctx context.Context) error {
	left, err := s.db.Do(ctx, "SPONSOR.WAIT", (patience - time.Second).Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("SPONSOR.WAIT: %w", err)
	}
	if left > 0 {
		return fmt.Errorf("SPONSOR.WAIT: %d keys are still on their way", left)
	}
	return nil
}

// flush empties the server and gives the memory back, so that no run pays for
// the one before.
func (s *server) flush(ctx context.Context) error {
	return s.db.Do(ctx, "FLUSHALL", "SYNC").Err()
}

// mapOf is a reply that is a map, as text.
func mapOf(cmd *redis.Cmd) (map[string]string, error) {
	reply, err := cmd.Result()
	if err != nil {
		return nil, err
	}
	pairs, ok := reply.(map[any]any)
	if !ok {
		return nil, fmt.Errorf("%s: the answer is no map: %v", strings.ToUpper(cmd.Name()), reply)
	}
	fields := make(map[string]string, len(pairs))
	for name, value := range pairs {
		fields[fmt.Sprint(name)] = fmt.Sprint(value)
	}
	return fields, nil
}
