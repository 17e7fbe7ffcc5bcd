package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// checkHealth runs the program with --health, and with LISTEN_ADDR alone.
func checkHealth(t *testing.T, addr string) (code int, complaint string) {
	t.Helper()
	getenv := func(name string) string {
		return map[string]string{"LISTEN_ADDR": addr}[name]
	}
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), []string{"--health"}, getenv, &stdout, &stderr)
	if stdout.Len() > 0 {
		t.Errorf("stdout = %q, want nothing", stdout.String())
	}
	return code, stderr.String()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	_, port, err := net.SplitHostPort(s.main.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// As the address is written where a server is to listen everywhere.
	for _, addr := range []string{s.main.Addr(), ":" + port, "0.0.0.0:" + port} {
		if code, complaint := checkHealth(t, addr); code != exitOK || complaint != "" {
			t.Errorf("%s: exit code = %d, want %d; complaint %q", addr, code, exitOK, complaint)
		}
	}
	if err := s.redis.Stop(); err != nil {
		t.Fatal(err)
	}
	code, complaint := checkHealth(t, s.main.Addr())
	if code != exitFailed || !strings.Contains(complaint, "not ready: /readyz answers 503") {
		t.Errorf("without Redis: exit code = %d, want %d; complaint %q", code, exitFailed, complaint)
	}
}

func TestHealth_NobodyListens(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if code, complaint := checkHealth(t, addr); code != exitFailed || !strings.Contains(complaint, "not ready") {
		t.Errorf("exit code = %d, want %d; complaint %q", code, exitFailed, complaint)
	}
}

func TestHealth_NoAddress(t *testing.T) {
	t.Parallel()
	if code, complaint := checkHealth(t, "8080"); code != exitSettings || !strings.Contains(complaint, "LISTEN_ADDR") {
		t.Errorf("exit code = %d, want %d; complaint %q", code, exitSettings, complaint)
	}
}
