package decode

import "encoding/binary"

// Sizes of Tox (zetok.github.io/tox-spec, "Packet kind", "DHT Packet", "TCP server").
const (
	toxKey       = 32
	toxNonce     = 24
	toxPing      = 82  // kind, key, nonce, one byte and a number, authenticator
	toxNodesAsk  = 113 // kind, key, nonce, the key looked for and a number, authenticator
	toxHelloAsk  = 128 // key and nonce; a new key and a nonce, authenticator
	toxHelloTell = 96  // nonce; a new key and a nonce, authenticator
	toxOverhead  = 32  // bytes of a toxState
)

// toxState follows the public keys by which a Tox node begins each packet of its distributed hash table, in both directions. One packet
// proves nothing; two of the right kinds and sizes that begin with the same key and go on with different nonces do.
type toxState struct {
	sides [2]toxSide
}

type toxSide struct {
	key   uint64 // its first quarter, which is enough to know it again
	nonce uint32
}

func (s *Datagrams) toxDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if !toxPacket(b) {
		return Fact{}, false
	}
	if s.tox == nil {
		s.tox = &toxState{}
	}
	side := &s.tox.sides[0]
	if !d.FromClient {
		side = &s.tox.sides[1]
	}
	seen := toxSide{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint32(b[1+toxKey:])}
	again := side.key == seen.key && side.nonce != seen.nonce && seen.key != 0
	*side = seen
	if !again || !scattered(b[1:1+toxKey]) {
		return Fact{}, false
	}
	return Fact{Decoder: "tox", Attrs: []Attr{{"kind", "dht"}}}, true
}

// toxPacket reports whether a packet has a kind of the hash table and the size of that kind.
func toxPacket(b []byte) bool {
	switch n := len(b); {
	case n < toxPing:
	case b[0] <= 1:
		return n == toxPing
	case b[0] == 2:
		return n == toxNodesAsk
	case b[0] == 4: // up to four nodes, of 39 bytes (IPv4) or 51 (IPv6)
		for six := range 5 {
			if rest := n - toxPing - 51*six; rest >= 0 && rest%39 == 0 && rest/39+six <= 4 {
				return true
			}
		}
	}
	return false
}

// scattered reports whether bytes look like a key: at least 20 of 32 differ, and 4 are above ASCII, as in all but one in 10^5 keys.
func scattered(b []byte) bool {
	var seen [4]uint64
	distinct, high := 0, 0
	for _, c := range b {
		high += int(c >> 7)
		if bit := uint64(1) << (c & 63); seen[c>>6]&bit == 0 {
			seen[c>>6] |= bit
			distinct++
		}
	}
	return distinct >= 20 && high >= 4
}

// toxStream knows a Tox relay by the sizes of its handshake, 128 bytes and 96, and the lengths of the first encrypted packet on either
// side: a ping (25) or a request to route (49), and their answers (25, 50).
func toxStream(in *Segments) (Fact, answer) {
	c, s := in.Client, in.Server
	switch {
	case len(c) >= toxKey && !scattered(c[:toxKey]), len(c) > 0 && len(c) < toxKey && printable(c):
		return Fact{}, no
	case len(c) > toxHelloAsk && len(s) == 0: // it waits for the answer
		return Fact{}, no
	case len(c) > toxHelloAsk+1 && toxLength(c, toxHelloAsk) != 25 && toxLength(c, toxHelloAsk) != 49:
		return Fact{}, no
	case len(s) > toxHelloTell+1 && toxLength(s, toxHelloTell) != 25 && toxLength(s, toxHelloTell) != 50:
		return Fact{}, no
	case len(c) <= toxHelloAsk+1 || len(s) <= toxHelloTell+1:
		return Fact{}, more
	case !scattered(s[toxNonce : toxNonce+toxKey]):
		return Fact{}, no
	}
	return Fact{Decoder: "tox", Attrs: []Attr{{"kind", "relay"}}}, yes
}

func toxLength(b []byte, at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
