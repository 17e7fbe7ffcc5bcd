package remote_test

import (
	"log/slog"
	"os"
	"testing"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/remote"
)

func TestMain(m *testing.M) {
	remote.LogTo(slog.New(slog.DiscardHandler)) // before the first client
	os.Exit(m.Run())
}
