package decode_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// helloParts are what a made-up ClientHello holds.
type helloParts struct {
	version  uint16
	ciphers  []uint16
	name     string
	alpn     []string
	versions []uint16
	extra    []uint16 // empty extensions
}

func two(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

func extension(kind uint16, data []byte) []byte {
	return append(append(two(int(kind)), two(len(data))...), data...)
}

// record makes a TLS record with the ClientHello.
func (h helloParts) record() []byte {
	body := append(two(int(h.version)), make([]byte, 33)...)
	body = append(body, two(2*len(h.ciphers))...)
	for _, c := range h.ciphers {
		body = append(body, two(int(c))...)
	}
	body = append(body, 1, 0)
	var extensions []byte
	if h.name != "" {
		extensions = append(extensions, extension(0, append(append(two(len(h.name)+3), 0), append(two(len(h.name)), h.name...)...))...)
	}
	if len(h.alpn) > 0 {
		var list []byte
		for _, a := range h.alpn {
			list = append(append(list, byte(len(a))), a...)
		}
		extensions = append(extensions, extension(16, append(two(len(list)), list...))...)
	}
	if len(h.versions) > 0 {
		list := []byte{byte(2 * len(h.versions))}
		for _, v := range h.versions {
			list = append(list, two(int(v))...)
		}
		extensions = append(extensions, extension(43, list)...)
	}
	for _, e := range h.extra {
		extensions = append(extensions, extension(e, nil)...)
	}
	if len(extensions) > 0 {
		body = append(append(body, two(len(extensions))...), extensions...)
	}
	message := append([]byte{1, 0}, append(two(len(body)), body...)...)
	return append([]byte{22, 3, 1}, append(two(len(message)), message...)...)
}

// TestJA4Prefix: the first part of a fingerprint is readable (JA4 specification, "JA4_a").
func TestJA4Prefix(t *testing.T) {
	for _, c := range []struct {
		name  string
		hello helloParts
		want  string
	}{
		{"1.2 without a name", helloParts{version: 0x303, ciphers: []uint16{0xc02b, 0xc02f}}, "t12i020000_"},
		{"1.0 with a name", helloParts{version: 0x301, ciphers: []uint16{0x2f}, name: "a.example"}, "t10d010100_"},
		{"1.3 by extension", helloParts{version: 0x303, ciphers: []uint16{0x1301}, name: "a.example", versions: []uint16{0x0a0a, 0x304, 0x303}}, "t13d010200_"},
		{"ssl 3", helloParts{version: 0x300, ciphers: []uint16{0x2f}}, "ts3i010000_"},
		{"h2", helloParts{version: 0x303, ciphers: []uint16{0x2f}, alpn: []string{"h2", "http/1.1"}}, "t12i0101h2_"},
		{"http/1.1", helloParts{version: 0x303, ciphers: []uint16{0x2f}, alpn: []string{"http/1.1"}}, "t12i0101h1_"},
		{"one letter", helloParts{version: 0x303, ciphers: []uint16{0x2f}, alpn: []string{"x"}}, "t12i0101xx_"},
		{"GREASE counts nowhere", helloParts{version: 0x303, ciphers: []uint16{0x0a0a, 0x2f, 0xfafa}, extra: []uint16{0x1a1a, 0x17}}, "t12i010100_"},
		{"no ciphers", helloParts{version: 0x303, name: "a.example"}, "t12d000100_000000000000_"},
	} {
		facts := stream(string(c.hello.record()), "")
		if len(facts) != 1 || !strings.HasPrefix(facts[0].Get("ja4"), c.want) {
			t.Errorf("%s: found %v, want %s", c.name, facts, c.want)
		}
	}
	many := helloParts{version: 0x303}
	for i := range 120 {
		many.ciphers = append(many.ciphers, uint16(0xc000+i))
	}
	if facts := stream(string(many.record()), ""); len(facts) != 1 || !strings.HasPrefix(facts[0].Get("ja4"), "t12i990000_") {
		t.Errorf("more than 99 ciphers: %v", facts)
	}
}

// TestJA4DoesNotDependOnOrder: clients shuffle their extensions.
func TestJA4DoesNotDependOnOrder(t *testing.T) {
	one := helloParts{version: 0x303, ciphers: []uint16{0x1301, 0xc02b}, extra: []uint16{0x17, 0x23, 0xff01}}
	other := one
	other.ciphers, other.extra = slices.Clone(one.ciphers), slices.Clone(one.extra)
	slices.Reverse(other.ciphers)
	slices.Reverse(other.extra)
	a, b := stream(string(one.record()), ""), stream(string(other.record()), "")
	if a[0].Get("ja4") != b[0].Get("ja4") {
		t.Errorf("%s and %s", a[0].Get("ja4"), b[0].Get("ja4"))
	}
}

// TestHelloOverRecords: a ClientHello may come in records of any size.
func TestHelloOverRecords(t *testing.T) {
	whole := helloParts{version: 0x303, ciphers: []uint16{0x2f}, name: "records.example.org"}.record()[5:]
	var b []byte
	for part := range slices.Chunk(whole, 20) {
		b = append(append(append(b, 22, 3, 1), two(len(part))...), part...)
	}
	if facts := stream(string(b), ""); len(facts) != 1 || facts[0].Get("name") != "records.example.org" {
		t.Errorf("found %v", facts)
	}
	if facts := stream(string(b[:len(b)-30]), ""); len(facts) != 0 {
		t.Errorf("a hello that has not ended gave %v", facts)
	}
}

// TestNamesThatAreNone: a server name that is no host name is not kept.
func TestNamesThatAreNone(t *testing.T) {
	for name, want := range map[string]string{
		"UPPER.Example.ORG": "upper.example.org", "dot.example.": "dot.example", "with space": "", "new\nline": "", strings.Repeat("a", 300): "", "ünï.example": "",
		"under_score.example": "under_score.example",
	} {
		facts := stream(string(helloParts{version: 0x303, ciphers: []uint16{0x2f}, name: name}.record()), "")
		if len(facts) != 1 || facts[0].Get("name") != want {
			t.Errorf("%q: found %v", name, facts)
		}
	}
}

// certificate makes the server's first messages with a certificate of the names.
func certificate(t *testing.T, common string, names ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: common}, DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "Some Authority"}, SerialNumber: big.NewInt(2)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	three := func(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }
	hello := append([]byte{2, 0, 0, 38, 3, 3}, make([]byte, 36)...)
	list := append(three(len(der)), der...)
	message := append(append([]byte{11}, three(len(list)+3)...), append(three(len(list)), list...)...)
	messages := append(hello, message...)
	return string(append([]byte{22, 3, 3}, append(two(len(messages)), messages...)...))
}

