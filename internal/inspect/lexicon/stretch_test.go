package lexicon_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/inspect/lexicon"
)

// TestStretchedWords: letters repeated to hide or for emphasis are seen through; words that only look alike are not.
func TestStretchedWords(t *testing.T) {
	list := lexicon.Lexicon{Name: "l", Words: []string{"whatsapp", "good", "my god", "insider*", "привет", "call 911 now", "schifffahrt"}}
	for text, want := range map[string]bool{
		"w w h a t s a p p":          true,
		"w h a a t s s a p p p":      true,
		"ww hh aa tt ss aa pp":       false, // pairs are no single letters
		"whaaatsapp":                 true,
		"WHATSAPPPP":                 true,
		"whatsappp me":               true,
		"whaatsapp":                  false, // a run of two is what it says
		"whatsap":                    false, // a letter less is another word
		"whaaatsap":                  false,
		"w h a t s a p":              false,
		"gooood":                     true,
		"my gooood":                  true,
		"my goood":                   true, // good, or god: nobody can tell
		"my gd":                      false,
		"insiiiider trading":         true,
		"insiderrrr":                 true,
		"inssider":                   false,
		"приииивет":                  true,
		"прривет":                    false,
		"call 911 now":               true,
		"call 9111 now":              false, // digits are no repeats
		"caaall 911 nowww":           true,
		"schifffahrt":                true,
		"schiffffahrt":               true,
		"schiffahrt":                 false,
		"www.whats.example":          false,
		"aaaa":                       false,
		strings.Repeat("g", 100_000): false,
	} {
		if got := len(inspectWith(t, text, list)) > 0; got != want {
			t.Errorf("%.40q: found %v, want %v", text, got, want)
		}
	}
	if hits := inspectWith(t, "on whaaatsapp!", lexicon.Lexicon{Name: "l", Words: []string{"on whatsapp"}}); len(hits) != 1 || hits[0].Spans[0].Start != 0 || hits[0].Spans[0].End != 13 {
		t.Errorf("%+v", hits)
	}
}
