package policy

import (
	"net/netip"
	"strconv"
	"strings"
)

// glob is a pattern in which * stands for any characters, case aside.
type glob struct {
	any   bool     // the pattern is * alone
	parts []string // what stands between the stars, in lower case
}

func newGlob(s string) glob {
	if strings.Trim(s, "*") == "" {
		return glob{any: true}
	}
	return glob{parts: strings.Split(strings.ToLower(s), "*")}
}

func newGlobs(list []string) []glob {
	var out []glob
	for _, s := range list {
		out = append(out, newGlob(s))
	}
	return out
}

func (g glob) match(s string) bool {
	if g.any {
		return true
	}
	s = strings.ToLower(s)
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(g.parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range g.parts[1 : len(g.parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

func matchAny(globs []glob, s string) bool {
	for _, g := range globs {
		if g.match(s) {
			return true
		}
	}
	return false
}

// nameSet is a set of host names and of suffixes (*.example.com).
type nameSet struct {
	any      bool
	exact    map[string]struct{}
	suffixes map[string]struct{}
}

func newNameSet(list []string) *nameSet {
	n := &nameSet{exact: map[string]struct{}{}, suffixes: map[string]struct{}{}}
	for _, s := range list {
		s = hostName(s)
		if s == "*" {
			n.any = true
		} else if rest, ok := strings.CutPrefix(s, "*."); ok {
			n.suffixes[rest] = struct{}{}
		} else {
			n.exact[s] = struct{}{}
		}
	}
	return n
}

// has expects a name as hostName makes it.
func (n *nameSet) has(name string) bool {
	if n.any {
		return name != ""
	}
	if _, ok := n.exact[name]; ok {
		return true
	}
	if len(n.suffixes) == 0 {
		return false
	}
	for {
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			return false
		}
		name = name[dot+1:]
		if _, ok := n.suffixes[name]; ok {
			return true
		}
	}
}

// hostName brings a host name into the form in which names are compared.
func hostName(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".") }

// portRange is a range of ports, both ends in it.
type portRange struct{ low, high uint16 }

func newPortRange(s string) (portRange, bool) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	l, err1 := strconv.ParseUint(low, 10, 16)
	h, err2 := strconv.ParseUint(high, 10, 16)
	return portRange{uint16(l), uint16(h)}, err1 == nil && err2 == nil && l <= h
}

func newPrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}
