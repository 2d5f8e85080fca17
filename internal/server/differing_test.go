package server

import (
	"slices"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

// TestDiffering: an obligation that is new is what differs, though action and rule are the same.
func TestDiffering(t *testing.T) {
	a := event.Verdict{Action: event.Allow, Rule: "otherwise", Policy: "one"}
	b := a
	b.Policy, b.Obligations = "two", []event.Obligation{{Kind: event.Review, Rule: "watch", Queue: "desk"}}
	if got, err := differing(a, b); err != nil || !slices.Equal(got, []string{"obligations"}) {
		t.Errorf("%v, %v", got, err)
	}
}
