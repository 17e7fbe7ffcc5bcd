package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/metrics"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/module"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/preferences"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/server"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/sponsors"
)

// DefaultDrainTimeout is how long requests under way may take after the signal
// to end. A sign-in waits for GitHub.
const DefaultDrainTimeout = 40 * time.Second

// Main is the program. The binary and the tests run the same one: NewMain,
// change fields, Open, Close.
type Main struct {
	Settings Settings
	// GitHubTimeout bounds one call to GitHub. Zero means github.DefaultTimeout.
	GitHubTimeout time.Duration
	// DrainTimeout bounds Close. Zero means DefaultDrainTimeout.
	DrainTimeout time.Duration
	// ReadAgain reads the settings anew, for secrets that were replaced. Nil means
	// that they stay as they are.
	ReadAgain func() (Settings, error)
	// LapseEvery is the time between two looks for sponsorships that have ended.
	// Zero means the default of package sponsors.
	LapseEvery time.Duration
	// ReconcilePause is the least time between two reconciliations with GitHub. Zero
	// means the default of package sponsors.
	ReconcilePause time.Duration
	// Now replaces the clock by which sponsorships end. Nil means time.Now.
	Now func() time.Time
	// SessionIdle and SessionAbsolute end sessions. Zero means the defaults of
	// package session.
	SessionIdle, SessionAbsolute time.Duration

	log      *slog.Logger
	redis    *redis.Client
	secrets  atomic.Pointer[Secrets]
	cookies  *session.Cookies
	github   *github.Client
	keeper   *sponsors.Keeper
	api      *server.Server
	stop     context.CancelFunc // ends the work in the background
	work     sync.WaitGroup
	http     *http.Server
	listener net.Listener
	served   chan error
	closing  sync.Once
	closed   error // what Close returns
}

// NewMain returns a program that logs to w, one JSON object a line.
func NewMain(settings Settings, w io.Writer) *Main {
	return &Main{Settings: settings, log: slog.New(slog.NewJSONHandler(w, nil))}
}

// Run serves until ctx ends, then lets the requests under way finish.
func (m *Main) Run(ctx context.Context) error {
	if err := m.Open(ctx); err != nil {
		return err
	}
	select {
	case err := <-m.served:
		m.stop()
		m.work.Wait()
		return errors.Join(fmt.Errorf("serve: %w", err), m.redis.Close())
	case <-ctx.Done():
		return m.Close()
	}
}

// Open listens and serves. Redis need not be there yet: /readyz tells.
func (m *Main) Open(ctx context.Context) error {
	var err error
	if m.cookies, err = session.NewCookies(m.Settings.Secure(), m.Settings.Secrets.SessionKeys...); err != nil {
		return fmt.Errorf("SESSION_KEYS: %w", err)
	}
	m.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", m.Settings.ListenAddr)
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	m.secrets.Store(&m.Settings.Secrets)
	m.redis = redis.NewClient(m.redisOptions())
	m.build()
	m.http = &http.Server{
		Handler:           m.api,
		ReadHeaderTimeout: server.ReadHeaderTimeout,
		ReadTimeout:       server.ReadTimeout,
		WriteTimeout:      server.WriteTimeout,
		IdleTimeout:       server.IdleTimeout,
		MaxHeaderBytes:    server.MaxHeaderBytes,
		// It tells of clients that went away, which is nobody's fault.
		ErrorLog: stdlog.New(io.Discard, "", 0),
	}
	m.served = make(chan error, 1)
	go func() { m.served <- m.http.Serve(m.listener) }()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	m.work.Go(func() { m.keeper.Run(background) })
	m.work.Go(func() { m.watchSecrets(background) })
	for _, warning := range m.Settings.Warnings {
		m.log.Warn("settings", "warning", warning)
	}
	m.log.Info("serving", "addr", m.Addr(), "public_url", m.Settings.PublicURL.String(), "org", m.Settings.Org)
	return nil
}

// build puts the parts together.
func (m *Main) build() {
	s := m.Settings
	figures := metrics.New()
	standings := sponsors.New(m.redis, s.Org, s.Policy, m.Now)
	inRedis := module.New(m.redis)
	figures.Watch(metrics.Source{Module: inRedis.Figures, Sponsors: standings.Count})
	m.github = github.New(github.Config{
		URL: s.GitHubURL, ClientID: s.ClientID, Secrets: s.Secrets.GitHub,
		Callback: s.PublicURL.String() + "/oauth2/callback",
		Org:      s.Org, Timeout: m.GitHubTimeout, Observe: figures.GitHub,
	})
	m.keeper = sponsors.NewKeeper(sponsors.KeeperConfig{
		Store: standings, GitHub: m.github, Log: m.log,
		Every: s.ReconcileEvery, LapseEvery: m.LapseEvery, Pause: m.ReconcilePause,
		Observe: func(p sponsors.Pass) { figures.Reconciled(p.Err == nil, p.Listed, p.At) },
	})
	m.api = server.New(server.Config{
		PublicURL:      s.PublicURL,
		Origins:        s.Origins,
		TrustedProxies: s.TrustedProxies,
		Limits:         s.Limits,
		Org:            s.Org,
		Redis:          m.redis,
		GitHub:         m.github,
		Sessions: session.New(session.Config{
			Redis: m.redis, Cookies: m.cookies, Idle: m.SessionIdle, Absolute: m.SessionAbsolute,
		}),
		Preferences: preferences.New(m.redis),
		Sponsors:    standings,
		Keeper:      m.keeper,
		Module:      inRedis,
		Metrics:     figures,
		Log:         m.log,
	})
	m.api.SetWebhookSecrets(s.Secrets.WebhookSecrets)
}

// redisOptions completes what REDIS_ADDR says.
func (m *Main) redisOptions() *redis.Options {
	o := m.Settings.Redis
	// Each new connection logs in with what is in the file now.
	o.CredentialsProviderContext = func(context.Context) (string, string, error) {
		s := m.secrets.Load()
		return s.RedisUsername, s.RedisPassword, nil
	}
	o.ClientName = "sponsor-api"
	o.ContextTimeoutEnabled = true
	o.DialTimeout = 2 * time.Second
	o.DialerRetries = 1 // who asks us tries again; a Redis that is down is told at once
	// The module may hold a command back while it fetches a key.
	o.ReadTimeout, o.WriteTimeout = 3*time.Second, 3*time.Second
	// Every write of ours may be repeated without harm.
	o.MaxRetries = 1
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// Addr is the address it listens on, also if LISTEN_ADDR left the port open.
func (m *Main) Addr() string { return m.listener.Addr().String() }

// Close stops listening, lets the requests under way finish, and ends. Closing
// twice does no harm.
func (m *Main) Close() error {
	m.closing.Do(func() { m.closed = m.drain() })
	return m.closed
}

func (m *Main) drain() error {
	timeout := m.DrainTimeout
	if timeout == 0 {
		timeout = DefaultDrainTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	m.log.Info("draining")
	m.api.Drain()
	m.stop()
	m.work.Wait()
	err := m.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain: %w", err), m.http.Close())
	}
	if served := <-m.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, m.redis.Close())
}
