package selfverify

import (
	"context"
	"time"

	"github.com/chaperone-im/chaperone/internal/console"
)

// WithVerify returns a Verifier that asks verify instead of reading a data directory.
func WithVerify(c Config, verify func(context.Context) (console.VerifyResult, error)) *Verifier {
	v := New(c)
	v.verify = verify
	return v
}

// Rest works for a while and pauses as a Verifier does.
func Rest(ctx context.Context, work func()) {
	t := &throttle{ctx: ctx, since: time.Now()}
	work()
	t.pause()
}
