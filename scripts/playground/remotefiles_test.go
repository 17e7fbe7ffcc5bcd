package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// A server that is started with these files speaks TLS as the host that was
// named, and lets in whom it should.
func TestRemoteFiles(t *testing.T) {
	t.Parallel()
	buildFolder(t) // there is a server
	flavor, err := redistest.Default()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := writeRemoteFiles(dir, "remote"); err != nil {
		t.Fatal(err)
	}
	port, err := redistest.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Release()
	// In place of the container's port and of its volume.
	conf := strings.NewReplacer("bind * -::*", "bind 127.0.0.1", "tls-port 6379", "tls-port "+strconv.Itoa(port.Number), "dir /data", "dir "+dir).
		Replace(readFile(t, dir, remoteConf))
	here := filepath.Join(dir, "here.conf")
	if err := os.WriteFile(here, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := redistest.StartProcess(append(flavor.Command, here), nil, dir, filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(stopGrace); err != nil {
			t.Error(err)
		}
	})

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(readFile(t, dir, "ca.crt")))
	as := func(user, passwordFile string) *redis.Client {
		c := client(&redis.Options{
			Addr: loopback(port.Number), Username: user, Password: strings.TrimSpace(readFile(t, dir, passwordFile)),
			TLSConfig: &tls.Config{RootCAs: pool, ServerName: "remote", MinVersion: tls.VersionTLS12},
		})
		t.Cleanup(func() { c.Close() })
		return c
	}
	sponsor := as(redistest.EnterpriseUser, "sponsor.password")
	redistest.Eventually(t, 10*time.Second, func() error { return sponsor.SAdd(t.Context(), "k", "v").Err() })
	if err := sponsor.ConfigGet(t.Context(), "*").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("CONFIG GET of the sponsor's user: error %v, want NOPERM", err)
	}
	if err := as("", adminPassword).ConfigGet(t.Context(), "dir").Err(); err != nil {
		t.Errorf("CONFIG GET of the admin: %v", err)
	}
}

// Whoever has read the files goes on with what they say.
func TestRemoteFiles_Once(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeRemoteFiles(dir, "remote"); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, name := range []string{remoteConf, adminPassword, "sponsor.password", "ca.crt", "server.crt", "server.key"} {
		before[name] = readFile(t, dir, name)
	}
	if err := writeRemoteFiles(dir, "remote"); err != nil {
		t.Fatal(err)
	}
	for name, want := range before {
		if got := readFile(t, dir, name); got != want {
			t.Errorf("%s has changed", name)
		}
	}
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
