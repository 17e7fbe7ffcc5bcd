package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// The files of a stand-in for Redis Enterprise in a container, beside those that
// redistest makes.
const (
	remoteConf    = "remote.conf"
	adminPassword = "admin.password" // of the default user, for an admin's eyes
)

// writeRemoteFiles makes what such a stand-in needs in dir: certificates for host
// and for this machine, passwords, and redis.conf, which names the files by dir.
// It does nothing if redis.conf, which is written last, is there: the others have
// read their copies already.
func writeRemoteFiles(dir, host string) error {
	conf := filepath.Join(dir, remoteConf)
	if _, err := os.Stat(conf); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, err := redistest.NewTLS(dir, host, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	cfg, err := redistest.RemoteConfig(redistest.Config{TLS: c}, dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, adminPassword), []byte(cfg.Password+"\n"), 0o600); err != nil {
		return err
	}
	lines := []string{
		"bind * -::*",
		"port 0",
		"tls-port 6379",
		"tls-cert-file " + strconv.Quote(c.CertFile),
		"tls-key-file " + strconv.Quote(c.KeyFile),
		"tls-ca-cert-file " + strconv.Quote(c.CAFile),
		"tls-auth-clients no",
		"dir /data",
		"appendonly yes",
		`save ""`,
		"requirepass " + strconv.Quote(cfg.Password),
		redistest.EnterpriseACL(*cfg.Enterprise),
	}
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the remote's redis.conf: %w", err)
	}
	return nil
}
