package pseudonym

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// octets are how many numbers an address of IPv4 has.
const octets = 4

// numbers finds addresses that are known in the forms that programs read and people write so that others do not: 0x0a000009, 167772169,
// 10[.]0[.]0[.]9, 10 dot 0 dot 0 dot 9, 0x0a.0.0.9, and the names by which the domain name system asks for the name of an address.
func (r *Roll) numbers(text string, found func(n *needle, start, end int, k string)) {
	if len(r.addresses) == 0 || !strings.ContainsAny(text, "0123456789") {
		return
	}
	var run []span
	for i := 0; i < len(text); {
		end, next := token(text, i)
		if end == i {
			i = next
			continue
		}
		t := span{i, end}
		i = next
		if text[t.start:t.end] == "dot" {
			continue
		}
		if !isNumber(text[t.start:t.end]) {
			run = r.reversed(text, run, t, found)
			continue
		}
		if a, ok := whole(text[t.start:t.end]); ok {
			r.known(a, t.start, t.end, found)
		}
		if len(run) > 0 && !dots(text[run[len(run)-1].end:t.start]) {
			run = run[:0]
		}
		if run = append(run, t); len(run) >= octets {
			r.dotted(text, run[len(run)-octets:], found)
		}
		if len(run) > maxNibbles {
			run = run[:copy(run, run[1:])]
		}
	}
}

func (r *Roll) known(a netip.Addr, start, end int, found func(n *needle, start, end int, k string)) bool {
	k := r.addresses[a.Unmap()]
	n := r.needle[k]
	if n == nil || !n.every {
		return false
	}
	found(n, start, end, k)
	return true
}

// whole returns the address that one number is: hexadecimal with eight digits, octal, or so big that it is no count.
func whole(s string) (netip.Addr, bool) {
	const least = 1 << 24
	v, ok := number(s, 32)
	if !ok || v < least {
		return netip.Addr{}, false
	}
	var b [octets]byte
	binary.BigEndian.PutUint32(b[:], uint32(v))
	return netip.AddrFrom4(b), true
}

// isNumber reports whether a word is a number as programs write it: of digits, with 0x before them or not hexadecimal.
func isNumber(s string) bool {
	return s != "" && '0' <= s[0] && s[0] <= '9' && strings.Trim(strings.TrimPrefix(s, "0x"), "0123456789abcdef") == ""
}

// number reads a number as programs do: with 0x before it a hexadecimal one, with 0 an octal one.
func number(s string, bits int) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
	case s[0] == '0' && len(s) > 1:
		base = 8
	}
	v, err := strconv.ParseUint(s, base, bits)
	return v, err == nil
}

// dots reports whether what stands between two numbers is a dot, however it is written.
func dots(gap string) bool {
	const most = 12
	return len(gap) <= most && strings.Count(gap, ".")+strings.Count(gap, "dot") == 1 && strings.Trim(gap, " .[](){}<>dot") == ""
}

// dotted finds the address that four numbers are: decimal, also with zeros before, or octal and hexadecimal.
func (r *Roll) dotted(text string, run []span, found func(n *needle, start, end int, k string)) {
	for _, plainly := range []bool{true, false} {
		var b [octets]byte
		good := true
		for i, s := range run {
			digits := text[s.start:s.end]
			if plainly && !strings.HasPrefix(digits, "0x") {
				if digits = strings.TrimLeft(digits, "0"); digits == "" {
					digits = "0"
				}
			}
			v, ok := number(digits, 8)
			b[i], good = byte(v), good && ok
		}
		if good && r.known(netip.AddrFrom4(b), run[0].start, run[octets-1].end, found) {
			return
		}
	}
}

// maxNibbles are how many digits an address of IPv6 has.
const maxNibbles = 32

// reversed finds the address whose numbers stand, the last first, before in-addr.arpa or ip6.arpa (RFC 1035, section 3.5; RFC 3596, section 2.5).
// Words end a row of numbers.
func (r *Roll) reversed(text string, run []span, word span, found func(n *needle, start, end int, k string)) []span {
	rest := text[word.start:]
	if len(run) == 0 || text[run[len(run)-1].end:word.start] != "." {
		return run[:0]
	}
	switch {
	case strings.HasPrefix(rest, "in-addr.arpa") && len(run) >= octets:
		run = run[len(run)-octets:]
		var b [octets]byte
		for i, s := range run {
			v, ok := number(text[s.start:s.end], 8)
			if !ok {
				return run[:0]
			}
			b[octets-1-i] = byte(v)
		}
		r.known(netip.AddrFrom4(b), run[0].start, run[octets-1].end, found)
	case strings.HasPrefix(rest, "ip6.arpa"):
		r.nibbles(text, word.start-1, found)
	}
	return run[:0]
}

// nibbles finds the address of IPv6 whose digits end at end.
func (r *Roll) nibbles(text string, end int, found func(n *needle, start, end int, k string)) {
	start := end - 2*maxNibbles + 1
	if start < 0 {
		return
	}
	var b [16]byte
	for i := range maxNibbles {
		v, err := strconv.ParseUint(text[start+2*i:start+2*i+1], 16, 8)
		if err != nil || i > 0 && text[start+2*i-1] != '.' {
			return
		}
		at := maxNibbles - 1 - i
		b[at/2] |= byte(v) << (4 * (1 - at%2))
	}
	r.known(netip.AddrFrom16(b), start, end, found)
}
