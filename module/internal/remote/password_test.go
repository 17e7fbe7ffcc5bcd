package remote_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestPasswordFile: line ends behind the password are no part of it; everything
// else is.
func TestPasswordFile(t *testing.T) {
	tests := []struct {
		name, password, file string
		works                bool
	}{
		{"as it is", "s3cret", "s3cret", true},
		{"with a line end", "s3cret", "s3cret\n", true},
		{"with a line end of Windows", "s3cret", "s3cret\r\n", true},
		{"with several", "s3cret", "s3cret\n\r\n\n", true},
		{"a space behind is part of it", "s3cret ", "s3cret \n", true},
		{"a space behind is not dropped", "s3cret", "s3cret \n", false},
		{"a space before is part of it", " s3cret", " s3cret\n", true},
		{"any bytes", "\xff:@/%20\"'", "\xff:@/%20\"'\n", true},
		{"two lines are one password", "one\ntwo", "one\ntwo\n", true},
	}
	server := redistest.New(t, redistest.Config{Name: "remote"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			must(t, server.Client(), "ACL", "SETUSER", "u", "reset", "on", ">"+tt.password, "~*", "+@all")
			file := filepath.Join(t.TempDir(), "password")
			writeFile(t, file, tt.file)
			client := newClient(t, remote.Options{Host: server.Host(), Port: server.Port(), Username: "u", PasswordFile: file})
			who := remote.NewCommand("ACL", "WHOAMI")
			err := client.Exec(t.Context(), who)
			if (err == nil) != tt.works {
				t.Fatalf("Exec: %v, want it to work: %v", err, tt.works)
			}
			if err == nil && who.Val() != "u" {
				t.Errorf("we are %v, want u", who.Val())
			}
		})
	}
}

// TestNoPassword: a user without a password would be the default user, in silence.
func TestNoPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, "\n")
	for name, opts := range map[string]remote.Options{
		"an empty file":              {Host: "127.0.0.1", Port: 1, PasswordFile: file},
		"a user and an empty file":   {Host: "127.0.0.1", Port: 1, Username: "u", PasswordFile: file},
		"a user and nothing besides": {Host: "127.0.0.1", Port: 1, Username: "u"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := remote.New(opts); err == nil || !strings.Contains(err.Error(), "sponsor.remote-password-file") {
				t.Errorf("New: %v, want an error that names the setting", err)
			}
		})
	}
}

func TestPasswordBesideTheFile(t *testing.T) {
	server := redistest.New(t, redistest.Config{Name: "remote", Password: "in the file"})
	opts := remote.Options{Host: server.Host(), Port: server.Port(), Password: "in the file"}
	if err := newClient(t, opts).Ping(t.Context()); err != nil {
		t.Errorf("with the password itself: %v", err)
	}
	opts.PasswordFile, opts.Password = filepath.Join(t.TempDir(), "password"), "another"
	writeFile(t, opts.PasswordFile, "in the file\n")
	if err := newClient(t, opts).Ping(t.Context()); err != nil {
		t.Errorf("the file does not count first: %v", err)
	}
}

// TestPasswordIsRotated: a new connection reads the file again.
func TestPasswordIsRotated(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	opts := optionsOf(server)
	client := newClient(t, opts)
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, server.Client(), "ACL", "SETUSER", redistest.EnterpriseUser, "resetpass", ">rotated")
	must(t, server.Client(), "CLIENT", "KILL", "USER", redistest.EnterpriseUser)
	// The pool may have to find out first that its connection is gone.
	redistest.Eventually(t, soon, func() error {
		err := client.Ping(t.Context())
		if err == nil {
			t.Fatal("the old password still works")
		}
		return wantText(err, "WRONGPASS")
	})
	writeFile(t, opts.PasswordFile, "rotated\n")
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("with the new password in the file: %v", err)
	}

	must(t, server.Client(), "CLIENT", "KILL", "USER", redistest.EnterpriseUser)
	if err := os.Remove(opts.PasswordFile); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, soon, func() error {
		return wantText(client.Exec(t.Context(), remote.NewCommand("SET", "k", "v")), "sponsor.remote-password-file")
	})
	if n := server.Client().DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys came through without a password, want none", n)
	}
}
