package pattern_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/inspecttest"
	"github.com/chaperone-im/chaperone/internal/inspect/pattern"
)

func build(t testing.TB) *pattern.Inspector {
	t.Helper()
	in, err := pattern.New([]pattern.Pattern{
		{Name: "payment-card", Check: "card"}, {Name: "iban", Check: "iban"}, {Name: "us-ssn", Check: "ssn"},
		{Name: "project-code", Regex: `PRJ-[0-9]{6}`}, {Name: "member", Regex: `M[0-9]{8}`, Check: "luhn", Confidence: event.Medium},
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestConformance(t *testing.T) {
	inspecttest.Run(t, build(t), &inspecttest.Bad{Item: &inspect.Item{Text: "📇 4111 1111 1111 1111 and 5500-0000-0000-0004"}, Hit: "payment-card"})
}

// TestFind marks in each text what must be found: «name:» before and » after every span.
func TestFind(t *testing.T) {
	in := build(t)
	for _, text := range []string{
		"«payment-card:4111 1111 1111 1111»",
		"«payment-card:4111111111111111», «payment-card:4111-1111-1111-1111» exp 12/29",
		"amex «payment-card:3782 822463 10005», diners «payment-card:3056 930902 5904»",
		"«payment-card:4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1»",
		"«payment-card:41 11 11 11 11 11 11 11»",
		"«payment-card:４１１１ １１１１ １１１１ １１１１» «payment-card:4111\u200b1111\u200b1111\u200b1111» «payment-card:4111.1111.1111.1111»",
		"«payment-card:4111 1111 1111 1111» 123",
		"cards «payment-card:4111111111111111» «payment-card:5500000000000004»",
		"12 «payment-card:4111111111111111»",
		"4111 1111 1111 1112, 4111111111111112, 1234567812345670, 941111111111111111112345",
		"x«payment-card:4111111111111111», «payment-card:4111111111111111»x, abc«payment-card:4111 1111 1111 1111»def, 4111 1111x1111 1111",
		"0000000000000000 and 1111 1111 1111 1111",
		"411111 11111 11111, 4111 11 111111 1111",
		"«iban:DE89 3704 0044 0532 0130 00», «iban:GB82WEST12345698765432», «iban:nl91abna0417164300», «iban:CH93-0076-2011-6238-5295-7»",
		"«iban:GB82  WEST  1234  5698  7654  32», «iban:GB82\tWEST\t1234\n5698 / 7654, 32»; «iban:GB82%20WEST%201234%205698%207654%2032», «iban:GВ82ＷEST１234५698765432»",
		"DE89 3704 0044 0532 0130 01, GB82WEST123456987654321, XX82WEST12345698765432, DE89370400440532013",
		"«us-ssn:460-89-9847», «us-ssn:460 89 9847», ssn «us-ssn:460899847», 000-12-3456, 666-12-3456, 912-12-3456, 123-00-4567, 123-45-0000",
		"«us-ssn:460 - 89 - 9847», «us-ssn:460\t89\t9847», «us-ssn:460—89—9847», ssn: «us-ssn:460/89/9847», «us-ssn:٤٦٠-٨٩-٩٨٤٧», «us-ssn:460%2D89%2D9847»",
		"460, 89, 9847; 460/89/9847; 460 - 89-9847",
		"460899847", "460-89-9847-1, 12-460-89-9847, 460-89 9847, tel. 555.12.3456, 078-05-1120",
		"ü «project-code:PRJ-123456» PRJ-12345, «member:M12345674» M12345675",
	} {
		var plain strings.Builder
		var want []string
		start, at, name := 0, 0, ""
		rest := text
		for rest != "" {
			r, size := utf8.DecodeRuneInString(rest)
			rest = rest[size:]
			switch r {
			case '«':
				name, rest, _ = strings.Cut(rest, ":")
				start = at
			case '»':
				want = append(want, name+":"+string([]rune(plain.String())[start:at]))
			default:
				plain.WriteRune(r)
				at++
			}
		}
		points := []rune(plain.String())
		found := map[string]int{}
		for _, h := range in.Inspect(context.Background(), &inspect.Item{Text: plain.String()}).Hits {
			for _, s := range h.Spans {
				found[h.Name+":"+string(points[s.Start:s.End])]++
			}
		}
		for _, w := range want {
			if found[w] == 0 {
				t.Errorf("%q: missed %q", text, w)
			}
			found[w]--
		}
		for f, n := range found {
			if n > 0 {
				t.Errorf("%q: wrongly found %q", text, f)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, p := range []pattern.Pattern{{Regex: "("}, {Regex: "x*"}, {Check: "none"}, {Regex: "x", Check: "mod7"}, {}} {
		if _, err := pattern.New([]pattern.Pattern{p}); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

// corpus returns the lines of a file of the shared chat corpus.
func corpus(t testing.TB, name string) *bufio.Scanner {
	t.Helper()
	dir := os.Getenv("CHAPERONE_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	f, err := os.Open(filepath.Join(dir, "chat", name))
	if err != nil {
		t.Skipf("no corpus: set CHAPERONE_CORPUS (%v)", err)
	}
	t.Cleanup(func() { f.Close() })
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	return s
}

// TestCorpusRecall measures how many labelled numbers are found, and how much else. Labels of numbers that their own check says cannot be
// (synthetic data has them) count as missed all the same.
func TestCorpusRecall(t *testing.T) {
	in := build(t)
	labels := map[string]string{"CREDIT_CARD": "payment-card", "IBAN_CODE": "iban", "US_SSN": "us-ssn"}
	total, found, wrong := map[string]int{}, map[string]int{}, map[string]int{}
	for lines := corpus(t, "pii-synthetic.jsonl"); lines.Scan(); {
		var line struct {
			Text  string   `json:"text"`
			Spans [][3]any `json:"spans"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		type span struct {
			name       string
			start, end int
		}
		want := map[span]bool{}
		for _, s := range line.Spans {
			if name := labels[s[2].(string)]; name != "" {
				want[span{name, int(s[0].(float64)), int(s[1].(float64))}] = true
				total[name]++
			}
		}
		for _, h := range in.Inspect(context.Background(), &inspect.Item{Text: line.Text}).Hits {
			for _, s := range h.Spans {
				if got := (span{h.Name, s.Start, s.End}); want[got] {
					found[h.Name]++
					delete(want, got)
				} else {
					wrong[h.Name]++
					t.Logf("wrong %s: %q", h.Name, string([]rune(line.Text)[s.Start:s.End]))
				}
			}
		}
		for missed := range want {
			t.Logf("missed %s: %q", missed.name, string([]rune(line.Text)[missed.start:missed.end]))
		}
	}
	for name, n := range total {
		t.Logf("%s: %d of %d found, %d wrong", name, found[name], n, wrong[name])
		if wrong[name] > 0 || found[name]*10 < n*9 {
			t.Errorf("%s: recall or precision is too low", name)
		}
	}
}

// TestCorpusFalsePositives looks for numbers in chat that has none.
func TestCorpusFalsePositives(t *testing.T) {
	in := build(t)
	lines, hits := 0, map[string]int{}
	for scan := corpus(t, "ubuntu-irc.jsonl"); scan.Scan(); lines++ {
		var line struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for _, h := range in.Inspect(context.Background(), &inspect.Item{Text: line.Text}).Hits {
			hits[h.Name]++
			t.Logf("%s: %q", h.Name, string([]rune(line.Text)[h.Spans[0].Start:h.Spans[0].End]))
		}
	}
	t.Logf("%d lines, hits %v", lines, hits)
	for name, n := range hits {
		if n*20_000 > lines {
			t.Errorf("%s: more than one false hit in 20,000 messages", name)
		}
	}
}

func FuzzInspect(f *testing.F) {
	in := build(f)
	for _, s := range []string{"4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "ssn 460899847", "𝟜𝟙𝟙𝟙", "\xff4", "PRJ-123456"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		points := utf8.RuneCountInString(text)
		for _, h := range in.Inspect(context.Background(), &inspect.Item{Text: text}).Hits {
			for _, s := range h.Spans {
				if s.Start < 0 || s.End <= s.Start || s.End > points {
					t.Fatalf("%q: span %v of %d", text, s, points)
				}
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	in := build(b)
	for name, text := range map[string]string{"plain": "Could you have a look at the numbers I sent this morning? I think row 14 is off by 2,300, and the client calls at 4pm. Thanks!",
		"card": "Please charge 4111 1111 1111 1111, the invoice is 2026-4711 of 12.11.2026, and call me on 044 123 45 67 when it is done."} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in.Inspect(context.Background(), &inspect.Item{Text: text})
			}
		})
	}
}

// BenchmarkHostile inspects a text of 100,000 characters that has every reading, and digits that are always nearly a card.
func BenchmarkHostile(b *testing.B) {
	in := build(b)
	text := "%34\U000E0034\u202e" + strings.Repeat("4 11 ", 20_000)
	b.ReportAllocs()
	for b.Loop() {
		in.Inspect(context.Background(), &inspect.Item{Text: text})
	}
}
