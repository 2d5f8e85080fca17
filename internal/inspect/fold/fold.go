// Package fold says what the characters of a text stand for, however they are dressed up, so that all inspectors of texts see through the same
// disguises. A character is text (its letters in lower case without accents, its digits as 0 to 9), a sign, a mark, or nothing at all.
//
// Views are the other readings that a text may have: percent-decoded, with its tag characters shown, in the order in which a screen shows it.
package fold

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Kind is what a character is to a reader.
type Kind int

// The kinds of characters.
const (
	Sign    Kind = iota // a space, a sign, a picture: it stands between words
	Text                // letters and digits
	Mark                // an accent, a frame, a line through the letter before it
	Nothing             // it shows nothing
)

// Append appends what a character stands for, when it is text.
func Append(dst []rune, r rune) ([]rune, Kind) {
	if r < utf8.RuneSelf {
		return appendASCII(dst, r)
	}
	return appendOther(dst, r, false)
}

// AppendPlain is Append with capitals, and with the ASCII signs that are text to programs.
func AppendPlain(dst []rune, r rune) ([]rune, Kind) {
	if r < utf8.RuneSelf {
		_, kind := appendASCII(nil, r)
		return append(dst, r), kind
	}
	return appendOther(dst, r, true)
}

// appendOther appends what a character beyond ASCII stands for; plain keeps capitals.
func appendOther(dst []rune, r rune, plain bool) ([]rune, Kind) {
	if d, ok := Digit(r); ok {
		return append(dst, '0'+rune(d)), Text
	}
	if l, ok := letter(r); ok {
		if plain {
			l = unicode.ToUpper(l)
		}
		return append(dst, l), Text
	}
	if invisible(r) {
		return dst, Nothing
	}
	if plain {
		return decompose(dst, r, latinPlain)
	}
	return decompose(dst, r, latin)
}

// latin returns the small Latin letter that another letter is, or looks like.
func latin(d rune) rune {
	d = unicode.ToLower(d)
	if l, ok := lookAlikes[d]; ok {
		return l
	}
	return d
}

// latinPlain returns the Latin letter that another letter is, or looks like, a capital for a capital. What is ASCII already stays.
func latinPlain(d rune) rune {
	if l, ok := capitals[d]; ok {
		return l
	}
	small := unicode.ToLower(d)
	l, ok := lookAlikes[small]
	switch {
	case !ok:
		return d
	case small != d:
		return unicode.ToUpper(l)
	}
	return l
}

func appendASCII(dst []rune, r rune) ([]rune, Kind) {
	switch {
	case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
		return append(dst, r), Text
	case 'A' <= r && r <= 'Z':
		return append(dst, r+'a'-'A'), Text
	}
	return dst, Sign
}

// decompose takes a character apart by compatibility (full width, accents, circled and mathematical letters) and appends its letters and numbers,
// each as meant says.
func decompose(dst []rune, r rune, meant func(rune) rune) ([]rune, Kind) {
	var in, out [64]byte
	n := utf8.EncodeRune(in[:], r)
	kind := Sign
	for _, d := range string(norm.NFKD.Append(out[:0], in[:n]...)) {
		d = meant(d)
		switch {
		case unicode.In(d, unicode.Mn, unicode.Me): // an accent belongs to the letter before it
			if kind == Sign {
				kind = Mark
			}
		case unicode.IsLetter(d) || unicode.IsNumber(d):
			dst, kind = append(dst, d), Text
		}
	}
	return dst, kind
}

// Digit returns the value of a decimal digit of any script, raised, lowered, circled or bracketed.
func Digit(r rune) (int, bool) {
	switch {
	case '0' <= r && r <= '9':
		return int(r - '0'), true
	case r < '²':
		return 0, false
	}
	if unicode.Is(unicode.Nd, r) {
		return decimal(r), true
	}
	if !unicode.Is(unicode.No, r) {
		return 0, false
	}
	for _, s := range series {
		if s.first <= r && r < s.first+rune(s.count) {
			return int(r-s.first) + s.value, true
		}
	}
	return 0, false
}

