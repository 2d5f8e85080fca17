package decode

import (
	"encoding/binary"
	"net/netip"
)

// peers is what is kept of a flow between its datagrams, of protocols that two datagrams tell and one does not.
type peers struct {
	object uint16 // id of the first datagram, as classic Skype numbers them
	asked  bool
}

// skypeRefusal knows the reply of classic Skype to what it cannot decrypt: 11 bytes with the object id of the datagram that it answers, a
// function of 7, and the addresses of both as the sender sees them (Biondi and Desclaux, "Silver Needle in the Skype", 2006). kind is own
// when one of them is an end of this flow; else the address that was told is behind a translation, and one reply proves little.
func (s *Datagrams) skypeRefusal(d *Datagram) (Fact, bool) {
	b := d.Payload
	if len(b) != 11 || d.FromClient || d.V6 || b[2]&15 != 7 || !s.peers.asked || binary.BigEndian.Uint16(b) != s.peers.object {
		return Fact{}, false
	}
	fact := Fact{Decoder: "skype-refusal"}
	for _, told := range [2][4]byte{[4]byte(b[3:7]), [4]byte(b[7:11])} {
		if told == [4]byte(d.Source[12:]) || told == [4]byte(d.Destination[12:]) {
			fact.add("kind", "own")
			return fact, true
		}
	}
	told := netip.AddrFrom4([4]byte(b[3:7]))
	if !told.IsGlobalUnicast() || told.IsPrivate() {
		return Fact{}, false
	}
	fact.add("kind", "told")
	fact.add("address", told.String())
	return fact, true
}

// noteObject keeps the object id of a flow's first datagram.
func (s *Datagrams) noteObject(d *Datagram) {
	if len(d.Payload) >= 11 && d.FromClient {
		s.peers.object, s.peers.asked = binary.BigEndian.Uint16(d.Payload), true
	}
}
