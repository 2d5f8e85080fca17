package lexicon

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// word is a folded word and where it stands in the original text, in code points.
type word struct {
	text       string
	start, end int
	stretched  bool // its letters may stand for fewer
	spelled    bool // it was made of single letters
}

// lookAlikes are Cyrillic, Greek and other letters that look like Latin ones, in lower case (Unicode TR 39, confusables).
// Patterns are folded as texts are, so words in those scripts are found too.
var lookAlikes = map[rune]rune{
	'а': 'a', 'в': 'b', 'с': 'c', 'ԁ': 'd', 'е': 'e', 'ѐ': 'e', 'ё': 'e', 'һ': 'h', 'н': 'h', 'і': 'i', 'ї': 'i', 'ј': 'j', 'к': 'k', 'ӏ': 'l', 'м': 'm', 'о': 'o', 'р': 'p',
	'ԛ': 'q', 'ѕ': 's', 'т': 't', 'у': 'y', 'ѵ': 'v', 'ԝ': 'w', 'х': 'x', 'ү': 'y',
	'α': 'a', 'β': 'b', 'ε': 'e', 'η': 'n', 'ι': 'i', 'κ': 'k', 'μ': 'u', 'ν': 'v', 'ο': 'o', 'ρ': 'p', 'τ': 't', 'υ': 'u', 'χ': 'x', 'ω': 'w', 'γ': 'y',
	'ı': 'i', 'ſ': 's', 'ɑ': 'a', 'ɡ': 'g', 'ɩ': 'i', 'ʟ': 'l', 'ᴀ': 'a', 'ᴏ': 'o', 'ᴡ': 'w', 'ꜱ': 's', 'ᴛ': 't', 'ᴘ': 'p', 'ʜ': 'h',
	'ø': 'o', 'ł': 'l', 'đ': 'd', 'ħ': 'h', 'ŧ': 't',
}

// split folds a text into words: case, accents, width, look-alike letters, apostrophes and invisible characters do not matter. Letters
// spelled out one by one ("W h a t s A p p") make one word. In scripts without spaces every character is a word.
func split(text string) []word {
	s := splitter{words: make([]word, 0, len(text)/5+1)}
	for _, r := range text {
		s.add(r)
		s.at++
	}
	s.flush()
	return joinSpelled(s.words)
}

type splitter struct {
	words []word
	buf   []byte
	start int
	end   int
	at    int
}

func (s *splitter) flush() {
	if len(s.buf) > 0 {
		s.words = append(s.words, word{text: string(s.buf), start: s.start, end: s.end, stretched: hasRun(s.buf, minRun)})
		s.buf = s.buf[:0]
	}
}

func (s *splitter) put(b ...byte) {
	if len(s.buf) == 0 {
		s.start = s.at
	}
	s.buf = append(s.buf, b...)
	s.end = s.at + 1
}

func (s *splitter) add(r rune) {
	if r < utf8.RuneSelf {
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			s.put(byte(r))
		case 'A' <= r && r <= 'Z':
			s.put(byte(r) + 'a' - 'A')
		case r == '\'' && len(s.buf) > 0: // inside a word; at its end it does no harm
		default:
			s.flush()
		}
		return
	}
	if invisible(r) || (r == '’' || r == '＇' || r == 'ʼ') && len(s.buf) > 0 {
		return
	}
	if unspaced(r) {
		s.flush()
		s.put(utf8.AppendRune(nil, r)...)
		s.flush()
		return
	}
	s.fold(r)
}

// fold decomposes a character by compatibility (full width, accents, mathematical letters) and puts its letters and digits.
func (s *splitter) fold(r rune) {
	var in, out [64]byte
	n := utf8.EncodeRune(in[:], r)
	put := false
	for _, d := range string(norm.NFKD.Append(out[:0], in[:n]...)) {
		d = unicode.ToLower(d)
		if latin, ok := lookAlikes[d]; ok {
			d = latin
		}
		switch {
		case unicode.Is(unicode.Mn, d): // an accent belongs to the letter before it
			put = true
			if len(s.buf) > 0 {
				s.end = s.at + 1
			}
		case unicode.IsLetter(d) || unicode.IsNumber(d):
			s.put(utf8.AppendRune(nil, d)...)
			put = true
		}
	}
	if !put {
		s.flush()
	}
}

// invisible reports whether a character shows nothing: zero-width characters, direction marks, soft hyphens, variation selectors.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) || r == '\u034F' || r == '\u115F' || r == '\u1160' || r == '\u3164'
}

// unspaced reports whether a script writes words without spaces between them.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// A word is spelled out when at least minSpelled single letters stand in a row, with equal gaps of at most maxGap characters.
const (
	minSpelled = 4
	maxSpelled = 48
	maxGap     = 3
)

func joinSpelled(words []word) []word {
	out := words[:0]
	for i := 0; i < len(words); {
		n := spelled(words[i:])
		if n < minSpelled {
			out = append(out, words[i:i+max(n, 1)]...)
			i += max(n, 1)
			continue
		}
		joined := word{start: words[i].start, end: words[i+n-1].end, spelled: true}
		for _, w := range words[i : i+n] {
			joined.text += w.text
		}
		joined.stretched = hasRun([]byte(joined.text), 2)
		out = append(out, joined)
		i += n
	}
	return out
}

// spelled returns how many single letters with equal gaps stand at the beginning.
func spelled(words []word) int {
	gap := 0
	for n, w := range words[:min(len(words), maxSpelled)] {
		if len(w.text) != 1 {
			return n
		}
		if n == 0 {
			continue
		}
		g := w.start - words[n-1].end
		if n == 1 {
			gap = g
		}
		if g != gap || g > maxGap {
			return n
		}
	}
	return min(len(words), maxSpelled)
}
