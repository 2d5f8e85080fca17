package flow

import "encoding/binary"

// Link types, as captures number them (tcpdump.org/linktypes.html).
const (
	linkNull     = 0
	linkEthernet = 1
	linkPPP      = 9
	linkRawBSD   = 12
	linkRawOpen  = 14
	linkPPPHDLC  = 50
	linkPPPoE    = 51
	linkRaw      = 101
	linkCHDLC    = 104
	linkWiFi     = 105
	linkLoop     = 108
	linkSLL      = 113
	linkRadiotap = 127
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// Ether types (IEEE 802 numbers).
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherOldQ   = 0x9100
	etherMPLS   = 0x8847
	etherMPLSUp = 0x8848
	etherPPPoE  = 0x8864
)

// knownLink reports whether network reads frames of a link type.
func knownLink(link uint16) bool {
	switch link {
	case linkEthernet, linkSLL, linkSLL2, linkRaw, linkRawBSD, linkRawOpen, linkIPv4, linkIPv6, linkNull, linkLoop, linkPPP, linkPPPHDLC, linkPPPoE, linkCHDLC, linkWiFi, linkRadiotap:
		return true
	}
	return false
}

// network finds the network packet in a frame: its ether type and its bytes.
func network(link uint16, b []byte) (kind uint16, rest []byte, ok bool) {
	switch link {
	case linkEthernet:
		if len(b) < 14 {
			return 0, nil, false
		}
		return unwrap(binary.BigEndian.Uint16(b[12:]), b[14:])
	case linkSLL:
		if len(b) < 16 {
			return 0, nil, false
		}
		return unwrap(binary.BigEndian.Uint16(b[14:]), b[16:])
	case linkSLL2:
		if len(b) < 20 {
			return 0, nil, false
		}
		return unwrap(binary.BigEndian.Uint16(b), b[20:])
	case linkRaw, linkRawBSD, linkRawOpen, linkIPv4, linkIPv6:
		return byVersion(b)
	case linkNull, linkLoop: // four bytes of address family, in the order of some machine
		if len(b) < 4 {
			return 0, nil, false
		}
		return byVersion(b[4:])
	case linkPPP, linkPPPHDLC, linkPPPoE:
		return ppp(link, b)
	case linkCHDLC: // address, control, ether type
		if len(b) < 4 {
			return 0, nil, false
		}
		return unwrap(binary.BigEndian.Uint16(b[2:]), b[4:])
	case linkWiFi:
		return wifi(b)
	case linkRadiotap:
		if len(b) < 4 || int(binary.LittleEndian.Uint16(b[2:])) > len(b) {
			return 0, nil, false
		}
		return wifi(b[binary.LittleEndian.Uint16(b[2:]):])
	}
	return 0, nil, false
}

func byVersion(b []byte) (uint16, []byte, bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	switch b[0] >> 4 {
	case 4:
		return etherIPv4, b, true
	case 6:
		return etherIPv6, b, true
	}
	return 0, nil, false
}

// maxTags bounds the tags and labels before a packet.
const maxTags = 8

// unwrap removes VLAN tags, MPLS labels and PPPoE.
func unwrap(kind uint16, b []byte) (uint16, []byte, bool) {
	for range maxTags {
		switch kind {
		case etherIPv4, etherIPv6:
			return kind, b, true
		case etherVLAN, etherQinQ, etherOldQ:
			if len(b) < 4 {
				return 0, nil, false
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case etherMPLS, etherMPLSUp:
			return mpls(b)
		case etherPPPoE:
			return ppp(linkPPPoE, b)
		default:
			return 0, nil, false
		}
	}
	return 0, nil, false
}

func mpls(b []byte) (uint16, []byte, bool) {
	for range maxTags {
		if len(b) < 5 {
			return 0, nil, false
		}
		bottom := b[2]&1 != 0
		if b = b[4:]; bottom {
			break
		}
	}
	if b[0]>>4 == 0 && len(b) > 18 { // a pseudowire control word, then Ethernet (RFC 4448)
		return unwrap(binary.BigEndian.Uint16(b[16:]), b[18:])
	}
	return byVersion(b)
}

func ppp(link uint16, b []byte) (uint16, []byte, bool) {
	if link == linkPPPoE {
		if len(b) < 6 || b[1] != 0 { // only the session stage carries packets (RFC 2516)
			return 0, nil, false
		}
		b = b[6:]
	}
	if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
		b = b[2:]
	}
	if len(b) < 2 {
		return 0, nil, false
	}
	kind, size := binary.BigEndian.Uint16(b), 2
	if b[0]&1 != 0 { // protocol field compressed to one byte (RFC 1661, section 6.5)
		kind, size = uint16(b[0]), 1
	}
	switch kind {
	case 0x0021:
		return etherIPv4, b[size:], true
	case 0x0057:
		return etherIPv6, b[size:], true
	case 0x0281, 0x0283:
		return mpls(b[size:])
	}
	// HDLC captures that are marked as PPP: address, control, ether type.
	if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) {
		return unwrap(binary.BigEndian.Uint16(b[2:]), b[4:])
	}
	return 0, nil, false
}

// wifi finds the packet in an IEEE 802.11 data frame that is not encrypted.
func wifi(b []byte) (uint16, []byte, bool) {
	if len(b) < 24 || b[0]&0x0c != 0x08 || b[1]&0x40 != 0 { // not data, or protected
		return 0, nil, false
	}
	header := 24
	if b[1]&3 == 3 {
		header += 6
	}
	if b[0]&0x80 != 0 { // quality of service
		if header += 2; b[1]&0x80 != 0 { // and high throughput control (IEEE 802.11, section 9.2.4.1.10)
			header += 4
		}
	}
	if b[0]&0x40 != 0 || len(b) < header+8 || b[header] != 0xaa || b[header+1] != 0xaa { // no data, or no SNAP
		return 0, nil, false
	}
	return unwrap(binary.BigEndian.Uint16(b[header+6:]), b[header+8:])
}
