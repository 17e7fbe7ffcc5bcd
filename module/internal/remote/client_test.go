package remote_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// soon is how long a test waits for what takes milliseconds on an idle machine.
const soon = 20 * time.Second

// optionsOf lead to server, as its user of Redis Enterprise if it has one.
func optionsOf(server *redistest.Server) remote.Options {
	opts := remote.Options{Host: server.Host(), Port: server.Port()}
	if server.Config().Enterprise != nil {
		opts.Username, opts.PasswordFile = server.Login().User, server.PasswordFile()
	}
	if server.TLS() != nil {
		opts.TLS, opts.CACert = true, server.TLS().CAFile
	}
	return opts
}

func newClient(t *testing.T, opts remote.Options) *remote.Client {
	t.Helper()
	client, err := remote.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // the test may have closed it
	return client
}

func must(t *testing.T, c *redis.Client, args ...any) {
	t.Helper()
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// wantUnanswered wants an *Error of addr with each of parts.
func wantUnanswered(t *testing.T, err error, addr string, parts ...string) {
	t.Helper()
	var explained *remote.Error
	if !errors.As(err, &explained) {
		t.Fatalf("error = %v, want a *remote.Error with %q", err, parts)
	}
	if explained.Addr != addr {
		t.Errorf("error names %s, want %s", explained.Addr, addr)
	}
	for _, part := range append(parts, addr) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error = %v, want %q in it", err, part)
		}
	}
}

// TestExecAnswersEach: what the remote refuses is the answer to one command and
// no error of the others.
func TestExecAnswersEach(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	must(t, server.Client(), "SET", "string", "text")
	must(t, server.Client(), "HSET", "hash", "f", "\xff\x00\r\n")
	tests := []struct {
		name string
		args []any
		want any
		err  string // the beginning of the refusal; none: answered
	}{
		{"bytes", []any{"SADD", "set", []byte("\xff"), "b"}, int64(2), ""},
		{"wrong type", []any{"SADD", "string", "a"}, nil, "WRONGTYPE"},
		{"wrong arity", []any{"SADD", "set"}, nil, "ERR wrong number"},
		{"nothing", []any{"GET", "nothing"}, nil, redis.Nil.Error()},
		{"no right", []any{"CONFIG", "GET", "*"}, nil, "NOPERM"},
		{"unknown command", []any{"FROBNICATE"}, nil, "ERR unknown command"},
		{"an empty list", []any{"SMEMBERS", "nothing"}, []any{}, ""},
		{"an empty string", []any{"GETRANGE", "nothing", 0, -1}, "", ""},
		{"zero", []any{"SCARD", "nothing"}, int64(0), ""},
		{"flat pairs", []any{"HGETALL", "hash"}, []any{"f", "\xff\x00\r\n"}, ""},
		{"the last of them", []any{"SCARD", "set"}, int64(2), ""},
	}
	client := newClient(t, optionsOf(server))
	cmds := make([]*remote.Command, len(tests))
	for i, tt := range tests {
		cmds[i] = remote.NewCommand(tt.args...)
	}
	if err := client.Exec(t.Context(), cmds...); err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cmds[i].Result()
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("%v = %v, %v; want the error %s", tt.args, got, err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v = %#v, %v; want %#v", tt.args, got, err, tt.want)
			}
		})
	}
}

func TestExecNothing(t *testing.T) {
	client := newClient(t, remote.Options{Host: "remote.invalid", Port: 1})
	if err := client.Exec(t.Context()); err != nil {
		t.Errorf("Exec of no commands: %v", err)
	}
}

// TestEveryCommandRefused: a pipeline whose first command is refused has been
// answered all the same.
func TestEveryCommandRefused(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	must(t, server.Client(), "SET", "string", "text")
	client := newClient(t, optionsOf(server))
	first, second := remote.NewCommand("SADD", "string", "a"), remote.NewCommand("GET", "nothing")
	if err := client.Exec(t.Context(), first, second); err != nil {
		t.Fatalf("Exec: %v, want the answers", err)
	}
	if err := first.Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
		t.Errorf("SADD: %v, want WRONGTYPE", err)
	}
	if err := second.Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET: %v, want nil", err)
	}
}

