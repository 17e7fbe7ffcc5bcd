package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/redistest"
)

// What make install puts down works from there: a server loads the module by the
// fragment of redis.conf, and the unit starts the program.
func TestInstall(t *testing.T) {
	t.Parallel()
	redistest.Module(t) // it must be built
	root := t.TempDir()
	install := exec.CommandContext(t.Context(), "make", "-C", "..", "install", "DESTDIR="+root, "PREFIX=/opt/sponsor")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	prefix := filepath.Join(root, "opt/sponsor")
	for path, mode := range map[string]os.FileMode{
		"lib/redis/sponsor.so": 0o755, "bin/sponsor-api": 0o755, "bin/sponsorctl": 0o755,
		"lib/systemd/system/sponsor-api.service": 0o644, "lib/sysusers.d/sponsor-api.conf": 0o644,
		"share/doc/redis-sponsor/OPERATIONS.md": 0o644, "share/doc/redis-sponsor/RUNBOOK.md": 0o644,
		"share/doc/redis-sponsor/sponsor.conf": 0o644, "share/doc/redis-sponsor/api.env": 0o644,
	} {
		info, err := os.Stat(filepath.Join(prefix, path))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), mode)
		}
	}
	unit := read(t, filepath.Join(prefix, "lib/systemd/system/sponsor-api.service"))
	if !strings.Contains(unit, "\nExecStart=/opt/sponsor/bin/sponsor-api\n") || strings.Contains(unit, "@PREFIX@") {
		t.Errorf("the unit:\n%s", unit)
	}
	verifyUnit(t, unit, filepath.Join(prefix, "bin/sponsor-api"))

	var conf []string
	fragment := strings.ReplaceAll(read(t, filepath.Join(prefix, "share/doc/redis-sponsor/sponsor.conf")), "/opt/sponsor", prefix)
	for line := range strings.Lines(fragment) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			conf = append(conf, line)
		}
	}
	s := redistest.New(t, redistest.Config{Conf: conf})
	settings := s.Client().ConfigGet(t.Context(), "sponsor.*").Val()
	if settings["sponsor.org"] != "your-organisation" || settings["sponsor.remote-tls"] != "yes" {
		t.Errorf("settings = %v", settings)
	}
	help := exec.CommandContext(t.Context(), filepath.Join(prefix, "bin/sponsorctl"), "help")
	if out, err := help.CombinedOutput(); err != nil {
		t.Errorf("sponsorctl help: %v\n%s", err, out)
	}
}

// verifyUnit lets systemd read the unit, where there is one.
func verifyUnit(t *testing.T, unit, program string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("there is no systemd to read the unit")
		return
	}
	path := filepath.Join(t.TempDir(), "sponsor-api.service")
	// The program must be there, and the user of this test is one.
	unit = strings.NewReplacer("ExecStart=/opt/sponsor/bin/sponsor-api", "ExecStart="+program,
		"User=sponsor-api\n", "", "Group=sponsor-api\n", "").Replace(unit)
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "sponsor-api.service:") {
			t.Errorf("systemd: %s", line)
		}
	}
	if err != nil {
		t.Logf("systemd-analyze: %v\n%s", err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
