package pattern

import (
	"strconv"

	"github.com/chaperone-im/chaperone/internal/event"
)

// issuer is a range of issuer identification numbers (ISO/IEC 7812) and how long its cards' numbers are.
type issuer struct {
	low, high int // of the first six digits
	lengths   []int
}

// issuers are the ranges of the card networks, as they publish them.
var issuers = []issuer{
	{400000, 499999, []int{13, 16, 19}},         // Visa
	{510000, 559999, []int{16}},                 // Mastercard
	{222100, 272099, []int{16}},                 // Mastercard, since 2017
	{340000, 349999, []int{15}},                 // American Express
	{370000, 379999, []int{15}},                 // American Express
	{601100, 601199, []int{16, 19}},             // Discover
	{644000, 659999, []int{16, 19}},             // Discover
	{350000, 359999, []int{16, 19}},             // JCB has 3528 to 3589; the rest is nobody's, and people make test data of it
	{180000, 180099, []int{15}},                 // JCB, old
	{213100, 213199, []int{15}},                 // JCB, old
	{300000, 305999, []int{14, 16}},             // Diners Club
	{309500, 309599, []int{14, 16}},             // Diners Club
	{360000, 369999, []int{14, 16}},             // Diners Club
	{380000, 399999, []int{14, 16}},             // Diners Club
	{620000, 629999, []int{16, 17, 18, 19}},     // UnionPay
	{810000, 817199, []int{16, 17, 18, 19}},     // UnionPay
	{500000, 509999, []int{12, 13, 14, 15, 16}}, // Maestro
	{560000, 589999, []int{12, 13, 14, 15, 16}}, // Maestro
	{630000, 639999, []int{12, 13, 14, 15, 16}}, // Maestro
	{670000, 679999, []int{12, 13, 14, 15, 16}}, // Maestro
}

const (
	minCard = 12
	maxCard = 19
)

// luhn reports whether the digits carry a valid check digit (ISO/IEC 7812-1, annex B).
func luhn(digits string) bool {
	sum, double := 0, false
	for i := len(digits) - 1; i >= 0; i-- {
		if !isDigit(rune(digits[i])) {
			return false
		}
		d := int(digits[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		double = !double
	}
	return len(digits) > 1 && sum%10 == 0
}

// isCard reports whether the digits can be the number of a payment card.
func isCard(digits string) bool {
	if len(digits) < minCard || len(digits) > maxCard || !luhn(digits) {
		return false
	}
	first, err := strconv.Atoi(digits[:6])
	if err != nil {
		return false
	}
	for _, is := range issuers {
		if is.low <= first && first <= is.high {
			for _, n := range is.lengths {
				if n == len(digits) {
					return true
				}
			}
		}
	}
	return false
}

// digitGroup is a run of digits in a text.
type digitGroup struct {
	start, end int
	digits     string
}

// findCards finds card numbers: one run of digits, or runs with one separator between each two that people would group so.
func findCards(t *text) []event.Span {
	var out []event.Span
	for _, chain := range chains(t.points()) {
		for i := 0; i < len(chain); {
			n := cardAt(chain[i:])
			if n == 0 {
				i++
				continue
			}
			out = append(out, event.Span{Start: chain[i].start, End: chain[i+n-1].end})
			i += n
		}
	}
	return out
}

// cardAt returns how many groups from the first make a card number, 0 for none.
func cardAt(groups []digitGroup) int {
	digits, best := "", 0
	for n, g := range groups {
		if digits += g.digits; len(digits) > maxCard {
			break
		}
		if len(digits) >= minCard && plausible(groups[:n+1], len(digits)) && isCard(digits) {
			best = n + 1
		}
	}
	return best
}

// plausible reports whether people group card numbers like this: all in one, in fours, as their issuers print them, or evenly spaced out.
func plausible(groups []digitGroup, total int) bool {
	size := len(groups[0].digits)
	if len(groups) == 1 {
		return true
	}
	if len(groups) == 3 && size == 4 && len(groups[1].digits) == 6 { // 4-6-5 and 4-6-4
		return total == 15 || total == 14
	}
	if size > 6 && size != 8 {
		return false
	}
	for _, g := range groups[:len(groups)-1] {
		if len(g.digits) != size {
			return false
		}
	}
	last := len(groups[len(groups)-1].digits)
	return last <= size || size == 4 && last <= 7
}

// chains splits a text into chains of digit groups with one separator between each two. A group that touches a letter or another sign
// that continues numbers is left out: it is part of something longer.
func chains(points []rune) [][]digitGroup {
	var out [][]digitGroup
	var chain []digitGroup
	end := func() {
		if len(chain) > 0 {
			out = append(out, chain)
		}
		chain = nil
	}
	for i := 0; i < len(points); {
		if !isDigit(points[i]) {
			i++
			continue
		}
		start := i
		for i < len(points) && isDigit(points[i]) {
			i++
		}
		if start > 0 && isLetter(points[start-1]) || i < len(points) && isLetter(points[i]) {
			end()
			continue
		}
		if len(chain) > 0 && !(start-chain[len(chain)-1].end == 1 && isSeparator(points[start-1])) {
			end()
		}
		chain = append(chain, digitGroup{start, i, string(points[start:i])})
	}
	end()
	return out
}
