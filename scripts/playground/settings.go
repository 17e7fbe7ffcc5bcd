package main

import (
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	defaultOrg = "example-org"
	// patternOrigin is where Angular's development server serves the page of
	// The Pattern. It is on the API's own host, or the browser would keep the
	// API's cookies back.
	patternOrigin = "http://127.0.0.1:4200"
)

// environment is what the person has set.
type environment map[string]string

func readEnvironment(environ []string) environment {
	env := make(environment, len(environ))
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	return env
}

// pick returns those of names that are set, as NAME=value.
func (e environment) pick(names ...string) []string {
	var list []string
	for _, name := range names {
		if e[name] != "" {
			list = append(list, name+"="+e[name])
		}
	}
	return list
}

// others returns what is no setting of ours, as NAME=value, sorted.
func (e environment) others() []string {
	var list []string
	for name, value := range e {
		if !isSetting(name) {
			list = append(list, name+"="+value)
		}
	}
	slices.Sort(list)
	return list
}

// or returns the value of name, or fallback if it is not set.
func (e environment) or(name, fallback string) string {
	if e[name] != "" {
		return e[name]
	}
	return fallback
}

// config says what world to open.
type config struct {
	build  string // the folder of sponsor.so, sponsor-api and githubtest
	org    string
	listen string // of the API; empty: the preferred port; port 0: any
	// remote is the real one; nil starts the stand-in.
	remote *remote
	// github is what the API is to know of the real GitHub; nil starts the
	// stand-in.
	github []string
	api    []string // settings of the API that are handed on
	module []string // lines of redis.conf for the module, likewise
	// base is what else of our own environment the API gets, such as the
	// proxy on the way to GitHub.
	base []string
	// version is the tag of the images, for containers.
	version string
	// patience is how long a step waits for something that comes by itself, if
	// that is more than usual.
	patience time.Duration
}

// readConfig is the config of run. The error lists all faults, one a line.
func readConfig(build string, env environment) (config, error) {
	cfg := config{
		build:  build,
		org:    env.or("SPONSOR_ORG", defaultOrg),
		listen: env["LISTEN_ADDR"],
		api: env.pick("PUBLIC_URL", "ALLOWED_ORIGINS", "SESSION_KEYS", "SESSION_KEYS_FILE", "RECONCILE_EVERY",
			"SPONSOR_GRACE", "SPONSOR_ONE_TIME", "SPONSOR_ENTITLEMENTS", "TRUSTED_PROXIES", "LIMIT_PER_ADDRESS", "LIMIT_PER_PERSON"),
		module: confLines(map[string]string{
			"sponsor.keys": env["SPONSOR_KEYS"], "sponsor.keys-unfiltered": env["SPONSOR_KEYS_UNFILTERED"],
			"sponsor.read-through": env["SPONSOR_READ_THROUGH"],
		}),
		base: env.others(),
	}
	var errs []error
	if env["GITHUB_CLIENT_ID"] != "" {
		cfg.github = env.pick("GITHUB_CLIENT_ID", "GITHUB_SECRET", "GITHUB_SECRET_FILE", "GITHUB_URL",
			"GITHUB_WEBHOOK_SECRET", "GITHUB_WEBHOOK_SECRET_FILE", "GITHUB_MAINTAINER_TOKEN", "GITHUB_MAINTAINER_TOKEN_FILE")
		if env["SPONSOR_ORG"] == "" {
			errs = append(errs, errors.New("  SPONSOR_ORG: is missing; with the real GitHub, set the login of the organisation that people sponsor"))
		}
		if env["GITHUB_SECRET"] == "" && env["GITHUB_SECRET_FILE"] == "" {
			errs = append(errs, errors.New("  GITHUB_SECRET: is missing; it stands on the application's page at GitHub, beside GITHUB_CLIENT_ID"))
		}
	}
	if env["REDISENT_HOST"] != "" {
		var err error
		if cfg.remote, err = readRemote(env); err != nil {
			errs = append(errs, err)
		}
	}
	return cfg, errors.Join(errs...)
}

// demoConfig is the config of the story: it breaks its remote and signs in as
// people who do not exist, so it never uses the real ones.
func demoConfig(build string, env environment) config {
	return config{
		build: build, org: env.or("SPONSOR_ORG", defaultOrg),
		listen: env.or("LISTEN_ADDR", "127.0.0.1:0"), base: env.others(),
	}
}

// containersConfig is the config of the story in containers, which get none of
// the person's settings either.
func containersConfig(build string, env environment) config {
	return config{
		build: build, org: defaultOrg, version: env["SPONSOR_VERSION"], base: env.others(),
		// A container is called unhealthy after three checks, with five seconds between them.
		patience: 40 * time.Second,
	}
}

// isSetting tells settings of the API and of the module, which reach them
// only if we mean it.
func isSetting(name string) bool {
	for _, prefix := range []string{"GITHUB_", "REDISENT_", "SPONSOR_", "REDIS_", "SESSION_KEYS", "LIMIT_PER_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"PUBLIC_URL", "ALLOWED_ORIGINS", "LISTEN_ADDR", "TRUSTED_PROXIES", "RECONCILE_EVERY"}, name)
}
