package pseudonym

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// match is a name that was found in a folded text.
type match struct {
	needle     *needle
	start, end int
	key        string
}

// each calls found for each name in a text, with where it stands in the folded text.
func (r *Roll) each(f folded, own []string, found func(n *needle, start, end int, k string)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := 0; i < len(f.text); {
		end, next := token(f.text, i)
		if end == i {
			i = next
			continue
		}
		m := r.at(f, i, end, own)
		if m.needle == nil {
			i = end
			continue
		}
		found(m.needle, m.start, m.end, m.key)
		i = m.end
	}
}

// at returns the first name that begins in the word from i to end: with the word, or else with a part of it, as in MrArcher.
func (r *Roll) at(f folded, i, end int, own []string) match {
	if m := r.longest(f, i, token, own); m.needle != nil {
		return m
	}
	if m := r.address(f, i); m.needle != nil {
		return m
	}
	part := f.part
	if cut, _ := part(f.text, i); cut < end {
		for start := i; start < end; start, _ = part(f.text, start) {
			if m := r.longest(f, start, part, own); m.needle != nil {
				return m
			}
		}
	}
	return r.plural(f, i, end, own)
}

// longest returns the longest name that begins with the word at i. Words are ended by next. Between the words of a name may be what stands
// for a space in names of files and in addresses.
func (r *Roll) longest(f folded, i int, next func(string, int) (int, int), own []string) match {
	var found match
	end, _ := next(f.text, i)
	joined := f.text[i:end]
	for words := r.begins[joined]; words > 0; words-- {
		for _, k := range []string{f.text[i:end], joined} {
			if n, k := r.lookUp(k, f.look); n != nil && r.counts(n, k, f, i, own) {
				found = match{n, i, end, k}
				break
			}
		}
		start := end
		for start < len(f.text) {
			if e, _ := next(f.text, start); e > start {
				break
			}
			_, start = next(f.text, start)
		}
		if words == 1 || start >= len(f.text) {
			break
		}
		if gap := f.text[end:start]; len(gap) > 1 || !strings.Contains(" +_-.", gap) {
			joined += gap // as it stands
		} else {
			joined += " "
		}
		end, _ = next(f.text, start)
		joined += f.text[start:end]
	}
	return found
}

// maxPart bounds how far the end of a part of a word is looked for.
const maxPart = 256

// part returns the end of the part of a word that begins at i, as token does of a word: a capital after a small letter begins one, and so do
// a capital before a small letter, and the digits at the end of one that begins with a capital.
func (f folded) part(s string, i int) (end, next int) {
	s = s[:min(len(s), i+maxPart)]
	end, next = token(s, i)
	if end == i {
		return end, next
	}
	first, _ := utf8.DecodeRuneInString(f.written[f.begins(i):])
	capital := unicode.IsUpper(first)
	for j, r := range s[i:end] {
		if at := i + j; j > 0 && (f.hump(at) || capital && unicode.IsDigit(r) && strings.IndexFunc(s[at:end], notDigit) < 0 && strings.IndexFunc(s[i:at], unicode.IsDigit) < 0) {
			return at, at
		}
	}
	return end, next
}

func notDigit(r rune) bool { return !unicode.IsDigit(r) }

// hump reports whether a capital at i of the folded text begins a word, as the text was written.
func (f folded) hump(i int) bool {
	at := f.begins(i)
	if at == 0 || at == f.begins(i-1) {
		return false
	}
	r, n := utf8.DecodeRuneInString(f.written[at:])
	before, _ := utf8.DecodeLastRuneInString(f.written[:at])
	after, _ := utf8.DecodeRuneInString(f.written[at+n:])
	return unicode.IsUpper(r) && (!unicode.IsUpper(before) || unicode.IsLower(after))
}

// address returns the address at i when it is not written as it is kept: with zeros before its numbers.
func (r *Roll) address(f folded, i int) match {
	const most = 64
	rest := f.text[i:min(len(f.text), i+most)]
	length := strings.IndexFunc(rest, func(c rune) bool { return !strings.ContainsRune("0123456789abcdef:.", c) })
	if length < 0 {
		length = len(rest)
	}
	run := rest[:length]
	if !strings.ContainsAny(run, ".:") {
		return match{}
	}
	if dot, colon := strings.IndexByte(run, '.'), strings.IndexByte(run, ':'); dot > 0 && colon > dot {
		run = run[:colon] // a port
	}
	run = strings.TrimRight(run, ".:")
	written := run
	if parts := strings.Split(run, "."); len(parts) == 4 {
		for j, p := range parts {
			if parts[j] = strings.TrimLeft(p, "0"); parts[j] == "" && p != "" {
				parts[j] = "0"
			}
		}
		written = strings.Join(parts, ".")
	}
	a, err := netip.ParseAddr(written)
	if err != nil {
		return match{}
	}
	k := r.addresses[a.Unmap()]
	if n := r.needle[k]; n != nil && n.every {
		return match{n, i, i + len(run), k}
	}
	return match{}
}

// plural returns the name whose plural a word is: the Archers.
func (r *Roll) plural(f folded, i, end int, own []string) match {
	k, ok := strings.CutSuffix(f.text[i:end], "s")
	if !ok {
		return match{}
	}
	if n, k := r.lookUp(k, f.look); n != nil && len(n.words) > 0 && r.counts(n, k, f, i, own) {
		return match{n, i, end, k}
	}
	return match{}
}

// counts reports whether a name is to be taken for one here. One word of a name for display is one where it is written like a name, or is no
// word of every day.
func (r *Roll) counts(n *needle, k string, f folded, i int, own []string) bool {
	if n.every || n.small {
		return true
	}
	for _, o := range own {
		if o == k {
			return true
		}
	}
	if len(n.words) == 0 {
		return false
	}
	first, _ := utf8.DecodeRuneInString(f.written[f.begins(i):])
	return unicode.IsUpper(first) || unicode.IsTitle(first) || !unicode.IsLower(first)
}
