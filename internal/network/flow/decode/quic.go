package decode

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// quicSalt is what the Initial keys of a version are made of.
type quicSalt struct {
	salt  string
	label string // prefix of the labels that expand secrets
	two   bool   // long header types as version 2 numbers them
}

// quicVersion knows RFC 9001, section 5.2, RFC 9369, section 3.3.1, the drafts before them, Facebook's versions of those, and Google's.
func quicVersion(v uint32) (s quicSalt, ok bool) {
	const (
		one     = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
		two     = "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
		draft29 = "\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99"
		draft23 = "\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02"
		draft21 = "\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x2a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x44\x90"
		draft17 = "\xef\x4f\xb0\xab\xb4\x74\x70\xc4\x1b\xef\xcf\x80\x31\x33\x4f\xae\x48\x5e\x09\xa0"
		q050    = "\x50\x45\x74\xef\xd0\x66\xfe\x2f\x9d\x94\x5c\xfc\xdb\xd3\xa7\xf0\xd3\xb5\x6b\x45"
		t050    = "\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10"
		t051    = "\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d"
	)
	for _, known := range []struct {
		from, to uint32
		quicSalt
	}{
		{1, 1, quicSalt{one, "quic ", false}},
		{0x6b3343cf, 0x6b3343cf, quicSalt{two, "quicv2 ", true}},
		{0xff00001d, 0xff000022, quicSalt{draft29, "quic ", false}},
		{0xff000017, 0xff00001c, quicSalt{draft23, "quic ", false}},
		{0xfaceb002, 0xfaceb002, quicSalt{draft23, "quic ", false}},
		{0xff000015, 0xff000016, quicSalt{draft21, "quic ", false}},
		{0xfaceb001, 0xfaceb001, quicSalt{draft21, "quic ", false}},
		{0xff000011, 0xff000014, quicSalt{draft17, "quic ", false}},
		{0x51303530, 0x51303530, quicSalt{q050, "quic ", false}},
		{0x54303530, 0x54303530, quicSalt{t050, "quic ", false}},
		{0x54303531, 0x54303531, quicSalt{t051, "quic ", false}},
	} {
		if v >= known.from && v <= known.to {
			return known.quicSalt, true
		}
	}
	if v&0x0f0f0f0f == 0x0a0a0a0a { // reserved to force negotiation: try the common one
		return quicSalt{one, "quic ", false}, true
	}
	return quicSalt{}, false
}

// quicState joins the CRYPTO frames of a client's Initial packets.
type quicState struct {
	id      string // the connection id whose keys these are
	keys    quicKeys
	packets int
	crypto  []byte
	spans   []span
	done    bool
}

type span struct{ from, to int }

type quicKeys struct {
	aead   cipher.AEAD
	header cipher.Block
	iv     [12]byte
}

// maxCrypto bounds the crypto stream of a hello, maxInitials the packets that are opened.
const (
	maxCrypto   = 8 << 10
	maxInitials = 12
	maxSpans    = 64

	quicOverhead = 2048 // bytes of keys and spans, about
)

// quicDatagram opens the Initial packets of a datagram and reads the ClientHello when all of it has come.
func (s *Datagrams) quicDatagram(d *Datagram) (Fact, bool) {
	b := d.Payload
	if s.quic == nil {
		if s.seen > 8 || len(b) < 40 {
			return Fact{}, false
		}
		if b[0]&0x80 == 0 {
			return oldQUIC(b)
		}
		if _, ok := quicVersion(binary.BigEndian.Uint32(b[1:])); !ok {
			return oldQUIC(b)
		}
	} else if s.quic.done || s.quic.packets >= maxInitials {
		return Fact{}, false
	}
	for len(b) >= 40 && b[0]&0x80 != 0 {
		version := binary.BigEndian.Uint32(b[1:])
		salt, ok := quicVersion(version)
		if !ok {
			break
		}
		size, ok := s.initial(salt, b)
		if !ok {
			break
		}
		if fact, ok := s.quicHello(version); ok {
			return fact, true
		}
		b = b[size:]
	}
	return Fact{}, false
}

// longHeader is the part of an Initial packet before its number.
type longHeader struct {
	destination []byte
	number      int // where the packet number begins
	size        int // of the packet
}

