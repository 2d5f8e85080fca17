package classify_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// dice are the same each time.
func dice() *rand.Rand { return rand.New(rand.NewPCG(25, 11)) }

// noise returns n bytes that no grammar made.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	return b
}

// said is what a client says first, and the answer.
func said(client, server []byte) []flowtest.Chunk {
	return []flowtest.Chunk{{FromClient: true, Data: client}, {Data: server}}
}

// obfuscated is a stream as Telegram's clients make it, of which the decrypted tag is the given one.
func obfuscated(r *rand.Rand, tag uint32) []byte {
	b := noise(r, 64+77)
	block, err := aes.NewCipher(b[8:40])
	if err != nil {
		return nil
	}
	var mask [64]byte
	cipher.NewCTR(block, b[40:56]).XORKeyStream(mask[:], mask[:])
	for i := range 4 {
		b[56+i] = byte(tag>>(24-8*i)) ^ mask[56+i]
	}
	return b
}

// noiseXX is the first message of a Noise XX handshake with the length before it that libp2p, lightning and others use: a public key.
func noiseXX(r *rand.Rand, length int) []byte {
	b := make([]byte, length)
	b[length-1] = 32
	return append(b, noise(r, 32)...)
}

// request is an HTTP request.
func request(host, path, headers string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "Accept: */*\r\n\r\n")
}

// nearMisses are connections that look near to a messenger's and are none.
func nearMisses() map[string][]flowtest.Chunk {
	r := dice()
	hello := append([]byte("WA\x06\x03"), noise(r, 40)...) // the prologue, and then no length of three bytes
	hello[4] = 0x7f
	out := map[string][]flowtest.Chunk{
		"noise xx, length of two":            said(noiseXX(r, 2), noise(r, 98)),
		"noise xx, length of three":          said(noiseXX(r, 3), noise(r, 99)),
		"noise xx, bare":                     said(noise(r, 32), noise(r, 96)),
		"noise ik of lightning":              said(append([]byte{0}, noise(r, 49)...), append([]byte{0}, noise(r, 49)...)),
		"libp2p multistream":                 said(append([]byte("\x13/multistream/1.0.0\n\x07/noise\n"), noiseXX(r, 2)...), []byte("\x13/multistream/1.0.0\n\x07/noise\n")),
		"whatsapp's letters, no frame":       said(hello, noise(r, 60)),
		"whatsapp's letters, other versions": said(append([]byte("WA\xff\xff\x00\x00\x24"), noise(r, 36)...), noise(r, 60)),
		"edge header of no size":             said(append([]byte("ED\x00\x01\xff\xff\xff"), noise(r, 80)...), noise(r, 60)),
		"mtproto's first byte alone":         said(append([]byte{0xef}, noise(r, 80)...), noise(r, 80)),
		"mtproto's first four alone":         said(append([]byte{0xee, 0xee, 0xee, 0xee}, noise(r, 80)...), noise(r, 80)),
		"mtproto's padded four alone":        said(append([]byte{0xdd, 0xdd, 0xdd, 0xdd}, noise(r, 80)...), noise(r, 80)),
		"obfuscated, tag off by one bit":     said(obfuscated(r, 0xefefefee), noise(r, 80)),
		"obfuscated, tag of two kinds":       said(obfuscated(r, 0xeeeeefef), noise(r, 80)),
		"obfuscated, half a tag":             said(obfuscated(r, 0xefef1234), noise(r, 80)),
		"obfuscated, tag of zeros":           said(obfuscated(r, 0), noise(r, 80)),
		"record of tls 1.3, other version":   said(append([]byte{0x16, 0xf1, 0x05, 0, 0x40}, noise(r, 64)...), noise(r, 80)),
		"skype's empty record, no answer":    said(append([]byte{0x16, 3, 1, 0, 0}, noise(r, 20)...), []byte{0x15, 3, 1, 0, 2, 2, 40}),
		"a star and no frames":               said(append([]byte("*\x01"), noise(r, 60)...), []byte("*2\r\n$3\r\nfoo\r\n")),
		"redis' star":                        said([]byte("*1\r\n$4\r\nPING\r\n"), []byte("+PONG\r\n")),
		"48 bytes and 80":                    said(noise(r, 48), noise(r, 80)),
		"a name in the path":                 said(request("shop.example", "/web.whatsapp.com/login?to=web.telegram.org", ""), []byte("HTTP/1.1 200 OK\r\n\r\n")),
		"a name in the referer":              said(request("shop.example", "/", "Referer: https://web.whatsapp.com/\r\nOrigin: https://discord.com\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n")),
		"a name in a cookie":                 said(request("shop.example", "/", "Cookie: last=web.telegram.org; sip=skype.com\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n")),
		"a name in the answer":               said(request("shop.example", "/", ""), []byte("HTTP/1.1 302 Found\r\nLocation: https://web.whatsapp.com/\r\n\r\n")),
		"matrix, a film":                     said(request("films.example", "/matrix/client/v3", ""), []byte("HTTP/1.1 200 OK\r\n\r\n")),
		"a page about xmpp":                  said(request("docs.example", "/rfc6120/stream:stream", ""), []byte("<stream:stream xmlns='jabber:client'>")),
		"xml of feeds":                       said([]byte("<?xml version='1.0'?><stream xmlns='urn:example:video'><chunk/></stream>"), []byte("<?xml version='1.0'?>")),
		"words as in irc":                    said([]byte("NICKNAME of the house\r\nUSERS are many\r\nJOINERY and PRIVACY\r\n"), []byte("welcome\r\n")),
		"sip's word in a text":               said([]byte("INVITE the guests to the house tonight SIP the tea\r\n"), []byte("ok\r\n")),
	}
	for _, name := range lookalikes() {
		out["host "+name] = said(request(name, "/", ""), []byte("HTTP/1.1 200 OK\r\n\r\n"))
		out["connect "+name] = said([]byte("CONNECT "+name+":443 HTTP/1.1\r\nHost: "+name+":443\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"))
	}
	return out
}

