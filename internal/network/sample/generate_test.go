package sample_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// generate makes TestGenerate write samples for the signatures that name APP/generated.pcapng.
var generate = flag.Bool("generate", false, "write generated samples into catalog/samples")

// TestGenerate writes, with -generate, one capture for each messenger with signatures whose sample is "APP/generated.pcapng": the packets
// are made from the words of the specification that the signature names as its source, and never were on a wire.
func TestGenerate(t *testing.T) {
	if !*generate {
		t.Skip("writes only with -generate")
	}
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range c.Apps() {
		var b bytes.Buffer
		g := generator{Writer: flowtest.NewWriter(&b, time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)), app: app}
		for _, s := range app.Traffic {
			if s.Sample != app.ID+"/generated.pcapng" {
				continue
			}
			if err := g.signature(&s); err != nil {
				t.Errorf("%s, %s: %v", app.ID, s.ID, err)
			}
		}
		if g.flows == 0 {
			continue
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join("..", "..", "..", "catalog", "samples", app.ID)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "generated.pcapng"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		g.label(t, dir)
	}
}

// label adds the capture to the labels, which people write otherwise.
func (g *generator) label(t *testing.T, dir string) {
	path := filepath.Join(dir, "labels.yaml")
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "generated.pcapng") {
		return
	}
	if !strings.HasPrefix(string(text), "captures:\n") {
		text = append([]byte("captures:\n"), text...)
	}
	line := "captures:\n  - {file: generated.pcapng, made: \"generated from the sources that the signatures name: never on a wire, 2026-11\"}\n"
	text = []byte(strings.Replace(string(text), "captures:\n", line, 1))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// generator writes a conversation for each signature of one messenger, each from a port and with a server of its own.
type generator struct {
	*flowtest.Writer
	app   catalog.App
	flows int
}

func (g *generator) client() netip.AddrPort {
	g.flows++
	return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(50000+g.flows))
}

// server returns where the signature's flows go: the app's own addresses and the signature's port where it asks for them.
func (g *generator) server(s *catalog.Traffic, port uint16) netip.AddrPort {
	addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + g.flows)})
	if s.Match["address"] == "own" && len(g.app.Addresses) > 0 {
		addr = g.app.Addresses[0].CIDR.Addr().Next()
	}
	if want := s.Match["port"]; want != "" {
		fmt.Sscanf(want, "%d", &port)
	}
	return netip.AddrPortFrom(addr, port)
}

func (g *generator) signature(s *catalog.Traffic) error {
	client := g.client()
	switch s.Decoder {
	case "skype-udp", "skype-peer", "skype-node":
		g.skype(s)
		return nil
	case "skype-refusal":
		g.refusal(s, client)
		return nil
	case "tls-record", "whatsapp-frames":
		g.middle(s, client)
		return nil
	}
	data, back, port, err := payload(s)
	if err != nil {
		return err
	}
	server := g.server(s, port)
	if s.Transport == "tcp" {
		chunks := []flowtest.Chunk{{FromClient: true, Data: data}}
		if len(back) > 0 {
			chunks = append(chunks, flowtest.Chunk{Data: back})
		}
		g.TCP(client, server, chunks...)
		return nil
	}
	if s.Decoder == "rtp" {
		for n := range uint16(6) {
			g.UDP(client, server, flowtest.RTP(111, n))
		}
		return nil
	}
	g.UDP(client, server, data)
	return nil
}

// skype writes a socket that behaves as classic Skype, and TCP to one of its peers, or to their network.
func (g *generator) skype(s *catalog.Traffic) {
	socket := g.client()
	for i := range 12 {
		b := make([]byte, 30)
		id := uint16(100 + 3*i)
		binary.BigEndian.PutUint16(b, id)
		b[2] = 0x40 | []byte{2, 0xd}[i%2]
		for j := 3; j < len(b); j++ {
			b[j] = byte(int(id)*31 + j*7)
		}
		g.UDP(socket, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(100 + g.flows), byte(1 + 16*i)}), 30000), b)
	}
	if s.Decoder == "skype-node" {
		g.node(s, socket)
	}
	last := byte(1)
	if s.Match["kind"] == "network" {
		last = 77
	}
	if s.Decoder == "skype-peer" {
		g.TCP(g.client(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(100 + g.flows - 1), last}), 443))
	}
}

