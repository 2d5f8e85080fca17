package ledger

import (
	"context"
	"log/slog"
	"sync"

	"k8s.io/klog/v2"
)

// once is for the process: the driver of the log has one logger of its own.
var once sync.Once

// hear takes what the driver of the log says into a log of ours, the first that a process opens a ledger with.
func hear(log *slog.Logger) {
	once.Do(func() {
		klog.SetSlogLogger(slog.New(driverLog{log.Handler()}.WithAttrs([]slog.Attr{slog.String("part", "ledger driver")})))
	})
}

// driverLog is a log of what the driver says. Its information is about its own workings, as that a folder is new: nothing that somebody who
// reads our log waits for, or would know what to do about.
type driverLog struct{ slog.Handler }

func quieter(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}

// Enabled implements slog.Handler.
func (d driverLog) Enabled(ctx context.Context, l slog.Level) bool {
	return d.Handler.Enabled(ctx, quieter(l))
}

// Handle implements slog.Handler.
func (d driverLog) Handle(ctx context.Context, r slog.Record) error {
	r.Level = quieter(r.Level)
	return d.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (d driverLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return driverLog{d.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (d driverLog) WithGroup(name string) slog.Handler { return driverLog{d.Handler.WithGroup(name)} }
