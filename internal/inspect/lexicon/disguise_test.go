package lexicon_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
)

// shift writes each letter of a word from another alphabet.
func shift(word string, a rune) string {
	return strings.Map(func(r rune) rune { return r - 'a' + a }, word)
}

// TestDisguises: a word in other alphabets, other readings and with digits for letters is found where it stands.
func TestDisguises(t *testing.T) {
	for name, text := range map[string]string{
		"digits for letters": "Wh4ts4pp", "more of them": "wh47s4pp", "spelled out": "w h 4 t s 4 p p",
		"regional indicators": shift("whatsapp", 0x1F1E6), "spaced": strings.TrimSpace(strings.Join(strings.Split(shift("whatsapp", 0x1F1E6), ""), " ")),
		"squares": shift("whatsapp", 0x1F170), "circles": shift("whatsapp", 0x1F150), "tags": shift("whatsapp", 0xE0061),
		"escapes": "%57hats%41pp", "all escaped": "%77%68%61%74%73%61%70%70", "line through": "w\u0336h\u0336a\u0336t\u0336s\u0336a\u0336p\u0336p\u0336",
		"mirrored": "ppAstahW",
	} {
		whole := "let's move to " + text
		if name == "mirrored" {
			whole = "let's move to \u202e" + text
		}
		if got := places(t, whole, "whatsapp"); got != text {
			t.Errorf("%s: %q", name, got)
		}
	}
	for text, words := range map[string][]string{
		"0ffline t4lk": {"offline"}, "off%20the%20record": {"off the record"}, "OFF TH3 REC0RD": {"off th3 record"}, "s1gnal s1ack": {"signal", "slack"}, "guarant33d": {"guarant*"},
	} {
		for _, w := range words {
			if places(t, text, w) == "" {
				t.Errorf("%q in %q: missed", w, text)
			}
		}
	}
	for text, word := range map[string]string{
		"m3 t0 1on1": "me", "between 🇺🇸 and": "us", "between🇺🇸": "betweenus", "4pm": "apm", "100% ok": "ioo", "1337": "leet", "7357": "test", "whatsapp🇺🇸": "whatsappus", "h3": "he",
	} {
		if got := places(t, text, word); got != "" {
			t.Errorf("%q in %q: %q", word, text, got)
		}
	}
	if got := places(t, "🇺🇸whatsapp🇺🇸", "whatsapp"); got != "whatsapp" {
		t.Errorf("between flags: %q", got)
	}
}

// TestOnceInAllReadings: what is found in several readings of a text is told once.
func TestOnceInAllReadings(t *testing.T) {
	hits := inspectWith(t, "bribe %20 bribe \U000E0061 \u202e", lexicon.Lexicon{Name: "x", Words: []string{"bribe"}})
	if len(hits) != 1 || hits[0].Count != 2 || hits[0].Spans[1] != (event.Span{Start: 10, End: 15}) {
		t.Errorf("%+v", hits)
	}
}
