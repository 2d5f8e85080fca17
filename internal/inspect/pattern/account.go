package pattern

import (
	"slices"
	"strings"
	"unicode"
)

// ibanLengths is how long an account number is by country (SWIFT IBAN registry).
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
	"CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22,
	"GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
	"KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27,
	"MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33,
	"SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// isIBAN reports whether s, letters and digits only, is an account number with the length of its country and valid check digits (ISO 13616).
func isIBAN(s string) bool {
	if len(s) < 5 || ibanLengths[s[:2]] != len(s) || !isDigit(rune(s[2])) || !isDigit(rune(s[3])) {
		return false
	}
	rest := 0
	for _, r := range s[4:] + s[:4] {
		switch {
		case isDigit(r):
			rest = (rest*10 + int(r-'0')) % 97
		case isLetter(r):
			rest = (rest*100 + int(r-'A') + 10) % 97
		default:
			return false
		}
	}
	return rest == 1
}

// findIBANs finds account numbers, in one or with a few signs between their groups.
func findIBANs(points []point) [][2]int {
	var out [][2]int
	for i := 0; i+4 < len(points); i++ {
		if !isLetter(points[i].r) || i > 0 && wordly(points[i-1].r) {
			continue
		}
		if end := ibanAt(points, i); end > 0 {
			out = append(out, [2]int{i, end})
			i = end - 1
		}
	}
	return out
}

// minLoose is how many digits an account number must have to be believed with more than one sign between its groups: else the words of a sentence
// would do.
const minLoose = 8

// ibanAt returns the place after the account number that begins at start, 0 when there is none.
func ibanAt(points []point, start int) int {
	var number [40]byte
	n, want, loose, digits, end := 0, len(number), false, 0, start
	for i, signs := start, start; i < len(points); i++ {
		r := points[i].r
		if !wordly(r) {
			continue
		}
		separator := points[signs:i]
		if n == want && len(separator) > 0 {
			break
		}
		if n == want || !isDigit(r) && !isLetter(r) || len(separator) > maxSeparator {
			return 0
		}
		loose = loose || !tight(separator)
		number[n], n = byte(r), n+1
		if isDigit(r) {
			digits++
		}
		if n == 2 {
			want = ibanLengths[string(number[:2])]
		}
		if n >= 2 && want == 0 || checkDigit(n) && !isDigit(r) {
			return 0
		}
		signs, end = i+1, i+1
	}
	if n == want && (!loose || digits >= minLoose) && isIBAN(string(number[:n])) {
		return end
	}
	return 0
}

// checkDigit reports whether the n-th sign of an IBAN is one of its two check digits.
func checkDigit(n int) bool { return n == 3 || n == 4 }

// isSSN reports whether nine digits can be a US social security number: no area 000, 666 or 900 and above, no group 00, no serial 0000
// (42 U.S.C. 405; SSA POMS RM 10201.035). Those that were printed in advertisements are no one's.
func isSSN(digits string) bool {
	if len(digits) != 9 || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	area, group, serial := digits[:3], digits[3:5], digits[5:]
	return area != "000" && area != "666" && area < "900" && group != "00" && serial != "0000" &&
		!slices.Contains([]string{"078051120", "219099999"}, digits)
}

// ssnContext is how far before nine plain digits a word must stand that says what they are.
const ssnContext = 40

// findSSNs finds social security numbers: 3-2-4 digits with the same spaces or hyphens between them, or nine in one after a word that says so.
func findSSNs(points []point) [][2]int {
	var out [][2]int
	for _, chain := range chains(points) {
		for i, g := range chain {
			if n := ssnAt(points, chain[i:]); n > 0 && (i == 0 || len(chain[i-1].digits) > 4 || !tight(g.before)) {
				out = append(out, [2]int{g.start, chain[i+n-1].end})
			}
		}
	}
	return out
}

func ssnAt(points []point, groups []digitGroup) int {
	first := groups[0]
	if len(first.digits) == 9 && !first.touched && isSSN(first.digits) && namesSSN(points, first.start) {
		return 1
	}
	if len(groups) < 3 || len(first.digits) != 3 || len(groups[1].digits) != 2 || len(groups[2].digits) != 4 || first.touched || groups[2].touched {
		return 0
	}
	separator := groups[1].before
	if !same(separator, groups[2].before) || !spaced(separator) && !namesSSN(points, first.start) {
		return 0
	}
	if len(groups) > 3 && same(separator, groups[3].before) {
		return 0 // it goes on: not a number of this kind
	}
	if !isSSN(first.digits + groups[1].digits + groups[2].digits) {
		return 0
	}
	return 3
}

// namesSSN reports whether a word says that a social security number follows.
func namesSSN(points []point, at int) bool {
	var before strings.Builder
	for _, p := range points[max(0, at-ssnContext):at] {
		before.WriteRune(p.r)
	}
	for _, word := range []string{"SSN", "SOCIAL SECURITY", "SOC SEC"} {
		if strings.Contains(before.String(), word) {
			return true
		}
	}
	return false
}

// spaced reports whether a separator is of spaces and hyphens alone: dots and slashes are of telephone numbers and dates.
func spaced(separator []point) bool {
	for _, p := range separator {
		if !unicode.IsSpace(p.r) && !unicode.Is(unicode.Pd, p.r) {
			return false
		}
	}
	return len(separator) > 0
}
