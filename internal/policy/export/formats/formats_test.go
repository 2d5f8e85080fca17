package formats_test

import (
	"io"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
	"github.com/chaperone-im/chaperone/internal/policy/export/formats"
)

// TestConformance holds what each format must do: a name of its own, and a file even for a policy that stops nothing.
func TestConformance(t *testing.T) {
	nothing := exporttest.Plan(t, "version: 1\nrules: []\n", export.Options{})
	seen := map[string]bool{}
	for _, f := range formats.All() {
		if f.Name == "" || f.About == "" || seen[f.Name] {
			t.Errorf("%+v", f)
		}
		seen[f.Name] = true
		if got, ok := formats.ByName(f.Name); !ok || got.Name != f.Name {
			t.Errorf("%s is not found by its name", f.Name)
		}
		if _, err := f.Write(io.Discard, nothing); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if _, ok := formats.ByName("none"); ok {
		t.Error("a format that is not there is found")
	}
}
