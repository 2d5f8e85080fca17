package shape

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func TestIDs(t *testing.T) {
	for _, v := range []string{"", "1", "m1", "ab12a", "bind_1", "sendIQ", "purple8d3e3a7f", "ABC12-34", "prof_caps_0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21",
		"0D2F1F7E-8A55-4B6D-9D3E-6A1F0E5C7B21", "12345678-1234-4234-8234-1234567890ab:sendIQ", "1732567890", "1732567890123", "1732567890123456", "xmpp3",
		"qxn0Gml1E4Qh_tz7cW9uJg", "12345678-1234-4234-8234-123456789012", "lx5tyQm8J2bq8Kp", "k3j9x0w1ab", "disco-info", "2147483647", "last", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "o4-27"} {
		if !ID(v) {
			t.Errorf("%q is taken for words", v)
		}
	}
	for _, v := range []string{"meet-at-noon", "sell_all_of_it_before_noon", "MeetMeAtNoonByTheRiver", "4111111111111111", "4111-1111-1111-1111", "+41.79.123.45.67.8",
		"two words", "übermorgen", "wirtreffenunsmorgen", "meetatnoonbytheriver1", "buy.one.hundred", strings.Repeat("x", 300), "会议", "5500000000000004"} {
		if ID(v) {
			t.Errorf("%q is taken for a machine's", v)
		}
	}
}

// TestRandomIDs: what clients make by chance is taken for words less than once in two hundred.
func TestRandomIDs(t *testing.T) {
	const n = 5000
	for name, encode := range map[string]func([]byte) string{"base64": base64.RawURLEncoding.EncodeToString, "hex": hex.EncodeToString} {
		wrong := 0
		for range n {
			b := make([]byte, 16)
			rand.Read(b)
			if !ID(encode(b)) {
				wrong++
			}
		}
		if wrong > n/200 {
			t.Errorf("%s: %d of %d", name, wrong, n)
		}
	}
}

func FuzzID(f *testing.F) {
	for _, v := range []string{"m1", "meet-at-noon", "\xff", "a\u0300", strings.Repeat("aB", 200), "4111-1111"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if ID(v) && !Token(v) {
			t.Errorf("%q is an id and not one word", v)
		}
	})
}

func BenchmarkID(b *testing.B) {
	for b.Loop() {
		ID("0d2f1f7e-8a55-4b6d-9d3e-6a1f0e5c7b21")
	}
}
