package decode_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// toxPacket is a packet of a kind and a size, of a node with the key, with a nonce of its own.
func toxPacket(kind byte, size int, key []byte) []byte {
	b := make([]byte, size)
	rand.Read(b)
	b[0] = kind
	copy(b[1:], key)
	return b
}

func randomKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

// TestTox: two packets of the hash table with one key are known, in either direction, and nothing that only looks like them.
func TestTox(t *testing.T) {
	key := randomKey()
	ping, ask := toxPacket(0, 82, key), toxPacket(2, 113, key)
	for _, c := range []struct {
		name   string
		first  []byte
		second []byte
		known  bool
	}{
		{"ping and question", ping, ask, true},
		{"two pings", ping, toxPacket(0, 82, key), true},
		{"answer of two nodes and of none", toxPacket(4, 82+2*39, key), toxPacket(4, 82, key), true},
		{"answer of four nodes, two of IPv6", toxPacket(4, 82+2*39+2*51, key), toxPacket(1, 82, key), true},
		{"the same packet again", ping, ping, false},
		{"other keys", ping, toxPacket(0, 82, randomKey()), false},
		{"another size", ping, toxPacket(0, 83, key), false},
		{"another kind", ping, toxPacket(3, 82, key), false},
		{"answer of five nodes", toxPacket(4, 82+5*39, key), toxPacket(4, 82+5*39, key), false},
		{"no key but a counter", toxPacket(0, 82, bytes.Repeat([]byte{0, 0, 0, 1}, 8)), toxPacket(0, 82, bytes.Repeat([]byte{0, 0, 0, 1}, 8)), false},
		{"zeros", make([]byte, 82), make([]byte, 82), false},
	} {
		for _, fromClient := range []bool{true, false} {
			var d decode.Datagrams
			known := false
			for _, payload := range [][]byte{c.first, c.second} {
				facts, _ := d.Look(&decode.Datagram{Payload: payload, FromClient: fromClient, ClientPort: 33445, ServerPort: 33446})
				for _, f := range facts {
					known = known || f.Decoder == "tox"
				}
			}
			if known != c.known {
				t.Errorf("%s, from client %v: known %v", c.name, fromClient, known)
			}
		}
	}
}

// TestToxRelay: the sizes of the handshake and of what comes first behind it, and scattered keys, are all needed.
func TestToxRelay(t *testing.T) {
	ask := func(length byte) string {
		return string(toxPacket('k', 128, nil)) + "\x00" + string(length) + string(randomKey())
	}
	tell := func(length byte) string {
		return string(toxPacket('k', 96, nil)) + "\x00" + string(length) + string(randomKey())
	}
	for _, c := range []struct {
		name, client, server string
		known                bool
	}{
		{"ping", ask(25), tell(25), true},
		{"a request to route", ask(49), tell(50), true},
		{"another length", ask(26), tell(25), false},
		{"another length of the server", ask(25), tell(24), false},
		{"nothing behind the handshake", string(toxPacket('k', 128, nil)), string(toxPacket('k', 96, nil)), false},
		{"no key", string(make([]byte, 128)) + "\x00\x19", tell(25), false},
		{"a text", string(bytes.Repeat([]byte("text"), 40)), tell(25), false},
	} {
		if got := decoderOf(conversation(c.client, c.server, 33445, false)); (got == "tox") != c.known {
			t.Errorf("%s: found %q", c.name, got)
		}
	}
}
