package redistest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// cliTimeout bounds a CLI call whose context has no deadline.
const cliTimeout = 10 * time.Second

// CLI runs redis-cli against the server's socket, as the default user, and
// returns what it prints, without the last newline. An error reply is printed
// like any other and is no error; give -e among args to make it one.
func (s *Server) CLI(ctx context.Context, args ...string) (string, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cliTimeout)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, "redis-cli", append([]string{"-s", s.Socket()}, args...)...)
	cmd.Env = os.Environ()
	if s.cfg.Password != "" {
		cmd.Env = append(cmd.Env, "REDISCLI_AUTH="+s.cfg.Password)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return stdout.String(), fmt.Errorf("redis-cli %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}
