package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// TLS content and handshake types (RFC 8446, sections 4 and 5.1).
const (
	tlsAlertType     = 21
	tlsHandshakeType = 22
	helloClient      = 1
	helloServer      = 2
	certificateType  = 11
)

// handshake joins the payloads of the handshake records at the beginning of b. It reports whether another kind of record, or no record
// at all, follows them.
func handshake(b []byte) (joined []byte, ended bool) {
	var parts int
	for len(b) >= 5 {
		if b[0] != tlsHandshakeType || b[1] != 3 {
			return joined, true
		}
		size := int(b[3])<<8 | int(b[4])
		if size == 0 || size > 1<<14+256 {
			return joined, true
		}
		part := b[5:min(5+size, len(b))]
		if parts++; parts == 1 {
			joined = part[:len(part):len(part)] // one record is the common case: no copy
		} else {
			joined = append(joined, part...)
		}
		if len(part) < size {
			return joined, false
		}
		b = b[5+size:]
	}
	return joined, false
}

// tlsPrefix tells whether b begins with a handshake record that is not empty.
func tlsPrefix(b []byte) answer {
	switch {
	case len(b) == 0:
		return more
	case b[0] != tlsHandshakeType, len(b) > 1 && b[1] != 3, len(b) >= 5 && b[3] == 0 && b[4] == 0:
		return no
	case len(b) < 9:
		return more
	}
	return yes
}

// tlsHello reads the ClientHello, over as many records and segments as it takes.
func tlsHello(in *Segments) (Fact, answer) {
	if a := tlsPrefix(in.Client); a != yes {
		return Fact{}, a
	}
	message, ended := handshake(in.Client)
	if len(message) == 0 || message[0] != helloClient {
		return Fact{}, no
	}
	if len(message) < 4 {
		return Fact{}, more
	}
	size := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
	fact, ok := clientHello("tls", 't', message[4:min(4+size, len(message))])
	if len(message) >= 4+size || ended || len(in.Client) >= 16<<10 || size >= 64<<10 {
		return fact, is(ok)
	}
	if ok && len(in.Server) > 0 && fact.Get("name") != "" {
		return fact, yes // the rest was lost, and the server has already answered
	}
	return Fact{}, more
}

// hello is what JA4 needs of a client hello.
type hello struct {
	version    uint16
	ciphers    []uint16
	extensions []uint16
	signatures []uint16
	name       string
	alpn       string
	hasName    bool
	encrypted  bool // encrypted client hello
}

// clientHello reads the body of a ClientHello. A body that is cut gives what came before the cut.
func clientHello(decoder string, transport byte, body []byte) (Fact, bool) {
	var h hello
	if !h.parse(body) {
		return Fact{}, false
	}
	fact := Fact{Decoder: decoder, Attrs: make([]Attr, 0, 4)}
	fact.add("name", h.name)
	fact.add("alpn", h.alpn)
	fact.add("ja4", h.ja4(transport))
	fact.add("version", versionText(h.version))
	if h.encrypted {
		fact.add("ech", "yes")
	}
	return fact, true
}

func (h *hello) parse(body []byte) bool {
	s := cryptobyte.String(body)
	var random []byte
	var session, ciphers, methods cryptobyte.String
	if !s.ReadUint16(&h.version) || h.version>>8 != 3 && h.version>>8 != 0xfe || !s.ReadBytes(&random, 32) ||
		!s.ReadUint8LengthPrefixed(&session) || !s.ReadUint16LengthPrefixed(&ciphers) {
		return false
	}
	for !ciphers.Empty() {
		var c uint16
		if !ciphers.ReadUint16(&c) {
			return false
		}
		if !grease(c) && len(h.ciphers) < 512 {
			h.ciphers = append(h.ciphers, c)
		}
	}
	if !s.ReadUint8LengthPrefixed(&methods) {
		return true
	}
	var size uint16
	if !s.ReadUint16(&size) {
		return true
	}
	for len(s) >= 4 && len(h.extensions) < 128 {
		var kind, length uint16
		s.ReadUint16(&kind)
		s.ReadUint16(&length)
		data := s[:min(int(length), len(s))]
		s = s[len(data):]
		if !grease(kind) {
			h.extensions = append(h.extensions, kind)
			h.extension(kind, data)
		}
	}
	return true
}

