package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/github"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
)

// Settings are what the environment says, checked.
type Settings struct {
	ClientID     string
	ClientSecret string
	Org          string
	Redis        *redis.Options
	PublicURL    *url.URL // scheme and host only
	Origins      []string
	SessionKeys  []string // current first, then previous
	GitHubURL    string   // without a trailing slash
	ListenAddr   string
	// Warnings are not faults, but the operator should know.
	Warnings []string
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
	{"ALLOWED_ORIGINS", "", false, "other origins whose pages may use the API with cookies, such as https://graph.example.org; separated by commas, compared exactly"},
	{"SESSION_KEYS", "", true, "secrets that sign cookies, current first, then previous ones; separated by commas, 32 bytes or more each, as from: openssl rand -hex 32. Required; with an http PUBLIC_URL a random one will do"},
	{"GITHUB_URL", github.DefaultURL, false, "another GitHub, laid out like GitHub Enterprise Server; https, or http on a loopback host"},
	{"LISTEN_ADDR", "127.0.0.1:8080", false, "address and port to listen on"},
}

// reader reads settings and collects every fault, with what to do about it.
type reader struct {
	getenv func(string) string
	faults []error
}

func (r *reader) fault(name, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("  %s: %s", name, fmt.Sprintf(format, args...)))
}

// ReadSettings reads the environment. The error lists all faults, one a line.
func ReadSettings(getenv func(string) string) (Settings, error) {
	r := &reader{getenv: getenv}
	values := make(map[string]string, len(settingsHelp))
	for _, s := range settingsHelp {
		values[s.name] = r.value(s)
	}
	s := Settings{
		ClientID:     r.required("GITHUB_CLIENT_ID", values, "it stands on the application's page at GitHub"),
		ClientSecret: r.required("GITHUB_SECRET", values, "it stands on the application's page at GitHub"),
		Org:          r.org(values["SPONSOR_ORG"]),
		Redis:        r.redis(values["REDIS_ADDR"]),
		PublicURL:    r.publicURL(values["PUBLIC_URL"]),
		Origins:      r.origins(values["ALLOWED_ORIGINS"]),
		GitHubURL:    r.gitHubURL(values["GITHUB_URL"]),
		ListenAddr:   r.listenAddr(values["LISTEN_ADDR"]),
	}
	s.SessionKeys, s.Warnings = r.sessionKeys(values["SESSION_KEYS"], s.PublicURL)
	return s, errors.Join(r.faults...)
}

// value is a setting as it stands in the environment or in its file, without
// the white space around it, or its default.
func (r *reader) value(s setting) string {
	v := strings.TrimSpace(r.getenv(s.name))
	if file := r.getenv(s.name + "_FILE"); s.secret && file != "" {
		if v != "" {
			r.fault(s.name, "%s and %s_FILE are both set; keep one", s.name, s.name)
			return v
		}
		content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			r.fault(s.name+"_FILE", "%v; name a file that this user may read", err)
		}
		v = strings.TrimSpace(string(content))
	}
	if v == "" {
		return s.fallback
	}
	return v
}

func (r *reader) required(name string, values map[string]string, hint string) string {
	if values[name] == "" {
		r.fault(name, "is missing; %s", hint)
	}
	return values[name]
}

var orgPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

func (r *reader) org(v string) string {
	switch {
	case v == "":
		r.fault("SPONSOR_ORG", "is missing; set the login of the organisation that people sponsor")
	case !orgPattern.MatchString(v):
		r.fault("SPONSOR_ORG", "%q is no login of GitHub; write example-org, not its URL", v)
	}
	return v
}

