package pseudonym

import (
	"strings"
)

// several stands for a name that more than one identity has.
const several = "[name]"

// NamedWithin returns everybody whose whole name stands in a text, whatever its letters are.
func (r *Roll) NamedWithin(text string) []Identity {
	var out []Identity
	small := fold(text).text
	r.each(folded{text: small, written: small}, nil, func(n *needle, start, end int, k string) {
		for _, i := range n.meant(k) {
			out = add(out, i)
		}
	})
	return out
}

func (r *Roll) hideNames(text string, shown func(Identity) bool, own []string) string {
	f := foldText(text)
	var out strings.Builder
	done := 0
	r.each(f, own, func(n *needle, start, end int, k string) {
		if instead, ok := r.instead(n, k, shown); ok {
			from, to := f.source(start, end)
			out.WriteString(text[done:from])
			out.WriteString(instead)
			done = to
		}
	})
	if done == 0 {
		return text
	}
	out.WriteString(text[done:])
	return out.String()
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

// homes finds the names of users in the paths of home folders: /home/alice, /Users/alice, C:\Users\alice. Addresses of the web are no paths.
func homes(s string) []span {
	if !strings.ContainsAny(s, `/\`) {
		return nil
	}
	var out []span
	for i := 0; i < len(s); i++ {
		if s[i] != '/' && s[i] != '\\' {
			continue
		}
		folder, rest := component(s, i)
		if !homeFolder(s[folder.start:folder.end]) || web(s[:i]) {
			continue
		}
		user, _ := component(s, rest)
		if user.end > user.start && !shared(s[user.start:user.end]) {
			out = append(out, user)
			i = user.end - 1
		}
	}
	return out
}

// component returns the part of a path after the separators at i, and where the next separator is.
func component(s string, i int) (span, int) {
	for i < len(s) && (s[i] == '/' || s[i] == '\\') {
		i++
	}
	end := i
	for end < len(s) && s[end] != '/' && s[end] != '\\' && !strings.ContainsRune("\"'<>|\t\n\r:", rune(s[end])) {
		end++
	}
	if end == len(s) || s[end] != '/' && s[end] != '\\' { // the last one ends where a word does
		if cut := strings.IndexAny(s[i:end], " ,;)"); cut >= 0 {
			end = i + cut
		}
	}
	return span{i, end}, end
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

// web reports whether what stands before is the beginning of an address of the web.
func web(before string) bool {
	before = before[max(0, len(before)-maxAddress):]
	word := before[strings.LastIndexAny(before, " \t\n\"'<(")+1:]
	return strings.Contains(word, "://") && !strings.HasPrefix(strings.ToLower(word), "file:")
}
