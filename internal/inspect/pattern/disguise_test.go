package pattern_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

// TestExpressionsSeeThroughDisguises: an expression finds what it finds in plain letters, once, where it stands in the text as it was written.
func TestExpressionsSeeThroughDisguises(t *testing.T) {
	key := pattern.Pattern{Name: "key", Regex: `\bAKIA[A-Z2-7]{16}\b`}
	code := pattern.Pattern{Name: "code", Regex: `PRJ-[0-9]{6}`}
	token := pattern.Pattern{Name: "token", Regex: `\bghp_[A-Za-z0-9]{6}\b`}
	for _, c := range []struct {
		pattern pattern.Pattern
		text    string
		want    string
	}{
		{key, "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"},
		{key, "AK\u200bIAIOSFODNN7\u2060EXAMPLE", "AK\u200bIAIOSFODNN7\u2060EXAMPLE"},
		{key, "it is АКІАIOSFODNN7EXAMPLE", "АКІАIOSFODNN7EXAMPLE"},                     // Cyrillic АКІА
		{key, "it is ΑΚΙΑIOSFODΝΝ7EXAMPLE!", "ΑΚΙΑIOSFODΝΝ7EXAMPLE"},                    // Greek ΑΚΙΑ and ΝΝ
		{key, "ＡＫＩＡIOSFODNN7EXAMPLE", "ＡＫＩＡIOSFODNN7EXAMPLE"},                           // full width
		{key, "𝐀𝐊𝐈𝐀IOSFODNN7EXAMPLE", "𝐀𝐊𝐈𝐀IOSFODNN7EXAMPLE"},                           // mathematical
		{key, "🙂 A\u0336K\u0336IAIOSFODNN7EXAMPLE", "A\u0336K\u0336IAIOSFODNN7EXAMPLE"}, // struck through
		{key, "akiaiosfodnn7example", ""},                                               // case stays
		{key, "акіаiosfodnn7example", ""},
		{key, "%41KIAIOSFODNN7EXAMPLE", "%41KIAIOSFODNN7EXAMPLE"},
		{key, "\u202eELPMAXE7NNDOFSOIAIKA\u202c", "ELPMAXE7NNDOFSOIAIKA"},
		{code, "é PRJ‑12３456", "PRJ‑12３456"}, // a hyphen that does not break
		{code, "PRJ—123456", "PRJ—123456"},
		{code, "PRJ-12345", ""},
		{token, "ghp＿AbC123 and ghp_AbC123", "ghp＿AbC123|ghp_AbC123"},
		{pattern.Pattern{Name: "script", Regex: `договор [0-9]+`}, "договор 17", "договор 17"}, // as it is written too
		{pattern.Pattern{Name: "accents", Regex: `Zoë`}, "Zoë and Zoe", "Zoë"},
	} {
		if got := strings.Join(foundBy(t, c.pattern, c.text), "|"); got != c.want {
			t.Errorf("%s in %q: %q, want %q", c.pattern.Name, c.text, got, c.want)
		}
	}
}
