package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// asProgram makes the test binary be the program, for tests that need one they
// can kill.
const asProgram = "PLAYGROUND_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// buildFolder returns the folder of what make build makes. Without it, or
// without a server, the test is skipped, or fails where CI=true.
func buildFolder(t *testing.T) string {
	t.Helper()
	absent := t.Skipf
	if os.Getenv("CI") == "true" {
		absent = t.Fatalf
	}
	if _, err := redistest.Default(); err != nil {
		absent("%v", err)
	}
	build, err := filepath.Abs("../../build")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&world{cfg: config{build: build}}).checkBuild(); err != nil {
		absent("%v", err)
	}
	return build
}

// testEnviron is the environment of a person who has set nothing but more.
func testEnviron(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LISTEN_ADDR=127.0.0.1:0"}, more...)
}

// log collects output for a test that fails.
type log struct {
	t *testing.T
	strings.Builder
}

func newLog(t *testing.T) *log {
	l := &log{t: t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("it printed:\n%s", l.String())
		}
	})
	return l
}
