package retention_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/retention"
)

// TestMatter: a matter is found as it is and as it is shown, and one that is shown like another is not guessed.
func TestMatter(t *testing.T) {
	s := newOffice(t)
	for _, m := range []string{"Alice v. Firm", "Bob v. Firm", "case-7", "Alice alone"} {
		if err := s.holds.Place(t.Context(), "counsel", m, "x", retention.Scope{Kind: retention.Room, Name: "desk"}); err != nil {
			t.Fatal(err)
		}
	}
	shown := strings.NewReplacer("Alice", "[name]", "Bob", "[name]").Replace
	for written, want := range map[string]string{"case-7": "case-7", "CASE-7": "case-7", "Alice v. Firm": "Alice v. Firm", "[name] alone": "Alice alone"} {
		if got, err := s.holds.Matter(written, shown); err != nil || got != want {
			t.Errorf("%q is %q, %v", written, got, err)
		}
	}
	if got, err := s.holds.Matter("[name] v. Firm", shown); err == nil || errors.Is(err, retention.ErrNoMatter) {
		t.Errorf("one of two that look alike is %q, %v", got, err)
	}
	if _, err := s.holds.Matter("nothing", shown); !errors.Is(err, retention.ErrNoMatter) {
		t.Error(err)
	}
	var none retention.Preview
	if c := none.Coverage(); c.First != nil || c.Last != nil || c.Total != 0 {
		t.Errorf("of nothing: %+v", c)
	}
}