func (h *hello) extension(kind uint16, data cryptobyte.String) {
	switch kind {
	case 0: // server_name, RFC 6066, section 3
		h.hasName = true
		var list, name cryptobyte.String
		var nameType uint8
		if data.ReadUint16LengthPrefixed(&list) && list.ReadUint8(&nameType) && nameType == 0 && list.ReadUint16LengthPrefixed(&name) {
			h.name = host(name)
		}
	case 13: // signature_algorithms
		var list cryptobyte.String
		if data.ReadUint16LengthPrefixed(&list) {
			h.signatures = numbers(list)
		}
	case 16: // application_layer_protocol_negotiation, RFC 7301
		var list, first cryptobyte.String
		if data.ReadUint16LengthPrefixed(&list) && list.ReadUint8LengthPrefixed(&first) {
			h.alpn = text(first)
		}
	case 43: // supported_versions
		var list cryptobyte.String
		if data.ReadUint8LengthPrefixed(&list) {
			for _, v := range numbers(list) {
				if v>>8 == 3 {
					h.version = max(h.version, v)
				}
			}
		}
	case 0xfe0d: // encrypted_client_hello
		h.encrypted = true
	}
}

// numbers reads a list of 16-bit numbers without GREASE.
func numbers(list cryptobyte.String) []uint16 {
	var out []uint16
	for len(out) < 64 {
		var n uint16
		if !list.ReadUint16(&n) {
			break
		}
		if !grease(n) {
			out = append(out, n)
		}
	}
	return out
}

// grease reports whether n is a value that clients put in to keep servers tolerant (RFC 8701).
func grease(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }

func versionText(v uint16) string {
	switch v {
	case 0x0304:
		return "1.3"
	case 0x0303:
		return "1.2"
	case 0x0302:
		return "1.1"
	case 0x0301:
		return "1.0"
	case 0x0300:
		return "ssl3"
	}
	return ""
}

// ja4 is the client's fingerprint as FoxIO's JA4 specification defines it.
func (h *hello) ja4(transport byte) string {
	out := make([]byte, 0, 40)
	out = append(out, transport)
	out = append(out, ja4Version(h.version)...)
	if h.hasName {
		out = append(out, 'd')
	} else {
		out = append(out, 'i')
	}
	out = appendTwo(out, len(h.ciphers))
	out = appendTwo(out, len(h.extensions))
	out = append(out, ja4ALPN(h.alpn)...)

	ciphers := slices.Clone(h.ciphers)
	slices.Sort(ciphers)
	out = append(append(out, '_'), shortHash(hexList(nil, ciphers))...)

	extensions := slices.DeleteFunc(slices.Clone(h.extensions), func(e uint16) bool { return e == 0 || e == 16 })
	slices.Sort(extensions)
	list := hexList(nil, extensions)
	if len(h.signatures) > 0 {
		list = hexList(append(list, '_'), h.signatures)
	}
	return string(append(append(out, '_'), shortHash(list)...))
}

func ja4Version(v uint16) string {
	for _, known := range []struct {
		version uint16
		text    string
	}{{0x0304, "13"}, {0x0303, "12"}, {0x0302, "11"}, {0x0301, "10"}, {0x0300, "s3"}, {0xfefd, "d2"}, {0xfeff, "d1"}, {0xfefc, "d3"}} {
		if known.version == v {
			return known.text
		}
	}
	return "00"
}

func appendTwo(out []byte, n int) []byte {
	n = min(n, 99)
	return append(out, byte('0'+n/10), byte('0'+n%10))
}

