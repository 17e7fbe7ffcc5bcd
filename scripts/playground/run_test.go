package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

const runTimeout = 30 * time.Second

// running is the subcommand run under test.
type running struct {
	t      *testing.T
	stdout syncLog
	stderr syncLog
	cancel context.CancelFunc
	code   chan int
}

// syncLog is output that a test reads while it grows.
type syncLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startRun runs playground run until the world stands.
func startRun(t *testing.T, environ ...string) *running {
	t.Helper()
	build := buildFolder(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, cancel: cancel, code: make(chan int, 1)}
	var work sync.WaitGroup
	work.Go(func() { r.code <- run(ctx, build, []string{"run"}, testEnviron(environ...), &r.stdout, &r.stderr) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
		if t.Failed() {
			t.Logf("it printed:\n%s%s", r.stdout.String(), r.stderr.String())
		}
	})
	redistest.Eventually(t, runTimeout, func() error {
		if complaint := r.stderr.String(); complaint != "" {
			t.Fatal(complaint)
		}
		if !strings.Contains(r.stdout.String(), "stops everything") {
			return errors.New("the introduction is not complete")
		}
		return nil
	})
	return r
}

// end waits for the exit code.
func (r *running) end() int {
	r.t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(runTimeout):
		r.t.Fatal("run does not end")
		return 0
	}
}

var (
	urlPattern  = regexp.MustCompile(`(?m)^  (http://\S+)/$`)
	linePattern = regexp.MustCompile(`(?m)^  (.*\bredis-cli .*)$`)
)

func (r *running) url() string {
	r.t.Helper()
	m := urlPattern.FindStringSubmatch(r.stdout.String())
	if m == nil {
		r.t.Fatal("no page to open")
	}
	return m[1]
}

// paste has a shell run each line for redis-cli as it stands.
func (r *running) paste() []string {
	r.t.Helper()
	var answers []string
	for _, m := range linePattern.FindAllStringSubmatch(r.stdout.String(), -1) {
		cmd := exec.CommandContext(r.t.Context(), "sh", "-c", m[1])
		cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH")}, r.t.TempDir()
		answer, err := cmd.CombinedOutput()
		if err != nil {
			r.t.Fatalf("%s: %v: %s", m[1], err, answer)
		}
		answers = append(answers, string(answer))
	}
	return answers
}

// pasted checks what the three lines answer when sponsor-1 has signed in.
func (r *running) pasted() {
	r.t.Helper()
	answers := r.paste()
	if len(answers) != 3 {
		r.t.Fatalf("%d lines for redis-cli, want 3", len(answers))
	}
	for i, want := range []string{"state\nconnected\n", "sponsors\n1\nkeys\n", "9000001\n"} {
		if !strings.Contains(answers[i], want) {
			r.t.Errorf("line %d answers %q, want %q in it", i+1, answers[i], want)
		}
	}
}

