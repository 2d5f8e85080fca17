package decode_test

import (
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestRTCP: a report first, lengths that fill the datagram, and encrypted a small index with its mark before the tag.
func TestRTCP(t *testing.T) {
	plain := flowtest.RTCP()
	header := plain[:8]
	receiver := []byte{0x80, 201, 0, 1, 0, 0, 0x12, 0x34}
	tail := func(b []byte, size int, index ...byte) []byte {
		return append(append(slices.Clone(b), index...), make([]byte, size)...)
	}
	for _, c := range []struct {
		name    string
		payload []byte
		form    string // "" when it is none
	}{
		{"a report and a name", plain, "plain"},
		{"a receiver's report", receiver, "plain"},
		{"a report and feedback", append(slices.Clone(receiver), 0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2), "plain"},
		{"a byte too many", append(slices.Clone(plain), 0), ""},
		{"a byte too few", plain[:len(plain)-1], ""},
		{"a name first", plain[28:], ""},
		{"another version", append([]byte{0x40}, plain[1:]...), ""},
		{"a sender's report that is too short for one", header, ""},
		{"a report of more sources than it has", append([]byte{0x82}, receiver[1:]...), ""},
		{"something else behind the report", append(slices.Clone(plain), 0x80, 96, 0, 0), ""},
		{"encrypted", tail(receiver, 10, 0x80, 0, 0, 1), "encrypted"},
		{"encrypted, with a short tag", tail(receiver, 4, 0x80, 0, 0, 9), "encrypted"},
		{"encrypted, with more", tail(plain[:28], 10, 9, 8, 7, 6, 0x80, 0, 1, 1), "encrypted"},
		{"without the mark", tail(receiver, 10, 0, 0, 0, 1), ""},
		{"with an index of years", tail(receiver, 10, 0xff, 0, 0, 1), ""},
		{"with a tag of another length", tail(receiver, 7, 0x80, 0, 0, 1), ""},
		{"four bytes", plain[:4], ""},
	} {
		fact, _ := datagram(c.payload, 5001)
		if got := fact.Decoder == "rtcp"; got != (c.form != "") || fact.Get("form") != c.form && got {
			t.Errorf("%s: found %v, want %q", c.name, fact, c.form)
		}
	}
	var s decode.Datagrams
	if facts, _ := s.Look(&decode.Datagram{Payload: plain, FromClient: true, Cut: true}); len(facts) > 0 && facts[0].Decoder == "rtcp" {
		t.Error("what was longer on the wire fills nothing")
	}
}

// TestLongTelephony: a telephone registers for hours over one flow; the call that it then describes is heard of, and what is no news is not.
func TestLongTelephony(t *testing.T) {
	var s decode.Datagrams
	look := func(text string) []decode.Fact {
		facts, done := s.Look(&decode.Datagram{Payload: []byte(text), FromClient: true, ClientPort: 5060, ServerPort: 5060})
		if done {
			t.Fatal("it is not looked at any more")
		}
		return facts
	}
	told := 0
	for range 500 {
		told += len(look("REGISTER sip:example.org SIP/2.0\r\n\r\n"))
	}
	call := look("INVITE sip:a@b SIP/2.0\r\nTo: b\r\n\r\nc=IN IP4 192.0.2.7\r\nm=audio 40000 RTP/AVP 0\r\n")
	if told != 1 || len(call) != 1 || call[0].Get("media") != "192.0.2.7:40000" || s.Seen() != 0 {
		t.Errorf("%d facts, then %v, %d counted", told, call, s.Seen())
	}
}
