package main

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/server"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/sponsors"
)

// Settings are what the environment says, checked.
type Settings struct {
	ClientID       string
	Org            string
	Redis          *redis.Options
	PublicURL      *url.URL // scheme and host only
	Origins        []string
	GitHubURL      string // without a trailing slash
	ListenAddr     string
	TrustedProxies []netip.Prefix
	Limits         server.Limits
	Policy         sponsors.Policy
	ReconcileEvery time.Duration
	Secrets        Secrets
	// Warnings are not faults, but the operator should know.
	Warnings []string
}

// Secrets are the settings that can change while the program runs: those that can
// come from files.
type Secrets struct {
	GitHub         github.Secrets
	SessionKeys    []string // current first, then previous
	MadeUpKey      bool     // SessionKeys is a random one, for development
	WebhookSecrets []string // the same; none: no webhook
	RedisUsername  string
	RedisPassword  string
}

// Secure tells whether browsers reach us by https.
func (s Settings) Secure() bool { return s.PublicURL.Scheme == "https" }

// setting describes one setting for --help.
type setting struct {
	name     string
	fallback string
	secret   bool // can come from the file that NAME_FILE names
	meaning  string
}

var settingsHelp = []setting{
	{"GITHUB_CLIENT_ID", "", false, "client id of the OAuth application at GitHub; required"},
	{"GITHUB_SECRET", "", true, "client secret of that application; required"},
	{"SPONSOR_ORG", "", false, "login of the organisation or person that is sponsored; required, and the same as the module's sponsor.org"},
	{"REDIS_ADDR", "127.0.0.1:6379", true, "the local Redis: host:port, or a URL: redis://, rediss://, unix://"},
	{"PUBLIC_URL", "", false, "where browsers reach this server: https://host[:port], no path; required. For development http://127.0.0.1:port or http://localhost:port will do: cookies are then without Secure and __Host-. The callback URL to register at GitHub is PUBLIC_URL/oauth2/callback"},
	{"ALLOWED_ORIGINS", "", false, "other origins whose pages may use the API with cookies, such as https://graph.example.org; separated by commas, compared exactly. Browsers send the cookies only if both are of the same site, here example.org"},
	{"SESSION_KEYS", "", true, "secrets that sign cookies, current first, then previous ones; separated by commas, 32 bytes or more each, as from: openssl rand -hex 32. Required; with an http PUBLIC_URL a random one will do"},
	{"GITHUB_WEBHOOK_SECRET", "", true, "secret of the webhook at GitHub that sends the event sponsorship to PUBLIC_URL/webhooks/github, 16 bytes or more; current first, then previous ones. Empty: no webhook"},
	{"GITHUB_MAINTAINER_TOKEN", "", true, "token with the scopes read:user and read:org of somebody who administers SPONSOR_ORG: with it GitHub is asked for the list of sponsors every RECONCILE_EVERY, and when somebody wants to check again. Empty: who sponsors is found out at sign-in and by the webhook"},
	{"RECONCILE_EVERY", "1h", false, "time between two questions for that list"},
	{"SPONSOR_GRACE", "72h", false, "how long a sponsorship that has ended still counts; 0: not at all"},
	{"SPONSOR_ONE_TIME", "30d", false, "how long a one-time payment counts, before the grace"},
	{"SPONSOR_ENTITLEMENTS", "", false, "names of features, and from how many US cents a month (or at once) a sponsor has them: early-access=500,priority=5000. /me, /auth and the account page show them"},
	{"TRUSTED_PROXIES", "127.0.0.0/8,::1", false, "networks of the reverse proxies whose X-Forwarded-For tells who asks; separated by commas"},
	{"LIMIT_PER_ADDRESS", "600", false, "requests a minute from one address (IPv6: from one /64); what asks GitHub, and a new visitor, count tenfold, /auth a tenth; 0: no limit"},
	{"LIMIT_PER_PERSON", "300", false, "the same of one person or visitor"},
	{"GITHUB_URL", github.DefaultURL, false, "another GitHub, laid out like GitHub Enterprise Server; https, or http on a loopback host"},
	{"LISTEN_ADDR", "127.0.0.1:8080", false, "address and port to listen on"},
}

// ReadSettings reads the environment. The error lists all faults, one a line.
func ReadSettings(getenv func(string) string) (Settings, error) {
	r := &reader{getenv: getenv}
	values := make(map[string]string, len(settingsHelp))
	for _, s := range settingsHelp {
		values[s.name] = r.value(s)
	}
	const hint = "it stands on the application's page at GitHub"
	s := Settings{
		ClientID:       r.required("GITHUB_CLIENT_ID", values, hint),
		Org:            r.org(values["SPONSOR_ORG"]),
		Redis:          r.redis(values["REDIS_ADDR"]),
		PublicURL:      r.publicURL(values["PUBLIC_URL"]),
		Origins:        r.origins(values["ALLOWED_ORIGINS"]),
		GitHubURL:      r.gitHubURL(values["GITHUB_URL"]),
		ListenAddr:     r.listenAddr(values["LISTEN_ADDR"]),
		TrustedProxies: r.proxies(values["TRUSTED_PROXIES"]),
		Limits: server.Limits{
			PerAddress: r.limit("LIMIT_PER_ADDRESS", values["LIMIT_PER_ADDRESS"]),
			PerPerson:  r.limit("LIMIT_PER_PERSON", values["LIMIT_PER_PERSON"]),
		},
		Policy: sponsors.Policy{
			Grace:        r.duration("SPONSOR_GRACE", values["SPONSOR_GRACE"]),
			OneTime:      r.duration("SPONSOR_ONE_TIME", values["SPONSOR_ONE_TIME"]),
			Entitlements: r.entitlements(values["SPONSOR_ENTITLEMENTS"]),
		},
		ReconcileEvery: r.duration("RECONCILE_EVERY", values["RECONCILE_EVERY"]),
		Secrets: Secrets{
			GitHub: github.Secrets{
				ClientSecret:    r.required("GITHUB_SECRET", values, hint),
				MaintainerToken: values["GITHUB_MAINTAINER_TOKEN"],
			},
			WebhookSecrets: r.webhookSecrets(values["GITHUB_WEBHOOK_SECRET"]),
		},
	}
	if s.ReconcileEvery < time.Minute {
		r.fault("RECONCILE_EVERY", "GitHub wants fewer questions; write 1m or more")
	}
	s.Secrets.RedisUsername, s.Secrets.RedisPassword = s.Redis.Username, s.Redis.Password
	if s.Secrets.SessionKeys = r.sessionKeys(values["SESSION_KEYS"]); len(s.Secrets.SessionKeys) == 0 && s.PublicURL != nil {
		if s.Secure() {
			r.fault("SESSION_KEYS", "is missing; make one with: openssl rand -hex 32")
		}
		s.Secrets.SessionKeys, s.Secrets.MadeUpKey = []string{rand.Text() + rand.Text()}, true
		s.Warnings = append(s.Warnings, "SESSION_KEYS is missing: cookies are signed with a random key, and everybody is signed out when this process ends")
	}
	return s, errors.Join(r.faults...)
}
