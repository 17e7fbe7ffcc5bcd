// Package scripts_test holds the repository as a whole against its design.
package scripts_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/applied-knowledge-systems/redis-sponsor/"

// goPackage is what we need of go list -json.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// arrow lists what the packages in from may import of our own. A name that
// ends in /... means that folder and all below; the first arrow that fits a
// package counts.
type arrow struct {
	from string
	to   []string
}

// arrows are those of DESIGN section 4, for code that is not a test.
// Everything may use the leaves.
var (
	leaves = []string{"module/keyspace", "module/internal/fault", "module/internal/resp"}
	arrows = []arrow{
		{"module", []string{"module/internal/redismodule", "module/internal/replication"}},
		{"module/internal/replication", []string{"module/internal/journal", "module/internal/remote"}},
		{"module/...", nil},
		{"api/internal/githubtest/...", []string{"api/internal/githubtest/..."}},
		{"api", []string{"api/internal/server", "api/internal/github", "api/internal/session", "api/internal/preferences", "api/internal/sponsors", "api/internal/module", "api/internal/metrics"}},
		{"api/internal/server", []string{"api/internal/github", "api/internal/session", "api/internal/preferences", "api/internal/sponsors", "api/internal/module", "api/internal/metrics"}},
		{"api/internal/sponsors", []string{"api/internal/github"}},
		{"api/internal/preferences", []string{"api/internal/github"}},
		{"api/...", nil},
		{"scripts/...", []string{"module/redistest", "scripts/..."}},
	}
	// testArrows are for the tests of a package, beside its own.
	testArrows = []arrow{
		{"module/...", []string{"module/..."}},
		{"api/...", []string{"api/...", "module/redistest"}},
		{"scripts/...", []string{"scripts/...", "module/redistest"}},
	}
	// cgo may be used here and nowhere else, in tests neither.
	cgo = []string{"module", "module/internal/redismodule"}
)

func TestImportsFollowTheDesign(t *testing.T) {
	packages := slices.Concat(list(t), list(t, "-tags", "fault"))
	if len(packages) == 0 {
		t.Fatal("go list has found no packages")
	}
	for _, p := range packages {
		for _, fault := range faults(p) {
			t.Error(fault)
		}
	}
}

// TestImportsThatDoNot makes sure that the test above can fail.
func TestImportsThatDoNot(t *testing.T) {
	for _, test := range []struct {
		name string
		p    goPackage
		want int
	}{
		{"wiring", own("module", "module/internal/redismodule", "module/keyspace"), 0},
		{"main reaches for the journal", own("module", "module/internal/journal"), 1},
		{"the engine calls the binding", own("module/internal/replication", "module/internal/redismodule"), 1},
		{"the binding calls the engine", own("module/internal/redismodule", "module/internal/replication"), 1},
		{"the remote knows the engine", own("module/internal/remote", "module/internal/replication"), 1},
		{"the key names depend on something", own("module/keyspace", "module/internal/remote"), 1},
		{"the module calls the API", own("module/internal/remote", "api/internal/github"), 1},
		{"the API calls the module", own("api/internal/server", "module/internal/remote"), 1},
		{"the API shares key names", own("api/internal/preferences", "module/keyspace"), 0},
		{"the API serves the stand-in", own("api/internal/server", "api/internal/githubtest"), 1},
		{"preferences know the server", own("api/internal/preferences", "api/internal/server"), 1},
		{"the lab in production", own("module", "module/redistest"), 1},
		{"the lab in a test", goPackage{ImportPath: modulePath + "api/internal/server", XTestImports: []string{modulePath + "module/redistest"}}, 0},
		{"the API in the module's test", goPackage{ImportPath: modulePath + "module", XTestImports: []string{modulePath + "api/internal/github"}}, 1},
		{"cgo in the engine", goPackage{ImportPath: modulePath + "module/internal/replication", Imports: []string{"C", "unsafe"}}, 2},
		{"cgo in the binding", goPackage{ImportPath: modulePath + "module/internal/redismodule", Imports: []string{"C", "unsafe"}}, 0},
		{"unsafe in a test", goPackage{ImportPath: modulePath + "api", TestImports: []string{"unsafe"}}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := faults(test.p); len(got) != test.want {
				t.Errorf("faults = %q, want %d", got, test.want)
			}
		})
	}
}

// own returns a package of ours that imports others of ours.
func own(path string, imports ...string) goPackage {
	p := goPackage{ImportPath: modulePath + path}
	for _, i := range imports {
		p.Imports = append(p.Imports, modulePath+i)
	}
	return p
}

// list returns the packages of the repository. Those that do not compile are
// somebody else's test to fail.
func list(t *testing.T, flags ...string) []goPackage {
	t.Helper()
	args := append([]string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports"}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./...")...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// faults returns what p imports and may not.
func faults(p goPackage) []string {
	from := strings.TrimPrefix(p.ImportPath, modulePath)
	found := forbidden(from, p.Imports, slices.Concat(leaves, targets(arrows, from)))
	inTests := slices.Concat(leaves, targets(arrows, from), targets(testArrows, from))
	for _, imports := range [][]string{p.TestImports, p.XTestImports} {
		found = append(found, forbidden(from, imports, inTests)...)
	}
	return found
}

func forbidden(from string, imports, allowed []string) []string {
	var found []string
	for _, i := range imports {
		to, ours := strings.CutPrefix(i, modulePath)
		switch {
		case i == "C" || i == "unsafe":
			if !slices.Contains(cgo, from) {
				found = append(found, from+" uses "+i)
			}
		case ours && to != from && !slices.ContainsFunc(allowed, func(a string) bool { return fits(a, to) }):
			found = append(found, from+" imports "+to)
		}
	}
	return found
}

func targets(arrows []arrow, from string) []string {
	for _, a := range arrows {
		if fits(a.from, from) {
			return a.to
		}
	}
	return nil
}

func fits(pattern, path string) bool {
	folder, tree := strings.CutSuffix(pattern, "/...")
	return path == folder || tree && strings.HasPrefix(path, folder+"/")
}
