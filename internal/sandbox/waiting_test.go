package sandbox

import (
	"os"
	"testing"
	"time"
)

// TestPatienceEnds where the process waits for nothing, and not before its time.
func TestPatienceEnds(t *testing.T) {
	over := make(chan time.Time, 1)
	begun := time.Now()
	p := startPatience(0, 20*time.Millisecond, func() { over <- time.Now() }) // there is no process 0
	if at := <-over; at.Sub(begun) < 20*time.Millisecond {
		t.Errorf("over after %v", at.Sub(begun))
	}
	p.stop()
	p.look() // a timer that had gone off already
	if len(over) > 0 {
		t.Error("over after it was stopped")
	}
}

// TestPatienceGives the time again that a process waited, up to a bound.
func TestPatienceGives(t *testing.T) {
	for _, c := range []struct{ waited, want time.Duration }{{time.Minute, time.Minute}, {100 * time.Hour, maxWaiting * time.Hour}} {
		p := &patience{pid: os.Getpid(), base: time.Hour, before: -c.waited, over: func() { t.Error("over") }}
		p.timer = time.NewTimer(time.Hour)
		p.look()
		if p.given < c.want || p.given > maxWaiting*p.base {
			t.Errorf("waited %v: given %v", c.waited, p.given)
		}
		p.stop()
	}
}
