package flow_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// FuzzSegments gives a flow segments whose places, sizes, directions and flags the input chooses. What is held stays within its bounds, is
// no more than is accounted for, and is nothing in the end; and a request that comes in order afterwards, on a flow of its own, is read.
func FuzzSegments(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n"), []byte{0, 10, 24, 10, 30, 24, 0, 40, 24})
	f.Add([]byte{0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3}, []byte{200, 3, 24, 0, 200, 16, 7, 200, 2, 100, 100, 18})
	f.Add(bytes.Repeat([]byte{0xff}, 300), []byte{255, 255, 24, 0, 255, 24, 128, 255, 24, 127, 255, 152})
	f.Fuzz(func(t *testing.T, said, plan []byte) {
		if len(said) == 0 || len(plan) > 3000 {
			return
		}
		h := &learner{}
		const room = 64 << 10
		tracker := flow.NewTracker(h, flow.Limits{Memory: room, Stream: 2048, Flows: 8})
		for i := 0; i+3 <= len(plan); i += 3 {
			at, size, flags := int(plan[i])*7, int(plan[i+1])*7, plan[i+2]
			from, to := client, server
			if flags&0x80 != 0 {
				from, to = to, from
			}
			from = netip.AddrPortFrom(from.Addr(), from.Port()+uint16(flags>>6&1))
			at %= len(said)
			p := segmentOf(6, from, to, start, said[at:min(len(said), at+size)])
			p.Seq, p.Flags = uint32(at)*uint32(1+i%2), flags&0x1f
			tracker.Packet(p)
			if held := tracker.Held(); held < 0 || held > room {
				t.Fatalf("%d bytes held", held)
			}
		}
		h.names = nil
		p := segmentOf(6, netip.AddrPortFrom(client.Addr(), 777), server, start, []byte(request))
		tracker.Packet(p)
		if len(h.names) != 1 || h.names[0] != "web.example.org" {
			t.Errorf("the request was read as %q", h.names)
		}
		if tracker.Flush(); tracker.Held() != 0 || tracker.Len() != 0 {
			t.Errorf("%d bytes held, %d flows in the end", tracker.Held(), tracker.Len())
		}
	})
}

// FuzzFragments cuts a datagram into pieces where the input says, and shuffles them as it says: it is read. Then it gives the reader
// fragments that the input made whole.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{2, 1, 0}, []byte{0x20, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{}, []byte{}, []byte{0, 1, 9, 9, 9, 9, 9, 9, 9, 9})
	whole := flowtest.UDPFrame(client, netip.MustParseAddrPort("192.0.2.53:53"), flowtest.Question("cut.example.org"))
	f.Fuzz(func(t *testing.T, cuts, order, wild []byte) {
		if len(wild) > 2000 || len(order) > 100 {
			return
		}
		frames := pieces(whole, cuts)
		for i, b := range order {
			j := int(b) % len(frames)
			frames[i%len(frames)], frames[j] = frames[j], frames[i%len(frames)]
		}
		got, _, err := read(t, pcap(t, 1, frames...), flow.Limits{})
		found := slices.ContainsFunc(got.facts, func(f decode.Fact) bool { return f.Get("name") == "cut.example.org" })
		if err != nil || !found {
			t.Fatalf("%d pieces: %v, %v", len(frames), got.facts, err)
		}
		frames = frames[:0]
		for len(wild) >= 10 {
			size := 10 + int(wild[2])%64
			size = min(size, len(wild))
			piece := append(bytes.Clone(whole[:34]), wild[2:size]...)
			copy(piece[20:22], wild)
			binary.BigEndian.PutUint16(piece[16:], uint16(len(piece)-14))
			frames = append(frames, piece)
			wild = wild[size:]
		}
		if _, _, err := read(t, pcap(t, 1, frames...), flow.Limits{}); err != nil {
			t.Fatal(err)
		}
	})
}

// pieces cuts the IPv4 packet in a frame at the multiples of eight that cuts names.
func pieces(frame, cuts []byte) (out [][]byte) {
	payload := frame[34:]
	cut := make([]bool, len(payload)/8+1)
	for _, c := range cuts {
		cut[int(c)%len(cut)] = true
	}
	for from := 0; from < len(payload); {
		to := from + 8
		for to < len(payload) && !cut[to/8] {
			to += 8
		}
		to = min(to, len(payload))
		f := append(bytes.Clone(frame[:34]), payload[from:to]...)
		flags := uint16(from / 8)
		if to < len(payload) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[16:], uint16(20+to-from))
		binary.BigEndian.PutUint16(f[18:], 7)
		binary.BigEndian.PutUint16(f[20:], flags)
		out, from = append(out, f), to
	}
	return out
}
