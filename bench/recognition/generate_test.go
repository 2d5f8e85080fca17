package main

import (
	"bytes"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// nothing is a flow.Handler that counts.
type nothing struct{ closed int }

func (n *nothing) Opened(*flow.Flow)                 {}
func (n *nothing) Learned(*flow.Flow, []decode.Fact) {}
func (n *nothing) Settled(*flow.Flow)                {}
func (n *nothing) Closed(*flow.Flow, bool)           { n.closed++ }

// TestProfilesAreCaptures: every profile is a capture that can be read, of as many packets as are said.
func TestProfilesAreCaptures(t *testing.T) {
	for _, p := range profiles() {
		var b bytes.Buffer
		packets, err := generate(&b, p, 500)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		h := &nothing{}
		read, err := flow.ReadCapture(t.Context(), &b, flow.NewTracker(h, flow.Limits{}))
		if err != nil || read != packets || packets < 500 || h.closed == 0 {
			t.Errorf("%s: %d packets of %d, %d flows, %v", p.name, read, packets, h.closed, err)
		}
	}
}

// TestHiddenMessengersAreSeenAlone: what a flood could hide is recognised where there is no flood.
func TestHiddenMessengersAreSeenAlone(t *testing.T) {
	var b bytes.Buffer
	c := newCapture(&b)
	send := messengers(c)
	for range 40 {
		send()
	}
	if c.err != nil || c.out.Flush() != nil || c.packets < 50 {
		t.Errorf("%d packets, %v", c.packets, c.err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{nil, {"a", "b", "c", "d"}, {"memory", "b", "x"}, {"write"}, {"write", "no-such"}, {"/no/such/folder"}} {
		if err := command(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestLinesAreCounted(t *testing.T) {
	s := &seen{apps: map[string]int64{}}
	lines := `{"type":"flow","app":"telegram"}` + "\n" + `{"type":"flow","evicted":true}` + "\n" + `{"type":"error"}` + "\n"
	if err := s.read(bytes.NewBufferString(lines)); err != nil || s.flows != 2 || s.evicted != 1 || s.apps["telegram"] != 1 || len(s.problems) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestMedian(t *testing.T) {
	if m := median(5, func(i int) float64 { return float64([]int{5, 1, 4, 2, 3}[i]) }); m != 3 {
		t.Errorf("median %v", m)
	}
}

func TestTally(t *testing.T) {
	lines := `{"type":"flow","client":"10.0.0.1:9","packets":3}{"type":"flow","client":"[fe80::1]:0","packets":2}{"type":"error","reason":"dropped"}`
	if n, problems, err := tally(bytes.NewBufferString(lines)); n != 3 || len(problems) != 1 || err != nil {
		t.Errorf("%d, %q, %v", n, problems, err)
	}
	if _, _, err := tally(bytes.NewBufferString("{")); err == nil {
		t.Error("half a line was taken")
	}
}
