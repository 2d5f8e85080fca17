package pseudonym_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
)

// crowd is who is known in generated texts: names that share words, that begin and end with those of others, in several scripts.
func crowd() *pseudonym.Roll {
	r := pseudonym.New([]byte("0123456789abcdef0123456789abcdef"))
	r.Handle("tzephyr@example.org", "Tamsin Zephyr", "tzephyr")
	r.Handle("quillon.z@example.org", "Zephyr Quillon", "qzephyr")
	r.Handle("Bo.Drax@example.org", "Bo Drax", "bdrax")
	r.Handle("oerjan@example.org", "Ørjan Åkeström-Vikør", "oerjan")
	r.Handle("yamabuki@example.org", "山吹 花子", "yamabuki")
	r.Handle("+15550100777", "Ximena Olvera", "xolvera")
	r.Host("kiosk-443.corp.test", "10.77.66.55", "tzephyr")
	return r
}

// names are what must not be read in a text that was hidden: whole names, as they may be written, and what is left when it is found.
func names() (whole, left []string) {
	return []string{"Tamsin Zephyr", "Zephyr Quillon", "Bo Drax", "Ørjan Åkeström-Vikør", "山吹花子", "Ximena Olvera", "tzephyr@example.org", "Bo.Drax@example.org", "quillon.z@example.org", "+15550100777",
			"kiosk-443.corp.test", "kiosk-443", "10.77.66.55", "tzephyr", "Tamsin", "Quillon", "Olvera", "Tamsin Zephyr Quillon", "Zephyr Quillon Tamsin Zephyr", "/home/somebodyx/", `C:\Users\somebodyx\`},
		[]string{"tamsin", "zephyr", "quillon", "drax", "akestrom", "vikør", "山吹", "花子", "ximena", "olvera", "15550100777", "kiosk443", "10776655", "somebodyx"}
}

// written gives a name another form that people or programs write, which reads the same.
func written(rng *rand.Rand, s string) string {
	for range rng.IntN(3) {
		switch rng.IntN(9) {
		case 0:
			s = strings.ToUpper(s)
		case 1:
			s = strings.ToLower(s)
		case 2:
			s = norm.NFD.String(s)
		case 3:
			s = url.QueryEscape(s)
		case 4:
			s = url.PathEscape(s)
		case 5:
			s = escapeAll(s)
		case 6:
			if !strings.Contains(s, "%") {
				s = fullWidth(s)
			}
		case 7:
			s = insert(rng, s, "\u00ad", "\u200b", "\u200d", "\ufeff")
		case 8:
			if !strings.ContainsAny(s, "/%@") {
				s = strings.ReplaceAll(s, " ", []string{"_", ".", "+", "-", "  ", "\n", "\u00a0"}[rng.IntN(7)])
			}
		}
	}
	return s
}

func escapeAll(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func fullWidth(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r + 0xfee0
		}
		return r
	}, s)
}

// insert puts invisible characters between two of a text.
func insert(rng *rand.Rand, s string, invisible ...string) string {
	if strings.Contains(s, "%") {
		return s
	}
	runes := []rune(s)
	at := 1 + rng.IntN(len(runes)-1)
	return string(runes[:at]) + invisible[rng.IntN(len(invisible))] + string(runes[at:])
}

// read is a text as a reader makes it out: decoded, without accents, case and what stands between the words of a name.
func read(s string) string {
	for range 3 {
		if d, err := url.PathUnescape(s); err == nil {
			s = d
		}
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, norm.NFKD.String(s))
}

// TestNoNameInGeneratedTexts: whatever stands around a name, and however it is written, it is not read in what Hide returns.
func TestNoNameInGeneratedTexts(t *testing.T) {
	r := crowd()
	whole, left := names()
	borders := []string{" ", ", ", ".", ": ", "(", "[", "\"", "'", "’s ", "/", "\\", "-", "_", "|", "\t", "\n", "…", "👍", "です", "@", "#", "=", "&", "<b>", ";", "%20", "%2F"}
	before := append([]string{"http://x.test/?q="}, borders...)
	filler := []string{"please ask", "lunch", "the report of", "7", "Ünïcode", "北京", "100% of", "re", "and", "move this"}
	rng := rand.New(rand.NewPCG(26, 11))
	leaks := 0
	for range 20_000 {
		var b strings.Builder
		for range 1 + rng.IntN(3) {
			b.WriteString(filler[rng.IntN(len(filler))])
			b.WriteString([]string{" ", before[rng.IntN(len(before))]}[rng.IntN(2)])
			b.WriteString(written(rng, whole[rng.IntN(len(whole))]))
			b.WriteString([]string{" ", borders[rng.IntN(len(borders))]}[rng.IntN(2)])
		}
		text := b.String()
		hidden := r.Hide(text, nobody, nil)
		reads := read(hidden)
		for _, name := range left {
			if strings.Contains(reads, name) {
				if leaks++; leaks <= 25 {
					t.Errorf("%q is read in %q, which was %q", name, hidden, text)
				}
				break
			}
		}
		if again := r.Hide(text, nobody, nil); again != hidden {
			t.Errorf("%q is hidden as %q and as %q", text, hidden, again)
		}
	}
	if leaks > 0 {
		t.Errorf("%d leaks", leaks)
	}
}
