package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// What Libraries lets through: one message of a text in a while; so many texts are remembered.
const (
	seldomEvery = time.Minute
	seldomTexts = 256
)

// Libraries returns the log for what libraries say on their own: one that repeats itself, as when a disk is full, is heard once a minute.
func Libraries(log *slog.Logger, now func() time.Time) *slog.Logger {
	return slog.New(&seldom{Handler: log.Handler(), heard: &heard{now: now, last: map[string]time.Time{}}})
}

// heard is when each text was last let through.
type heard struct {
	now func() time.Time

	mu   sync.Mutex
	last map[string]time.Time
}

// again reports whether a text was let through a moment ago.
func (h *heard) again(text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if last, ok := h.last[text]; ok && now.Sub(last) < seldomEvery {
		return true
	}
	if len(h.last) >= seldomTexts {
		clear(h.last)
	}
	h.last[text] = now
	return false
}

type seldom struct {
	slog.Handler
	heard *heard
}

// Handle implements slog.Handler.
func (s *seldom) Handle(ctx context.Context, r slog.Record) error {
	if s.heard.again(r.Message) {
		return nil
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s *seldom) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &seldom{s.Handler.WithAttrs(attrs), s.heard}
}

// WithGroup implements slog.Handler.
func (s *seldom) WithGroup(name string) slog.Handler {
	return &seldom{s.Handler.WithGroup(name), s.heard}
}
