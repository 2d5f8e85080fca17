package classify_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// encryptedHello is crypto/tls's own client hello for the name, encrypted under a key of a provider with the outer name.
func encryptedHello(t *testing.T, outer, name string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder // ECHConfigList of RFC 9849, section 4
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(0xfe0d)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(7)
			b.AddUint16(0x20) // X25519
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint32(1<<16 | 1) }) // HKDF-SHA256, AES-128-GCM
			b.AddUint8(64)
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(outer)) })
			b.AddUint16(0)
		})
	})
	return firstWords(t, &tls.Config{ServerName: name, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: b.BytesOrPanic()})
}

// firstWords is crypto/tls's client hello.
func firstWords(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		_ = tls.Client(there, config).Handshake()
		there.Close()
	}()
	if err := here.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 4096)
	n, err := here.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// TestEncryptedHello: the name in clear is not taken for the true one where a provider has everybody say it: what the client asked for before
// tells then, and else it is said that the name is hidden.
func TestEncryptedHello(t *testing.T) {
	edge := at("203.0.113.10:443")
	for _, c := range []struct {
		name, outer, asked, app string
		sure                    event.Confidence
		known                   []string // what is said of an unknown flow
	}{
		{"hidden", "cloudflare-ech.com", "", "", 0, []string{"decoder:tls", "ech"}},
		{"asked for", "cloudflare-ech.com", "chat.pigeon.example", "pigeon", event.Medium, nil},
		{"asked for a site", "cloudflare-ech.com", "www.example.org", "", 0, []string{"answer name", "decoder:tls", "ech"}},
		{"another provider, or GREASE", "www.example.org", "", "", 0, []string{"tls name", "ech"}},
		{"another name at the address", "www.example.org", "chat.pigeon.example", "", 0, []string{"tls name", "ech"}},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			if c.asked != "" {
				asks(w, from(1), c.asked, "203.0.113.10")
			}
			w.TCP(from(2), edge, flowtest.Chunk{FromClient: true, Data: encryptedHello(t, c.outer, "secret.pigeon.example")})
		})
		f := byEnds(t, got, from(2), edge)
		if f.Flow.App != c.app || f.Flow.Confidence != c.sure {
			t.Errorf("%s: %+v %v", c.name, f.Flow, f.Evidence)
		}
		for i, fact := range c.known {
			if len(f.Evidence) != len(c.known) || f.Evidence[i].Fact != fact || f.Evidence[i].Strength != 0 {
				t.Errorf("%s: %v, want %v", c.name, f.Evidence, c.known)
				break
			}
			if fact == "decoder:tls" && f.Evidence[i].Value != "outer name "+c.outer {
				t.Errorf("%s: %v", c.name, f.Evidence)
			}
		}
	}
}
