package remote_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func wantText(err error, text string) error {
	if err == nil || !strings.Contains(err.Error(), text) {
		return fmt.Errorf("error = %v, want %q in it", err, text) //nolint:errorlint // it is shown, not handled
	}
	return nil
}

// TestStatesOfTheWholeServer: what a server answers while it cannot serve anybody
// is no answer to a command. Exec fails, so that all is tried again, and works
// when the state has passed.
func TestStatesOfTheWholeServer(t *testing.T) {
	tests := []struct {
		name, code string
		begin, end func(t *testing.T, server *redistest.Server)
	}{
		{
			"a replica", "READONLY",
			func(t *testing.T, server *redistest.Server) {
				must(t, server.Client(), "REPLICAOF", "127.0.0.1", "1")
			},
			func(t *testing.T, server *redistest.Server) { must(t, server.Client(), "REPLICAOF", "NO", "ONE") },
		},
		{
			"a replica that has lost its master", "MASTERDOWN",
			func(t *testing.T, server *redistest.Server) {
				must(t, server.Client(), "CONFIG", "SET", "replica-serve-stale-data", "no", "replica-read-only", "no")
				must(t, server.Client(), "REPLICAOF", "127.0.0.1", "1")
			},
			func(t *testing.T, server *redistest.Server) { must(t, server.Client(), "REPLICAOF", "NO", "ONE") },
		},
		{
			"a long script", "BUSY",
			func(t *testing.T, server *redistest.Server) {
				must(t, server.Client(), "CONFIG", "SET", "lua-time-limit", "1")
				go func(c *redis.Client) { // ends with the script
					_ = c.Eval(context.Background(), "while true do end", nil).Err()
				}(server.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute }))
			},
			func(t *testing.T, server *redistest.Server) { must(t, server.Client(), "SCRIPT", "KILL") },
		},
		{
			"a server that is loading", "LOADING",
			func(t *testing.T, server *redistest.Server) {
				c := server.Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
				must(t, c, "DEBUG", "POPULATE", "2000")
				must(t, c, "CONFIG", "SET", "key-load-delay", "10000", "loading-process-events-interval-bytes", "1024")
				go func() { _ = c.Do(context.Background(), "DEBUG", "RELOAD").Err() }()
			},
			func(t *testing.T, server *redistest.Server) {
				must(t, server.Client(), "CONFIG", "SET", "key-load-delay", "0")
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := redistest.New(t, redistest.Config{Name: "remote"})
			client := newClient(t, optionsOf(server))
			set := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				return client.Exec(ctx, remote.NewCommand("SET", "k", "v"), remote.NewCommand("SET", "k2", "v"))
			}
			if err := set(); err != nil {
				t.Fatal(err)
			}
			tt.begin(t, server)
			var err error
			redistest.Eventually(t, soon, func() error {
				err = set()
				return wantText(err, tt.code)
			})
			wantUnanswered(t, err, server.Addr(), tt.code)
			tt.end(t, server)
			redistest.Eventually(t, soon, set)
		})
	}
}

// TestRefusalsAreOfTheKey: a refusal that speaks of a command, or of a key, is its
// answer, and the others are answered too.
func TestRefusalsAreOfTheKey(t *testing.T) {
	server := redistest.New(t, redistest.Config{Name: "remote"})
	must(t, server.Client(), "ACL", "SETUSER", "u", "reset", "on", ">p", "~allowed", "+@all", "-del")
	opts := optionsOf(server)
	opts.Username, opts.Password = "u", "p"
	client := newClient(t, opts)
	key, command, ok := remote.NewCommand("SET", "other", "v"), remote.NewCommand("DEL", "allowed"), remote.NewCommand("SET", "allowed", "v")
	if err := client.Exec(t.Context(), key, command, ok); err != nil {
		t.Fatalf("Exec: %v, want the answers", err)
	}
	for name, cmd := range map[string]*remote.Command{"a key": key, "a command": command} {
		if err := cmd.Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s without the right: %v, want NOPERM", name, err)
		}
	}
	if err := ok.Err(); err != nil {
		t.Errorf("the allowed command: %v", err)
	}
}

// clients are the lines of CLIENT LIST.
func clients(t *testing.T, server *redistest.Server) []string {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(list), "\n")
}

// field is a field of such a line.
func field(line, name string) string {
	for part := range strings.FieldsSeq(line) {
		if value, ok := strings.CutPrefix(part, name+"="); ok {
			return value
		}
	}
	return ""
}
