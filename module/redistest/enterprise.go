package redistest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// EnterpriseUser is the user of the servers that Remote starts.
const EnterpriseUser = "sponsor"

// enterpriseRules are what a database of Redis Enterprise lets its users do,
// as far as redis-sponsor could want it, in rules that all flavors know. The
// order matters: a later rule wins. KEYS, FLUSHALL and FLUSHDB work on Redis
// Enterprise but not here: nobody may send them to a remote by mistake.
var enterpriseRules = []string{
	"~*", "&*",
	"+@all", "-@admin", "-@dangerous",
	"+info", "+restore", "+sort", "+sort_ro",
	// No database but 0, and no moving between databases or servers.
	"-select", "-swapdb", "-move", "-migrate",
	// No replication of the caller's own to wait for.
	"-wait",
	"-module", "-config", "-debug",
	"-client", "+client|id", "+client|info", "+client|getname", "+client|setname", "+client|reply",
	"-acl", "+acl|whoami",
	"-script|debug", "-memory", "+memory|usage",
}

// EnterpriseACL returns the line of redis.conf that adds a user who may do
// only what Redis Enterprise allows.
func EnterpriseACL(l Login) string {
	return "user " + l.User + " reset on >" + l.Password + " " + strings.Join(enterpriseRules, " ")
}

// RemoteConfig fills in what makes cfg a stand-in for Redis Enterprise: TLS
// with certificates in dir, a password for the default user, who is there for
// the test's own eyes, and the user EnterpriseUser, whose password is also in
// the file dir/sponsor.password. What cfg has already stays.
func RemoteConfig(cfg Config, dir string) (Config, error) {
	if cfg.Name == "" {
		cfg.Name = "remote"
	}
	if cfg.TLS == nil {
		c, err := NewTLS(dir)
		if err != nil {
			return Config{}, err
		}
		cfg.TLS = c
	}
	if cfg.Password == "" {
		cfg.Password = rand.Text()
	}
	if cfg.Enterprise == nil {
		cfg.Enterprise = &Login{User: EnterpriseUser, Password: rand.Text()}
	}
	return cfg, os.WriteFile(PasswordFile(dir), []byte(cfg.Enterprise.Password+"\n"), 0o600)
}

// PasswordFile returns where RemoteConfig puts the password in dir.
func PasswordFile(dir string) string { return filepath.Join(dir, "sponsor.password") }

// Remote starts a stand-in for Redis Enterprise as RemoteConfig describes it.
func Remote(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg, err := RemoteConfig(cfg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return New(t, cfg)
}

// PasswordFile returns the file with the password of the user
// Config.Enterprise, for a server whose configuration RemoteConfig made.
func (s *Server) PasswordFile() string {
	return PasswordFile(filepath.Dir(s.cfg.TLS.CAFile))
}

// Login returns the user of Config.Enterprise, or the default user if there
// is none.
func (s *Server) Login() Login {
	if e := s.cfg.Enterprise; e != nil {
		return *e
	}
	return Login{User: "default", Password: s.cfg.Password}
}

// RemoteConf are the lines of redis.conf by which the module finds remote, by way of
// host and port.
func RemoteConf(remote *Server, host string, port int) []string {
	return []string{
		"sponsor.remote-host " + host,
		fmt.Sprintf("sponsor.remote-port %d", port),
		"sponsor.remote-username " + remote.Login().User,
		"sponsor.remote-password-file " + remote.PasswordFile(),
		"sponsor.remote-tls yes",
		"sponsor.remote-cacert " + remote.TLS().CAFile,
	}
}
