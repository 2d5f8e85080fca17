package flowtest_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

var (
	here  = netip.MustParseAddrPort("10.0.0.7:50000")
	there = netip.MustParseAddrPort("192.0.2.1:443")
)

// TestFramesAreWellFormed lets another implementation read what is made here.
func TestFramesAreWellFormed(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8::7]:50000")
	sixThere := netip.MustParseAddrPort("[2001:db8::1]:443")
	for name, frame := range map[string][]byte{
		"udp": flowtest.UDPFrame(here, there, []byte("payload")), "udp over IPv6": flowtest.UDPFrame(six, sixThere, []byte("payload")),
		"tcp": flowtest.TCPFrame(here, there, 7, 9, 0x18, []byte("payload")), "tcp over IPv6": flowtest.TCPFrame(six, sixThere, 7, 9, 0x18, []byte("payload")),
	} {
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Errorf("%s: %v", name, e.Error())
			continue
		}
		if a := p.ApplicationLayer(); a == nil || string(a.Payload()) != "payload" {
			t.Errorf("%s: the payload is not there", name)
		}
		if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && (tcp.Seq != 7 || tcp.Ack != 9 || !tcp.ACK || !tcp.PSH || tcp.SYN) {
			t.Errorf("%s: %+v", name, tcp)
		}
	}
}

// TestConnectionIsWhole: sequence numbers of a written connection fit each other.
func TestConnectionIsWhole(t *testing.T) {
	var b bytes.Buffer
	w := flowtest.NewWriter(&b, time.Unix(1700000000, 0))
	said := bytes.Repeat([]byte("abcdefg"), 1000)
	w.TCP(here, there, flowtest.Chunk{FromClient: true, Data: said}, flowtest.Chunk{Data: []byte("answer")})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&b, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.SectionInfo().Comment; c == "" {
		t.Error("no word that it is generated")
	}
	var got []byte
	next := uint32(0)
	last := time.Time{}
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !info.Timestamp.After(last) {
			t.Errorf("time stands still at %s", info.Timestamp)
		}
		last = info.Timestamp
		tcp := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeTCP).(*layers.TCP)
		if tcp.SrcPort != 50000 {
			continue
		}
		if next != 0 && tcp.Seq != next {
			t.Errorf("sequence %d, want %d", tcp.Seq, next)
		}
		got = append(got, tcp.Payload...)
		next = tcp.Seq + uint32(len(tcp.Payload))
		if tcp.SYN || tcp.FIN {
			next++
		}
	}
	if !bytes.Equal(got, said) {
		t.Errorf("%d bytes were said, %d read", len(said), len(got))
	}
}

func TestHandshakeIsRecorded(t *testing.T) {
	chunks, err := flowtest.Handshake("chat.example.org", 0x0304)
	if err != nil {
		t.Fatal(err)
	}
	if len(chunks) < 3 || !chunks[0].FromClient || chunks[0].Data[0] != 0x16 || !bytes.Contains(chunks[0].Data, []byte("chat.example.org")) || chunks[1].FromClient {
		t.Errorf("%d chunks", len(chunks))
	}
}

// failing is a writer that has no room.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestDemoSaysThatItCouldNotBeWritten(t *testing.T) {
	if err := flowtest.WriteDemo(failing{}, here.Addr(), time.Unix(0, 0)); err == nil {
		t.Error("no error")
	}
}
