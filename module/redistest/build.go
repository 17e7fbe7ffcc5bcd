package redistest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Module returns the path of build/sponsor.so, for Config.Modules.
func Module(t testing.TB) string {
	t.Helper()
	return built(t, "sponsor.so")
}

// FaultModule returns the path of build/sponsor-fault.so: the same module
// built with the tag fault, which fails where a test tells it to.
func FaultModule(t testing.TB) string {
	t.Helper()
	return built(t, "sponsor-fault.so")
}

// built returns the path of a file that make build makes. Tests do not build:
// make test does so before it runs them.
func built(t testing.TB, name string) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "build", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("build/%s is missing: run make build, or run the tests with make test", name)
	}
	return path
}

// repository returns the folder of our go.mod, seen from the working
// directory; go test runs a test in its package's folder.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no go.mod in or above the working directory")
		}
		dir = parent
	}
}