func TestCertificates(t *testing.T) {
	hello := string(helloParts{version: 0x303, ciphers: []uint16{0x2f}}.record())
	for _, c := range []struct {
		common string
		names  []string
		want   []string
	}{
		{"*.chat.example", []string{"*.chat.example", "chat.example"}, []string{"chat.example", "chat.example"}},
		{"", []string{"a.example"}, []string{"a.example"}},
		{"old.example", nil, []string{"old.example"}},
		{"Not A Host", nil, nil},
	} {
		facts := stream(hello, certificate(t, c.common, c.names...))
		var got []string
		for _, f := range facts {
			if f.Decoder == "certificate" {
				for _, a := range f.Attrs {
					got = append(got, a.Value)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q %v: found %v", c.common, c.names, got)
		}
	}
}

// TestCertificateInPieces: nothing is said before the certificate is there, whatever the pieces.
func TestCertificateInPieces(t *testing.T) {
	hello, server := string(helloParts{version: 0x303, ciphers: []uint16{0x2f}}.record()), certificate(t, "pieces.example", "pieces.example")
	var s decode.Stream
	found := 0
	for n := 0; n <= len(server); n += 7 {
		facts, done := s.Look(&decode.Segments{Client: []byte(hello), Server: []byte(server[:n]), ServerPort: 443})
		for _, f := range facts {
			if f.Decoder == "certificate" {
				found++
				if f.Get("name") != "pieces.example" {
					t.Errorf("found %v", f)
				}
			}
		}
		if done {
			break
		}
	}
	if found > 1 {
		t.Errorf("found %d times", found)
	}
}

func BenchmarkHello(b *testing.B) {
	in := &decode.Segments{Client: helloParts{version: 0x303, ciphers: []uint16{0x1301, 0x1302, 0xc02b, 0xc02f}, name: "a.example.org", alpn: []string{"h2"}, extra: []uint16{0x17, 0x23}}.record()}
	b.ReportAllocs()
	for b.Loop() {
		var s decode.Stream
		s.Look(in)
	}
}

func BenchmarkUnknownDatagram(b *testing.B) {
	d := &decode.Datagram{Payload: []byte("nothing that anybody knows, and no more than that"), FromClient: true, ClientPort: 50000, ServerPort: 9999}
	b.ReportAllocs()
	var s decode.Datagrams
	for b.Loop() {
		s.Look(d)
	}
}