func (r *reader) redis(v string) *redis.Options {
	if !strings.Contains(v, "://") {
		if _, _, err := net.SplitHostPort(v); err != nil {
			r.fault("REDIS_ADDR", "write host:port, redis://…, rediss://… or unix:///path/to/socket")
		}
		return &redis.Options{Addr: v}
	}
	o, err := redis.ParseURL(v)
	if err != nil {
		// Not the error itself: it may quote the password.
		r.fault("REDIS_ADDR", "the URL cannot be read; write redis://[user:password@]host:port, rediss://… or unix:///path/to/socket")
		return &redis.Options{}
	}
	if o.DB != 0 {
		r.fault("REDIS_ADDR", "names database %d; the module replicates database 0 only", o.DB)
	}
	return o
}

// origin parses scheme://host[:port] and says what is wrong with anything else.
func (r *reader) origin(name, v string) *url.URL {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		r.fault(name, "%q is no address; write https://host or https://host:port", redacted(v))
		return nil
	}
	if u.Path == "/" {
		u.Path = ""
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host}
	switch {
	case u.String() != bare.String():
		r.fault(name, "%q has more than scheme, host and port; write %s", u.Redacted(), bare.String())
	case u.Host != strings.ToLower(u.Host):
		r.fault(name, "browsers write hosts in lower case; write %s", strings.ToLower(bare.String()))
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		r.fault(name, "browsers leave the usual port out; write %s://%s", u.Scheme, u.Hostname())
	}
	return &bare
}

// redacted hides the password of what may be a URL.
func redacted(v string) string {
	if strings.Contains(v, "@") {
		return "…"
	}
	return v
}

func (r *reader) publicURL(v string) *url.URL {
	if v == "" {
		r.fault("PUBLIC_URL", "is missing; write https://host, or for development http://127.0.0.1:8080")
		return nil
	}
	u := r.origin("PUBLIC_URL", v)
	if u != nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		r.fault("PUBLIC_URL", "http would show everybody's cookies to the network; write https://%s (http is for loopback hosts only)", u.Host)
	}
	return u
}

func (r *reader) origins(v string) []string {
	var list []string
	for item := range strings.SplitSeq(v, ",") {
		item = strings.TrimSpace(item)
		switch {
		case item == "":
		case strings.Contains(item, "*"):
			r.fault("ALLOWED_ORIGINS", "%q has a *; name every origin", item)
		case item == "null":
			r.fault("ALLOWED_ORIGINS", "null is what any page can pretend to be; name origins")
		default:
			if u := r.origin("ALLOWED_ORIGINS", item); u != nil && !slices.Contains(list, u.String()) {
				list = append(list, u.String())
			}
		}
	}
	return list
}

// sessionKeys may invent a key for development, and then warns.
func (r *reader) sessionKeys(v string, public *url.URL) (keys, warnings []string) {
	for key := range strings.SplitSeq(v, ",") {
		key = strings.TrimSpace(key)
		if key == "" {
			continue
		}
		if len(key) < session.MinSecret {
			r.fault("SESSION_KEYS", "key %d has %d bytes, at least %d are needed; make one with: openssl rand -hex 32", len(keys)+1, len(key), session.MinSecret)
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 || public == nil {
		return keys, nil
	}
	if public.Scheme == "https" {
		r.fault("SESSION_KEYS", "is missing; make one with: openssl rand -hex 32")
		return nil, nil
	}
	return []string{rand.Text() + rand.Text()},
		[]string{"SESSION_KEYS is missing: cookies are signed with a random key, and everybody is signed out when this process ends"}
}

func (r *reader) gitHubURL(v string) string {
	v = strings.TrimRight(v, "/")
	u, err := url.Parse(v)
	switch {
	case err != nil, u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "", u.Scheme != "https" && u.Scheme != "http":
		r.fault("GITHUB_URL", "%q is no address; write https://host", redacted(v))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		r.fault("GITHUB_URL", "http would show the client secret to the network; write https://%s", u.Host)
	}
	return v
}

func (r *reader) listenAddr(v string) string {
	if _, _, err := net.SplitHostPort(v); err != nil {
		r.fault("LISTEN_ADDR", "%q is no address; write host:port, such as 127.0.0.1:8080 or :8080", v)
	}
	return v
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