// decimal returns the value of a decimal digit: every script has its ten together, from zero (Unicode 4.6, stability policy of Nd).
func decimal(r rune) int {
	for _, t := range unicode.Nd.R16 {
		if r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10
		}
	}
	return 0
}

// series are the digits that Unicode counts among other numbers (No).
var series = []struct {
	first        rune
	count, value int
}{
	{'²', 2, 2}, {'¹', 1, 1}, {'⁰', 1, 0}, {'⁴', 6, 4}, {'₀', 10, 0}, {'①', 9, 1}, {'⑴', 9, 1}, {'⒈', 9, 1}, {'⓪', 1, 0}, {'⓵', 9, 1}, {'⓿', 1, 0},
	{'❶', 9, 1}, {'➀', 9, 1}, {'➊', 9, 1}, {0x1369, 9, 1}, {0x10A40, 4, 1}, {0x10E60, 9, 1}, {0x11052, 9, 1}, {0x1F100, 1, 0}, {0x1F101, 10, 0},
	{0x1F10B, 1, 0}, {0x1F10C, 1, 0},
}

// letter returns the letter of pictures of letters that have no decomposition.
func letter(r rune) (rune, bool) {
	switch {
	case 0x1F1E6 <= r && r <= 0x1F1FF: // regional indicators
		return r - 0x1F1E6 + 'a', true
	case 0x1F150 <= r && r <= 0x1F169: // white on black circles
		return r - 0x1F150 + 'a', true
	case 0x1F170 <= r && r <= 0x1F189: // white on black squares
		return r - 0x1F170 + 'a', true
	}
	return 0, false
}

// Regional reports whether a character is a regional indicator: two of them are a flag.
func Regional(r rune) bool { return 0x1F1E6 <= r && r <= 0x1F1FF }

// invisible reports whether a character shows nothing: zero-width characters, direction marks, soft hyphens, variation selectors, fillers.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == '\u034F' || r == '\u115F' || r == '\u1160' || r == '\u3164' || r == '\uFFA0'
}

// capitals are those that look like other letters than their small forms do.
var capitals = map[rune]rune{'Η': 'H', 'Ν': 'N', 'Υ': 'Y', 'Μ': 'M', 'Ζ': 'Z', 'Ω': 'Ω', 'Γ': 'Γ', 'У': 'Y'}

// lookAlikes are Cyrillic, Greek and other letters that look like Latin ones, in lower case (Unicode TR 39, confusables).
// Patterns are folded as texts are, so words in those scripts are found too.
var lookAlikes = map[rune]rune{
	'а': 'a', 'в': 'b', 'с': 'c', 'ԁ': 'd', 'е': 'e', 'ѐ': 'e', 'ё': 'e', 'һ': 'h', 'н': 'h', 'і': 'i', 'ї': 'i', 'ј': 'j', 'к': 'k', 'ӏ': 'l', 'м': 'm', 'о': 'o', 'р': 'p',
	'ԛ': 'q', 'ѕ': 's', 'т': 't', 'у': 'y', 'ѵ': 'v', 'ԝ': 'w', 'х': 'x', 'ү': 'y',
	'α': 'a', 'β': 'b', 'ε': 'e', 'η': 'n', 'ι': 'i', 'κ': 'k', 'μ': 'u', 'ν': 'v', 'ο': 'o', 'ρ': 'p', 'τ': 't', 'υ': 'u', 'χ': 'x', 'ω': 'w', 'γ': 'y',
	'ı': 'i', 'ſ': 's', 'ɑ': 'a', 'ɡ': 'g', 'ɩ': 'i', 'ʟ': 'l', 'ᴀ': 'a', 'ᴏ': 'o', 'ᴡ': 'w', 'ꜱ': 's', 'ᴛ': 't', 'ᴘ': 'p', 'ʜ': 'h',
	'ø': 'o', 'ł': 'l', 'đ': 'd', 'ħ': 'h', 'ŧ': 't',
}
