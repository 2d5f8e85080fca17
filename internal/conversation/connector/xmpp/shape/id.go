package shape

import (
	"strings"
	"unicode"
)

const (
	maxIDWords   = 2  // "roster_get"
	maxIDLetters = 16 // of all its words
	maxIDDigits  = 11 // of numbers that are no time
	longNumber   = 12 // digits in a row that chance does not make among letters
	longRun      = 16 // letters in a row that chance does not make among digits
)

// ID reports whether a value is an id as machines write them: counters, times, hexadecimal and random text, with a label of at most two short
// words. What reads like a sentence in one word, or like a number that means something, is words. It cannot know what two people agree on.
func ID(v string) bool {
	if !Token(v) {
		return false
	}
	if v = withoutUUID(v); random(v) {
		return true
	}
	words, letters, digits := 0, 0, 0
	for piece := range strings.FieldsFuncSeq(v, separates) {
		switch {
		case strings.Trim(piece, "0123456789") == "":
			if !(len(piece) <= 19 && len(piece) >= 10 && piece[0] == '1' && piece[1] >= '6') { // seconds and less since 1970
				digits += len(piece)
			}
		case strings.Trim(piece, "0123456789abcdef") == "", strings.Trim(piece, "0123456789ABCDEF") == "":
		default:
			if n := longestNumber(piece); n >= longNumber {
				digits += n
			}
			w, l := wordsIn(piece)
			words, letters = words+w, letters+l
		}
	}
	return words <= maxIDWords && letters <= maxIDLetters && digits <= maxIDDigits
}

// longestNumber returns the most digits in a row.
func longestNumber(v string) int {
	longest, run := 0, 0
	for _, r := range v {
		if run++; r < '0' || r > '9' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

func separates(r rune) bool {
	return r < unicode.MaxASCII && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// withoutUUID cuts out the first UUID (RFC 9562, section 4).
func withoutUUID(v string) string {
	const length = 36
	for i := 0; i+length <= len(v); i++ {
		if v[i+8] == '-' && v[i+13] == '-' && v[i+18] == '-' && v[i+23] == '-' && strings.Trim(strings.ReplaceAll(v[i:i+length], "-", ""), "0123456789abcdefABCDEF") == "" {
			return v[:i] + v[i+length:]
		}
	}
	return v
}

// random reports whether a value changes between capitals, small letters and digits more often than words in one do, even with capitals at
// their beginnings, or has capitals within and a heap of consonants.
func random(v string) bool {
	changes, all, capitals, consonants, heap, number := 0, 0, 0, 0, 0, 0
	var last rune
	for _, r := range v {
		if number++; !unicode.IsDigit(r) {
			number = 0
		}
		switch {
		case number >= longNumber:
			return false
		case r > unicode.MaxASCII:
			return false
		case separates(r):
			continue
		case last != 0 && unicode.IsDigit(r) != unicode.IsDigit(last), unicode.IsUpper(r) && unicode.IsLower(last), unicode.IsLower(r) && capitals > 1:
			changes++
		}
		if capitals++; !unicode.IsUpper(r) {
			capitals = 0
		}
		if consonants++; strings.ContainsRune("aeiouyAEIOUY", r) || unicode.IsDigit(r) {
			consonants = 0
		}
		heap = max(heap, consonants)
		all, last = all+1, r
	}
	return all >= 8 && (10*changes >= 3*all || heap >= 5 && changes >= 2)
}

// wordsIn counts the words of a piece without punctuation, and their letters. One letter is no word, and few letters in a row among
// digits are none either.
func wordsIn(piece string) (words, letters int) {
	longest, run, numbers := 0, 0, false
	var last rune
	for _, r := range piece {
		switch {
		case r > unicode.MaxASCII:
			return maxIDWords + 1, 0
		case !unicode.IsLetter(r):
			numbers, run = true, 0
			continue
		case run == 0 || unicode.IsUpper(r) && unicode.IsLower(last):
			words++
		}
		run, last, letters = run+1, r, letters+1
		longest = max(longest, run)
	}
	if letters <= 1 || numbers && longest < longRun {
		return 0, 0
	}
	return words, letters
}
