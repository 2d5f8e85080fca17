package decode

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// oscarStream knows OSCAR by its FLAP frames (0x2a, channel, sequence, length), or by the headers of its peer-to-peer transfers.
func oscarStream(in *Segments) (Fact, answer) {
	b := in.Client
	if a := prefixed(b, [][]byte{[]byte("OFT2"), []byte("ODC2"), {0x2a}}); a != yes {
		return Fact{}, a
	}
	switch {
	case bytes.HasPrefix(b, []byte("OFT2")):
		return Fact{Decoder: "oscar", Attrs: []Attr{{"kind", "oft2"}}}, yes
	case bytes.HasPrefix(b, []byte("ODC2")):
		return Fact{Decoder: "oscar", Attrs: []Attr{{"kind", "odc2"}}}, yes
	}
	frames := flapFrames(b) + flapFrames(in.Server)
	switch {
	case frames < 0:
		return Fact{}, no
	case frames >= 2:
		return Fact{Decoder: "oscar", Attrs: []Attr{{"kind", "flap"}}}, yes
	}
	return Fact{}, more
}

// flapFrames counts whole frames, or gives a large negative number when b is not made of them.
func flapFrames(b []byte) int {
	n := 0
	for len(b) >= 6 {
		if b[0] != 0x2a || b[1] == 0 || b[1] > 5 {
			return -1000
		}
		size := 6 + int(binary.BigEndian.Uint16(b[4:]))
		if size > len(b) {
			break
		}
		n, b = n+1, b[size:]
	}
	return n
}

// mtprotoStream knows Telegram's transports (core.telegram.org/mtproto/mtproto-transports). In the obfuscated form the first 64 bytes
// carry the key that decrypts their last 8, which begin with the tag of the transport.
func mtprotoStream(in *Segments) (Fact, answer) {
	b := in.Client
	if len(b) == 0 {
		return Fact{}, more
	}
	if transport, a := plainMTProto(b); a == yes {
		return Fact{Decoder: "mtproto", Attrs: []Attr{{"transport", transport}, {"obfuscated", "no"}}}, yes
	} else if a == more {
		return Fact{}, more
	}
	if len(b) < 64 {
		if len(b) >= 16 && printable(b) {
			return Fact{}, no
		}
		return Fact{}, more
	}
	block, err := aes.NewCipher(b[8:40])
	if err != nil {
		return Fact{}, no
	}
	tag := counterTag(block, b)
	transport := mtprotoTag(tag[:])
	if transport == "" {
		return Fact{}, no
	}
	return Fact{Decoder: "mtproto", Attrs: []Attr{{"transport", transport}, {"obfuscated", "yes"}}}, yes
}

// counterTag decrypts bytes 56 to 60, in counter mode: they are in the fourth block, and the others need not be known.
func counterTag(block cipher.Block, b []byte) (tag [4]byte) {
	counter, key := [16]byte(b[40:56]), [16]byte{}
	low := binary.BigEndian.Uint64(counter[8:])
	binary.BigEndian.PutUint64(counter[8:], low+3)
	if low+3 < low {
		binary.BigEndian.PutUint64(counter[:], binary.BigEndian.Uint64(counter[:])+1)
	}
	block.Encrypt(key[:], counter[:])
	for i := range tag {
		tag[i] = b[56+i] ^ key[8+i]
	}
	return tag
}

func mtprotoTag(b []byte) string {
	switch binary.BigEndian.Uint32(b) {
	case 0xefefefef:
		return "abridged"
	case 0xeeeeeeee:
		return "intermediate"
	case 0xdddddddd:
		return "padded"
	}
	return ""
}

