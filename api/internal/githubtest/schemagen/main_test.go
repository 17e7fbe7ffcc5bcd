package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestExcerptIsCurrent makes the excerpt again from the npm package and
// compares. It is skipped where npm cannot get the package.
func TestExcerptIsCurrent(t *testing.T) {
	got, err := generate(introspection(t))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../testdata/github-schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the excerpt is not what schemagen makes of %s: see the doc comment of this package", source)
	}
}

// introspection is package/schema.json of the npm package.
func introspection(t *testing.T) []byte {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the npm package; not with -short")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", source)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm cannot get %s: %v\n%s", source, err, out)
	}
	tarballs, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("npm pack left %v (%v), want one .tgz", tarballs, err)
	}
	return fileOf(t, tarballs[0], "package/schema.json")
}

func fileOf(t *testing.T, tarball, name string) []byte {
	t.Helper()
	f, err := os.Open(tarball)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(gz)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s has no %s", source, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != name {
			continue
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}
