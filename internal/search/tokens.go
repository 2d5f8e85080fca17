package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of the tokenizer.
const (
	maxToken  = 64      // bytes; what is longer is cut, in texts and queries alike
	maxTokens = 1 << 15 // of one record
)

// Tokens splits a text into the words it is found by. Case and diacritics are folded (in scripts where they are ornament: Latin, Greek,
// Cyrillic, Hebrew, Arabic); each letter of a script that is written without spaces is a word of its own, so that a phrase finds any part of
// a text; so is each symbol (emoji); @, # and $ before a letter or digit are words, so that "#desk" is a phrase of two and "desk" finds it.
func Tokens(s string) []string {
	return appendTokens(nil, s)
}

// appendTokens appends at most what makes maxTokens.
func appendTokens(out []string, s string) []string {
	if isASCII(s) {
		return appendASCII(out, s)
	}
	t := tokenizer{out: out}
	for _, r := range norm.NFKC.String(s) {
		if len(t.out) >= maxTokens {
			return t.out
		}
		t.rune(r)
	}
	t.flush()
	return t.out
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendASCII is the common case, without Unicode tables.
func appendASCII(out []string, s string) []string {
	lower := strings.ToLower(s)
	for i := 0; i < len(lower) && len(out) < maxTokens; {
		switch {
		case wordByte(lower[i]):
			start := i
			for i < len(lower) && wordByte(lower[i]) {
				i++
			}
			out = append(out, lower[start:min(i, start+maxToken)])
		case isSigil(rune(lower[i])) && i+1 < len(lower) && wordByte(lower[i+1]):
			out = append(out, lower[i:i+1])
			i++
		default:
			i++
		}
	}
	return out
}

func wordByte(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' }

func isSigil(r rune) bool { return r == '@' || r == '#' || r == '$' }

// tokenizer builds tokens rune by rune.
type tokenizer struct {
	out      []string
	word     strings.Builder
	sigil    rune // one that waits for a letter
	ornament bool // marks after the last letter are ornament
}

func (t *tokenizer) rune(r rune) {
	switch {
	case unicode.Is(unicode.Mn, r):
		if t.word.Len() > 0 && !t.ornament {
			t.add(r)
		}
	case unspaced(r):
		t.letter(r, false)
		t.flush()
	case unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' || unicode.Is(unicode.Mc, r):
		t.letter(r, ornamental(r))
	case unicode.Is(unicode.So, r) && r != utf8.RuneError:
		t.flush()
		t.out = append(t.out, string(r))
	case isSigil(r):
		t.flush()
		t.sigil = r
	case r == '\u200c' || r == '\u200d' || r == '\u00ad' || r == '\u0640': // joiners, soft hyphen and tatweel are inside words
	default:
		t.flush()
	}
}

func (t *tokenizer) letter(r rune, ornament bool) {
	if t.sigil != 0 {
		t.out = append(t.out, string(t.sigil))
		t.sigil = 0
	}
	if unspaced(r) {
		t.flush()
	}
	t.ornament = ornament
	if r >= utf8.RuneSelf && ornament {
		t.bare(r)
		return
	}
	t.add(unicode.ToLower(r))
}

// bare adds a letter without its diacritics.
func (t *tokenizer) bare(r rune) {
	if s := plainLetter(r); s != "" {
		t.word.WriteString(s)
		return
	}
	if d := norm.NFD.PropertiesString(string(r)).Decomposition(); len(d) > 0 {
		r, _ = utf8.DecodeRune(d)
	}
	if s := plainLetter(r); s != "" {
		t.word.WriteString(s)
		return
	}
	t.add(unicode.ToLower(r))
}

func (t *tokenizer) add(r rune) {
	if t.word.Len() < 4*maxToken {
		t.word.WriteRune(r)
	}
}

func (t *tokenizer) flush() {
	t.sigil = 0
	if t.word.Len() == 0 {
		return
	}
	t.out = append(t.out, cut(t.word.String(), maxToken))
	t.word.Reset()
}

// cut returns at most n bytes of s, whole runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// plainLetter names letters whose ornament is no combining mark, as searchers type them.
func plainLetter(r rune) string {
	switch r {
	case 'ß', 'ẞ':
		return "ss"
	case 'æ', 'Æ':
		return "ae"
	case 'œ', 'Œ':
		return "oe"
	case 'ø', 'Ø':
		return "o"
	case 'ł', 'Ł':
		return "l"
	case 'đ', 'Đ', 'ð', 'Ð':
		return "d"
	case 'þ', 'Þ':
		return "th"
	case 'ı', 'İ':
		return "i"
	case 'ς':
		return "σ"
	}
	return ""
}

// ornamental reports whether marks on the letter are left out: nobody types them in a search.
func ornamental(r rune) bool {
	return r < utf8.RuneSelf || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Hebrew, unicode.Arabic)
}

// unspaced reports whether the letter's script is written without spaces between words.
func unspaced(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) && (unicode.IsLetter(r) || unicode.Is(unicode.Nl, r))
}

// maxValue bounds a facet's value, in bytes.
const maxValue = 200

// Fold is the one form of a handle, name or other value that is searched for as a whole: case and diacritics folded, white space as "_".
func Fold(s string) string {
	s = strings.TrimSpace(s)
	if isASCII(s) {
		s = strings.ToLower(s)
	} else {
		s = foldRunes(s)
	}
	return cut(strings.Map(func(r rune) rune {
		if r <= ' ' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, s), maxValue)
}

func foldRunes(s string) string {
	var t tokenizer
	var out strings.Builder
	for _, r := range norm.NFKC.String(cut(s, 8*maxValue)) {
		if unicode.Is(unicode.Mn, r) && t.ornament {
			continue
		}
		if t.ornament = ornamental(r); t.ornament && r >= utf8.RuneSelf {
			t.bare(r)
			out.WriteString(t.word.String())
			t.word.Reset()
			continue
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
