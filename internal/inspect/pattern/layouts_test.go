package pattern_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

// dress writes each digit of a card number with a function.
func dress(digit func(d rune) string) string {
	var b strings.Builder
	for _, d := range "4111111111111111" {
		b.WriteString(digit(d - '0'))
	}
	return b.String()
}

// from writes digits that stand together from zero.
func from(zero rune) string { return dress(func(d rune) string { return string(zero + d) }) }

// TestEverydayLayouts: card numbers as they are pasted, listed, framed and hidden, each found whole.
func TestEverydayLayouts(t *testing.T) {
	card := pattern.Pattern{Check: "card"}
	for _, separator := range []string{"  ", "   ", "\t", "\n", "\r\n", "\u2028", "\u2029", ",", ", ", "/", " / ", "_", ":", "|", " | ", "\t|\t", "*", "+", "=", "~", "'", "’", "—", " — ", "·", "•",
		" - ", ")(", "][", "💳", " 💳 ", "👍🏽", "\u2800", "\u3000", ";", "#", "&", "\\", "\"", "…", "\u00a0\u00a0"} {
		text := strings.Join([]string{"4111", "1111", "1111", "1111"}, separator)
		if got := foundBy(t, card, "card: "+text+"!"); len(got) != 1 || got[0] != text {
			t.Errorf("separated by %q: %q", separator, got)
		}
		amex := strings.Join([]string{"3782", "822463", "10005"}, separator)
		if got := foundBy(t, card, amex); len(got) != 1 || got[0] != amex {
			t.Errorf("separated by %q: %q", separator, got)
		}
	}
	for _, hidden := range []string{"\ufe0f", "\u0336", "\u034f", "\u2063", "\u2066", "\u180e", "\ufff9", "\u3164", "\u200b", "\U000E0061", "\u0301\u0301\u0301\u0301\u0301"} {
		for _, text := range []string{strings.Join([]string{"4111", "1111", "1111", "1111"}, hidden), strings.Join(strings.Split("4111111111111111", ""), hidden)} {
			if got := foundBy(t, card, "no. "+text+" ok"); len(got) != 1 || got[0] != text {
				t.Errorf("with %q: %q", hidden, got)
			}
		}
	}
	circled := func(d rune) string { return string([]rune("⓪①②③④⑤⑥⑦⑧⑨")[d]) }
	raised := func(d rune) string { return string([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[d]) }
	for name, text := range map[string]string{"Devanagari": from('०'), "Thai": from('๐'), "Bengali": from('০'), "segmented": from(0x1FBF0), "tag": from(0xE0030),
		"circled": dress(circled), "superscript": dress(raised), "subscript": from('₀'), "keycap": dress(func(d rune) string { return string('0'+d) + "\ufe0f\u20e3" }),
		"keycaps spaced": strings.TrimSpace(dress(func(d rune) string { return string('0'+d) + "\ufe0f\u20e3 " })), "escaped": dress(func(d rune) string { return "%3" + string('0'+d) }),
		"spaces escaped": "4111%201111%201111%201111", "signs escaped": "4111%2F1111%2f1111%E2%80%941111", "both": "4111%20\U000E0031111%201111%201111", "mirrored": "\u202e1111 1111 1111 1114",
		"brackets": "4111)(1111)(1111)(1111", "one by one": "4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1"} {
		want := strings.TrimPrefix(text, "\u202e")
		if got := foundBy(t, card, "no. ("+text+") ok"); name != "mirrored" && (len(got) != 1 || got[0] != want) {
			t.Errorf("%s: %q", name, got)
		}
		if got := foundBy(t, card, "no. "+text); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, beside := range []string{"x4111111111111111", "abc4111111111111111", "4111111111111111abc", "é4111111111111111内", "card4111 1111 1111 1111"} {
		if got := foundBy(t, card, beside); len(got) != 1 {
			t.Errorf("%s: %q", beside, got)
		}
	}
}

// TestLayoutsThatAreNoCards: lists, times, addresses and longer numbers whose digits would do.
func TestLayoutsThatAreNoCards(t *testing.T) {
	card := pattern.Pattern{Check: "card"}
	for _, text := range []string{
		"4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 7", // a list that goes on
		"41:11:11:11:11:11:11:11:22",
		"4111 or 1111 or 1111 or 1111", "94111111111111111", "4111111111111111000000", "4111 1111 1111 1112", "4111\n\n\n\n1111\n1111\n1111",
		"41 1111 1111 1111 11", "411, 1111, 1111, 1111, 1", "4111%2B",
		"5060, 5062, 5087", // ports; in one, or with single spaces, it is taken for a Maestro number
	} {
		if got := foundBy(t, card, text); len(got) > 0 {
			t.Errorf("%q: %q", text, got)
		}
	}
}
