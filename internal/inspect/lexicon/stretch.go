package lexicon

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Letters are repeated for emphasis and to hide ("whaaatsapp", "w w h a t s a p p"). Hardly a word has the same letter three times in a row, so a
// run of minRun letters stands for one letter or for as many as it has; a run of two is what it says ("offer" is not "ofer"). In a word that
// was spelled out letter by letter, two are a repeat already. Digits are never repeats.
const minRun = 3

// hasRun reports whether one letter stands n times in a row.
func hasRun(b []byte, n int) bool {
	run, before := 0, rune(-1)
	for len(b) > 0 {
		r, size := rune(b[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b)
		}
		if r != before {
			run, before = 0, r
		}
		if run++; run >= n && unicode.IsLetter(r) {
			return true
		}
		b = b[size:]
	}
	return false
}

// squeeze leaves one of each run of letters.
func squeeze(s string) string {
	var b strings.Builder
	before := rune(-1)
	for _, r := range s {
		if r != before || !unicode.IsLetter(r) {
			b.WriteRune(r)
		}
		before = r
	}
	return b.String()
}

// fits reports whether a word may be meant by a stretched text: run by run, at most as many letters, and exactly as many where the text is not
// stretched. When part is true the word need only be the beginning of the text.
func fits(text, word string, least int, part bool) bool {
	for word != "" {
		r, n, rest := firstRun(text)
		w, m, more := firstRun(word)
		if r != w || m > n || m < n && n < least && !(part && more == "") {
			return false
		}
		text, word = rest, more
	}
	return part || text == ""
}

// firstRun returns the letter at the beginning, how often it stands there, and what follows. What is no letter stands alone.
func firstRun(s string) (r rune, n int, rest string) {
	r, size := utf8.DecodeRuneInString(s)
	n, rest = 1, s[size:]
	for unicode.IsLetter(r) && rest != "" {
		next, size := utf8.DecodeRuneInString(rest)
		if next != r {
			break
		}
		n, rest = n+1, rest[size:]
	}
	return r, n, rest
}

// least is the shortest run of a word that may stand for fewer letters.
func (w word) least() int {
	if w.spelled {
		return 2
	}
	return minRun
}
