package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	build := buildFolder(t)
	stdout, stderr := newLog(t), newLog(t)
	// The story must not touch what a person has set up for run.
	environ := testEnviron("REDISENT_HOST=192.0.2.1", "GITHUB_CLIENT_ID=real", "GITHUB_URL=https://github.invalid", "SPONSOR_ORG=some-org")
	if code := run(t.Context(), build, []string{"demo"}, environ, stdout, stderr); code != exitOK {
		t.Fatalf("exit code = %d, want %d", code, exitOK)
	}
	for i, st := range steps {
		if line := fmt.Sprintf("%2d %-8s %s\n", i+1, st.name, st.does); !strings.Contains(stdout.String(), line) {
			t.Errorf("the output lacks the line %q", line)
		}
	}
	if strings.Contains(stdout.String(), "\x1b") {
		t.Error("the output has colour codes, although it is no terminal")
	}
	if stderr.Len() > 0 {
		t.Error("there are complaints")
	}
}

func TestDemo_NamesTheStepThatFailed(t *testing.T) {
	t.Parallel()
	build := buildFolder(t)
	stdout, stderr := newLog(t), newLog(t)
	environ := testEnviron("LISTEN_ADDR=" + takenPort(t))
	if code := run(t.Context(), build, []string{"demo"}, environ, stdout, stderr); code != exitFailed {
		t.Errorf("exit code = %d, want %d", code, exitFailed)
	}
	if want := "playground: step 1 (start) did not hold: start the API: it ended"; !strings.Contains(stderr.String(), want) {
		t.Errorf("the complaint lacks %q", want)
	}
}

// takenPort returns an address that somebody listens on until the test ends.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
