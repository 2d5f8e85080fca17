package flow

import "testing"

// TestNumbered: a number is used again, with nothing of what it was, and few states wait for that.
func TestNumbered(t *testing.T) {
	var n numbered[int]
	first, second := n.take(), n.take()
	*n.at(first), *n.at(second) = 7, 8
	if first == 0 || first == second || *n.at(first) != 7 {
		t.Fatalf("%d and %d", first, second)
	}
	n.put(first)
	if again := n.take(); again != first || *n.at(again) != 0 || *n.at(second) != 8 {
		t.Errorf("%d came back with %d", again, *n.at(again))
	}
	var all []uint32
	for range 3 * maxSpare {
		all = append(all, n.take())
	}
	for _, number := range all {
		n.put(number)
	}
	if len(n.spares.used) > maxSpare || len(n.states) != 3*maxSpare+2 {
		t.Errorf("%d states wait, of %d numbers", len(n.spares.used), len(n.states))
	}
	for range all {
		if number := n.take(); *n.at(number) != 0 {
			t.Fatalf("number %d is not empty", number)
		}
	}
}
