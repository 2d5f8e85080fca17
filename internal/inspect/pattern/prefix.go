package pattern

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Bounds of the prefixes of an expression.
const (
	maxPrefixes    = 64
	minPrefix      = 2
	maxPrefixBytes = 16
)

// prefixesOf returns texts one of which every match of the expression begins with, or nil when there are none of use. A text that has none
// of them has no match, and need not be searched.
func prefixesOf(expression string) []string {
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	out, _ := prefixes(tree.Simplify())
	for _, p := range out {
		if len(p) < minPrefix {
			return nil
		}
	}
	return out
}

// prefixes returns the prefixes of a node, and whether they are all of what it matches, so that what follows may go on.
func prefixes(re *syntax.Regexp) (out []string, whole bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []string{""}, true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return []string{""}, false
		}
		return []string{string(re.Rune)}, true
	case syntax.OpCharClass:
		return classPrefixes(re.Rune)
	case syntax.OpCapture:
		return prefixes(re.Sub[0])
	case syntax.OpPlus:
		out, _ = prefixes(re.Sub[0])
		return out, false
	case syntax.OpAlternate:
		return alternatePrefixes(re.Sub)
	case syntax.OpConcat:
		return concatPrefixes(re.Sub)
	}
	return []string{""}, false
}

func classPrefixes(ranges []rune) (out []string, whole bool) {
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if out = append(out, string(utf8.AppendRune(nil, r))); len(out) > 8 {
				return []string{""}, false
			}
		}
	}
	return out, true
}

func alternatePrefixes(subs []*syntax.Regexp) (out []string, whole bool) {
	whole = true
	for _, sub := range subs {
		p, w := prefixes(sub)
		out, whole = append(out, p...), whole && w
		if len(out) > maxPrefixes {
			return []string{""}, false
		}
	}
	return out, whole
}

func concatPrefixes(subs []*syntax.Regexp) (out []string, whole bool) {
	out = []string{""}
	for _, sub := range subs {
		more, w := prefixes(sub)
		if len(out)*len(more) > maxPrefixes || len(out[0]) > maxPrefixBytes {
			return out, false
		}
		var next []string
		for _, a := range out {
			for _, b := range more {
				next = append(next, a+b)
			}
		}
		if out = next; !w {
			return out, false
		}
	}
	return out, true
}

// mayMatch reports whether a text has one of the prefixes.
func mayMatch(text string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.Contains(text, p) {
			return true
		}
	}
	return len(prefixes) == 0
}
