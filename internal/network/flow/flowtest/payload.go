package flowtest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Question makes a question for the IPv4 address of a name.
func Question(name string) []byte {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// Answer makes the answer to Question.
func Answer(name string, addr netip.Addr) []byte {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.Response = true
	m.Answer = []dns.RR{
		&dns.CNAME{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: "edge.example.net."},
		&dns.A{Hdr: dns.RR_Header{Name: "edge.example.net.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IP(addr.AsSlice())},
	}
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// recording is one end of a pipe that keeps what is written to it.
type recording struct {
	net.Conn
	client bool
	tape   *tape
}

type tape struct {
	mu     sync.Mutex
	chunks []Chunk
}

// Write writes, and keeps a copy.
func (r *recording) Write(b []byte) (int, error) {
	r.tape.mu.Lock()
	r.tape.chunks = append(r.tape.chunks, Chunk{r.client, append([]byte(nil), b...)})
	r.tape.mu.Unlock()
	return r.Conn.Write(b)
}

// Handshake records a TLS handshake of crypto/tls with a server of the name, of at most the version, whose certificate is its own.
func Handshake(name string, version uint16) ([]Chunk, error) {
	certificate, err := selfSigned(name)
	if err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	t := &tape{}
	client := tls.Client(&recording{a, true, t}, &tls.Config{
		ServerName: name, MaxVersion: version, NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: true, // nobody is on the other side but we
	})
	server := tls.Server(&recording{b, false, t}, &tls.Config{MaxVersion: version, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}})
	done := make(chan error, 1)
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	go func() {
		err := server.HandshakeContext(ctx)
		if err == nil {
			_, err = server.Read(make([]byte, 16))
		}
		done <- err
	}()
	err = client.HandshakeContext(ctx)
	if err == nil {
		_, err = client.Write([]byte("hello"))
	}
	err = errors.Join(err, <-done)
	a.Close()
	b.Close()
	return t.chunks, err
}

func selfSigned(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// MTProto makes the first 64 bytes of Telegram's obfuscated transport and some more (core.telegram.org/mtproto/mtproto-transports).
func MTProto() []byte {
	b := make([]byte, 64+41)
	rand.Read(b)
	b[0], b[4] = 'T', 0x55 // not the beginning of another protocol, which clients avoid too
	block, err := aes.NewCipher(b[8:40])
	if err != nil {
		return nil
	}
	var mask [64]byte
	cipher.NewCTR(block, b[40:56]).XORKeyStream(mask[:], mask[:])
	for i := 56; i < 60; i++ {
		b[i] = 0xef ^ mask[i]
	}
	return b
}

// Attribute is an attribute of a STUN message.
type Attribute struct {
	Kind  uint16
	Value []byte
}

// STUN makes a message of the type (RFC 8489, section 5).
func STUN(kind uint16, attributes ...Attribute) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, kind)
	binary.BigEndian.PutUint32(b[4:], 0x2112a442)
	rand.Read(b[8:20])
	for _, a := range attributes {
		b = binary.BigEndian.AppendUint16(b, a.Kind)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	return b
}

// SkypeProbe makes the first datagram that a node of classic Skype sends to another: an object id that goes up from peer to peer, the
// function 2 in the low bits of the third byte, and a body encrypted under a key made of public facts (Baset and Schulzrinne, An Analysis of the
// Skype Peer-to-Peer Internet Telephony Protocol, 2006; Biondi and Desclaux, Silver Needle in the Skype, 2006). The body here is not.
func SkypeProbe(object uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, object)
	b = append(b, 0x42)
	for i := range uint16(27) {
		b = append(b, byte(object*31+i*7))
	}
	return b
}

// RTP makes a packet of the payload type with the number.
func RTP(payload byte, number uint16) []byte {
	b := make([]byte, 12+80)
	rand.Read(b[12:])
	b[0], b[1] = 0x80, payload
	binary.BigEndian.PutUint16(b[2:], number)
	binary.BigEndian.PutUint32(b[4:], uint32(number)*960)
	binary.BigEndian.PutUint32(b[8:], 0x1234)
	return b
}

// RTCP makes a sender's report of nothing, followed by a name, as the first packets of a session's control.
func RTCP() []byte {
	b := make([]byte, 28, 48)
	b[0], b[1], b[3] = 0x80, 200, 6
	binary.BigEndian.PutUint32(b[4:], 0x1234)
	return append(b, 0x81, 202, 0, 4, 0, 0, 0x12, 0x34, 1, 9, 'a', '@', 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0)
}

// QUICInitials makes the Initial packets of a QUIC version 1 client that asks for the name, with crypto/tls's own hello in CRYPTO frames
// of the size, the last first.
func QUICInitials(name string, size int) ([][]byte, error) {
	client := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{ServerName: name, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13}})
	defer client.Close()
	client.SetTransportParameters(nil)
	if err := client.Start(context.Background()); err != nil {
		return nil, err
	}
	var hello []byte
	for e := client.NextEvent(); e.Kind != tls.QUICNoEvent; e = client.NextEvent() {
		if e.Kind == tls.QUICWriteData {
			hello = append(hello, e.Data...)
		}
	}
	id := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	var packets [][]byte
	for from := (len(hello) - 1) / size * size; from >= 0; from -= size {
		frame := append([]byte{6}, varint(from)...)
		part := hello[from:min(from+size, len(hello))]
		frame = append(append(frame, varint(len(part))...), part...)
		p, err := Initial(1, id, uint32(len(packets)), frame)
		if err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

func varint(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)|0x4000) }

// Initial protects the frames of a client's Initial packet of QUIC version 1 or 2, with padding to 1200 bytes, as RFC 9001, section 5, and
// RFC 9369, section 3.3, say.
func Initial(version int, id []byte, number uint32, frames []byte) ([]byte, error) {
	salt, label, first, wire := saltOne, "quic ", byte(0xc3), uint32(1)
	if version == 2 {
		salt, label, first, wire = saltTwo, "quicv2 ", 0xd3, 0x6b3343cf
	}
	secret, err := hkdf.Extract(sha256.New, id, []byte(salt))
	if err != nil {
		return nil, err
	}
	secret = expand(secret, "client in", 32)
	block, err := aes.NewCipher(expand(secret, label+"key", 16))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	header := binary.BigEndian.AppendUint32([]byte{first}, wire)
	header = append(append(header, byte(len(id))), id...)
	header = append(header, 0, 0)
	padded := append(make([]byte, 0, 1200), frames...)
	padded = padded[:max(len(frames), 1200-len(header)-2-4-aead.Overhead())]
	header = append(header, varint(4+len(padded)+aead.Overhead())...)
	at := len(header)
	header = binary.BigEndian.AppendUint32(header, number)
	nonce := expand(secret, label+"iv", 12)
	for i := range 4 {
		nonce[8+i] ^= header[at+i]
	}
	packet := aead.Seal(header, nonce, padded, header)
	return packet, protectHeader(packet, at, expand(secret, label+"hp", 16))
}

const (
	saltOne = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"
	saltTwo = "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9"
)

func expand(secret []byte, label string, size int) []byte {
	info := append([]byte{0, byte(size), byte(len(label) + 6)}, "tls13 "+label+"\x00"...)
	out, err := hkdf.Expand(sha256.New, secret, string(info), size)
	if err != nil {
		return make([]byte, size)
	}
	return out
}

func protectHeader(packet []byte, at int, key []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	var mask [16]byte
	block.Encrypt(mask[:], packet[at+4:at+20])
	packet[0] ^= mask[0] & 0x0f
	for i := range 4 {
		packet[at+i] ^= mask[1+i]
	}
	return nil
}
