package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// start runs the program until the test ends, and returns its URL.
func start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), w)
		_ = w.CloseWithError(err)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, url, _ := strings.Cut(strings.TrimSpace(line), " at ")
	return url
}

func send(t *testing.T, method, url, body, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestRun_Settings(t *testing.T) {
	got := make(chan http.Header, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	t.Cleanup(hook.Close)
	url := start(t, "-maintainer-token", "mt", "-webhook-url", hook.URL, "-webhook-secret", "ws")
	if status, body := send(t, http.MethodGet, url+"/api/v3/user", "", "mt"); status != http.StatusOK || !strings.Contains(body, "maintainer-1") {
		t.Errorf("the maintainer's user = %d %s", status, body)
	}
	if status, body := send(t, http.MethodPut, url+"/control/accounts/visitor-1", `{"sponsoring":true}`, ""); status != http.StatusNoContent {
		t.Errorf("control = %d %s", status, body)
	}
	select {
	case h := <-got:
		if h.Get("X-GitHub-Event") != "sponsorship" || h.Get("X-Hub-Signature-256") == "" {
			t.Errorf("the webhook got %v", h)
		}
	default:
		t.Error("the webhook got nothing")
	}
}

// In a container it has to listen where other than itself can reach it.
func TestRun_Anywhere(t *testing.T) {
	url := start(t, "-anywhere", "-listen", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := send(t, http.MethodGet, "http://127.0.0.1:"+port+"/api/v3/user", "", ""); status != http.StatusUnauthorized {
		t.Errorf("a request without a token = %d %s, want %d", status, body, http.StatusUnauthorized)
	}
}

func TestRun_Refuses(t *testing.T) {
	for _, args := range [][]string{
		{"-listen", "0.0.0.0:0"},
		{"-listen", "nowhere"},
		{"-webhook-url", "127.0.0.1:8080"},
		{"-webhook-url", "/webhooks/github"},
		{"-webhook-url", "ftp://127.0.0.1/"},
		{"-colour", "green"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
