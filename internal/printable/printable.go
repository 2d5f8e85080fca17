// Package printable makes text of others safe to show: what would steer a terminal, change how a page reads or not be seen at all becomes
// visible, and nothing is left out. The console and the command line clean what they show here, and nowhere else.
package printable

import (
	"fmt"
	"io"
	"strings"
)

// Text makes control characters and characters that turn the direction of text around (Unicode UAX 9, explicit formatting), by which
// "gpj.exe" is made to look like "exe.jpg", visible. Line ends and tabs stay, for pages and texts of several lines.
func Text(s string) string { return clean(s, hidden) }

// Line is Text for one line of a terminal or cell of a table: line ends and tabs become visible too, and so do characters that are not seen
// at all.
func Line(s string) string {
	return clean(s, func(r rune) bool { return hidden(r) || r == '\n' || r == '\t' || r == '\r' || unseen(r) })
}

// Writer makes a writer of tables and words out of one to a terminal: Text of each write, which must not end inside a character, as those of
// fmt never do.
func Writer(w io.Writer) io.Writer { return writer{w} }

type writer struct{ w io.Writer }

func (p writer) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.w, Text(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func clean(s string, hides func(rune) bool) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, hides) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hides(r):
			b.WriteRune(r)
		case r < 0x20:
			b.WriteRune(0x2400 + r) // its picture
		default:
			fmt.Fprintf(&b, "[U+%04X]", r)
		}
	}
	return b.String()
}

func hidden(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// unseen reports marks of direction, separators of lines, and characters of no width. The joiners stay: Persian, Indic scripts and emoji are
// written with them.
func unseen(r rune) bool {
	switch r {
	case 0x00ad, 0x061c, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x2060, 0xfeff:
		return true
	}
	return r >= 0xe0000 && r <= 0xe007f
}
