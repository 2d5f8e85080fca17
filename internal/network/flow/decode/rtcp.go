package decode

import "encoding/binary"

// Types of control packets (RFC 3550, section 12.1), and those of feedback (RFC 4585) and reports (RFC 3611) that may follow them.
const (
	rtcpSender     = 200
	rtcpReceiver   = 201
	rtcpLast       = 207
	srtcpIndex     = 4
	srtcpTag       = 10      // of the profile that everybody has (RFC 3711, section 8.2)
	srtcpShortTag  = 4       // of the other (RFC 5764, section 4.1.2)
	srtcpAmongMany = 1 << 20 // an index that a session of hours has not come to
)

// rtcpDatagram knows the control packets of media: a report comes first, and the lengths of all that are in one datagram fill it (RFC 3550,
// appendix A.2). Encrypted, the first one's header stays in clear, and an index with the mark that says so comes before the tag (RFC 3711,
// section 3.4).
func rtcpDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) < 8 || b[0]>>6 != 2 || b[1] != rtcpSender && b[1] != rtcpReceiver || d.Cut {
		return Fact{}, false
	}
	first := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
	switch sources := 24 * int(b[0]&31); {
	case b[1] == rtcpSender && first < 28+sources, b[1] == rtcpReceiver && first < 8+sources, first > len(b):
		return Fact{}, false
	case rtcpFills(b):
		return Fact{Decoder: "rtcp", Attrs: []Attr{{"form", "plain"}}}, true
	case srtcpEnds(b[first:], srtcpTag) || srtcpEnds(b[first:], srtcpShortTag):
		return Fact{Decoder: "rtcp", Attrs: []Attr{{"form", "encrypted"}}}, true
	}
	return Fact{}, false
}

// rtcpFills reports whether control packets follow one another to the end.
func rtcpFills(b []byte) bool {
	for len(b) >= 4 && b[0]>>6 == 2 && b[1] >= rtcpSender && b[1] <= rtcpLast {
		size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			return false
		}
		b = b[size:]
	}
	return len(b) == 0
}

// srtcpEnds reports whether b, which follows the first packet, ends with the mark, an index and a tag of that length.
func srtcpEnds(b []byte, tag int) bool {
	at := len(b) - tag - srtcpIndex
	if at < 0 || at%4 != 0 {
		return false
	}
	index := binary.BigEndian.Uint32(b[at:])
	return index>>31 == 1 && index&^(1<<31) < srtcpAmongMany
}