// plainMTProto knows the transports in clear by their tag and the unencrypted message (auth_key_id of zero) that must come first.
func plainMTProto(b []byte) (string, answer) {
	switch {
	case fullMTProto(b):
		return "full", yes
	case b[0] == 0xef:
		if len(b) < 10 {
			return "", more
		}
		if b[1] < 0x7f && isZero(b[2:10]) {
			return "abridged", yes
		}
	case bytes.HasPrefix(b, []byte{0xee, 0xee, 0xee, 0xee}):
		if len(b) < 16 {
			return "", more
		}
		if binary.LittleEndian.Uint32(b[4:]) < 4096 && isZero(b[8:16]) {
			return "intermediate", yes
		}
	case bytes.HasPrefix(b, []byte{0xdd, 0xdd, 0xdd, 0xdd}):
		if len(b) < 16 {
			return "", more
		}
		if binary.LittleEndian.Uint32(b[4:]) < 4096 && isZero(b[8:16]) {
			return "padded", yes
		}
	}
	return "", no
}

// fullMTProto knows the full transport, which has no tag: a length, a number of zero, and the unencrypted request for a key.
func fullMTProto(b []byte) bool {
	if len(b) < 32 || !isZero(b[4:16]) || binary.LittleEndian.Uint32(b) != binary.LittleEndian.Uint32(b[24:])+32 {
		return false
	}
	request := binary.LittleEndian.Uint32(b[28:])
	return request == 0xbe7e8ef1 || request == 0x60469778 // req_pq_multi, req_pq
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// whatsappStream knows the prologue of WhatsApp's Noise handshake: "WA", protocol and dictionary version, then frames with a length of
// three bytes; before it there may be an edge routing header, "ED", 0, 1 and a length of three bytes.
func whatsappStream(in *Segments) (Fact, answer) {
	b, form := in.Client, "noise"
	if a := prefixed(b, [][]byte{[]byte("ED\x00\x01"), []byte("WA")}); a != yes {
		return Fact{}, a
	}
	if b[0] == 'E' {
		if len(b) < 7 {
			return Fact{}, more
		}
		size := int(b[4])<<16 | int(b[5])<<8 | int(b[6])
		if size > 512 {
			return Fact{}, no
		}
		if form = "edge"; len(b) < 7+size+4 {
			return Fact{}, more
		}
		b = b[7+size:]
	}
	if len(b) < 7 {
		return Fact{}, more
	}
	if b[0] != 'W' || b[1] != 'A' || b[2] == 0 || b[2] > 16 || b[3] > 16 || b[4] != 0 {
		return Fact{}, no
	}
	return Fact{Decoder: "whatsapp", Attrs: []Attr{{"form", form}}}, yes
}

// mmtlsStream knows WeChat's own TLS: record types of TLS 1.3 with version bytes f1 03 or f1 04.
func mmtlsStream(in *Segments) (Fact, answer) {
	b := in.Client
	if len(b) < 5 {
		if len(b) > 1 && b[1] != 0xf1 {
			return Fact{}, no
		}
		return Fact{}, more
	}
	if (b[0] != 0x16 && b[0] != 0x19) || b[1] != 0xf1 || b[2] != 3 && b[2] != 4 {
		return Fact{}, no
	}
	if size := int(binary.BigEndian.Uint16(b[3:])); size == 0 || size > 1<<14 {
		return Fact{}, no
	}
	return Fact{Decoder: "mmtls", Attrs: []Attr{{"version", "f1" + number(int(b[2]))}}}, yes
}

// locoSecure is how LOCO's secure layer begins: the size of an RSA key of 2048 bits, the way that the session's key is sealed, and the cipher
// (published clients: 12 is OAEP with SHA-1, 2 is AES-CFB), all little-endian.
func locoSecure(b []byte) answer {
	for i, want := range []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} {
		switch {
		case i == len(b):
			return more
		case i == 4 && b[i] >= 12 && b[i] <= 16, i == 8 && b[i] >= 2 && b[i] <= 3:
		case b[i] != want || i == 4 || i == 8:
			return no
		}
	}
	if len(b) < 12+64 {
		return more
	}
	return is(random(b[12:min(len(b), 12+256)]))
}

