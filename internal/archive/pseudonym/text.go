package pseudonym

import (
	"cmp"
	"slices"
	"strings"
)

// several stands for a name that more than one identity has.
const several = "[name]"

// NamedWithin returns everybody whose whole name stands in a text, whatever its letters are.
func (r *Roll) NamedWithin(text string) []Identity {
	var out []Identity
	small := asMeant(text).text
	r.each(folded{text: small, written: small}, nil, func(n *needle, start, end int, k string) {
		for _, i := range n.meant(k) {
			out = add(out, i)
		}
	})
	return out
}

// hidden is a part of a text that names somebody, and what stands there instead.
type hidden struct {
	span
	instead string
}

func (r *Roll) hideNames(text string, shown func(Identity) bool, own []string) string {
	var names []hidden
	add := func(n *needle, from, to int, k string) {
		if instead, ok := r.instead(n, k, shown); ok {
			names = append(names, hidden{span{from, to}, instead})
		}
	}
	f := foldText(text)
	r.each(f, own, func(n *needle, start, end int, k string) {
		from, to := f.source(start, end)
		add(n, from, to, k)
	})
	r.disguised(text, f, own, add)
	if len(names) == 0 {
		return text
	}
	var out strings.Builder
	done := 0
	for _, n := range apart(names) {
		out.WriteString(text[done:n.start])
		out.WriteString(n.instead)
		done = n.end
	}
	out.WriteString(text[done:])
	return out.String()
}

// apart sorts what is hidden by its place and leaves one of those that overlap: it covers all of them, and the longest says what stands there.
func apart(names []hidden) []hidden {
	slices.SortStableFunc(names, func(a, b hidden) int { return cmp.Or(a.start-b.start, b.end-a.end) })
	out, longest := names[:1], names[0].end-names[0].start
	for _, n := range names[1:] {
		last := &out[len(out)-1]
		if n.start >= last.end {
			out, longest = append(out, n), n.end-n.start
			continue
		}
		if n.end-n.start > longest {
			last.instead, longest = n.instead, n.end-n.start
		}
		last.end = max(last.end, n.end)
	}
	return out
}

// instead returns what stands for a name, and whether anything does.
func (r *Roll) instead(n *needle, k string, shown func(Identity) bool) (string, bool) {
	list := n.meant(k)
	if len(list) == 0 {
		list = n.words
	}
	for _, i := range list {
		if shown(i) {
			return "", false
		}
	}
	if len(list) == 1 {
		return r.pseudonym(list[0]), true
	}
	return several, true
}

// Own returns a name in the form that Hide takes as own.
func Own(name string) string { k, _ := key(name); return k }

// span is a part of a text.
type span struct{ start, end int }

// homes finds the names of users in the paths of home folders: /home/alice, /Users/alice, C:\Users\alice, however they are encoded. Addresses
// of the web are no paths; one that is encoded within an address is.
func homes(s string) []span {
	if !strings.ContainsAny(s, `/\%／＼`) {
		return nil
	}
	var out []span
	f := foldText(s)
	for i := 0; i < len(f.text); i++ {
		if f.text[i] != '/' && f.text[i] != '\\' {
			continue
		}
		folder, rest := f.component(s, i)
		if !homeFolder(f.text[folder.start:folder.end]) || f.web(s, i) {
			continue
		}
		user, _ := f.component(s, rest)
		if user.end > user.start && !shared(f.text[user.start:user.end]) {
			from, to := f.source(user.start, user.end)
			out = append(out, span{from, to})
			i = user.end - 1
		}
	}
	return out
}

// component returns the part of a path after the separators at i, and where the next separator is.
func (f folded) component(source string, i int) (span, int) {
	s := f.text
	for i < len(s) && (s[i] == '/' || s[i] == '\\') {
		i++
	}
	end := i
	for end < len(s) && s[end] != '/' && s[end] != '\\' && !strings.ContainsRune("\"'<>|:", rune(s[end])) && !(s[end] == ' ' && f.breaks(end)) {
		end++
	}
	if end == len(s) || s[end] != '/' && s[end] != '\\' { // the last one ends where a word does
		for cut := i; cut < end; cut++ {
			if strings.IndexByte(" ,;)", s[cut]) >= 0 && !f.encoded(source, cut) {
				end = cut
			}
		}
	}
	return span{i, end}, end
}

// breaks reports whether a space was one that ends a line or a cell.
func (f folded) breaks(i int) bool {
	return strings.ContainsRune("\t\n\r", rune(f.written[f.begins(i)]))
}

func homeFolder(s string) bool {
	return strings.EqualFold(s, "home") || strings.EqualFold(s, "users") || strings.EqualFold(s, "documents and settings")
}

// shared reports whether a folder beside those of users is nobody's.
func shared(s string) bool {
	switch strings.ToLower(s) {
	case "public", "shared", "default", "default user", "all users", "lost+found", ".", "..":
		return true
	}
	return false
}

// maxAddress bounds how far back an address of the web is taken to have begun.
const maxAddress = 2048

// web reports whether the separator at i stands in the path of an address of the web, and not in what is asked for or encoded within one.
func (f folded) web(source string, i int) bool {
	before := f.text[max(0, i-maxAddress):i]
	word := before[strings.LastIndexAny(before, " \"'<(")+1:]
	scheme := strings.LastIndex(word, "://")
	if scheme < 0 || f.text[i] == '\\' || strings.ContainsAny(word[scheme:], "?#") || strings.HasSuffix(word[:scheme], "file") && !strings.HasSuffix(word[:scheme], "profile") {
		return false
	}
	return !f.encoded(source, i) || f.encoded(source, i-len(word)+scheme+1)
}

// encoded reports whether the byte at i is percent-encoded in the source.
func (f folded) encoded(source string, i int) bool {
	from, to := f.source(i, i+1)
	return to > from+1 && source[from] == '%'
}
