package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// ErrNoServer says that a server program is not on this machine. Its message
// tells how to get it.
var ErrNoServer = errors.New("server program not found")

// newer are the flavors that scripts/newer-servers unpacks below
// build/servers, and the program of each.
var newer = []struct{ name, program string }{
	{"redis-8.0", "redis-server"},
	{"valkey-8.1", "valkey-server"},
}

// Flavor is one server program to test on. The zero Flavor means Default.
type Flavor struct {
	// Name is the product and its series, such as redis-7.0.
	Name string
	// Command starts the server; the path of a configuration file and
	// options are appended to it.
	Command []string
}

// String returns the name.
func (f Flavor) String() string { return f.Name }

// Default returns the redis-server on the PATH. The error is ErrNoServer if
// there is none.
func Default() (Flavor, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return Flavor{}, fmt.Errorf("%w: no redis-server on the PATH: run scripts/setup, or install the package redis-server", ErrNoServer)
	}
	name, err := nameOf(path)
	if err != nil {
		return Flavor{}, err
	}
	return Flavor{Name: name, Command: []string{path}}, nil
}

// Flavors returns every flavor that is here, Default first. On a machine with
// CI=true one that is missing fails the test; elsewhere it is left out, and
// the test is skipped if that leaves none.
func Flavors(t testing.TB) []Flavor {
	t.Helper()
	var flavors []Flavor
	if f, err := Default(); err != nil {
		missing(t, err)
	} else {
		flavors = append(flavors, f)
	}
	for _, n := range newer {
		f, err := unpacked(n.name, n.program)
		if err != nil {
			if onCI() {
				t.Fatal(err)
			}
			t.Log(err)
			continue
		}
		if len(flavors) > 0 && flavors[0].Name == f.Name {
			continue // the distribution is as new as that itself
		}
		flavors = append(flavors, f)
	}
	return flavors
}

// Each runs f as a subtest on every one of Flavors.
func Each(t *testing.T, f func(t *testing.T, flavor Flavor)) {
	t.Helper()
	for _, flavor := range Flavors(t) {
		t.Run(flavor.Name, func(t *testing.T) { f(t, flavor) })
	}
}

// unpacked returns the flavor that scripts/newer-servers has put in place.
func unpacked(name, program string) (Flavor, error) {
	root, err := repository()
	if err != nil {
		return Flavor{}, err
	}
	path := filepath.Join(root, "build", "servers", name, program)
	if _, err := os.Stat(path); err != nil {
		return Flavor{}, fmt.Errorf("%w: %s is not unpacked: run scripts/newer-servers", ErrNoServer, name)
	}
	return Flavor{Name: name, Command: []string{path}}, nil
}

// seriesPattern finds the series in what a server prints for --version, for
// example "Redis server v=7.0.15 sha=…" or "Valkey server v=8.1.1 sha=…".
var seriesPattern = regexp.MustCompile(`v=(\d+\.\d+)\.`)

func nameOf(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	m := seriesPattern.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s --version: no version in %q", path, out)
	}
	product := "redis"
	if regexp.MustCompile(`(?i)valkey`).Match(out) {
		product = "valkey"
	}
	return product + "-" + string(m[1]), nil
}

// missing ends the test: a failure where CI=true, else a skip.
func missing(t testing.TB, err error) {
	t.Helper()
	if onCI() {
		t.Fatal(err)
	}
	t.Skip(err)
}

func onCI() bool { return os.Getenv("CI") == "true" }
