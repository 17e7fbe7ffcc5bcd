package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

func TestParse(t *testing.T) {
	for _, args := range []string{"-x", "more", "-for 1s", "-for soon", "-kill-every 1ms", "-sponsors 0", "-rate 0", "-seed -1"} {
		var stderr strings.Builder
		if code := run(t.Context(), t.TempDir(), strings.Fields(args), io.Discard, &stderr); code != exitUsage {
			t.Errorf("soak %s = %d, want %d", args, code, exitUsage)
		}
		if !strings.Contains(stderr.String(), "usage: soak") {
			t.Errorf("soak %s says %q", args, stderr.String())
		}
	}
	o, _, ok := parse(strings.Fields("-for 30m -kill-every 1m -seed 7 -flavor valkey-8.1 -sponsors 9 -rate 50"), io.Discard)
	want := options{length: 30 * time.Minute, killEvery: time.Minute, seed: 7, flavor: "valkey-8.1", sponsors: 9, rate: 50}
	if !ok || o != want {
		t.Errorf("options = %+v, %v; want %+v", o, ok, want)
	}
}

func TestRun_FailsWithoutTheBuilds(t *testing.T) {
	var stderr strings.Builder
	if code := run(t.Context(), t.TempDir(), nil, io.Discard, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "make build") {
		t.Errorf("exit code = %d, %s", code, stderr.String())
	}
}

// soaked runs a short soak, with a little of everything, and returns what it prints. The
// folder that a failed one keeps is removed.
func soaked(ctx context.Context, t *testing.T, s *soak) (string, error) {
	t.Helper()
	redistest.Module(t) // says what to do if it is not built
	if _, err := redistest.Default(); err != nil {
		t.Skip(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	build, err := filepath.Abs(filepath.Join("..", "..", "build"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s.build, s.out = build, &out
	err = s.run(ctx)
	left, listErr := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	if listErr != nil {
		t.Fatal(listErr)
	}
	if kept := err != nil; kept != (len(left) > 0) {
		t.Errorf("after %v these are left: %v", err, left)
	}
	return out.String(), err
}

func short(length time.Duration) options {
	return options{length: length, killEvery: time.Second, seed: 1, sponsors: 20, rate: 300}
}

// TestSoak is all of it, in a few seconds.
func TestSoak(t *testing.T) {
	out, err := soaked(t.Context(), t, &soak{options: short(shortest)})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`seed 1\n`, `kill local`, `\| module: lost +\| 0`, `[1-9]\d* keys checked`, `young, late to old, late`, `wrong: 0; flat: yes`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("it does not print %s:\n%s", want, out)
		}
	}
}

// TestSoak_FindsSabotage: what was done behind the module's back, just before the end, is
// found and named. A person ends this soak, by Ctrl-C.
func TestSoak_FindsSabotage(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	want := []string{
		"stopped; now everything is verified",
		`the remote has "user:outsider-1:mnodes", which belongs to no sponsor`,
		"the log of other.log:\npanic: no",
		"wrong: ",
	}
	sabotage := func(ctx context.Context, w *world) error {
		keys, err := w.remote.db.Keys(ctx, "user:*:mnodes").Result()
		if err == nil && len(keys) == 0 {
			err = errors.New("the remote has nothing")
		}
		if err != nil {
			return err
		}
		want = append(want, keys[0]+" on the remote:\nwant [")
		return errors.Join(
			w.remote.db.Del(ctx, keys[0]).Err(),
			w.remote.db.SAdd(ctx, "user:"+outsider+"1:mnodes", "a").Err(),
			os.WriteFile(filepath.Join(w.dir, "other.log"), []byte("panic: no"), 0o600),
		)
	}
	out, err := soaked(ctx, t, &soak{
		options: short(time.Minute), sabotage: sabotage,
		loaded: func() { time.AfterFunc(time.Second, stop) },
	})
	if !errors.Is(err, errDiffers) || !strings.Contains(err.Error(), "are kept in "+os.TempDir()) {
		t.Errorf("error = %v, want %v, and where the logs are", err, errDiffers)
	}
	for _, want := range want {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q:\n%s", want, out)
		}
	}
}