// lookalikes are names that hold a messenger's and are somebody else's.
func lookalikes() []string {
	return []string{
		"notwhatsapp.com", "whatsapp.com.example", "web.whatsapp.com.example", "www-whatsapp.net", "whatsapp.example", "mywhatsapp.net",
		"fake-telegram.org", "telegram.org.example", "xt.me", "t.me.example", "at.me", "discord.com.example", "mydiscord.com", "ndiscord.gg",
		"skype.com.example", "notskype.com", "signal.org.example", "traffic-signal.org", "viber.com.example", "slack.com.example", "slackware.com",
		"slick.com", "zoom.us.example", "kazoom.us", "wire.com.example", "hardwire.com", "barbedwire.com", "line.me.example", "online.me", "qq.com.example",
		"matrix.org.example", "thematrix.org", "tox.chat.example", "detox.chat", "jami.net.example", "webex.com.example", "teams.microsoft.com.example",
		"xn--whatspp-tbg.com", "whatsapp.com-login.example", "telegramm.org", "element.io.example", "imo.im.example", "ximo.im", "threema.ch.example",
	}
}

// TestNearMisses: what looks near to a messenger's signature, on any port that one uses, names no messenger.
func TestNearMisses(t *testing.T) {
	for name, chunks := range nearMisses() {
		t.Run(name, func(t *testing.T) {
			innocent(t, "to any port", func(w *flowtest.Writer) {
				for _, port := range []string{"80", "443", "1863", "4244", "5060", "5190", "5222", "6667", "8080", "33033", "64738"} {
					w.TCP(from(50000), at("203.0.113.80:"+port), chunks...)
				}
			})
		})
	}
}

// innocent reports each flow of what write makes that is named as a messenger's.
func innocent(t *testing.T, what string, write func(w *flowtest.Writer)) {
	t.Helper()
	for key, f := range findings(t, classify.Options{}, write) {
		if f.Flow.App != "" {
			t.Errorf("%s, %s: taken for %s at %d by %v", what, key, f.Flow.App, f.Flow.Confidence, f.Evidence)
		}
	}
}

// TestLookalikeNames: a name that ends, begins or sounds as a messenger's is not the messenger's: in TLS, in a certificate, in DNS and
// after it.
func TestLookalikeNames(t *testing.T) {
	for i, name := range lookalikes() {
		t.Run(name, func(t *testing.T) {
			server := fmt.Sprintf("203.0.113.%d:443", i+1)
			innocent(t, "tls, certificate, dns", func(w *flowtest.Writer) {
				nameless(t, w, 50002, server, name)
				handshake(t, w, 50001, server, name)
				w.UDP(from(50003), resolver, flowtest.Question(name))
				w.UDP(resolver, from(50003), flowtest.Answer(name, at(server).Addr()))
				w.TCP(from(50004), at(server), said(noise(dice(), 90), noise(dice(), 90))...)
			})
		})
	}
}

