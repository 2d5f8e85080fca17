package clock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
)

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		clock.Pause(t.Context(), time.Minute)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("it waited %v", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		clock.Pause(ctx, time.Hour)
		if waited := time.Since(began); waited != time.Minute+time.Second {
			t.Errorf("it did not end with the context: %v", waited)
		}
	})
}
