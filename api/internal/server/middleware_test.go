package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// No handler is known to panic; one that does answers 500, and the log has the stack
// and not the value.
func TestRecovered(t *testing.T) {
	var log bytes.Buffer
	s := &Server{cfg: Config{Log: slog.New(slog.NewJSONHandler(&log, nil))}}
	web := httptest.NewServer(s.recovered(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("hunter2") })))
	defer web.Close()
	resp, err := http.Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", resp.StatusCode)
	}
	if !strings.Contains(log.String(), "middleware_test.go") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("log %s", &log)
	}
}

// Over HTTP the tests come from this machine only.
func TestFromOperator(t *testing.T) {
	s := &Server{}
	for remote, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "10.1.2.3:1": true, "192.168.1.1:1": true, "[fe80::1%eth0]:1": true, "[fd00::1]:1": true,
		"[::ffff:10.1.2.3]:1": true,
		"203.0.113.1:1":       false, "[2001:db8::1]:1": false, "[::ffff:203.0.113.1]:1": false, "0.0.0.0:1": false, "": false, "@": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.RemoteAddr = remote
		if got := s.fromOperator(r); got != want {
			t.Errorf("fromOperator(%q) = %v, want %v", remote, got, want)
		}
	}
}