func (r *running) signIn(login string) {
	r.t.Helper()
	b, err := newBrowser(r.url())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := b.signIn(r.t.Context(), login); err != nil {
		r.t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	r := startRun(t)
	r.signIn(sponsorLogin)
	r.pasted()
	if strings.Contains(r.stdout.String(), "\x1b") {
		t.Error("the output has colour codes, although it is no terminal")
	}
	url := r.url()
	r.cancel()
	if code := r.end(); code != exitOK {
		t.Errorf("exit code = %d, want %d", code, exitOK)
	}
	if response, err := http.Get(url); err == nil {
		response.Body.Close()
		t.Errorf("the API still answers %s", response.Status)
	}
}

// TestRun_TheRealThing plays the real remote and the real GitHub by others that
// run does not start.
func TestRun_TheRealThing(t *testing.T) {
	t.Parallel()
	build := buildFolder(t)
	remote := redistest.Remote(t, redistest.Config{Name: "real"})
	other := &world{cfg: config{build: build, org: "real-org", listen: "127.0.0.1:0"}, dir: t.TempDir(), free: func() {}}
	t.Cleanup(func() {
		if err := other.close(); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(other.chooseAddress(t.Context()), other.startGitHub(t.Context())); err != nil {
		t.Fatal(err)
	}
	other.free()
	secret := filepath.Join(t.TempDir(), "it's secret")
	if err := os.WriteFile(secret, []byte(remote.Login().Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"REDISENT_PWD=" + remote.Login().Password, "REDISENT_PWD_FILE=" + secret} {
		name, _, _ := strings.Cut(password, "=")
		t.Run(name, func(t *testing.T) {
			r := startRun(t, password,
				"REDISENT_HOST=localhost", fmt.Sprintf("REDISENT_PORT=%d", remote.Port()), "REDISENT_USER="+remote.Login().User,
				"REDISENT_TLS=yes", "REDISENT_CACERT="+remote.TLS().CAFile, "REDISENT_SNI=localhost",
				"GITHUB_CLIENT_ID="+clientID, "GITHUB_SECRET="+clientSecret, "GITHUB_URL="+other.hub, "SPONSOR_ORG=real-org")
			r.signIn(sponsorLogin)
			r.pasted()
			if strings.Contains(r.stdout.String(), remote.Login().Password) {
				t.Error("the output shows the password")
			}
			if strings.Contains(r.stdout.String(), "stand-in") {
				t.Error("the output speaks of a stand-in")
			}
			r.cancel()
			if code := r.end(); code != exitOK {
				t.Errorf("exit code = %d, want %d", code, exitOK)
			}
		})
	}
}

func TestRun_AProcessEndsEarly(t *testing.T) {
	t.Parallel()
	r := startRun(t)
	cli := linePattern.FindStringSubmatch(r.stdout.String())[1]
	local := strings.TrimSuffix(cli, "SPONSOR.STATUS")
	// The server ends before it answers.
	_ = exec.CommandContext(t.Context(), "sh", "-c", local+"SHUTDOWN NOSAVE").Run()
	if code := r.end(); code != exitFailed {
		t.Errorf("exit code = %d, want %d", code, exitFailed)
	}
	for _, want := range []string{"the local Redis has ended", "User requested shutdown"} {
		if got := r.stderr.String(); !strings.Contains(got, want) {
			t.Errorf("the complaint lacks %q: %s", want, got)
		}
	}
}

// TestRun_Killed makes sure that nothing outlives a playground that could not
// clean up.
func TestRun_Killed(t *testing.T) {
	t.Parallel()
	build := buildFolder(t)
	folder := t.TempDir()
	program := filepath.Join(folder, "playground")
	for _, name := range []string{"sponsor.so", "sponsor-api", "githubtest"} {
		if err := os.Symlink(filepath.Join(build, name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	// Not a copy: a process that another test forks meanwhile would hold it open
	// for writing, and then it cannot be run.
	if err := os.Link(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	var stdout syncLog
	cmd := exec.CommandContext(t.Context(), program, "run")
	cmd.Env = testEnviron(asProgram+"=yes", "TMPDIR="+folder)
	cmd.Stdout, cmd.Stderr = &stdout, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := sync.OnceValue(func() error { return errors.Join(cmd.Process.Kill(), cmd.Wait()) })
	t.Cleanup(func() { _ = killed() })
	r := &running{t: t}
	redistest.Eventually(t, runTimeout, func() error {
		if !strings.Contains(stdout.String(), "stops everything") {
			return fmt.Errorf("it prints %q", stdout.String())
		}
		return nil
	})
	_, _ = r.stdout.Write([]byte(stdout.String()))
	children := childrenOf(t, cmd.Process.Pid)
	if len(children) != 4 {
		t.Errorf("%d processes run, want 4", len(children))
	}
	_ = killed() // it says that it was killed
	redistest.Eventually(t, runTimeout, func() error {
		for _, pid := range children {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("process %d is still there: %w", pid, err)
			}
		}
		return nil
	})
}

// childrenOf lists the processes that a process has started, by /proc.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for field := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
	}
	return children
}
