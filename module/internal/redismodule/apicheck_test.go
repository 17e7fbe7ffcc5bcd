package redismodule_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestDeclarationsAgainstServers compiles our declarations against the headers
// that the servers come with. make test fetches these.
func TestDeclarationsAgainstServers(t *testing.T) {
	for server, define := range map[string]string{
		"redis-7.0":  "-DREDIS",
		"redis-8.0":  "-DREDIS",
		"valkey-8.1": "-DTHEIR(name)=ValkeyModule##name",
	} {
		headers, err := filepath.Abs(filepath.Join("..", "..", "..", "build", "headers", server))
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []string{"signatures.c", "layout.c"} {
			t.Run(server+"/"+source, func(t *testing.T) {
				if _, err := os.Stat(filepath.Join(headers, "redismodule.h")); err != nil {
					if os.Getenv("CI") == "true" {
						t.Fatalf("no header to check against: %v (scripts/redis-headers fetches it)", err)
					}
					t.Skipf("no header to check against: %v (scripts/redis-headers fetches it)", err)
				}
				cmd := exec.CommandContext(t.Context(), "gcc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Werror",
					define, "-I", headers, filepath.Join("testdata", source))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}