// node writes TCP that belongs to a classic Skype socket: to its port, or opaque to anywhere.
func (g *generator) node(s *catalog.Traffic, socket netip.AddrPort) {
	switch s.Match["kind"] {
	case "port":
		g.TCP(netip.MustParseAddrPort("203.0.113.77:50000"), socket)
	case "opaque":
		g.TCP(socket, netip.MustParseAddrPort("203.0.113.78:31010"), flowtest.Chunk{FromClient: true, Data: opaque(40, 1)}, flowtest.Chunk{Data: opaque(60, 2)})
	}
}

// opaque is n bytes that look encrypted.
func opaque(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// refusal writes a datagram and the reply that shows the object id and an address: the receiver's, or one that two peers tell alike.
func (g *generator) refusal(s *catalog.Traffic, client netip.AddrPort) {
	told := client.Addr().As4()
	if s.Match["kind"] == "agreed" {
		told = [4]byte{8, 8, 4, 4}
	}
	for i := range 2 {
		server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(90 + i)}), 33033)
		g.UDP(client, server, append([]byte{0x12, byte(i), 2}, opaque(20, 3)...))
		g.UDP(server, client, append(append([]byte{0x12, byte(i), 7}, told[:]...), 1, 2, 3, 4))
	}
}

// middle writes a session whose beginning nobody saw.
func (g *generator) middle(s *catalog.Traffic, client netip.AddrPort) {
	data := append([]byte{23, 3, 3, 0, 40}, opaque(40, 8)...)
	if s.Decoder == "whatsapp-frames" {
		data = append([]byte{0, 0, 40}, opaque(40, 8)...)
		if s.Match["form"] == "fun" {
			data[0] = 0x80
		}
	}
	server := g.server(s, 5222)
	g.Frame(flowtest.TCPFrame(client, server, 1000, 1000, 0x18, data))
	g.Frame(flowtest.TCPFrame(server, client, 1000, 1000+uint32(len(data)), 0x18, data))
}

// payload returns what client and server say first.
func payload(s *catalog.Traffic) (client, server []byte, port uint16, err error) {
	switch s.Decoder {
	case "stun":
		client, err = stun(s.Match)
		return client, nil, 3478, err
	case "http":
		path, agent := cmpStar(s.Match["path"], "/"), cmpStar(s.Match["agent"], "generated/1.0")
		return []byte("GET " + path + " HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: " + agent + "\r\n\r\n"), nil, 80, nil
	case "tls":
		return hello(s.Match["alpn"]), nil, 443, nil
	case "rtp":
		return nil, nil, 0, nil
	}
	for _, w := range specimens() {
		if w.decoder == s.Decoder && (w.kind == "" || w.kind == s.Match["kind"] || w.kind == s.Match["form"]) && w.tcp == (s.Transport == "tcp") {
			return w.client, w.server, w.port, nil
		}
	}
	return nil, nil, 0, fmt.Errorf("no specimen of decoder %s over %s", s.Decoder, s.Transport)
}

// cmpStar fills the stars of a wanted value.
func cmpStar(want, otherwise string) string {
	if want == "" {
		return otherwise
	}
	return strings.ReplaceAll(want, "*", "1")
}

// stun makes the message that a signature asks for (RFC 8489, section 14; RFC 8656, section 18).
func stun(match map[string]string) ([]byte, error) {
	kind := uint16(1)
	var attributes []flowtest.Attribute
	for key, want := range match {
		switch key {
		case "method":
			switch {
			case want == "allocate":
				kind = 3
			case strings.HasPrefix(want, "vendor-"):
				b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(want, "vendor-"), "*", "00"))
				if err != nil || len(b) != 2 {
					return nil, fmt.Errorf("method %q", want)
				}
				kind = binary.BigEndian.Uint16(b)
			}
		case "realm":
			kind = 0x113
			attributes = append(attributes, flowtest.Attribute{Kind: 0x14, Value: []byte(want)})
		case "vendor":
			b, err := hex.DecodeString(want)
			if err != nil || len(b) != 2 {
				return nil, fmt.Errorf("vendor %q", want)
			}
			attributes = append(attributes, flowtest.Attribute{Kind: binary.BigEndian.Uint16(b), Value: make([]byte, 16)})
		case "port", "address":
		default:
			return nil, fmt.Errorf("no way to make a message with %s=%s", key, want)
		}
	}
	return flowtest.STUN(kind, attributes...), nil
}

