package decode

import "encoding/binary"

// mumblePort is where Mumble's servers listen unless they are told otherwise.
const mumblePort = 64738

// mumbleDatagram knows the pings by which Mumble's clients ask a server how it is, before anything is encrypted. Up to version 1.4: type 0 and
// an identifier; the answer begins with the version. Since 1.5: a byte of 1 and the message Ping of MumbleUDP.proto.
func mumbleDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if !d.port(mumblePort) || d.Cut {
		return Fact{}, false
	}
	request := len(b) == 12 && isZero(b[:4]) && !isZero(b[4:])
	reply := len(b) == 24 && b[0] == 0 && b[1] == 1 && b[2] < 10
	if !request && !reply && !(len(b) > 1 && b[0] == 1 && mumblePing(b[1:])) {
		return Fact{}, false
	}
	return Fact{Decoder: "mumble", Attrs: []Attr{{"kind", "ping"}}}, true
}

// Fields of the message Ping: all of them are numbers, and come in this order.
const (
	pingTimestamp = 1
	pingAsks      = 2
	pingVersion   = 3
	pingLast      = 6
)

// mumblePing reports whether b is a Ping that asks for what the server is, or says it.
func mumblePing(b []byte) bool {
	asks, told := false, false
	for last := byte(0); len(b) > 0; {
		field := b[0] >> 3
		value, n := binary.Uvarint(b[1:])
		if b[0]&7 != 0 || n <= 0 || field <= last || field > pingLast || last == 0 && field != pingTimestamp {
			return false
		}
		switch field {
		case pingAsks:
			asks = value == 1
		case pingVersion: // major, minor and patch in 32 bits, or since 1.5 in 64
			major := value >> 16
			if value>>32 != 0 {
				major = value >> 48
			}
			told = major > 0 && major < 10
		}
		last, b = field, b[1+n:]
	}
	return asks || told
}
