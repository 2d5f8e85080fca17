package classify_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestFloodHidesNoMessenger: messengers that begin while flows of one packet, each between two other sockets, fill the table again and
// again are recognised: a Telegram and a WhatsApp connection, and a classic Skype that speaks with a peer now and then.
func TestFloodHidesNoMessenger(t *testing.T) {
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	const room, between = 4096, 1000
	whatsapp := append([]byte("WA\x06\x03\x00\x00\x24\x12\x22\x0a\x20"), make([]byte, 32)...)
	connections := [][][]byte{
		flowtest.Connection(from(1), at("203.0.113.51:443"), flowtest.Chunk{FromClient: true, Data: flowtest.MTProto()}),
		flowtest.Connection(from(2), at("203.0.113.61:5222"), flowtest.Chunk{FromClient: true, Data: whatsapp}),
	}
	for name, flood := range map[string][]byte{
		"unknown datagrams": flowtest.UDPFrame(at("172.16.0.1:1000"), at("198.18.0.1:1000"), []byte("nothing that anybody knows")),
		"stun":              flowtest.UDPFrame(at("172.16.0.1:1000"), at("198.18.0.1:1000"), flowtest.STUN(1)),
		"syn":               flowtest.TCPFrame(at("172.16.0.1:1000"), at("198.18.0.1:1000"), 1, 0, 2, nil),
	} {
		var b bytes.Buffer
		w := flowtest.NewWriter(&b, start)
		sent := uint32(0)
		spoofed := func(n int) {
			for range n {
				sent++
				binary.BigEndian.PutUint32(flood[26:], 0xac100000+sent)
				binary.BigEndian.PutUint32(flood[30:], 0xc6120000+sent%50_000)
				w.Frame(flood)
			}
		}
		spoofed(5 * room)
		for i := range 40 {
			for _, c := range connections {
				if i < len(c) {
					w.Frame(c[i])
				}
			}
			w.UDP(from(20000), at(fmt.Sprintf("203.0.113.%d:30000", i+100)), skypeLike(uint16(100+3*i), 2))
			spoofed(between)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		found, evicted := map[string]int{}, 0
		k := classify.New(cat, classify.Options{Report: func(f *classify.Finding) {
			if f.Flow.App != "" {
				found[f.Flow.App]++
			}
			if f.Evicted {
				evicted++
			}
		}})
		if _, err := flow.ReadCapture(t.Context(), &b, flow.NewTracker(k, flow.Limits{Flows: room})); err != nil {
			t.Fatal(err)
		}
		if found["telegram"] != 1 || found["whatsapp"] != 1 || found["skype"] < 4 || len(found) != 3 || evicted == 0 {
			t.Errorf("among %s: found %v, %d evicted", name, found, evicted)
		}
	}
}

// TestUnknownPacketsAllocateNothing: with the classifier too neither a flow that is known nor one that is still looked at costs memory for
// a packet.
func TestUnknownPacketsAllocateNothing(t *testing.T) {
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	known, unknown := flowtest.MTProto(), []byte("nothing that anybody knows")
	for name, c := range map[string]struct {
		proto       uint8
		first, then []byte
	}{
		"a decided bulk flow":                {6, known, make([]byte, 1400)},
		"an undecided established UDP flow":  {17, unknown, unknown},
		"an undecided established TCP flow":  {6, nil, nil},
		"an undecided TCP flow, in one half": {6, unknown, unknown},
	} {
		k := classify.New(cat, classify.Options{Report: func(*classify.Finding) {}})
		tracker := flow.NewTracker(k, flow.Limits{Budget: 1 << 40})
		p := packetOf(c.proto, from(1), at("203.0.113.5:443"), c.first)
		tracker.Packet(p)
		answer := packetOf(c.proto, at("203.0.113.5:443"), from(1), nil)
		tracker.Packet(answer)
		p.Payload = c.then
		for range 2000 {
			p.Seq += uint32(len(p.Payload))
			tracker.Packet(p)
		}
		if allocs := testing.AllocsPerRun(1000, func() {
			p.Seq += uint32(len(p.Payload))
			tracker.Packet(p)
		}); allocs != 0 {
			t.Errorf("%s: %v allocations a packet", name, allocs)
		}
	}
}

func packetOf(proto uint8, from, to netip.AddrPort, payload []byte) *flow.Packet {
	return &flow.Packet{Time: start, Proto: proto, SrcPort: from.Port(), DstPort: to.Port(), Length: 60, Src: from.Addr().As16(), Dst: to.Addr().As16(), Payload: payload}
}
