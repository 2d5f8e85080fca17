package flow_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestAnyOrderIsRead cuts a request into segments at random, doubles some, lets them overlap and changes their order within a window: the
// decoders see it as it was said.
func TestAnyOrderIsRead(t *testing.T) {
	request := "GET /a/longer/path/than/that HTTP/1.1\r\nX-First: 1\r\nX-Second: 2\r\nHost: random.example.org\r\nUser-Agent: test\r\n\r\n"
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		var frames [][]byte
		base := r.Uint32() // also close to where numbers begin anew
		if seed%3 == 0 {
			base = 0xffffffff - uint32(r.IntN(len(request)))
		}
		segment := func(from, to int) []byte {
			return flowtest.TCPFrame(client, server, base+1+uint32(from), 1, 0x18, []byte(request[from:to]))
		}
		for from := 0; from < len(request); {
			to := min(len(request), from+1+r.IntN(30))
			frames = append(frames, segment(max(0, from-r.IntN(5)), to))
			if r.IntN(4) == 0 {
				frames = append(frames, segment(from, to))
			}
			from = to
		}
		for i := range frames {
			if j := i + r.IntN(4); j < len(frames) {
				frames[i], frames[j] = frames[j], frames[i]
			}
		}
		frames = append([][]byte{flowtest.TCPFrame(client, server, base, 0, 2, nil)}, frames...)
		got, _, err := read(t, pcap(t, 1, frames...), flow.Limits{})
		if err != nil || len(got.facts) != 1 || got.facts[0].Get("name") != "random.example.org" || got.facts[0].Get("agent") != "test" {
			t.Fatalf("seed %d: %v, found %v", seed, err, got.facts)
		}
	}
}

// TestHolesEndTheLooking: when a segment is lost the flow is given up after its budget, and holds nothing.
func TestHolesEndTheLooking(t *testing.T) {
	frames := [][]byte{flowtest.TCPFrame(client, server, 100, 0, 2, nil)}
	for i := range 100 {
		frames = append(frames, flowtest.TCPFrame(client, server, uint32(201+i*100), 1, 0x18, make([]byte, 100)))
	}
	c := &peak{}
	tracker := flow.NewTracker(c, flow.Limits{Budget: 20})
	c.held = tracker.Held
	if _, err := flow.ReadCapture(t.Context(), bytes.NewReader(pcap(t, 1, frames...)), tracker); err != nil {
		t.Fatal(err)
	}
	if tracker.Held() != 0 {
		t.Errorf("%d bytes held", tracker.Held())
	}
}
