package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
)

// dtlsDatagram knows DTLS records (RFC 6347, section 4.1) and reads a ClientHello in one fragment.
func dtlsDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 13 || b[0] < 20 || b[0] > 25 || b[1] != 0xfe || b[2] != 0xff && b[2] != 0xfd {
		return Fact{}, false
	}
	if size := int(binary.BigEndian.Uint16(b[11:])); 13+size > len(b) && !d.Cut {
		return Fact{}, false
	}
	fact := Fact{Decoder: "dtls"}
	if b[0] == tlsHandshakeType && len(b) > 13+12+34 && b[13] == helloClient && isZero(b[19:22]) {
		if hello, ok := dtlsHello(b[25:]); ok {
			return hello, true
		}
	}
	fact.add("kind", "record")
	return fact, true
}

// dtlsHello removes the cookie, which TLS does not have, and reads the rest.
func dtlsHello(body []byte) (Fact, bool) {
	at := 34
	if at >= len(body) {
		return Fact{}, false
	}
	at += 1 + int(body[at])
	if at >= len(body) {
		return Fact{}, false
	}
	cookie := 1 + int(body[at])
	if at+cookie > len(body) {
		return Fact{}, false
	}
	plain := append(append(make([]byte, 0, len(body)), body[:at]...), body[at+cookie:]...)
	fact, ok := clientHello("dtls", 'd', plain)
	fact.add("kind", "hello")
	return fact, ok
}

// discordDatagram knows Discord's voice IP discovery: type 1 (request) or 2 (answer), length 70, SSRC, address, port; and the ping by
// which clients find the nearest voice server.
func discordDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) == 8 && binary.BigEndian.Uint32(b) == 0x1337cafe {
		return Fact{Decoder: "discord", Attrs: []Attr{{"kind", "ping"}}}, true
	}
	if len(b) != 74 || b[0] != 0 || b[1] != 1 && b[1] != 2 || b[2] != 0 || b[3] != 70 {
		return Fact{}, false
	}
	if b[1] == 1 && !isZero(b[8:]) {
		return Fact{}, false
	}
	return Fact{Decoder: "discord", Attrs: []Attr{{"kind", "discovery"}}}, true
}

// oicqDatagram knows QQ's OICQ: 0x02, version, command, sequence, number, 0x03 at the end.
func oicqDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 12 || b[0] != 2 || b[len(b)-1] != 3 || b[1] > 0x40 || b[1] == 0 || !d.port(8000) {
		return Fact{}, false
	}
	return Fact{Decoder: "oicq", Attrs: []Attr{{"version", hex.EncodeToString(b[1:3])}}}, true
}

// teamspeakDatagram knows the word that opens a TeamSpeak 3 session.
func teamspeakDatagram(d *Datagram) (Fact, bool) {
	if !bytes.HasPrefix(d.Payload, []byte("TS3INIT1")) {
		return Fact{}, false
	}
	return Fact{Decoder: "teamspeak", Attrs: []Attr{{"version", "3"}}}, true
}

// viberDatagram knows Viber's calls on its documented ports (help.viber.com): an id, a type, a zero, and a size that fits the type.
func viberDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 18 || b[3] != 0 || !d.port(7985) && !d.port(7987) && !d.port(5243) && !d.port(9785) {
		return Fact{}, false
	}
	for _, known := range []struct {
		kind     byte
		from, to int // sizes
	}{{0x01, 65, 1500}, {0x09, 20, 20}, {0x0c, 65, 1500}, {0x11, 18, 18}, {0x19, 34, 34}, {0x1a, 20, 20}} {
		if b[2] == known.kind && len(b) >= known.from && len(b) <= known.to {
			return Fact{Decoder: "viber", Attrs: []Attr{{"form", "udp"}}}, true
		}
	}
	return Fact{}, false
}

// zoomDatagram knows Zoom's encapsulation on its documented ports: type 5 before media, with a direction and a media type (Michel et al.,
// IMC 2022), and types 1 to 4 to open and keep a session.
func zoomDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 13 || !zoomPort(d.ServerPort) && !zoomPort(d.ClientPort) {
		return Fact{}, false
	}
	kind := ""
	switch b[0] {
	case 5:
		if direction := b[7]; (direction <= 1 || direction == 4) && b[8] >= 10 && b[8] <= 35 {
			kind = "media"
		}
	case 1, 2, 3, 4:
		if b[1] == 0 && len(b) < 160 {
			kind = "session"
		}
	}
	return Fact{Decoder: "zoom", Attrs: []Attr{{"kind", kind}}}, kind != ""
}

func zoomPort(port uint16) bool { return port >= 8801 && port <= 8810 }

// rtpState follows the first RTP packets of one direction: version 2, one source, numbers that go up (RFC 3550, section 5.1).
type rtpState struct {
	source uint32
	number uint16
	run    uint8
}

func (s *rtpState) look(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 12 || b[0]>>6 != 2 || !d.FromClient {
		return Fact{}, false
	}
	kind := b[1] & 0x7f
	if kind >= 64 && kind <= 95 { // RTCP's range, RFC 5761, section 4
		return Fact{}, false
	}
	source, n := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
	if s.run > 0 && source == s.source && n-s.number < 8 && n != s.number && source != 0 {
		s.run++
	} else {
		s.run = 1
	}
	s.source, s.number = source, n
	if s.run < 4 {
		return Fact{}, false
	}
	return Fact{Decoder: "rtp", Attrs: []Attr{{"payload", number(int(kind))}}}, true
}

// skypeDatagram notes what may be classic Skype: a 16-bit object id and a byte whose low half names a function (Baset and Schulzrinne,
// 2006; Bonfiglio et al., 2007). One datagram proves nothing: package classify looks at all peers of a local port, and must hear of those
// whose byte fits no function as well.
func skypeDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 11 {
		return Fact{}, false
	}
	fact := Fact{Decoder: "skype-candidate", Attrs: make([]Attr, 0, 2)}
	switch b[2] & 15 {
	case 2, 3, 5, 7, 0xd, 0xf:
		fact.add("id", number(int(binary.BigEndian.Uint16(b))))
		fact.add("function", number(int(b[2]&15)))
	}
	return fact, true
}
