package pseudonym

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// folded is a text in the form in which names are compared: compatibility forms, case and diacritics folded, invisible characters left out,
// white space as one space.
type folded struct {
	text string
	at   []int // where in the source each byte of text is from, and the source's length; nil: the bytes correspond
}

// source returns the range in the source of a range in the folded text.
func (f folded) source(start, end int) (int, int) {
	if f.at == nil {
		return start, end
	}
	from, last := f.at[start], f.at[end-1]
	for end < len(f.at)-1 && f.at[end] == last {
		end++
	}
	return from, f.at[end]
}

func fold(s string) folded {
	if plain(s) {
		return folded{text: strings.ToLower(s)}
	}
	var b strings.Builder
	at := make([]int, 0, len(s)+1)
	put := func(r rune, from int) {
		n, _ := b.WriteRune(r)
		for range n {
			at = append(at, from)
		}
	}
	var it norm.Iter
	it.InitString(norm.NFKD, s)
	space := false
	for !it.Done() {
		from := it.Pos()
		for _, r := range string(it.Next()) {
			switch {
			case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r):
			case unicode.IsSpace(r):
				if !space {
					put(' ', from)
				}
				space = true
				continue
			default:
				put(unicode.ToLower(r), from)
			}
			space = false
		}
	}
	return folded{b.String(), append(at, len(s))}
}

// plain reports whether a text needs nothing but its case folded: ASCII whose only white space is single spaces.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c < ' ' || c == ' ' && i > 0 && s[i-1] == ' ' {
			return false
		}
	}
	return true
}

// token returns the end of the word that begins at i, or i when none begins there, and where to go on then. A letter of a script that is
// written without spaces is a word of its own.
func token(s string, i int) (end, next int) {
	r, n := utf8.DecodeRuneInString(s[i:])
	if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
		return i, i + n
	}
	if unspaced(r) {
		return i + n, i + n
	}
	end = i + n
	for end < len(s) {
		r, n := utf8.DecodeRuneInString(s[end:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) || unspaced(r) {
			break
		}
		end += n
	}
	return end, end
}

func unspaced(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// maxTokens bounds the words of a name; of a longer one the beginning is looked for.
const maxTokens = 24

// key returns the form in which a name is kept, from its first word to its last, and its words.
func key(name string) (string, []string) {
	s := fold(name).text
	var words []string
	start, last := -1, 0
	for i := 0; i < len(s) && len(words) < maxTokens; {
		end, next := token(s, i)
		if end > i {
			if start < 0 {
				start = i
			}
			words, last = append(words, s[i:end]), end
		}
		i = next
	}
	if start < 0 {
		return "", nil
	}
	return s[start:last], words
}