func parseLong(b []byte) (h longHeader, ok bool) {
	at := 5
	size := int(b[at])
	at++
	if size > 20 || at+size+1 > len(b) {
		return h, false
	}
	h.destination = b[at : at+size]
	at += size
	source := int(b[at])
	if at++; source > 20 || at+source+1 > len(b) {
		return h, false
	}
	at += source
	token, at, ok := varint(b, at)
	if !ok || token > uint64(len(b)-at) {
		return h, false
	}
	length, at, ok := varint(b, at+int(token))
	if !ok || length > uint64(len(b)-at) || length < 20 {
		return h, false
	}
	h.number, h.size = at, at+int(length)
	return h, true
}

// varint reads a variable-length integer (RFC 9000, section 16).
func varint(b []byte, at int) (value uint64, next int, ok bool) {
	if at >= len(b) {
		return 0, 0, false
	}
	size := 1 << (b[at] >> 6)
	if at+size > len(b) {
		return 0, 0, false
	}
	value = uint64(b[at] & 0x3f)
	for _, c := range b[at+1 : at+size] {
		value = value<<8 | uint64(c)
	}
	return value, at + size, true
}

// initial opens one packet and keeps its CRYPTO frames. It returns the packet's size.
func (s *Datagrams) initial(salt quicSalt, b []byte) (int, bool) {
	kind := b[0] >> 4 & 3
	h, ok := parseLong(b)
	if !ok || salt.two && kind != 1 || !salt.two && kind != 0 {
		return 0, false
	}
	if s.quic == nil {
		s.quic = &quicState{}
	}
	q := s.quic
	q.packets++
	if q.id != string(h.destination) || q.keys.aead == nil {
		if q.keys, ok = clientKeys(salt, h.destination); !ok {
			return 0, false
		}
		q.id = string(h.destination)
	}
	plain, ok := q.keys.open(b[:h.size], h.number)
	if !ok {
		return h.size, true
	}
	q.frames(plain)
	return h.size, true
}

// clientKeys derives the keys of a client's Initial packets from its destination connection id (RFC 9001, section 5).
func clientKeys(salt quicSalt, id []byte) (k quicKeys, ok bool) {
	secret, err := hkdf.Extract(sha256.New, id, []byte(salt.salt))
	if err != nil {
		return k, false
	}
	secret = expandLabel(secret, "client in", 32)
	block, err := aes.NewCipher(expandLabel(secret, salt.label+"key", 16))
	if err != nil {
		return k, false
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return k, false
	}
	copy(k.iv[:], expandLabel(secret, salt.label+"iv", 12))
	k.header, err = aes.NewCipher(expandLabel(secret, salt.label+"hp", 16))
	return k, err == nil
}

// expandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, with an empty context.
func expandLabel(secret []byte, label string, size int) []byte {
	label = "tls13 " + label
	info := make([]byte, 0, 4+len(label))
	info = append(info, byte(size>>8), byte(size), byte(len(label)))
	info = append(append(info, label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), size)
	if err != nil {
		return make([]byte, size)
	}
	return out
}

// open removes the header protection and decrypts a packet (RFC 9001, sections 5.3 and 5.4), leaving its bytes as they were.
func (k *quicKeys) open(packet []byte, at int) ([]byte, bool) {
	if at+20 > len(packet) {
		return nil, false
	}
	var mask [16]byte
	k.header.Encrypt(mask[:], packet[at+4:at+20])
	first := packet[0] ^ mask[0]&0x0f
	size := int(first&3) + 1
	header := append(make([]byte, 0, at+size), packet[:at+size]...)
	header[0] = first
	nonce := k.iv
	for i := range size {
		header[at+i] ^= mask[1+i]
		nonce[12-size+i] ^= header[at+i]
	}
	plain, err := k.aead.Open(nil, nonce[:], packet[at+size:], header)
	return plain, err == nil
}

