package pattern

import "strconv"

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
	minCard      = 12
	minLooseCard = 14 // with more than a space, hyphen or dot between groups: three ports in a list are no Maestro card
	maxCard      = 19
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

// digitGroup is a run of digits in a text, and the signs between it and the group before it in its chain.
type digitGroup struct {
	start, end int
	digits     string
	before     []point
	touched    bool // a letter stands beside it
}

// findCards finds card numbers: one run of digits, or runs that people would group so with a few signs between each two.
func findCards(points []point) [][2]int {
	var out [][2]int
	for _, chain := range chains(points) {
		for i := 0; i < len(chain); {
			n := cardAt(chain[i:], len(chain))
			if n == 0 {
				i++
				continue
			}
			out = append(out, [2]int{chain[i].start, chain[i+n-1].end})
			i += n
		}
	}
	return out
}

// cardAt returns how many groups from the first make a card number, 0 for none. The chain that they are of has so many.
func cardAt(groups []digitGroup, chain int) int {
	var digits [2*maxCard + 2]byte
	total, best, size := 0, 0, len(groups[0].digits)
	for n, g := range groups {
		if n >= 2 && len(groups[n-1].digits) != size && !(n == 2 && size == 4 && len(groups[1].digits) == 6) {
			break // no layout goes on after such a group
		}
		if total += copy(digits[total:], g.digits); total > maxCard {
			break
		}
		if total >= minCard && plausible(groups[:n+1], total, n+1 == chain) && isCard(string(digits[:total])) {
			best = n + 1
		}
	}
	return best
}

// plausible reports whether people group card numbers like this: all in one, in fours, as their issuers print them, or evenly spaced out.
func plausible(groups []digitGroup, total int, whole bool) bool {
	size := len(groups[0].digits)
	if len(groups) == 1 {
		return true
	}
	if !allTight(groups) && (total < minLooseCard || size < 4 && !whole) {
		return false
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

func allTight(groups []digitGroup) bool {
	for _, g := range groups[1:] {
		if !tight(g.before) {
			return false
		}
	}
	return true
}

// chains splits a text into chains of digit groups with at most maxSeparator signs between each two. A letter ends a chain.
func chains(points []point) [][]digitGroup {
	var out [][]digitGroup
	var chain []digitGroup
	for i := 0; i < len(points); {
		if !isDigit(points[i].r) {
			i++
			continue
		}
		g := digitGroup{start: i}
		var digits [maxCard + 1]byte
		n := 0
		for ; i < len(points) && isDigit(points[i].r); i++ {
			if n < len(digits) {
				digits[n], n = byte(points[i].r), n+1
			}
		}
		g.end, g.digits = i, string(digits[:n])
		g.touched = g.start > 0 && wordly(points[g.start-1].r) || i < len(points) && wordly(points[i].r)
		if len(chain) > 0 && !separated(points[chain[len(chain)-1].end:g.start]) {
			out, chain = append(out, chain), nil
		}
		if len(chain) > 0 {
			g.before = points[chain[len(chain)-1].end:g.start]
		}
		chain = append(chain, g)
	}
	if len(chain) > 0 {
		out = append(out, chain)
	}
	return out
}

// separated reports whether these characters can stand between two groups of digits.
func separated(between []point) bool {
	if len(between) > maxSeparator {
		return false
	}
	for _, p := range between {
		if wordly(p.r) {
			return false
		}
	}
	return true
}
