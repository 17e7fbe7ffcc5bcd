package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestServer_RestartKeepsWhatItSaved(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		s := redistest.New(t, redistest.Config{
			Flavor: flavor,
			Conf:   []string{"appendonly yes", "appendfsync always"},
		})
		client := s.Client()
		addr, socket := s.Addr(), s.Socket()
		for run, end := range []func() error{s.Kill, s.Stop, func() error { return nil }} {
			if err := client.Incr(t.Context(), "runs").Err(); err != nil {
				t.Fatal(err)
			}
			pid, exited := s.PID(), s.Exited()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-exited
			if s.PID() == pid || !s.Alive() {
				t.Errorf("run %d: pid %d before, %d after, alive %v", run, pid, s.PID(), s.Alive())
			}
			if got, err := client.Get(t.Context(), "runs").Int(); err != nil || got != run+1 {
				t.Errorf("run %d: runs = %d, %v, want %d", run, got, err, run+1)
			}
		}
		if s.Addr() != addr || s.Socket() != socket {
			t.Errorf("moved from %s, %s to %s, %s", addr, socket, s.Addr(), s.Socket())
		}
	})
}

func TestServer_KeepsItsPortWhileDown(t *testing.T) {
	s := redistest.New(t, redistest.Config{})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if s.Alive() {
		t.Error("alive after Kill")
	}
	for range 5 {
		if other := redistest.New(t, redistest.Config{}); other.Port() == s.Port() {
			t.Fatalf("port %d given twice", s.Port())
		}
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestServer_DirIsKept(t *testing.T) {
	dir := t.TempDir()
	for run := range 2 {
		s, err := redistest.Start(t.Context(), redistest.Config{Dir: dir, Conf: []string{"appendonly yes"}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Client().Incr(t.Context(), "runs").Result(); err != nil || got != int64(run+1) {
			t.Errorf("runs = %d, %v, want %d", got, err, run+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.Socket()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("socket after Close: %v", err)
		}
	}
}

func TestStart_TellsWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  redistest.Config
		want string
	}{
		{"unknown directive", redistest.Config{Conf: []string{"no-such-directive 1"}}, "no-such-directive"},
		{"missing module", redistest.Config{Modules: []string{"/nowhere/x.so"}}, "/nowhere/x.so"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := redistest.Start(t.Context(), test.cfg)
			if err == nil {
				t.Fatal("started", s.Close())
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not name %s", err, test.want)
			}
		})
	}
}

func TestServer_Environment(t *testing.T) {
	t.Setenv("REDISENT_HOST", "leaks.example")
	flavor, err := redistest.Default()
	if err != nil {
		t.Skip(err)
	}
	flavor.Command = []string{"/bin/sh", "-c", `env >environment; exec "$0" "$@"`, flavor.Command[0]}
	s := redistest.New(t, redistest.Config{Flavor: flavor, Env: []string{"SPONSOR_ORG=one"}})
	s.SetEnv("SPONSOR_ORG=two")
	for _, want := range []string{"SPONSOR_ORG=one\n", "SPONSOR_ORG=two\n"} {
		env, err := os.ReadFile(filepath.Join(s.Dir(), "environment"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(env), want) || strings.Contains(string(env), "leaks.example") {
			t.Errorf("environment %q, want %q and no REDISENT_HOST", env, want)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServer_CLI(t *testing.T) {
	s := redistest.New(t, redistest.Config{Password: "p w"})
	if got, err := s.CLI(t.Context(), "SET", "k", "a b"); err != nil || got != "OK" {
		t.Fatalf("SET = %q, %v", got, err)
	}
	if got, err := s.CLI(t.Context(), "GET", "k"); err != nil || got != "a b" {
		t.Errorf("GET = %q, %v", got, err)
	}
	if got, err := s.CLI(t.Context(), "-e", "INCR", "k"); err == nil {
		t.Errorf("INCR = %q, want an error", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.CLI(ctx, "BLPOP", "nothing", "0"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("BLPOP: %v, want the deadline", err)
	}
}

func TestServer_Monitor(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		s := redistest.New(t, redistest.Config{Flavor: flavor, Password: "secret"})
		m := s.Monitor(t)
		client := s.Client()
		for i := range 100 {
			if err := client.Set(t.Context(), fmt.Sprintf("k%d", i), i, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.Matching(`"set"`); len(got) != 100 || !strings.Contains(got[99], `"set" "k99" "99"`) {
			t.Errorf("%d lines, last %q", len(got), got[max(0, len(got)-1):])
		}
		m.Reset()
		if got := m.Lines(); len(got) != 0 {
			t.Errorf("after Reset: %q", got)
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if got := m.Lines(); len(got) != 0 {
			t.Errorf("after Kill: %q", got)
		}
	})
}

func TestServer_ClusterMode(t *testing.T) {
	s := redistest.New(t, redistest.Config{Conf: []string{"cluster-enabled yes"}})
	info, err := s.Client().Info(t.Context(), "cluster").Result()
	if err != nil || !strings.Contains(info, "cluster_enabled:1") {
		t.Errorf("INFO cluster = %q, %v", info, err)
	}
}

// TestServer_DiesWithItsStarter starts a server in a process of its own and
// kills that.
func TestServer_DiesWithItsStarter(t *testing.T) {
	const variable = "REDISTEST_STARTER"
	if dir := os.Getenv(variable); dir != "" {
		s, err := redistest.Start(t.Context(), redistest.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pid"), fmt.Append(nil, s.PID()), 0o600); err != nil {
			t.Fatal(err)
		}
		<-s.Exited()
		return
	}
	dir := t.TempDir()
	starter := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServer_DiesWithItsStarter$")
	starter.Env = append(os.Environ(), variable+"="+dir, "TMPDIR="+t.TempDir())
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var pid string
	redistest.Eventually(t, 20*time.Second, func() error {
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		pid = string(text)
		if err == nil && pid == "" {
			err = errors.New("empty")
		}
		return err
	})
	if _, err := os.Stat("/proc/" + pid); err != nil {
		t.Fatalf("the server %s is not there: %v", pid, err)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // it was killed
	redistest.Eventually(t, 10*time.Second, func() error {
		// A process whose parent does not wait for it stays as a zombie.
		// No status at all is what it has when it is gone.
		status, _ := os.ReadFile("/proc/" + pid + "/status")
		if len(status) > 0 && !strings.Contains(string(status), "State:\tZ") {
			return fmt.Errorf("the server %s has outlived its starter", pid)
		}
		return nil
	})
}

func TestFlavors_AreWhatTheySay(t *testing.T) {
	redistest.Each(t, func(t *testing.T, flavor redistest.Flavor) {
		s := redistest.New(t, redistest.Config{Flavor: flavor})
		info, err := s.Client().Info(t.Context(), "server").Result()
		if err != nil {
			t.Fatal(err)
		}
		product, series, _ := strings.Cut(flavor.Name, "-")
		if !strings.Contains(info, "\n"+product+"_version:"+series+".") {
			t.Errorf("%s says\n%s", flavor, info)
		}
	})
}

func TestEventually_ReportsTheLastError(t *testing.T) {
	fake := &recorder{TB: t}
	done := make(chan struct{})
	calls := 0
	go func() {
		defer close(done) // Fatalf ends the goroutine
		redistest.Eventually(fake, 50*time.Millisecond, func() error {
			calls++
			return fmt.Errorf("call %d", calls)
		})
	}()
	<-done
	if want := fmt.Sprintf("call %d", calls); calls < 2 || !slices.ContainsFunc(fake.fatal, func(s string) bool { return strings.Contains(s, want) }) {
		t.Errorf("%d calls, reported %q", calls, fake.fatal)
	}
}