// frames keeps the CRYPTO frames among the frames that an Initial packet may hold (RFC 9000, section 12.4).
func (q *quicState) frames(b []byte) {
	for at := 0; at < len(b); {
		kind := b[at]
		at++
		var ok bool
		switch kind {
		case 0, 1: // padding, ping
			ok = true
		case 2, 3:
			at, ok = skipAck(b, at, kind == 3)
		case 6:
			var offset, size uint64
			if offset, at, ok = varint(b, at); !ok {
				return
			}
			if size, at, ok = varint(b, at); !ok || size > uint64(len(b)-at) {
				return
			}
			q.keep(offset, b[at:at+int(size)])
			at += int(size)
		}
		if !ok {
			return
		}
	}
}

func skipAck(b []byte, at int, ecn bool) (int, bool) {
	var count uint64
	var ok bool
	for i := range 4 { // largest, delay, count, first range
		var v uint64
		if v, at, ok = varint(b, at); !ok {
			return 0, false
		}
		if i == 2 {
			count = v
		}
	}
	count *= 2
	if ecn {
		count += 3
	}
	if count > uint64(len(b)) {
		return 0, false
	}
	for range count {
		if _, at, ok = varint(b, at); !ok {
			return 0, false
		}
	}
	return at, true
}

// Held returns how many bytes are held for what may still come.
func (s *Datagrams) Held() int {
	held := 0
	if s.tox != nil {
		held = toxOverhead
	}
	if s.quic != nil {
		held += quicOverhead + len(s.quic.crypto)
	}
	return held
}

func (q *quicState) keep(offset uint64, data []byte) {
	if offset+uint64(len(data)) > maxCrypto || len(q.spans) >= maxSpans {
		return
	}
	if end := int(offset) + len(data); end > len(q.crypto) {
		q.crypto = append(q.crypto, make([]byte, end-len(q.crypto))...)
	}
	copy(q.crypto[offset:], data)
	q.spans = append(q.spans, span{int(offset), int(offset) + len(data)})
}

// ordered returns how much of the beginning of the crypto stream has come.
func (q *quicState) ordered() int {
	end := 0
	for grown := true; grown; {
		grown = false
		for _, s := range q.spans {
			if s.from <= end && s.to > end {
				end, grown = s.to, true
			}
		}
	}
	return end
}

func (s *Datagrams) quicHello(version uint32) (Fact, bool) {
	q := s.quic
	have := q.ordered()
	if have < 4 || q.crypto[0] != helloClient {
		return Fact{}, false
	}
	size := int(q.crypto[1])<<16 | int(q.crypto[2])<<8 | int(q.crypto[3])
	if have < 4+size && q.packets < maxInitials/2 {
		return Fact{}, false
	}
	fact, ok := clientHello("quic", 'q', q.crypto[4:min(4+size, have)])
	if !ok {
		return Fact{}, false
	}
	q.done, s.done = true, true
	for i := range fact.Attrs {
		if fact.Attrs[i].Key == "version" {
			fact.Attrs[i].Value = quicVersionText(version)
		}
	}
	return fact, true
}

func quicVersionText(v uint32) string {
	switch {
	case v == 1:
		return "1"
	case v == 0x6b3343cf:
		return "2"
	case v>>8 == 0xff0000:
		return "draft-" + number(int(v&0xff))
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return text(b[:])
}

// oldQUIC reads the client hello of Google QUIC before version 50: tags in clear (draft-tsvwg-quic-protocol-02).
func oldQUIC(b []byte) (Fact, bool) {
	i := bytes.Index(b[:min(len(b), 64)], []byte("CHLO"))
	if i < 0 || len(b) < i+8 || !bytes.ContainsAny(b[:i], "Q") {
		return Fact{}, false
	}
	tags := int(binary.LittleEndian.Uint16(b[i+4:]))
	table := b[i+8:]
	if tags > 64 || len(table) < tags*8 {
		return Fact{}, false
	}
	fact := Fact{Decoder: "quic"}
	values, from := table[tags*8:], 0
	for n := range tags {
		tag, to := table[n*8:n*8+4], int(binary.LittleEndian.Uint32(table[n*8+4:]))
		if to < from || to > len(values) {
			break
		}
		switch string(tag) {
		case "SNI\x00":
			fact.add("name", host(values[from:to]))
		case "UAID":
			fact.add("agent", text(values[from:to]))
		}
		from = to
	}
	fact.add("version", "google")
	return fact, true
}
