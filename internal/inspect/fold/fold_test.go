package fold_test

import (
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/chaperone-im/chaperone/internal/inspect/fold"
)

// TestEveryDigit: every decimal digit, and every other character that decomposes to one digit, has its value.
func TestEveryDigit(t *testing.T) {
	seen := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		value, ok := fold.Digit(r)
		if unicode.Is(unicode.Nd, r) {
			seen++
			if before, _ := fold.Digit(r - 1); !ok || value > 0 && before != value-1 {
				t.Errorf("%U: %d, %v", r, value, ok)
			}
		}
		plain := norm.NFKC.String(string(r))
		if len(plain) == 1 && '0' <= plain[0] && plain[0] <= '9' && (!ok || value != int(plain[0]-'0')) {
			t.Errorf("%U is %s: %d, %v", r, plain, value, ok)
		}
		if ok && (value < 0 || value > 9) {
			t.Errorf("%U: %d", r, value)
		}
	}
	if seen < 600 {
		t.Errorf("%d decimal digits", seen)
	}
}

// TestKinds: what characters are, and stand for.
func TestKinds(t *testing.T) {
	for r, want := range map[rune]string{'A': "a", 'é': "e", 'Ａ': "a", 'ⓦ': "w", '🅦': "w", '🆆': "w", '🇼': "w", 'а': "a", '４': "4", '४': "4", '④': "4", '❹': "4",
		'⁴': "4", '\U0001FBF4': "4", '𝟜': "4", '½': "12", '内': "内"} {
		if got, kind := fold.Append(nil, r); string(got) != want || kind != fold.Text {
			t.Errorf("%c: %q, %v", r, string(got), kind)
		}
	}
	for kind, all := range map[fold.Kind]string{fold.Nothing: "\u200b\u2060\ufe0f\u034f\u2063\u2066\u180e\ufff9\u3164\uffa0\U000E0041",
		fold.Mark: "\u0301\u0336\u20e3", fold.Sign: " \t\n-·\u2028\u2800…🙂"} {
		for _, r := range all {
			if got, k := fold.Append(nil, r); len(got) > 0 || k != kind {
				t.Errorf("%U: %q, %v", r, string(got), k)
			}
		}
	}
}