func ja4ALPN(alpn string) string {
	if alpn == "" {
		return "00"
	}
	first, last := alpn[0], alpn[len(alpn)-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		h := hex.EncodeToString([]byte{first, last})
		return string([]byte{h[0], h[3]})
	}
	return string([]byte{first, last})
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// hexList appends the numbers as four hex digits each, with commas between.
func hexList(out []byte, list []uint16) []byte {
	for i, n := range list {
		if i > 0 {
			out = append(out, ',')
		}
		const digits = "0123456789abcdef"
		out = append(out, digits[n>>12], digits[n>>8&15], digits[n>>4&15], digits[n&15])
	}
	return out
}

func shortHash(list []byte) string {
	if len(list) == 0 {
		return "000000000000"
	}
	sum := sha256.Sum256(list)
	return hex.EncodeToString(sum[:6])
}

// tlsCertificate reads the names in the server's certificate, which is in clear below TLS 1.3.
func tlsCertificate(in *Segments) (Fact, answer) {
	b := in.Server
	if len(b) == 0 {
		if len(in.Client) > 0 && in.Client[0] != tlsHandshakeType {
			return Fact{}, no
		}
		return Fact{}, more
	}
	if b[0] != tlsHandshakeType {
		return Fact{}, no
	}
	messages, ended := handshake(b)
	for len(messages) >= 4 {
		kind, size := messages[0], int(messages[1])<<16|int(messages[2])<<8|int(messages[3])
		if kind != helloServer && kind != certificateType {
			return Fact{}, no
		}
		body := messages[4:min(4+size, len(messages))]
		if kind == certificateType && (len(body) == size || len(body) > 3000) {
			return certificateNames(body)
		}
		if len(body) < size {
			break
		}
		messages = messages[4+size:]
	}
	if ended {
		return Fact{}, no
	}
	return Fact{}, more
}

func certificateNames(body []byte) (Fact, answer) {
	if len(body) < 6 {
		return Fact{}, no
	}
	size := int(body[3])<<16 | int(body[4])<<8 | int(body[5])
	leaf := body[6:min(6+size, len(body))]
	fact := Fact{Decoder: "certificate"}
	for _, name := range subjectNames(leaf) {
		fact.add("name", name)
	}
	if len(fact.Attrs) == 0 { // the common name counts only where there are no others (RFC 9525, section 2)
		fact.add("name", commonName(leaf))
	}
	if len(fact.Attrs) == 0 {
		return Fact{}, no
	}
	return fact, yes
}

// commonName returns the last common name in a certificate, which is the subject's when the issuer comes before it (RFC 5280, section 4.1).
func commonName(cert []byte) string {
	i := bytes.LastIndex(cert, []byte{0x06, 0x03, 0x55, 0x04, 0x03})
	if i < 0 || i+7 > len(cert) {
		return ""
	}
	value := cert[i+5:]
	size := int(value[1])
	if size >= 0x80 || len(value) < 2+size {
		return ""
	}
	return host(bytes.TrimPrefix(value[2:2+size], []byte("*.")))
}

// subjectNames returns the DNS names of a certificate's subject alternative name extension.
func subjectNames(cert []byte) []string {
	i := bytes.Index(cert, []byte{0x06, 0x03, 0x55, 0x1d, 0x11})
	if i < 0 {
		return nil
	}
	s := cryptobyte.String(cert[i+5:])
	if len(s) > 3 && s[0] == 1 { // critical
		s = s[3:]
	}
	var octets, names, name cryptobyte.String
	if !s.ReadASN1(&octets, asn1.OCTET_STRING) || !octets.ReadASN1(&names, asn1.SEQUENCE) {
		return nil
	}
	var out []string
	for len(out) < maxAttrs {
		var tag asn1.Tag
		var element cryptobyte.String
		if !names.ReadAnyASN1(&element, &tag) {
			break
		}
		if name = element; tag == asn1.Tag(2).ContextSpecific() {
			out = append(out, host(bytes.TrimPrefix(name, []byte("*."))))
		}
	}
	return out
}

// number writes n in decimal.
func number(n int) string { return strconv.Itoa(n) }
