package pseudonym

import (
	"encoding/hex"
	"slices"
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
	// source as it was written, %XX decoded: AliceArcher are two words, and what is small is told from it
	written string
	from    []int // where in written each byte of text is from; nil: the bytes correspond
	look    bool  // it is folded by what it looks like
}

// begins returns where in the text as it was written a byte of the folded text is from.
func (f folded) begins(i int) int {
	if f.from == nil {
		return i
	}
	return f.from[i]
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

// foldText folds a text in which names are looked for: what stands in it percent-encoded, as in addresses of the web, is decoded first.
func foldText(s string) folded {
	decoded, at := unescape(s)
	f := asMeant(decoded)
	if at == nil {
		return f
	}
	if f.at == nil {
		f.at = at
		return f
	}
	f.from = slices.Clone(f.at)
	for i, where := range f.at {
		f.at[i] = at[where]
	}
	return f
}

// maxEscapes bounds how often over something may be percent-encoded.
const maxEscapes = 3

// unescape decodes %XX, also what was encoded again, and returns where each byte is from, and the source's length; nil: nothing was encoded.
func unescape(s string) (string, []int) {
	var at []int
	for range maxEscapes {
		if !strings.Contains(s, "%") {
			break
		}
		out, where, found := make([]byte, 0, len(s)), make([]int, 0, len(s)+1), false
		for i := 0; i < len(s); i++ {
			where = append(where, i)
			if s[i] == '%' && i+2 < len(s) {
				if b, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
					out, i, found = append(out, b[0]), i+2, true
					continue
				}
			}
			out = append(out, s[i])
		}
		if !found {
			break
		}
		where = append(where, len(s))
		for i, w := range where {
			if at != nil {
				where[i] = at[w]
			}
		}
		s, at = string(out), where
	}
	return s, at
}

func asMeant(s string) folded {
	if plain(s) {
		return folded{text: strings.ToLower(s), written: s}
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
	at = append(at, len(s))
	return folded{text: b.String(), at: at, written: s, from: at}
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
	s := asMeant(name).text
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
