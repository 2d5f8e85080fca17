package fold

import "strings"

// minLeet is how short a word with digits for letters may be: shorter ones are names of things ("m3", "1on1", "t0").
const minLeet = 4

// Leet reports whether the digits of a folded word may stand for letters, as in "wh4ts4pp": they are no more than its letters are.
func Leet[T string | []byte](word T) bool {
	letters, digits := 0, 0
	for i := range len(word) {
		switch c := word[i]; {
		case c == '0' || c == '1' || c == '3' || c == '4' || c == '5' || c == '7':
			digits++
		case 'a' <= c && c <= 'z':
			letters++
		default:
			return false
		}
	}
	return digits > 0 && digits <= letters && digits+letters >= minLeet
}

// Unleet returns the words that a word with digits for letters may stand for: a one looks like an l and like an i.
func Unleet(word string) []string {
	letters := func(one byte) string {
		return strings.Map(func(r rune) rune {
			switch r {
			case '0':
				return 'o'
			case '1':
				return rune(one)
			case '3':
				return 'e'
			case '4':
				return 'a'
			case '5':
				return 's'
			case '7':
				return 't'
			}
			return r
		}, word)
	}
	if !strings.Contains(word, "1") {
		return []string{letters('l')}
	}
	return []string{letters('l'), letters('i')}
}
