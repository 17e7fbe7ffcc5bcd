package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// containerSteps are the story in containers: that of the demo, and what only a
// container can show.
var containerSteps = []step{
	{"start", "containers of Redis with the module, of the API and of two stand-ins become healthy", (*story).startContainers},
	{"locked", "no container has rights that it does not need", (*story).locked},
	{"visitor", "somebody who does not sponsor signs in and excludes a node", (*story).visitorExcludes},
	{"sponsor", "a sponsor signs in and is found to be one", (*story).sponsorSignsIn},
	{"exclude", "the sponsor excludes nodes, lists them, and takes one back", (*story).sponsorExcludes},
	{"follow", "the sponsor's data is on the remote by itself, and nobody else's", (*story).follows},
	{"sync", "SPONSOR.SYNC copies the sponsor's keys to the remote, and no others", (*story).syncs},
	{"away", "the container of Redis stops, and the API says so until it is back", (*story).survivesStop},
	{"lose", "the container of Redis is killed, and its volume is lost", (*story).loses},
	{"recover", "the module brings back the sponsors, and a sponsor's keys when they are read", (*story).recovers},
	{"return", "the sponsor signs in again and finds the excluded nodes", (*story).sponsorReturns},
	{"outage", "the remote goes down and comes back", (*story).survivesOutage},
	{"become", "the visitor begins to sponsor, and GitHub's webhook tells", (*story).becomes},
	{"forget", "the newcomer deletes everything", (*story).forgets},
	{"stop", "every container stops cleanly, within its grace", (*story).stopsContainers},
}

// openContainers starts the try-out of compose.yaml and waits until it is healthy.
func openContainers(ctx context.Context, cfg config) (*world, error) {
	c, err := newCompose(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w := &world{cfg: cfg, free: func() {}, down: c.down, url: local(c.api), hub: local(c.github)}
	if err := w.startContainers(ctx, c); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) startContainers(ctx context.Context, c *compose) error {
	if err := c.run(ctx, "up", "-d", "--no-build"); err != nil {
		return err
	}
	// The graces are those of compose.yaml, or the engine's own.
	remoteRedis := &container{c: c, service: "remote", addr: "remote:6379", grace: 10 * time.Second}
	localRedis := &container{c: c, service: "redis", addr: "redis:6379", volume: "data", grace: time.Minute}
	api := &container{c: c, service: "api", grace: 45 * time.Second}
	hub := &container{c: c, service: "github", grace: 10 * time.Second}
	w.parts = []part{{"the remote Redis", remoteRedis}, {"the local Redis", localRedis}, {"the API", api}, {"the stand-in for GitHub", hub}}
	w.local, w.remote = localRedis, remoteRedis
	for _, k := range []*container{localRedis, remoteRedis, api} {
		if err := k.becomes(ctx, "healthy"); err != nil {
			return err
		}
	}
	w.localDB = client(&redis.Options{Addr: loopback(c.redis), Password: c.redisPassword})
	var err error
	w.remoteDB, err = adminOf(ctx, remoteRedis, loopback(c.remote))
	return err
}

// adminOf is a client of the stand-in for Redis Enterprise that may do anything.
func adminOf(ctx context.Context, k *container, addr string) (*redis.Client, error) {
	id, err := k.find(ctx)
	if err != nil {
		return nil, err
	}
	password, err := k.c.docker(ctx, "exec", id, "cat", "/run/secrets/"+adminPassword)
	if err != nil {
		return nil, err
	}
	authority, err := k.c.docker(ctx, "exec", id, "cat", "/run/secrets/ca.crt")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(authority)) {
		return nil, errors.New("the remote's authority is no certificate")
	}
	return client(&redis.Options{Addr: addr, Password: password, TLSConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}), nil
}

func client(o *redis.Options) *redis.Client {
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o)
}

func (s *story) startContainers(ctx context.Context) (saw []string, err error) {
	begun := time.Now()
	if s.w, err = openContainers(ctx, s.cfg); err != nil {
		return nil, err
	}
	saw = append(saw, fmt.Sprintf("all are healthy after %.1f s; API %s", time.Since(begun).Seconds(), s.w.url))
	if err := s.connected(ctx); err != nil {
		return saw, err
	}
	said, err := s.w.local.(*container).inspect(ctx, "{{range .State.Health.Log}}{{.Output}}{{end}}")
	if err != nil {
		return saw, err
	}
	if !strings.Contains(said, "remote: ") {
		return saw, fmt.Errorf("the health check of Redis does not tell the remote's state: %q", said)
	}
	return append(saw, "SPONSOR.STATUS: connected"), nil
}

// locked asks the engine what the containers may do.
func (s *story) locked(ctx context.Context) ([]string, error) {
	const format = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}}"
	for _, p := range s.w.parts {
		got, err := p.child.(*container).inspect(ctx, format)
		if err != nil {
			return nil, err
		}
		user := "10001:10001"
		if p.name == "the API" {
			user = "10002:10002"
		}
		// Some engines call the empty list <nil>.
		got = strings.Replace(got, "<nil>", "[]", 1)
		if err := differ("rights of "+p.name, got, user+" true false [ALL] [] [no-new-privileges:true]"); err != nil {
			return nil, err
		}
	}
	// What is published anywhere but on loopback is open to the network.
	for _, p := range s.w.parts {
		hosts, err := p.child.(*container).inspect(ctx, "{{range .HostConfig.PortBindings}}{{range .}}{{.HostIp}} {{end}}{{end}}")
		if err != nil {
			return nil, err
		}
		for _, host := range strings.Fields(hosts) {
			if err := differ("address at which a port of "+p.name+" is published", host, "127.0.0.1"); err != nil {
				return nil, err
			}
		}
	}
	return []string{"none is root, none can write to its image, all have no capability, and ports are published on 127.0.0.1 alone"}, nil
}

// survivesStop stops the local Redis and starts it again, with its data.
func (s *story) survivesStop(ctx context.Context) ([]string, error) {
	api := s.w.parts[2].child.(*container)
	if err := s.w.local.Stop(); err != nil {
		return nil, err
	}
	err := inOrder(
		func() error { return s.answers(ctx, "/readyz", http.StatusServiceUnavailable) },
		func() error { return s.answers(ctx, "/livez", http.StatusOK) },
		func() error { return api.becomes(ctx, "unhealthy") },
	)
	if err != nil {
		return nil, err
	}
	saw := []string{"/readyz answers 503, /livez 200, and the API's container is unhealthy"}
	err = inOrder(
		func() error { return s.w.local.Restart(ctx) },
		func() error {
			return s.eventually(ctx, func() error { return s.answers(ctx, "/readyz", http.StatusOK) })
		},
		func() error { return api.becomes(ctx, "healthy") },
		func() error { return s.localHas(ctx, s.visitor) },
		func() error { return s.localHas(ctx, s.sponsor) },
		func() error { return s.listed(ctx, s.sponsor) },
		func() error { return s.connected(ctx) },
	)
	if err != nil {
		return saw, err
	}
	return append(saw, "when Redis is back, all is healthy by itself, the data and the sessions are there"), nil
}

func (s *story) answers(ctx context.Context, path string, status int) error {
	p, err := s.sponsor.browser.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return p.is(status)
}

// stopsContainers is stops, with what the engine says of it.
func (s *story) stopsContainers(ctx context.Context) ([]string, error) {
	number := len(s.w.parts)
	if _, err := s.stops(ctx); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%d containers have ended with the exit code 0, and nothing of them is left", number)}, nil
}
