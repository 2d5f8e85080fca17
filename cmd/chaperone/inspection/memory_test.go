package inspection

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// TestLackOfRoomIsSaid: flows that left early, and such as were not looked into to the end, are said with their number.
func TestLackOfRoomIsSaid(t *testing.T) {
	for _, c := range []struct {
		before, after flow.Counts
		want          string
	}{
		{flow.Counts{}, flow.Counts{Flows: 9}, ""},
		{flow.Counts{Evicted: 3}, flow.Counts{Evicted: 3}, ""},
		{flow.Counts{Evicted: 3}, flow.Counts{Evicted: 10}, "7 flows were reported before their end"},
		{flow.Counts{}, flow.Counts{Unread: 4}, "4 are not known by all"},
	} {
		var b bytes.Buffer
		lines := NewLines(&b, false)
		r := &Run{Out: lines}
		if err := r.short("a.pcap", c.before, c.after); err != nil || lines.Close() != nil {
			t.Fatal(err)
		}
		if got := b.String(); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q", c.after, got)
		}
	}
}

// percent returns what is set.
func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

func TestGOGCIsTheUsers(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "50")
	KeepSmall()()
	if p := percent(); p != 77 {
		t.Errorf("what the environment says was changed to %d", p)
	}
}

// TestHeapGrowsByBytes: a small heap may double, a large one grows by a tenth, and what lies between by the same number of bytes.
func TestHeapGrowsByBytes(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {1 << 20, 100}, {9 << 20, 50}, {18 << 20, 25}, {1 << 30, 10}} {
		if got := percentOf(c.live); got != c.want {
			t.Errorf("%d bytes may grow by %d %%, want %d", c.live, got, c.want)
		}
	}
}

// TestCollectingAdjusts: with more in use the share gets smaller, until it ends.
func TestCollectingAdjusts(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("GOGC is set")
	}
	before := percent()
	end := KeepSmall()
	adjusted := func(want int) bool {
		for range 1000 {
			runtime.GC()
			if percent() == want {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	large := make([]byte, 100<<20)
	if !adjusted(growAtLeast) {
		t.Errorf("with 100 MiB in use it may grow by %d %%", percent())
	}
	runtime.KeepAlive(large)
	end()
	for range 3 {
		runtime.GC()
	}
	if p := percent(); p != before {
		t.Errorf("at the end it is %d, before it was %d", p, before)
	}
}
