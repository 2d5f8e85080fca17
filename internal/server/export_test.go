package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// SelfVerifier makes what verifies in turns, for tests that own time and recorder; state is the file of the last turn. A nil verify reads dir.
func SelfVerifier(dir, state string, every time.Duration, r event.Recorder, b *health.Board, verify func(context.Context) (console.VerifyResult, error)) (run func(context.Context) error, turn func(context.Context)) {
	if verify == nil {
		verify = verifyQuietly(dir, "")
	}
	v := &selfVerifier{every: every, state: state, verify: verify, record: r, board: b, clock: clock.System{}, log: slog.New(slog.DiscardHandler)}
	return v.run, v.turn
}

// Rest works for a while and pauses as self-verification does.
func Rest(ctx context.Context, work func()) {
	t := &throttle{ctx: ctx, since: time.Now()}
	work()
	t.pause()
}
