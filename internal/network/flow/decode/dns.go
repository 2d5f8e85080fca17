package decode

import (
	"encoding/binary"
	"net/netip"
)

// dnsDatagram reads a DNS message over UDP. Multicast DNS announces neighbours, not what anybody uses: it is left out.
func dnsDatagram(d *Datagram) (Fact, bool) {
	if !d.port(53) || d.port(5353) {
		return Fact{}, false
	}
	return dnsMessage(d.Payload)
}

func dnsStream(in *Segments) (Fact, answer) {
	if in.ServerPort != 53 {
		return Fact{}, no
	}
	b := in.Server
	if len(b) < 14 {
		return Fact{}, more
	}
	size := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+size && len(b) < 16<<10 {
		return Fact{}, more
	}
	fact, ok := dnsMessage(b[2:min(2+size, len(b))])
	if !ok {
		return Fact{}, no
	}
	return fact, yes
}

// maxRecords bounds the answers of a message that are read.
const maxRecords = 24

// dnsMessage reads one message (RFC 1035, section 4): the question, and the addresses and aliases that answer it.
func dnsMessage(b []byte) (Fact, bool) {
	if len(b) < 17 || b[2]&0x78 != 0 { // only standard queries
		return Fact{}, false
	}
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	if questions != 1 {
		return Fact{}, false
	}
	var buf [256]byte
	name, at, ok := dnsName(buf[:0], b, 12)
	if !ok || at+4 > len(b) {
		return Fact{}, false
	}
	kind := binary.BigEndian.Uint16(b[at:])
	if binary.BigEndian.Uint16(b[at+2:])&0x7fff != 1 {
		return Fact{}, false
	}
	fact := Fact{Decoder: "dns", Attrs: make([]Attr, 0, 4)}
	question := host(name)
	if question == "" {
		return Fact{}, false
	}
	fact.add("name", question)
	fact.add("type", dnsType(kind))
	if b[2]&0x80 != 0 {
		dnsAnswers(&fact, b, at+4, int(min(answers, maxRecords)))
	}
	return fact, true
}

func dnsAnswers(fact *Fact, b []byte, at, count int) {
	var buf [256]byte
	for range count {
		_, next, ok := dnsName(buf[:0], b, at)
		if !ok || next+10 > len(b) {
			return
		}
		kind, size := binary.BigEndian.Uint16(b[next:]), int(binary.BigEndian.Uint16(b[next+8:]))
		data := next + 10
		if at = data + size; at > len(b) {
			return
		}
		switch {
		case kind == 1 && size == 4:
			fact.add("answer", netip.AddrFrom4([4]byte(b[data:])).String())
		case kind == 28 && size == 16:
			fact.add("answer", netip.AddrFrom16([16]byte(b[data:])).String())
		case kind == 5:
			if alias, _, ok := dnsName(buf[:0], b, data); ok {
				fact.add("alias", host(alias))
			}
		}
	}
}

// dnsName appends the name at the place to out and returns the place behind it. Pointers only go back (RFC 1035, section 4.1.4).
func dnsName(out, b []byte, at int) (name []byte, next int, ok bool) {
	limit, next := at, -1
	for {
		if at >= len(b) {
			return nil, 0, false
		}
		size := int(b[at])
		switch {
		case size == 0:
			if next < 0 {
				next = at + 1
			}
			return out, next, true
		case size&0xc0 == 0xc0:
			if at+1 >= len(b) {
				return nil, 0, false
			}
			if next < 0 {
				next = at + 2
			}
			to := size&0x3f<<8 | int(b[at+1])
			if to >= limit {
				return nil, 0, false
			}
			at, limit = to, to
		case size&0xc0 != 0 || at+1+size > len(b) || len(out)+size+1 > 254:
			return nil, 0, false
		default:
			if len(out) > 0 {
				out = append(out, '.')
			}
			out = append(out, b[at+1:at+1+size]...)
			at += 1 + size
		}
	}
}

func dnsType(kind uint16) string {
	for _, t := range []struct {
		kind uint16
		name string
	}{{1, "A"}, {28, "AAAA"}, {65, "HTTPS"}, {5, "CNAME"}, {12, "PTR"}, {33, "SRV"}, {16, "TXT"}, {15, "MX"}, {2, "NS"}, {6, "SOA"}} {
		if t.kind == kind {
			return t.name
		}
	}
	return number(int(kind))
}
