package flow

import (
	"encoding/binary"
	"time"
)

// Protocols of flows, as IP numbers them. ICMPv6 is counted as ICMP.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// TCP flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// Packet is one decoded packet. Its payload is part of the bytes it was decoded from.
type Packet struct {
	Time    time.Time
	Proto   uint8
	V6      bool
	Flags   uint8 // of TCP
	SrcPort uint16
	DstPort uint16
	Seq     uint32 // of TCP
	Length  int    // on the wire
	Src     [16]byte
	Dst     [16]byte
	Payload []byte // as captured
	Cut     bool   // the payload on the wire was longer

	part part // when it is a fragment
}

// ends returns the addresses and ports that p goes from and to.
func (p *Packet) ends() (src, dst End) {
	return End{p.Src, p.SrcPort, p.V6}, End{p.Dst, p.DstPort, p.V6}
}

// decode fills p from an Ethernet-like frame of the link type. It returns false when there is no packet of a flow in it.
func (p *Packet) decode(link uint16, b []byte) bool {
	kind, b, ok := network(link, b)
	if !ok {
		p.part = part{}
		return false
	}
	p.Flags, p.Seq, p.SrcPort, p.DstPort, p.Cut, p.part = 0, 0, 0, 0, false, part{}
	switch kind {
	case etherIPv4:
		return p.decodeIPv4(b)
	case etherIPv6:
		return p.decodeIPv6(b)
	}
	return false
}

func (p *Packet) decodeIPv4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	header := int(b[0]&15) * 4
	if header < 20 || len(b) < header {
		return false
	}
	p.V6, p.Proto = false, b[9]
	p.Src, p.Dst = mapped, mapped
	copy(p.Src[12:], b[12:16])
	copy(p.Dst[12:], b[16:20])
	// A total length of zero is left by segmentation offload: the packet reaches to the end of the frame.
	payload, cut := trim(b[header:], int(binary.BigEndian.Uint16(b[2:]))-header)
	if flags := binary.BigEndian.Uint16(b[6:]); flags&0x3fff != 0 {
		p.part = part{true, flags&0x2000 != 0, cut, p.Proto, uint32(binary.BigEndian.Uint16(b[4:])), int(flags&0x1fff) * 8, payload}
		if p.part.offset > 0 { // a fragment after the first
			return false
		}
	}
	return p.decodeTransport(payload, cut)
}

// mapped is the prefix of an IPv4 address in an IPv6 one (RFC 4291, section 2.5.5.2).
var mapped = [16]byte{10: 0xff, 11: 0xff}

// trim cuts the padding behind b, whose length was declared; the flag says that b is shorter than declared.
func trim(b []byte, declared int) ([]byte, bool) {
	if declared > 0 && declared <= len(b) {
		return b[:declared], false
	}
	return b, declared > len(b)
}

// maxExtensions bounds the chain of IPv6 extension headers.
const maxExtensions = 8

func (p *Packet) decodeIPv6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	p.V6 = true
	copy(p.Src[:], b[8:24])
	copy(p.Dst[:], b[24:40])
	next := b[6]
	rest, cut := trim(b[40:], int(binary.BigEndian.Uint16(b[4:])))
	return p.decodeExtensions(next, rest, cut)
}

// decodeExtensions goes along the chain of IPv6 extension headers to the transport (RFC 8200, section 4).
func (p *Packet) decodeExtensions(next byte, b []byte, cut bool) bool {
	for range maxExtensions {
		size := 0
		switch next {
		case 0, 43, 60, 135, 139, 140: // hop-by-hop, routing, destination, mobility, HIP, shim6
			if len(b) < 8 {
				return false
			}
			size = int(b[1])*8 + 8
		case 51: // authentication header, RFC 4302, section 2.2: in units of four, minus two
			if len(b) < 8 {
				return false
			}
			size = int(b[1])*4 + 8
		case 44: // fragment
			if len(b) < 8 {
				return false
			}
			flags := binary.BigEndian.Uint16(b[2:])
			p.Proto = b[0]
			p.part = part{flags&^6 != 0, flags&1 != 0, cut, b[0], binary.BigEndian.Uint32(b[4:]), int(flags &^ 7), b[8:]}
			if p.part.offset > 0 {
				return false
			}
			size = 8
		default:
			p.Proto = next
			return p.decodeTransport(b, cut)
		}
		if size > len(b) {
			return false
		}
		next, b = b[0], b[size:]
	}
	return false
}

func (p *Packet) decodeTransport(b []byte, cut bool) bool {
	p.Cut = cut
	switch p.Proto {
	case protoTCP:
		return p.decodeTCP(b)
	case protoUDP:
		return p.decodeUDP(b)
	case protoSCTP:
		if len(b) < 12 {
			return false
		}
		p.SrcPort, p.DstPort, p.Payload = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[12:]
		return true
	case protoICMP, protoICMPv6:
		p.Proto, p.Payload = protoICMP, b
		return len(b) >= 4
	}
	return false
}

func (p *Packet) decodeTCP(b []byte) bool {
	if len(b) < 14 {
		if len(b) < 4 || !p.part.is && !p.Cut {
			return false
		}
		p.SrcPort, p.DstPort, p.Payload, p.Cut = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), nil, true
		return true
	}
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.Seq, p.Flags = binary.BigEndian.Uint32(b[4:]), b[13]
	header := int(b[12]>>4) * 4
	if header < 20 || header > len(b) { // cut, or malformed: it still counts for its flow
		p.Payload, p.Cut = nil, true
		return true
	}
	p.Payload = b[header:]
	return true
}

func (p *Packet) decodeUDP(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	declared := int(binary.BigEndian.Uint16(b[4:])) - 8
	b = b[8:]
	if declared >= 0 && declared < len(b) {
		b = b[:declared]
	}
	p.Payload, p.Cut = b, p.Cut || declared > len(b)
	return true
}