// TestLookalikeDatagrams: WebRTC that is nobody's, and datagrams that differ from a messenger's by a byte, a size or a port.
func TestLookalikeDatagrams(t *testing.T) {
	r := dice()
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	webrtc := flowtest.STUN(1,
		flowtest.Attribute{Kind: 0x0006, Value: []byte("abcd:efgh")}, flowtest.Attribute{Kind: 0xc057, Value: []byte{0, 1, 0, 10}},
		flowtest.Attribute{Kind: 0x802a, Value: noise(r, 8)}, flowtest.Attribute{Kind: 0xc001, Value: noise(r, 4)},
		flowtest.Attribute{Kind: 0xc059, Value: noise(r, 4)}, flowtest.Attribute{Kind: 0x0024, Value: noise(r, 4)})
	for _, c := range []struct {
		name, ports string
		payload     []byte
	}{
		{"stun of libwebrtc", "3478 19302 443 50000", webrtc},
		{"turn of somebody", "3478 5349 443", flowtest.STUN(3, flowtest.Attribute{Kind: 0x0014, Value: []byte("telegram.org.example")}, flowtest.Attribute{Kind: 0x8022, Value: []byte("Coturn-4.6.1 'Gorst'")})},
		{"turn of a realm that ends as one", "3478", flowtest.STUN(3, flowtest.Attribute{Kind: 0x0014, Value: []byte("nottelegram.org")})},
		{"discovery of another length", "50001 443", cat([]byte{0, 1, 0, 71}, noise(r, 70))},
		{"discovery that is not zero", "50001 443", cat([]byte{0, 1, 0, 70}, noise(r, 70))},
		{"eight bytes near the ping", "50001 443", []byte{0x13, 0x37, 0xca, 0xff, 0, 0, 0, 1}},
		{"twelve bytes elsewhere", "443 3478 27015", cat(make([]byte, 4), noise(r, 8))},
		{"teamspeak's word, one letter less", "9987", cat([]byte("TS3INIT0"), noise(r, 20))},
		{"oicq's ends on another port", "443 53 8001", cat([]byte{2, 0x30, 0x11}, noise(r, 60), []byte{3})},
		{"zoom's byte on another port", "443 8800 8811", cat([]byte{5, 0, 0, 0, 0, 0, 0, 0, 16}, noise(r, 60))},
		{"viber's form on another port", "443 7986", cat([]byte{1, 2, 0x11, 0}, noise(r, 14))},
		{"skype's third byte", "33033 443 80", cat([]byte{0x12, 0x34, 0x02}, noise(r, 40))},
		{"dns to nobody's port", "443", flowtest.Question("web.whatsapp.com.example")},
	} {
		innocent(t, c.name, func(w *flowtest.Writer) {
			for i, port := range strings.Fields(c.ports) {
				for range 5 {
					w.UDP(from(40000+i), at("203.0.113.90:"+port), c.payload)
					w.UDP(at("203.0.113.90:"+port), from(40000+i), c.payload)
				}
			}
		})
	}
}

// TestManyPeersAreNotSkype: sockets that speak with many peers, as file sharing, games, time and names do, are not classic Skype.
func TestManyPeersAreNotSkype(t *testing.T) {
	r := dice()
	counter := uint16(r.UintN(1 << 16))
	for _, c := range []struct {
		name    string
		payload func() []byte
	}{
		{"random", func() []byte { return noise(r, 30) }},
		{"dht", func() []byte { return append([]byte("d1:ad2:id20:"), noise(r, 60)...) }},
		{"wireguard", func() []byte { return append([]byte{1, 0, 0, 0}, noise(r, 144)...) }},
		{"time", func() []byte { return append([]byte{0x23, 0, 6, 0xec}, noise(r, 44)...) }},
		{"names", func() []byte {
			q := flowtest.Question("example.org")
			binary.BigEndian.PutUint16(q, uint16(r.UintN(1<<16)))
			return q
		}},
		{"names, numbers in order", func() []byte {
			counter++
			q := flowtest.Question("example.org")
			binary.BigEndian.PutUint16(q, counter)
			return q
		}},
		{"a game that counts, kinds of all sorts", func() []byte {
			counter++
			return append(binary.BigEndian.AppendUint16(nil, counter), noise(r, 40)...)
		}},
		{"a server query", func() []byte { return []byte("\xff\xff\xff\xffgetinfo xxx") }},
		{"an snmp walk", func() []byte { return append([]byte{0x30, 0x26, 2, 1, 1, 4, 6}, noise(r, 30)...) }},
	} {
		innocent(t, c.name, func(w *flowtest.Writer) {
			for i := range 60 {
				peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), uint16(r.UintN(60000)+1024))
				w.UDP(from(41000), peer, c.payload())
				w.UDP(peer, from(41000), c.payload())
			}
		})
	}
}

// TestNoiseIsUnknown: of 20,000 flows of noise, as fully encrypted tunnels send it, over both transports and to the ports of messengers,
// none is named at medium or above, and at most one in a thousand at all.
func TestNoiseIsUnknown(t *testing.T) {
	if testing.Short() {
		t.Skip("20,000 flows")
	}
	r := dice()
	ports := []uint16{80, 443, 1863, 3478, 4244, 5060, 5190, 5222, 5243, 6667, 7985, 7987, 8000, 8801, 9987, 33033, 50000, 64738}
	strong, all := 0, 0
	for key, f := range findings(t, classify.Options{}, func(w *flowtest.Writer) {
		for i := range 10000 {
			server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i>>6)}), ports[i%len(ports)])
			w.TCP(from(1024+i), server, said(noise(r, 8+r.IntN(300)), noise(r, 8+r.IntN(300)))...)
			w.UDP(from(20000+i), server, noise(r, 8+r.IntN(300)))
			w.UDP(server, from(20000+i), noise(r, 8+r.IntN(300)))
		}
	}) {
		if f.Flow.App == "" {
			continue
		}
		all++
		if f.Flow.Confidence >= event.Medium {
			strong++
			t.Errorf("%s: %s at %d by %v", key, f.Flow.App, f.Flow.Confidence, f.Evidence)
		}
	}
	if all > 20 {
		t.Errorf("%d flows of noise are named at all", all)
	}
}
