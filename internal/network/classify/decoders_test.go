package classify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// TestCatalogAsksForWhatThereIs: every signature names a decoder and values that it can have.
func TestCatalogAsksForWhatThereIs(t *testing.T) {
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	for _, d := range decode.Decoders() {
		values[d.Name] = append(d.Values, "port", "address")
	}
	for _, s := range cat.Traffic() {
		known, ok := values[s.Decoder]
		if !ok {
			t.Errorf("%s, %s: no decoder %q", s.App, s.ID, s.Decoder)
		}
		for key := range s.Match {
			if ok && !slices.Contains(known, key) {
				t.Errorf("%s, %s: decoder %s has no value %q", s.App, s.ID, s.Decoder, key)
			}
		}
	}
}

// TestDecoderPageIsFresh: the reference lists every decoder as the code does.
func TestDecoderPageIsFresh(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "reference", "decoders.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, d := range decode.Decoders() {
		var keys []string
		for _, v := range d.Values {
			keys = append(keys, "`"+v+"`")
		}
		if row := fmt.Sprintf("| `%s` | %s | %s |\n", d.Name, d.About, strings.Join(keys, ", ")); !strings.Contains(string(page), row) {
			t.Errorf("docs/reference/decoders.md lacks %s", row)
		}
		rows++
	}
	if n := strings.Count(string(page), "\n| `"); n != rows {
		t.Errorf("the page has %d rows, the code %d decoders", n, rows)
	}
}
