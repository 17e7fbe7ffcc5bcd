package remote_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// TestCloseEndsExec: what waits for the remote when the client is closed stops
// waiting, with an error.
func TestCloseEndsExec(t *testing.T) {
	server := redistest.Remote(t, redistest.Config{})
	proxy := redistest.NewProxy(t, server.Addr())
	opts := optionsOf(server)
	opts.Port = proxy.Port()
	client := newClient(t, opts)
	const pipelines = 4
	waiting := func() error {
		return client.Exec(t.Context(), remote.NewCommand("BLPOP", "nothing", 0), remote.NewCommand("SET", "k", "v"))
	}
	failed := make(chan error, pipelines)
	for range pipelines {
		go func() { failed <- waiting() }()
	}
	redistest.Eventually(t, soon, func() error {
		if n := blocked(t, server); n != pipelines {
			return fmt.Errorf("%d pipelines wait, want %d", n, pipelines)
		}
		return nil
	})
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	late := time.NewTimer(5 * time.Second) // the time-out of a read is twice that
	defer late.Stop()
	for range pipelines {
		select {
		case err := <-failed:
			if !errors.As(err, new(*remote.Error)) {
				t.Errorf("Exec that Close has ended: %v, want a *remote.Error", err)
			}
		case <-late.C:
			t.Fatal("Exec has not ended 5 s after Close")
		}
	}
	redistest.Eventually(t, soon, func() error {
		if n := proxy.Connections(); n != 0 {
			return fmt.Errorf("%d connections are left, want none", n)
		}
		return nil
	})
	if err := client.Ping(t.Context()); !errors.As(err, new(*remote.Error)) {
		t.Errorf("Ping after Close: %v, want a *remote.Error", err)
	}
}

func blocked(t *testing.T, server *redistest.Server) int {
	t.Helper()
	n := 0
	for _, line := range clients(t, server) {
		if field(line, "cmd") == "blpop" {
			n++
		}
	}
	return n
}