// TestRemoteThatLetsNobodyIn breaks the way to the remote. Every command of a
// pipeline, and PING, must come back as one error that says what to do: none may
// look as if it had run.
func TestRemoteThatLetsNobodyIn(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	plain := redistest.New(t, redistest.Config{Name: "plain", Password: "secret"})
	gone := redistest.New(t, redistest.Config{Name: "gone"})
	if err := gone.Stop(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other, err := redistest.NewTLS(dir)
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(dir, "wrong")
	writeFile(t, wrong, "not the password\n")
	hangup := redistest.NewProxy(t, gone.Addr())

	tests := []struct {
		name   string
		server *redistest.Server
		change func(*remote.Options)
		want   []string
	}{
		{
			"wrong password", server, func(o *remote.Options) { o.PasswordFile = wrong },
			[]string{"WRONGPASS", "sponsor.remote-password-file", "REDISENT_PWD"},
		},
		{"wrong user", server, func(o *remote.Options) { o.Username = "nobody" }, []string{"WRONGPASS", "sponsor.remote-username"}},
		{
			"wrong password of the default user", plain, func(o *remote.Options) { o.Password = "wrong" },
			[]string{"WRONGPASS", "REDISENT_PWD"},
		},
		{"no password", plain, func(*remote.Options) {}, []string{"NOAUTH", "REDISENT_PWD"}},
		{"nothing listens", gone, func(*remote.Options) {}, []string{"connection refused", "sponsor.remote-port"}},
		{
			"hangs up", gone, func(o *remote.Options) { o.Port = hangup.Port() },
			[]string{"the remote closed the connection", "sponsor.remote-tls yes"},
		},
		{
			"no TLS where it is wanted", server, func(o *remote.Options) { o.TLS = false },
			[]string{"the remote closed the connection", "sponsor.remote-tls yes"},
		},
		{"another authority", server, func(o *remote.Options) { o.CACert = other.CAFile }, []string{"sponsor.remote-cacert"}},
		{"another name", server, func(o *remote.Options) { o.ServerName = "other.example" }, []string{"other.example", "sponsor.remote-server-name"}},
		{"no such host", server, func(o *remote.Options) { o.Host = "host.invalid" }, []string{"host.invalid", "sponsor.remote-host"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := optionsOf(tt.server)
			tt.change(&opts)
			client := newClient(t, opts)
			for _, n := range []int{1, 3} {
				cmds := make([]*remote.Command, n)
				for i := range cmds {
					cmds[i] = remote.NewCommand("SET", fmt.Sprintf("key:%d", i), "v")
				}
				wantUnanswered(t, client.Exec(t.Context(), cmds...), opts.Addr(), tt.want...)
			}
			wantUnanswered(t, client.Ping(t.Context()), opts.Addr(), tt.want...)
			if tt.server != gone {
				if n := tt.server.Client().DBSize(t.Context()).Val(); n != 0 {
					t.Errorf("%d keys came through, want none", n)
				}
			}
		})
	}
}

func TestServerName(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	opts := optionsOf(server)
	opts.ServerName = "localhost" // the certificate bears it too
	if err := newClient(t, opts).Ping(t.Context()); err != nil {
		t.Errorf("with a name of the certificate: %v", err)
	}
}

// TestPingWithoutTheRight: a refusal of PING is an error of Ping.
func TestPingWithoutTheRight(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	must(t, server.Client(), "ACL", "SETUSER", redistest.EnterpriseUser, "-ping")
	opts := optionsOf(server)
	wantUnanswered(t, newClient(t, opts).Ping(t.Context()), opts.Addr(), "NOPERM", "lacks a right")
}

// TestNoAnswerInTime bounds a call by its context.
func TestNoAnswerInTime(t *testing.T) {
	server := redistest.New(t, redistest.Config{})
	proxy := redistest.NewProxy(t, server.Addr())
	client := newClient(t, remote.Options{Host: proxy.Host(), Port: proxy.Port()})
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Silent()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	wantUnanswered(t, client.Ping(ctx), proxy.Addr(), "no answer in time")
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("Ping took %v with a context of 100 ms", took)
	}
	if err := proxy.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("after the remote is back: %v", err)
	}
}
