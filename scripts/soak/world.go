package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A world is the servers, the proxy and the API, and what everybody has to know of each
// other.
type world struct {
	out   io.Writer
	build string
	dir   string // of everything that they write
	local *server
	// remote is behind proxy for the module, and not for us.
	remote *server
	proxy  *redistest.Proxy
	module []string // what MODULE LOAD wants: path and arguments
	api    *api

	// gate is held by whoever needs everybody to stand still, and shared by clients for
	// the time of one step.
	gate sync.RWMutex
	// losing is whether keys are being evicted or flushed. What travels as a whole is
	// not written then, since that would be lost if it was evicted before it was sent.
	// It changes while the gate is held.
	losing atomic.Bool
	losses atomic.Int64 // how often that was
	// nothingDies keeps keys from expiring while the remote cannot be reached or refuses
	// what it is sent. A key that was changed as a whole (SPOP, SET …) and expires before
	// the change was sent is counted as lost, and what the remote had before comes back.
	// One that expires while SYNC copies it is counted as failed. When that is mended, this
	// can go.
	nothingDies atomic.Bool
	// nobodyLeaves keeps people from leaving the sponsors; leaving counts those whose
	// keys the remote may still have.
	nobodyLeaves atomic.Bool
	leaving      atomic.Int64

	counts   counts
	problems problems
	ordeals  ordeals
}

// counts are what has been done.
type counts struct {
	commands, reads, refused, broken, moves, requests, unrelated atomic.Int64
}

// A server is a process, and an admin's client on its unix socket.
type server struct {
	*redistest.Server
	db *redis.Client
}

const (
	// patience is for a command that works for long, such as SYNC.
	patience = 2 * time.Minute
	// readTimeout is how long a command waits for a key that is away: longer than any
	// fault lasts, so that nothing ever runs with what is here.
	readTimeout = 30 * time.Second
)

// durable are the lines of redis.conf by which what was acknowledged outlives kill -9.
var durable = []string{"appendonly yes", "appendfsync always", "auto-aof-rewrite-percentage 100", "auto-aof-rewrite-min-size 16mb"}

// flavorNamed is a server that scripts/newer-servers has unpacked, or the one on the PATH.
func flavorNamed(name, build string) (redistest.Flavor, error) {
	standard, err := redistest.Default()
	if name == "" || err == nil && standard.Name == name {
		return standard, err
	}
	product, _, _ := strings.Cut(name, "-")
	path := filepath.Join(build, "servers", name, product+"-server")
	if _, err := os.Stat(path); err != nil {
		return redistest.Flavor{}, fmt.Errorf("no server %s: %w; run scripts/newer-servers", name, err)
	}
	return redistest.Flavor{Name: name, Command: []string{path}}, nil
}

// startWorld starts all processes. The caller must close the world, also after an error.
func startWorld(ctx context.Context, build, flavorName string) (*world, error) {
	w := &world{build: build}
	so := filepath.Join(build, "sponsor.so")
	if _, err := os.Stat(so); err != nil {
		return w, fmt.Errorf("missing: %s; run make build first", so)
	}
	flavor, err := flavorNamed(flavorName, build)
	if err != nil {
		return w, err
	}
	if w.dir, err = os.MkdirTemp("", "redis-sponsor-soak-"); err != nil {
		return w, err
	}
	cfg, err := redistest.RemoteConfig(redistest.Config{Flavor: flavor, Conf: durable, Dir: filepath.Join(w.dir, "remote")}, w.dir)
	if err != nil {
		return w, err
	}
	if w.remote, err = startServer(ctx, cfg); err != nil {
		return w, err
	}
	if w.proxy, err = redistest.StartProxy(w.remote.Addr()); err != nil {
		return w, err
	}
	w.module = w.moduleArguments(so)
	quoted := make([]string, len(w.module))
	for i, word := range w.module {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	w.local, err = startServer(ctx, redistest.Config{
		Flavor: flavor, Name: "local", Dir: filepath.Join(w.dir, "local"),
		Modules: []string{strings.Join(quoted, " ")},
		Conf:    append(slices.Clone(durable), "maxmemory-policy allkeys-random"),
	})
	if err != nil {
		return w, err
	}
	return w, w.connected(ctx)
}

// moduleArguments are those of MODULE LOAD and of loadmodule.
func (w *world) moduleArguments(so string) []string {
	return []string{
		so, "org", org, "keys", templates,
		"remote-host", w.proxy.Host(), "remote-port", fmt.Sprint(w.proxy.Port()),
		"remote-username", w.remote.Login().User, "remote-password-file", w.remote.PasswordFile(),
		"remote-tls", "yes", "remote-cacert", w.remote.TLS().CAFile,
		"read-timeout-ms", fmt.Sprint(readTimeout.Milliseconds()), "absent-ttl-ms", "500", "on-lapse", "purge",
	}
}

func startServer(ctx context.Context, cfg redistest.Config) (*server, error) {
	s, err := redistest.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &server{s, s.Client(func(o *redis.Options) {
		o.ReadTimeout, o.WriteTimeout = patience, patience
		o.ContextTimeoutEnabled, o.MaxRetries, o.PoolSize = true, -1, 4
	})}, nil
}

// client is a client of the local server with one connection, which sends nothing twice.
func (w *world) client() *redis.Client {
	return w.local.Client(func(o *redis.Options) {
		o.ReadTimeout, o.ContextTimeoutEnabled, o.MaxRetries, o.PoolSize = answerTimeout, true, -1, 1
	})
}

// close stops what was started, and removes what it wrote, unless that is kept.
func (w *world) close(keep bool) error {
	var errs []error
	if w.api != nil {
		errs = append(errs, w.api.close())
	}
	for _, s := range []*server{w.local, w.remote} {
		if s == nil {
			continue
		}
		if !s.Alive() {
			errs = append(errs, fmt.Errorf("%s has ended by itself", s.Config().Name))
		}
		errs = append(errs, s.Close())
	}
	if w.proxy != nil {
		w.proxy.Close()
	}
	if w.dir != "" && !keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// connected waits until the module has reached the remote.
func (w *world) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() error {
		info, err := w.info(ctx)
		if err == nil && info["sponsor_state"] != "connected" {
			err = fmt.Errorf("the module does not reach the remote: %s, %s", info["sponsor_state"], info["sponsor_last_error"])
		}
		return err
	})
}

