package printable_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/printable"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"<p>é 👍\n\tok</p>":        "<p>é 👍\n\tok</p>",
		"a\u202egpj.exe":          "a[U+202E]gpj.exe",
		"\x1b[31m":                "\u241b[31m",
		"x\u2066y\u2069\u0085":    "x[U+2066]y[U+2069][U+0085]",
		"caf\xe9":                 "caf\ufffd",
		"\u200fשלום":              "\u200fשלום",
		"plain, grün, 中":          "plain, grün, 中",
		"invoice\u202egpj.exe":    "invoice[U+202E]gpj.exe",
		"\u2066hidden\u2069":      "[U+2066]hidden[U+2069]",
		"\x1b[31mred\x07":         "␛[31mred␇",
		"two\nlines\tand\r a tab": "two\nlines\tand\r a tab",
		"csi \u009b, delete \x7f": "csi [U+009B], delete [U+007F]",
		"not \xff UTF-8":          "not \uFFFD UTF-8",
		"family 👩‍👩‍👧, نمی\u200cخواهم": "family 👩‍👩‍👧, نمی\u200cخواهم",
	} {
		if got := printable.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"two\nlines\tand\r":    "two␊lines␉and␍",
		"mark\u200fof":         "mark[U+200F]of",
		"sep\u2028arator":      "sep[U+2028]arator",
		"zero\u200bwidth":      "zero[U+200B]width",
		"tag\U000e0041":        "tag[U+E0041]",
		"family 👩‍👩‍👧":         "family 👩‍👩‍👧",
		"a\u202eb":             "a[U+202E]b",
		"plain":                "plain",
		"soft\u00adhyphen\x00": "soft[U+00AD]hyphen␀",
	} {
		if got := printable.Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWriter(t *testing.T) {
	var b strings.Builder
	if n, err := fmt.Fprintf(printable.Writer(&b), "rule %s\n", "a\u202eb\x1b"); err != nil || n != len("rule a\u202eb\x1b\n") || b.String() != "rule a[U+202E]b␛\n" {
		t.Errorf("%q, %d, %v", b.String(), n, err)
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"a\x1b[2Jb", "\u202e", "\xff\xfe", "x\r\ny"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := printable.Line(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsAny(got, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029") {
			t.Errorf("%q became %q", s, got)
		}
		if again := printable.Line(got); again != got {
			t.Errorf("%q is changed again into %q", got, again)
		}
	})
}
