package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/applied-knowledge-systems/redis-sponsor/module/internal/redismodule"
)

// logHandler writes records to the server's own log, as "message key=value". Use
// it through slog.New.
type logHandler struct{ attrs []slog.Attr }

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	write := func(a slog.Attr) bool {
		b.WriteString(" " + a.Key + "=" + a.Value.String())
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	redismodule.Log(serverLevel(r.Level), b.String())
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{attrs: append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup drops the group: nothing here uses one.
func (h *logHandler) WithGroup(string) slog.Handler { return h }

func serverLevel(l slog.Level) redismodule.Level {
	switch {
	case l >= slog.LevelWarn:
		return redismodule.LevelWarning
	case l >= slog.LevelInfo:
		return redismodule.LevelNotice
	default:
		return redismodule.LevelDebug
	}
}
