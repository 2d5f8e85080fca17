// Package clock gives the time through an interface, so that tests own it. The wall clock never orders records: the journal does.
package clock

import (
	"context"
	"time"
)

// Clock tells the time in UTC.
type Clock interface{ Now() time.Time }

// System is the machine's own clock.
type System struct{}

// Now returns the machine's time in UTC.
func (System) Now() time.Time { return time.Now().UTC() }

// Func makes a Clock of a function, for tests and replays.
type Func func() time.Time

// Now calls f.
func (f Func) Now() time.Time { return f().UTC() }

// Pause waits, or returns earlier when the context ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
