package inspection

import (
	"bytes"
	"runtime/debug"
	"strings"
	"testing"

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

func TestGOGCIsTheUsers(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "50")
	if KeepSmall() != nil || debug.SetGCPercent(100) != 100 {
		t.Error("what the environment says was changed")
	}
	t.Setenv("GOGC", "")
	if KeepSmall() == nil || debug.SetGCPercent(100) != collectAt {
		t.Error("nothing was set")
	}
}
