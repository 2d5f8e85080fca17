package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

const stunCookie = 0x2112a442

// stunDatagram reads a STUN message (RFC 8489), or TURN channel data that begins like one is not.
func stunDatagram(d *Datagram) (Fact, bool) { return stunMessage(d.Payload, d.Cut, "") }

// stunStream reads the first STUN message over TCP: bare, or framed by a length (RFC 4571).
func stunStream(in *Segments) (Fact, answer) { return stunFirst(in.Client) }

// stunAnswerStream reads the first answer, which is where a relay says its realm.
func stunAnswerStream(in *Segments) (Fact, answer) {
	if _, a := stunFirst(in.Client); a != yes {
		return Fact{}, a
	}
	return stunFirst(in.Server)
}

func stunFirst(b []byte) (Fact, answer) {
	if len(b) > 0 && b[0] > 3 {
		return Fact{}, no
	}
	if len(b) < 20 {
		return Fact{}, more
	}
	framed := false
	size := 20 + int(binary.BigEndian.Uint16(b[2:]))
	if binary.BigEndian.Uint32(b[4:]) != stunCookie && binary.BigEndian.Uint32(b[6:]) == stunCookie {
		framed, size = true, 2+int(binary.BigEndian.Uint16(b))
	}
	if known := framed || binary.BigEndian.Uint32(b[4:]) == stunCookie; known && size > len(b) && size <= maxStun {
		return Fact{}, more
	}
	if !framed && size == 20 && binary.BigEndian.Uint32(b[4:]) != stunCookie { // RFC 3489 has no TCP, and empty it is four bytes of proof
		return Fact{}, no
	}
	if framed {
		b = b[2:min(len(b), size)]
	}
	fact, ok := stunMessage(b, true, "tcp")
	return fact, is(ok)
}

// maxStun bounds a message that is waited for.
const maxStun = 2 << 10

// maxStunAttributes bounds the attributes of a message that are read.
const maxStunAttributes = 32

// stunMessage reads a message. One that is open may be cut, or be followed by others, and then only the magic cookie tells.
func stunMessage(b []byte, open bool, form string) (Fact, bool) {
	if len(b) < 20 || b[0]&0xc0 != 0 {
		return Fact{}, false
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if size%4 != 0 || 20+size > len(b) && !open {
		return Fact{}, false
	}
	body := b[20:min(20+size, len(b))]
	method := stunMethod(binary.BigEndian.Uint16(b))
	kind := "rfc5389"
	switch cookie := binary.BigEndian.Uint32(b[4:]) == stunCookie; {
	case cookie && method == "" && open:
		return Fact{}, false
	case !cookie && (len(b) != 20+size || !oldStun(method, body)):
		return Fact{}, false
	case !cookie:
		kind = "rfc3489"
	}
	fact := Fact{Decoder: "stun", Attrs: make([]Attr, 0, 4)}
	fact.add("kind", kind)
	fact.add("method", method)
	fact.add("form", form)
	stunAttributes(&fact, body, b[4:20])
	return fact, true
}

// oldStun checks what has nothing but its types to be known by: the method is RFC 3489's, and its attributes, or a vendor's, fill the
// message exactly.
func oldStun(method string, b []byte) bool {
	if method == "" || len(b) == 0 && method != "binding" {
		return false
	}
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		kind, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:])+3)&^3
		if !oldAttribute(kind) || 4+length > len(b) {
			return false
		}
		b = b[4+length:]
	}
	return true
}

func oldAttribute(kind uint16) bool {
	return kind > 0 && kind <= 0x2f || kind>>4 == 0x400 || kind >= 0x8000
}

// stunMethod names the method of a message type (IANA's registry of STUN methods), or a vendor's by its number; "" is none.
func stunMethod(kind uint16) string {
	names := [...]string{1: "binding", 2: "secret", 3: "allocate", 4: "refresh", 6: "send", 7: "data", 8: "permission", 9: "channel", 10: "connect"}
	method := kind &^ 0x0110
	switch {
	case int(method) < len(names):
		return names[method]
	case method == 0x080:
		return "goog-ping"
	case kind&0x3e00 == 0x0800:
		return "vendor-" + hex.EncodeToString([]byte{byte(kind >> 8), byte(kind)})
	}
	return ""
}

func stunAttributes(fact *Fact, b, transaction []byte) {
	for range maxStunAttributes {
		if len(b) < 4 {
			return
		}
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		value := b[4:min(4+size, len(b))]
		switch {
		case kind == 0x8022:
			fact.add("software", trimmed(value))
		case kind == 0x0014:
			fact.add("realm", trimmed(value))
		case kind == 0x0006 && bytes.IndexByte(value, ':') > 0: // the fragments of both ends: a check between peers (RFC 8445, section 7.2.2)
			fact.add("ice", "yes")
		case kind == 0x0012:
			fact.add("peer", stunAddress(value, transaction))
		case kind == 0x0016:
			fact.add("relayed", stunAddress(value, transaction))
		case kind == 0x802f:
			fact.add("origin", trimmed(value))
		case stunStandard(kind):
		default:
			fact.add("vendor", hex.EncodeToString([]byte{byte(kind >> 8), byte(kind)}))
		}
		b = b[min(4+(size+3)&^3, len(b)):]
	}
}

// stunAddress reads an address that is combined with the cookie and the transaction (RFC 8489, section 14.2).
func stunAddress(b, transaction []byte) string {
	if len(b) != 8 && len(b) != 20 || b[1] != 1 && len(b) == 8 || b[1] != 2 && len(b) == 20 {
		return ""
	}
	plain := bytes.Clone(b[4:])
	for i := range plain {
		plain[i] ^= transaction[i]
	}
	addr, ok := netip.AddrFromSlice(plain)
	if !ok {
		return ""
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[2:])^stunCookie>>16).String()
}

func trimmed(b []byte) string {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return text(b)
}

// stunStandard reports whether IANA's registry of STUN attributes names the attribute for everybody.
func stunStandard(kind uint16) bool {
	switch {
	case kind <= 0x002a, kind >= 0x8000 && kind <= 0x8004, kind >= 0x8022 && kind <= 0x8030, kind == 0xc001, kind == 0xc057:
		return true
	}
	return false
}
