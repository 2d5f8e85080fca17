package decode

import "bytes"

// opendhtDatagram knows the packets of OpenDHT, the hash table in which Jami's clients find each other: a MessagePack map with one-letter
// keys, of which the last are the kind of packet and the network's name, "RNG1" for Jami's (github.com/savoirfairelinux/opendht/wiki).
func opendhtDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	const tail = "\xa1v\xa4RNG1"
	if len(b) < 32 || b[0] < 0x82 || b[0] > 0x88 || b[1] != 0xa1 || !bytes.HasSuffix(b, []byte(tail)) {
		return Fact{}, false
	}
	kind := b[len(b)-len(tail)-4 : len(b)-len(tail)]
	if string(kind[:3]) != "\xa1y\xa1" || kind[3] < 'a' || kind[3] > 'z' {
		return Fact{}, false
	}
	return Fact{Decoder: "opendht", Attrs: []Attr{{"network", "RNG1"}}}, true
}