// locoStream knows KakaoTalk's LOCO protocol by its secure layer, or in clear: packet id, status, a method of up to 11 capital letters, type, length.
func locoStream(in *Segments) (Fact, answer) {
	b := in.Client
	switch a := locoSecure(b); {
	case a == yes:
		return Fact{Decoder: "loco", Attrs: []Attr{{"method", "secure"}}}, yes
	case a == more && len(b) > 4:
		return Fact{}, more
	}
	if len(b) < 22 {
		if len(b) > 6 && (b[6] < 'A' || b[6] > 'Z') {
			return Fact{}, no
		}
		return Fact{}, more
	}
	name := bytes.TrimRight(b[6:17], "\x00")
	if len(name) < 4 || b[4]|b[5]|b[17] != 0 || binary.LittleEndian.Uint32(b[18:]) > 1<<20 {
		return Fact{}, no
	}
	for _, c := range name {
		if c < 'A' || c > 'Z' {
			return Fact{}, no
		}
	}
	return Fact{Decoder: "loco", Attrs: []Attr{{"method", text(name)}}}, yes
}

// viberStream knows Viber's framing on the service's ports: a little-endian length that counts itself, and the frame's number, which is
// small in the client's first.
func viberStream(in *Segments) (Fact, answer) {
	b := in.Client
	if in.ServerPort != 4244 && in.ServerPort != 5242 {
		return Fact{}, no
	}
	if len(b) < 12 {
		return Fact{}, more
	}
	fact := Fact{Decoder: "viber", Attrs: []Attr{{"form", "tcp"}}}
	if size := int(binary.LittleEndian.Uint16(b)); size >= 8 && size <= len(b) && isZero(b[3:6]) {
		return fact, yes
	}
	if in.Middle {
		return fact, min(viberFrames(b), viberFrames(in.Server))
	}
	return fact, viberEcho(b, in.Server)
}

// viberEcho tells whether the server's first frame repeats the session's number, which a client that comes back puts where a new one has
// its frame's.
func viberEcho(client, server []byte) answer {
	size := int(binary.LittleEndian.Uint16(client))
	switch {
	case size < 12 || size > maxViber || isZero(client[2:6]):
		return no
	case len(client) < size || len(server) < 10:
		return is(len(client) <= 2*maxViber).orMore()
	}
	answer := int(binary.LittleEndian.Uint16(server))
	return is(answer >= 10 && answer <= len(server) && bytes.Equal(server[6:10], client[2:6]))
}

// maxViber bounds a first frame.
const maxViber = 2 << 10

// viberFrames tells whether frames fill b to its last byte: in the middle of a session their numbers say nothing.
func viberFrames(b []byte) answer {
	if len(b) < 2 {
		return more
	}
	for len(b) > 0 {
		if len(b) < 2 {
			return more
		}
		size := int(binary.LittleEndian.Uint16(b))
		if size < 8 || size > 16<<10 {
			return no
		}
		if size > len(b) {
			return more
		}
		b = b[size:]
	}
	return yes
}

func skypeLoginStream(in *Segments) (Fact, answer) {
	c, s := in.Client, in.Server
	switch {
	case len(c) == 0 || len(c) >= 5 && len(s) < 5 && bytes.HasPrefix(c, []byte{0x16, 3, 1, 0, 0}):
		return Fact{}, more
	case bytes.HasPrefix(c, []byte{0x16, 3, 1, 0, 0}) && bytes.HasPrefix(s, []byte{0x17, 3, 1, 0, 0}):
		return Fact{Decoder: "skype-login", Attrs: []Attr{{"form", "empty-record"}}}, yes
	case len(c) < 5 && bytes.HasPrefix([]byte{0x16, 3, 1, 0, 0}, c):
		return Fact{}, more
	}
	return Fact{}, no
}

// threemaStream knows the handshake of Threema's chat server protocol by its sizes: the client's hello is a public key and a cookie, 48
// bytes, and the server answers with 80. The bytes say nothing, so a signature must ask for the server's address as well.
func threemaStream(in *Segments) (Fact, answer) {
	switch {
	case in.ServerPort != 5222 && in.ServerPort != 443 || len(in.Client) > 48 && len(in.Server) == 0 || len(in.Server) > 80 || printable(in.Client) && len(in.Client) > 0:
		return Fact{}, no
	case len(in.Client) == 48 && len(in.Server) == 80:
		return Fact{Decoder: "threema"}, yes
	}
	return Fact{}, more
}