// hello makes a client hello with a protocol (RFC 8446, section 4.1.2; RFC 7301, section 3.1) and without a name.
func hello(protocol string) []byte {
	entry := append([]byte{byte(len(protocol))}, protocol...)
	list := append([]byte{0, byte(len(entry))}, entry...)
	extensions := append([]byte{0, 16, 0, byte(len(list))}, list...)
	body := append([]byte{3, 3}, bytes.Repeat([]byte{0x5a}, 32)...)
	body = append(body, 0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0, 0, byte(len(extensions)))
	body = append(body, extensions...)
	message := append([]byte{1, 0, 0, byte(len(body))}, body...)
	return append([]byte{0x16, 3, 1, 0, byte(len(message))}, message...)
}

// specimen is the beginning of a native protocol.
type specimen struct {
	decoder, kind  string
	tcp            bool
	port           uint16
	client, server []byte
}

// sized is a datagram of n bytes that begins so.
func sized(n int, begin ...byte) []byte { return append(begin, make([]byte, n-len(begin))...) }

func specimens() []specimen {
	return []specimen{
		{"xmpp", "", true, 5222, []byte("<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"), nil},
		{"irc", "", true, 6667, []byte("CAP LS 302\r\nNICK bob\r\nUSER bob 0 * :Bob\r\n"), nil},
		{"sip", "", true, 5060, []byte("INVITE sip:bob@example.org SIP/2.0\r\nUser-Agent: phone/1\r\nContent-Length: 0\r\n\r\n"), nil},
		{"sip", "", false, 5060, []byte("REGISTER sip:example.org SIP/2.0\r\nUser-Agent: phone\r\n\r\n"), nil},
		{"msnp", "", true, 1863, []byte("VER 1 MSNP18 CVR0\r\n"), nil},
		{"oscar", "flap", true, 5190, []byte("*\x01\x00\x01\x00\x04\x00\x00\x00\x01*\x02\x00\x02\x00\x02ab"), nil},
		{"oscar", "oft2", true, 5190, append([]byte("OFT2"), make([]byte, 252)...), nil},
		{"oscar", "odc2", true, 5190, append([]byte("ODC2"), make([]byte, 72)...), nil},
		{"mtproto", "", true, 443, flowtest.MTProto(), nil},
		{"whatsapp", "", true, 5222, []byte("WA\x06\x03\x00\x00\x24\x12\x22\x0a"), nil},
		{"mmtls", "", true, 8080, append([]byte{0x16, 0xf1, 4, 0, 32}, bytes.Repeat([]byte{0x91}, 32)...), nil},
		{"loco", "", true, 995, []byte("\x01\x00\x00\x00\x00\x00CHECKIN\x00\x00\x00\x00\x00\x10\x00\x00\x00"), nil},
		{"viber", "tcp", true, 5242, []byte("\x0c\x00\x0a\x00\x00\x00abcdef"), nil},
		{"viber", "udp", false, 7987, sized(34, 1, 2, 0x19, 0), nil},
		{"skype-login", "", true, 443, []byte("\x16\x03\x01\x00\x00"), []byte("\x17\x03\x01\x00\x00")},
		{"threema", "", true, 5222, bytes.Repeat([]byte{0x90}, 48), bytes.Repeat([]byte{0x91}, 80)},
		{"discord", "discovery", false, 50004, sized(74, 0, 1, 0, 70, 0, 0, 1, 2), nil},
		{"discord", "ping", false, 50004, []byte("\x13\x37\xca\xfe\x00\x00\x00\x01"), nil},
		{"oicq", "", false, 8000, append(sized(30, 2, 0x37, 0x13), 3), nil},
		{"mumble", "ping", false, 64738, []byte("\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"), nil},
		{"teamspeak", "", false, 9987, []byte("TS3INIT1\x00\x65\x00\x00\x88"), nil},
		{"zoom", "", false, 8801, append([]byte{5, 0, 1, 0, 0, 0, 0, 4, 15}, make([]byte, 30)...), nil},
		{"dtls", "", false, 5000, sized(40, 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 27), nil},
	}
}
