package remote

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// LogTo sends what go-redis says about its pools to log, at debug level: what
// matters comes back as errors. It is one setting for the whole process, made
// before the first Client.
func LogTo(log *slog.Logger) { redis.SetLogger(poolLog{log}) }

type poolLog struct{ log *slog.Logger }

func (p poolLog) Printf(ctx context.Context, format string, v ...any) {
	p.log.DebugContext(ctx, "connection pool", "said", fmt.Sprintf(format, v...))
}
