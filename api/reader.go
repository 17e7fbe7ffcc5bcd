package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/session"
	"github.com/applied-knowledge-systems/redis-sponsor/api/internal/sponsors"
)

// reader reads settings and collects every fault, with what to do about it.
type reader struct {
	getenv func(string) string
	faults []error
}

func (r *reader) fault(name, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("  %s: %s", name, fmt.Sprintf(format, args...)))
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
		if v = strings.TrimSpace(string(content)); v == "" && err == nil {
			r.fault(s.name+"_FILE", "%s is empty; write the secret into it", file)
		}
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
		// Without the scheme of a URL there is no place for a password.
		if !hostPort(v) || strings.Contains(v, "@") {
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
	var origins []string
	for _, item := range list(v) {
		switch {
		case strings.Contains(item, "*"):
			r.fault("ALLOWED_ORIGINS", "%q has a *; name every origin", item)
		case item == "null":
			r.fault("ALLOWED_ORIGINS", "null is what any page can pretend to be; name origins")
		default:
			u := r.origin("ALLOWED_ORIGINS", item)
			if u != nil && u.Scheme == "http" && !loopback(u.Hostname()) {
				r.fault("ALLOWED_ORIGINS", "whoever is on the network between could act for everybody who opens %s; write https://%s (http is for loopback hosts only)", u, u.Host)
			}
			if u != nil && !slices.Contains(origins, u.String()) {
				origins = append(origins, u.String())
			}
		}
	}
	return origins
}

func (r *reader) sessionKeys(v string) []string {
	keys := list(v)
	for i, key := range keys {
		if len(key) < session.MinSecret {
			r.fault("SESSION_KEYS", "key %d has %d bytes, at least %d are needed; make one with: openssl rand -hex 32", i+1, len(key), session.MinSecret)
		}
	}
	return keys
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
	if !hostPort(v) {
		r.fault("LISTEN_ADDR", "%q is no address; write host:port, such as 127.0.0.1:8080 or :8080", v)
	}
	return v
}

// list splits what is separated by commas.
func list(v string) []string {
	var items []string
	for item := range strings.SplitSeq(v, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// duration reads what time.ParseDuration does, and days: 30d.
func (r *reader) duration(name, v string) time.Duration {
	d, err := time.ParseDuration(v)
	if days, ok := strings.CutSuffix(v, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && (n < 0 || n > longest) {
			err = strconv.ErrRange // before it overflows
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 || d > longest*24*time.Hour {
		r.fault(name, "%q is no length of time; write 72h, 30d or 0, ten years at most", v)
	}
	return d
}

// longest is the greatest length of time in a setting, in days.
const longest = 3660

// limit is a number of requests, of which a sign-in counts twenty.
func (r *reader) limit(name, v string) int {
	n, err := strconv.Atoi(v)
	if err != nil || n != 0 && n < leastLimit || n > 1_000_000 {
		r.fault(name, "%q is no number from %d to 1000000; a sign-in counts as %d. Or 0, for no limit", v, leastLimit, leastLimit)
	}
	return n
}

const leastLimit = 20

func (r *reader) proxies(v string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, item := range list(v) {
		prefix, err := netip.ParsePrefix(item)
		if a, e := netip.ParseAddr(item); e == nil {
			prefix, err = a.Prefix(a.BitLen())
		}
		if err != nil || prefix.Addr().Is4In6() {
			r.fault("TRUSTED_PROXIES", "%q is no network; write 10.0.0.0/8, or an address", item)
			continue
		}
		if prefix.Bits() < 8 {
			r.fault("TRUSTED_PROXIES", "%q is half of the world; name your proxies", item)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes
}

var entitlementPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (r *reader) entitlements(v string) []sponsors.Entitlement {
	var all []sponsors.Entitlement
	for _, item := range list(v) {
		name, amount, _ := strings.Cut(item, "=")
		cents, err := strconv.Atoi(amount)
		if err != nil || cents < 0 || !entitlementPattern.MatchString(name) {
			r.fault("SPONSOR_ENTITLEMENTS", "%q is not name=cents; write early-access=500", item)
			continue
		}
		if slices.ContainsFunc(all, func(e sponsors.Entitlement) bool { return e.Name == name }) {
			r.fault("SPONSOR_ENTITLEMENTS", "%s is there twice; keep one", name)
		}
		all = append(all, sponsors.Entitlement{Name: name, Cents: cents})
	}
	return all
}

// webhookSecrets refuses what could be guessed: anybody can send deliveries.
func (r *reader) webhookSecrets(v string) []string {
	secrets := list(v)
	if v != "" && len(secrets) == 0 {
		r.fault("GITHUB_WEBHOOK_SECRET", "there is no secret between the commas")
	}
	for i, secret := range secrets {
		if len(secret) < minWebhookSecret {
			r.fault("GITHUB_WEBHOOK_SECRET", "secret %d has %d bytes, at least %d are needed; make one with: openssl rand -hex 32", i+1, len(secret), minWebhookSecret)
		}
	}
	return secrets
}

const minWebhookSecret = 16

// hostPort tells whether v is a host and the number of a port.
func hostPort(v string) bool {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
