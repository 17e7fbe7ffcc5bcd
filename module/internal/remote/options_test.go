package remote_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

func TestAddr(t *testing.T) {
	for _, tt := range []struct {
		host string
		port int
		want string
	}{
		{"remote.example", 6379, "remote.example:6379"},
		{"10.0.0.7", 1, "10.0.0.7:1"},
		{"::1", 6379, "[::1]:6379"},
	} {
		opts := remote.Options{Host: tt.host, Port: tt.port}
		if got := opts.Addr(); got != tt.want {
			t.Errorf("Addr of %s and %d = %s, want %s", tt.host, tt.port, got, tt.want)
		}
		client, err := remote.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := client.Addr(); got != tt.want {
			t.Errorf("Client.Addr of %s and %d = %s, want %s", tt.host, tt.port, got, tt.want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOptionsThatCannotWork: New tells, without the network, which setting is
// wrong.
func TestOptionsThatCannotWork(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	writeFile(t, noPEM, "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n")
	tests := []struct {
		name string
		opts remote.Options
		want []string // in the error; none: it works
	}{
		{"no password file", remote.Options{PasswordFile: missing}, []string{missing, "sponsor.remote-password-file"}},
		{"a folder as password file", remote.Options{PasswordFile: t.TempDir()}, []string{"sponsor.remote-password-file"}},
		{"no CA file", remote.Options{TLS: true, CACert: missing}, []string{missing, "sponsor.remote-cacert"}},
		{"a CA file without a certificate", remote.Options{TLS: true, CACert: noPEM}, []string{noPEM, "sponsor.remote-cacert", "no PEM"}},
		{"a CA file that TLS does not need", remote.Options{CACert: missing}, nil},
		{"a password beside a file", remote.Options{Password: "p", PasswordFile: missing}, []string{"sponsor.remote-password-file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Host, tt.opts.Port = "remote.invalid", 6379
			client, err := remote.New(tt.opts)
			if client != nil {
				defer client.Close()
			}
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("New: %v, want an error with %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("New: %v, want %q in it", err, part)
				}
			}
		})
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
