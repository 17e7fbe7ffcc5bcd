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
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// startTimeout bounds the start of one process.
const startTimeout = 20 * time.Second

// How much of a log a person gets to see when something failed: lines, and
// bytes of each.
const (
	tailLines = 15
	tailWidth = 300
)

// child is a process of ours: a *program, or a *redistest.Server.
type child interface {
	Exited() <-chan struct{}
	Log() string
	Close() error
}

// redisServer is a Redis of the story, which breaks it: a *redistest.Server, or a
// *container.
type redisServer interface {
	child
	// Addr is where the module, or the API, finds it.
	Addr() string
	// PID is that of its process. Zero means that it does not run.
	PID() int
	Alive() bool
	// Kill ends it at once, so that it saves nothing.
	Kill() error
	Stop() error
	// Restart starts it again and waits until it serves.
	Restart(ctx context.Context) error
}

// part is a child and what to call it.
type part struct {
	name string
	child
}

// world is everything that runs. All of it is on loopback, keeps its data in
// temporary folders, or volumes, and is gone after close.
type world struct {
	cfg    config
	dir    string // certificates, passwords and logs
	url    string // where a browser reaches the API
	listen string // where the API listens
	free   func() // frees that address if the API does not listen yet
	parts  []part // in the order of their start
	local  redisServer
	remote redisServer // nil: the real one
	socket string      // of the local Redis
	login  *remote     // how the module reaches the remote
	github *program    // nil: the real one
	hub    string      // the address of the stand-in for GitHub
	api    *program
	down   func() error // removes what is left at the end, if not nil

	// An admin's eyes on the data, over unix sockets.
	localDB, remoteDB *redis.Client // remoteDB is nil for the real one
}

// openWorld starts everything; ctx bounds that and nothing after it. What was
// started before something failed is stopped again.
func openWorld(ctx context.Context, cfg config) (*world, error) {
	w := &world{cfg: cfg, free: func() {}}
	if err := w.checkBuild(); err != nil {
		return nil, err
	}
	var err error
	if w.dir, err = os.MkdirTemp("", "redis-sponsor-"); err != nil {
		return nil, err
	}
	for _, start := range []func(context.Context) error{w.startRemote, w.startLocal, w.chooseAddress, w.startGitHub, w.startAPI} {
		if err := start(ctx); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

// checkBuild tells a person who has not built yet what to do.
func (w *world) checkBuild() error {
	var missing []string
	for _, name := range []string{"sponsor.so", "sponsor-api", "githubtest"} {
		if _, err := os.Stat(w.built(name)); err != nil {
			missing = append(missing, w.built(name))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s; run make build first", strings.Join(missing, ", "))
	}
	return nil
}

func (w *world) built(name string) string { return filepath.Join(w.cfg.build, name) }

// startRemote starts the stand-in for Redis Enterprise, which keeps its data
// over a restart as the real one does, or prepares the use of the real one.
func (w *world) startRemote(ctx context.Context) error {
	if w.cfg.remote != nil {
		return w.useRemote()
	}
	cfg, err := redistest.RemoteConfig(redistest.Config{Name: "the remote Redis", Conf: []string{"appendonly yes"}}, w.dir)
	if err != nil {
		return fmt.Errorf("start the remote Redis: %w", err)
	}
	server, err := redistest.Start(ctx, cfg)
	if err != nil {
		return err
	}
	w.remote, w.remoteDB = server, server.Client()
	w.parts = append(w.parts, part{"the remote Redis", server})
	w.login = &remote{
		host: server.Host(), port: strconv.Itoa(server.Port()), user: cfg.Enterprise.User,
		passwordFile: redistest.PasswordFile(w.dir), tls: true, cacert: cfg.TLS.CAFile,
	}
	return nil
}

// useRemote puts a password from the environment into a file, for the line
// for redis-cli.
func (w *world) useRemote() error {
	login := *w.cfg.remote
	if login.passwordFile == "" && login.password != "" {
		login.passwordFile = redistest.PasswordFile(w.dir)
		if err := os.WriteFile(login.passwordFile, []byte(login.password+"\n"), 0o600); err != nil {
			return err
		}
		login.password = ""
	}
	w.login = &login
	return nil
}

func (w *world) startLocal(ctx context.Context) error {
	server, err := redistest.Start(ctx, redistest.Config{
		Name:    "the local Redis",
		Modules: []string{strconv.Quote(w.built("sponsor.so"))},
		Conf:    slices.Concat(confLines(map[string]string{"sponsor.org": w.cfg.org}), w.cfg.module, w.login.conf()),
	})
	if err != nil {
		return err
	}
	w.local, w.localDB, w.socket = server, server.Client(), server.Socket()
	w.parts = append(w.parts, part{"the local Redis", server})
	return nil
}

// close stops everything in the reverse order of its start. A part that had
// ended by itself is an error.
func (w *world) close() error {
	var errs []error
	for _, p := range slices.Backward(w.parts) {
		if p.hasEnded() {
			errs = append(errs, fmt.Errorf("%s had ended by itself", p.name))
			if s, ok := p.child.(*redistest.Server); ok {
				errs = append(errs, s.Close())
			}
			continue
		}
		errs = append(errs, p.Close())
	}
	w.parts = nil
	w.free()
	if w.down != nil {
		errs = append(errs, w.down())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

func (p part) hasEnded() bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}

// wait returns nil when ctx ends, or an error that names the part that ended
// before.
func (w *world) wait(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan part, len(w.parts))
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	for _, p := range w.parts {
		watching.Go(func() {
			select {
			case <-p.Exited():
				ended <- p
			case <-ctx.Done():
			}
		})
	}
	select {
	case <-ctx.Done():
		return nil
	case p := <-ended:
		return fmt.Errorf("%s has ended; the end of its log:\n%s", p.name, tail(p.Log()))
	}
}

// autopsy returns the ends of the logs of all parts, those that ended first.
func (w *world) autopsy() string {
	parts := slices.Clone(w.parts)
	slices.SortStableFunc(parts, func(a, b part) int {
		switch {
		case a.hasEnded() == b.hasEnded():
			return 0
		case a.hasEnded():
			return -1
		default:
			return 1
		}
	})
	var b strings.Builder
	for _, p := range parts {
		state := ""
		if p.hasEnded() {
			state = ", which has ended"
		}
		fmt.Fprintf(&b, "the end of the log of %s%s:\n%s\n", p.name, state, tail(p.Log()))
	}
	return b.String()
}

// tail returns the last lines of a log, indented.
func tail(log string) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		if len(line) > tailWidth {
			lines[i] = strings.ToValidUTF8(line[:tailWidth], "") + "…"
		}
	}
	return "    " + strings.Join(lines, "\n    ")
}
