package classify_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestNeighbours: what is known of media is known of its control packets one port higher, and the reverse, a step weaker; whichever is seen or
// named first. Other hosts, other ports and what is no media are not meant.
func TestNeighbours(t *testing.T) {
	realm := flowtest.STUN(0x113, flowtest.Attribute{Kind: 0x14, Value: []byte("pigeon.example")})
	media := func(w *flowtest.Writer, a, b netip.AddrPort) {
		for n := range uint16(5) {
			w.UDP(a, b, flowtest.RTP(0, n))
		}
	}
	control := func(w *flowtest.Writer, a, b netip.AddrPort) { w.UDP(a, b, flowtest.RTCP()) }
	server, next := at("203.0.113.7:40000"), at("203.0.113.7:40001")
	for _, c := range []struct {
		name  string
		write func(w *flowtest.Writer)
		end   netip.AddrPort // the server of the flow that is asked for
		by    int            // the port of its client
		want  event.Confidence
	}{
		{"control after media", func(w *flowtest.Writer) {
			w.UDP(server, from(30000), realm)
			media(w, from(30000), server)
			control(w, from(30001), next)
		}, next, 30001, event.Medium},
		{"control before media is named", func(w *flowtest.Writer) {
			control(w, from(30001), next)
			media(w, from(30000), server)
			w.UDP(server, from(30000), realm)
		}, next, 30001, event.Medium},
		{"media after control", func(w *flowtest.Writer) {
			w.UDP(next, from(30001), realm)
			control(w, from(30001), next)
			media(w, from(30000), server)
		}, server, 30000, event.Medium},
		{"media that another flow taught of", func(w *flowtest.Writer) {
			w.UDP(at("192.0.2.9:3478"), from(30000), realm)
			media(w, from(30000), server)
			control(w, from(30001), next)
		}, next, 30001, event.Low},
		{"behind a translation", func(w *flowtest.Writer) {
			w.UDP(server, from(30000), realm)
			media(w, from(30000), server)
			control(w, from(61234), next)
		}, next, 61234, event.Medium},
		{"another host", func(w *flowtest.Writer) {
			w.UDP(server, from(30000), realm)
			media(w, from(30000), server)
			control(w, from(30001), at("203.0.113.8:40001"))
		}, at("203.0.113.8:40001"), 30001, 0},
		{"other ports", func(w *flowtest.Writer) {
			w.UDP(server, from(30000), realm)
			media(w, from(30000), server)
			control(w, from(30003), at("203.0.113.7:40003"))
		}, at("203.0.113.7:40003"), 30003, 0},
		{"an even port", func(w *flowtest.Writer) {
			w.UDP(next, from(30001), realm)
			media(w, from(30001), next)
			control(w, from(30002), at("203.0.113.7:40002"))
		}, at("203.0.113.7:40002"), 30002, 0},
		{"no media", func(w *flowtest.Writer) {
			w.UDP(server, from(30000), realm)
			media(w, from(30000), server)
			w.UDP(from(30001), next, sealed(90, 7))
		}, next, 30001, 0},
	} {
		got := classified(t, birdCalls(t), flow.Limits{}, c.write)
		i := slices.IndexFunc(got, func(f classify.Finding) bool {
			return strings.Contains(f.Flow.Client+" "+f.Flow.Server, c.end.String()) && strings.Contains(f.Flow.Client+" "+f.Flow.Server, from(c.by).String())
		})
		if i < 0 {
			t.Fatalf("%s: not reported", c.name)
		}
		f := got[i]
		if (f.Flow.App == "pigeon") != (c.want > 0) || f.Flow.Confidence != c.want {
			t.Errorf("%s: %+v %v", c.name, f.Flow, f.Evidence)
		}
		if c.want > 0 && (f.Flow.Service != "call" || f.Evidence[0].Fact != "neighbour:traffic:s0" || !strings.Contains(f.Evidence[0].Source, "section 11")) {
			t.Errorf("%s: %+v %v", c.name, f.Flow, f.Evidence)
		}
	}
}

// TestUnknownMediaIsSaid: of media that nothing names it is said that it is media, though its first packet could be of classic Skype.
func TestUnknownMediaIsSaid(t *testing.T) {
	got := classified(t, birdCalls(t), flow.Limits{}, func(w *flowtest.Writer) {
		for n := range uint16(5) {
			w.UDP(from(30000), at("203.0.113.7:40000"), flowtest.RTP(0, n))
		}
	})
	if f := got[0]; f.Flow.App != "" || len(f.Evidence) != 1 || f.Evidence[0].Fact != "decoder:rtp" || f.Evidence[0].Strength != 0 {
		t.Errorf("%+v %v", f.Flow, f.Evidence)
	}
}
