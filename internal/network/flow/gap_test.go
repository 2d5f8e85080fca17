package flow_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// TestLiveOutlivesItsInterface: an interface that goes down, and one that is taken away and made again, is listened to again, and the gaps
// are counted.
func TestLiveOutlivesItsInterface(t *testing.T) {
	namespace(t)
	ip := func(args string) {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("link add tap type veth peer name far")
	ip("link set tap up")
	ip("link set far up")
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	tracker := flow.NewTracker(&counter{}, flow.Limits{})
	steps := []struct {
		name string
		when func(s flow.Stats) bool
		then []string
	}{
		{"it is listened to", func(flow.Stats) bool { return true }, []string{"link set tap down"}},
		{"it is down", func(s flow.Stats) bool { return s.Down && s.Gaps == 1 }, []string{"link set tap up"}},
		{"it is up", func(s flow.Stats) bool { return !s.Down && s.Gaps == 1 && s.Missed > 0 }, []string{"link del tap"}},
		{"it is away", func(s flow.Stats) bool { return s.Down && s.Gaps == 2 }, []string{"link add tap type veth peer name far", "link set tap up", "link set far up"}},
		{"it is there again", func(s flow.Stats) bool { return !s.Down && s.Gaps == 2 }, nil},
	}
	step := 0
	tracker.Watch(func(s flow.Stats) {
		if step == len(steps) || !steps[step].when(s) {
			return
		}
		for _, args := range steps[step].then {
			ip(args)
		}
		if step++; step == len(steps) {
			stop()
		}
	})
	if _, err := flow.Live(ctx, "tap", tracker); err != nil || step < len(steps) {
		t.Errorf("%v: it came to %d of %d steps", err, step, len(steps))
	}
}
