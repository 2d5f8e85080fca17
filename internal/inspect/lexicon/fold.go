package lexicon

import (
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/inspect/fold"
)

// word is a folded word and where it stands in the view, in code points.
type word struct {
	text       string
	start, end int
	stretched  bool // its letters may stand for fewer
	spelled    bool // it was made of single letters
	leet       bool // its digits may stand for letters
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
	flags bool // the word is of regional indicators
	runes []rune
}

func (s *splitter) flush() {
	if len(s.buf) == 0 {
		return
	}
	if !s.flags || len(s.buf) != 2 { // two regional indicators are the flag of a country
		s.words = append(s.words, word{text: string(s.buf), start: s.start, end: s.end, stretched: hasRun(s.buf, minRun), leet: fold.Leet(s.buf)})
	}
	s.buf, s.flags = s.buf[:0], false
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
		if s.flags {
			s.flush()
		}
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
	if (r == '’' || r == '＇' || r == 'ʼ') && len(s.buf) > 0 {
		return
	}
	if _, digit := fold.Digit(r); !digit && unspaced(r) {
		s.flush()
		s.put(utf8.AppendRune(nil, r)...)
		s.flush()
		return
	}
	s.fold(r)
}

// fold puts what a character stands for. Regional indicators and other letters make no word together.
func (s *splitter) fold(r rune) {
	var kind fold.Kind
	s.runes, kind = fold.Append(s.runes[:0], r)
	switch kind {
	case fold.Text:
		if flag := fold.Regional(r); flag != s.flags {
			s.flush()
			s.flags = flag
		}
		for _, d := range s.runes {
			s.put(utf8.AppendRune(nil, d)...)
		}
	case fold.Mark:
		if len(s.buf) > 0 {
			s.end = s.at + 1
		}
	case fold.Sign:
		s.flush()
	}
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
		joined.stretched, joined.leet = hasRun([]byte(joined.text), 2), fold.Leet(joined.text)
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
