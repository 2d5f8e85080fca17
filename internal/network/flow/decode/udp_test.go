package decode_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// sized makes a payload that begins with head and is so long.
func sized(n int, head ...byte) []byte { return append(head, make([]byte, n-len(head))...) }

func TestMoreDatagrams(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		port    uint16
		want    string
	}{
		{"viber ping", sized(20, 1, 2, 9, 0), 7985, "viber"},
		{"viber hello", sized(257, 1, 2, 1, 0), 7987, "viber"},
		{"viber of another size", sized(21, 1, 2, 9, 0), 7985, ""},
		{"viber elsewhere", sized(20, 1, 2, 9, 0), 7000, ""},
		{"zoom session", sized(107, 1, 0, 2, 9), 8801, "zoom"},
		{"zoom keep-alive", sized(13, 3, 0), 8810, "zoom"},
		{"zoom with an absurd media type", sized(60, 5, 0, 0, 0, 0, 0, 0, 4, 99), 8801, ""},
		{"mumble answer", sized(24, 0, 1, 3, 4), 64738, "mumble"},
		{"mumble elsewhere", sized(24, 0, 1, 3, 4), 64739, ""},
		{"mumble 1.5 asks", []byte{1, 8, 0xac, 2, 16, 1}, 64738, "mumble"},
		{"mumble 1.5 answers", []byte{1, 8, 0xac, 2, 24, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0, 32, 3, 40, 100, 48, 0x80, 0xe0, 8}, 64738, "mumble"},
		{"mumble 1.5 answers in 32 bits", []byte{1, 8, 0xac, 2, 24, 0x80, 0x8a, 4, 32, 3}, 64738, "mumble"},
		{"mumble 1.5 without a question", []byte{1, 8, 0xac, 2}, 64738, ""},
		{"mumble 1.5 out of order", []byte{1, 16, 1, 8, 0xac, 2}, 64738, ""},
		{"mumble 1.5 with bytes", []byte{1, 8, 0xac, 2, 18, 1, 1}, 64738, ""},
		{"mumble 1.5 of a version that is none", []byte{1, 8, 0xac, 2, 24, 7}, 64738, ""},
		{"mumble 1.5 with more", []byte{1, 8, 0xac, 2, 16, 1, 56, 1}, 64738, ""},
		{"mumble 1.5 cut", []byte{1, 8, 0xac, 2, 16}, 64738, ""},
		{"mumble 1.5 elsewhere", []byte{1, 8, 0xac, 2, 16, 1}, 64737, ""},
		{"discord answer", sized(74, 0, 2, 0, 70, 0, 0, 1, 2, '1', '.', '2'), 50004, "discord"},
		{"discord with bytes where none are", sized(74, 0, 1, 0, 70, 0, 0, 1, 2, 'x'), 50004, ""},
		{"discord ping", []byte("\x13\x37\xca\xfe\x01\x00\x00\x00"), 50004, "discord"},
		{"qq", append(sized(30, 2, 0x37, 0x13), 3), 8000, "oicq"},
		{"qq without an end", append(sized(30, 2, 0x37, 0x13), 4), 8000, ""},
		{"dtls record", sized(40, 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 27), 5000, "dtls"},
		{"dtls record longer than it is", sized(40, 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 1, 27), 5000, ""},
		{"empty", nil, 53, ""},
	} {
		fact, ok := datagram(c.payload, c.port)
		if fact.Decoder == "skype-candidate" {
			fact.Decoder, ok = "", false
		}
		if fact.Decoder != c.want || ok != (c.want != "") {
			t.Errorf("%s: found %v, want %q", c.name, fact, c.want)
		}
	}
}

// TestFactsOfOneFlowAreBounded: a flow that asks without end stops being looked at.
func TestFactsOfOneFlowAreBounded(t *testing.T) {
	var s decode.Datagrams
	found, done := 0, false
	for n := 0; n < 50 && !done; n++ {
		var facts []decode.Fact
		facts, done = s.Look(&decode.Datagram{Payload: flowtest.Question("a.example"), FromClient: true, ClientPort: 50000, ServerPort: 53})
		found += len(facts)
	}
	if !done || found == 0 || found > 10 {
		t.Errorf("%d facts, done %v", found, done)
	}
}

// TestLargeAnswersAreBounded: of a large answer a part is kept.
func TestLargeAnswersAreBounded(t *testing.T) {
	m := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	m.Response, m.Compress = true, true
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: a.AsSlice()})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	fact, ok := datagram(b, 53)
	if !ok || len(fact.Attrs) > 32 || !fact.Has("answer", "192.0.2.0") {
		t.Errorf("%d values", len(fact.Attrs))
	}
}

// TestManyAttributesAreBounded: a STUN message of nothing but a vendor's attributes gives a bounded fact.
func TestManyAttributesAreBounded(t *testing.T) {
	var attributes []flowtest.Attribute
	for i := range uint16(300) {
		attributes = append(attributes, flowtest.Attribute{Kind: 0x9000 + i})
	}
	fact, ok := datagram(flowtest.STUN(1, attributes...), 3478)
	if !ok || len(fact.Attrs) > 40 || !fact.Has("vendor", "9000") || fact.Has("vendor", "9100") {
		t.Errorf("%d values", len(fact.Attrs))
	}
}

// TestPayloadIsNotKept: facts do not change when the buffer that they came from is used again.
func TestPayloadIsNotKept(t *testing.T) {
	b := flowtest.STUN(0x113, flowtest.Attribute{Kind: 0x14, Value: []byte("realm.example")})
	fact, _ := datagram(b, 3478)
	question := flowtest.Question("kept.example")
	asked, _ := datagram(question, 53)
	copy(b, bytes.Repeat([]byte("X"), len(b)))
	copy(question, bytes.Repeat([]byte("X"), len(question)))
	if fact.Get("realm") != "realm.example" || asked.Get("name") != "kept.example" {
		t.Errorf("%v %v", fact, asked)
	}
}

func TestDecodersAreListedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range decode.Decoders() {
		if seen[d.Name] || d.About == "" || d.Name != strings.ToLower(d.Name) {
			t.Errorf("%+v", d)
		}
		seen[d.Name] = true
	}
}