// info is INFO of the local server, as it stands there. Unlike SPONSOR.STATUS it does not
// keep MODULE UNLOAD from working.
func (w *world) info(ctx context.Context) (map[string]string, error) {
	text, err := w.local.db.Info(ctx, "everything").Result()
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// safe waits until the remote has acknowledged every change, and has refused none.
func (w *world) safe(ctx context.Context) error {
	left, err := w.local.db.Do(ctx, "SPONSOR.WAIT", (patience - time.Second).Milliseconds()).Int()
	if err == nil && left > 0 {
		err = fmt.Errorf("%d keys are still on their way", left)
	}
	if err != nil {
		return fmt.Errorf("SPONSOR.WAIT: %w", err)
	}
	return nil
}

// stay calls f when nobody is about to be forgotten by the remote, and keeps everybody
// from leaving meanwhile.
func (w *world) stay(ctx context.Context, f func() error) error {
	w.nobodyLeaves.Store(true)
	defer w.nobodyLeaves.Store(false)
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := until(waiting, 20*time.Millisecond, func() error {
		if n := w.leaving.Load(); n > 0 {
			return fmt.Errorf("the remote has not forgotten %d people who have left", n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f()
}

// standstill closes the gate when nobody is about to be forgotten by the remote, waits
// until everything is safe, and calls f.
func (w *world) standstill(ctx context.Context, f func() error) error {
	return w.stay(ctx, func() error {
		w.gate.Lock()
		defer w.gate.Unlock()
		if err := w.safe(ctx); err != nil {
			return err
		}
		return f()
	})
}

// silent is go-redis's log: what breaks here is meant to.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// problems are what did not hold. They may be noted from several goroutines.
type problems struct {
	mu    sync.Mutex
	count int
	texts []string // the first few
}

// mostProblems is how many are printed: the first ones tell most.
const mostProblems = 12

func (w *world) wrong(format string, args ...any) {
	text := time.Now().Format(clock) + fmt.Sprintf(format, args...)
	p := &w.problems
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if len(p.texts) < mostProblems {
		first, _, _ := strings.Cut(text, "\n")
		fmt.Fprintln(w.out, "WRONG", first)
		p.texts = append(p.texts, text+"\n"+w.ordeals.String())
	}
}

// clock is how times are printed.
const clock = "15:04:05.000 "

// ordeals are the last faults: what goes wrong has often to do with them.
type ordeals struct {
	mu    sync.Mutex
	lines []string
}

const mostOrdeals = 12

func (o *ordeals) note(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, time.Now().Format(clock)+name)
	o.lines = o.lines[max(0, len(o.lines)-mostOrdeals):]
}

func (o *ordeals) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return "the last faults:\n  " + strings.Join(o.lines, "\n  ")
}

func (w *world) wrongs() (count int, texts []string) {
	w.problems.mu.Lock()
	defer w.problems.mu.Unlock()
	return w.problems.count, slices.Clone(w.problems.texts)
}
