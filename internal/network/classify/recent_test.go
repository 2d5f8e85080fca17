package classify

import (
	"testing"
	"time"
)

// TestRecentForgets: what is remembered ends in time, the oldest half goes when there is no room, and the newest is always there.
func TestRecentForgets(t *testing.T) {
	start := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	r := newRecent[int, string](100)
	for i := range 10_000 {
		r.put(i, "x", start.Add(time.Minute))
		if r.len() > 200 {
			t.Fatalf("%d are kept", r.len())
		}
		if _, ok := r.get(i, start); !ok {
			t.Fatalf("%d is not known", i)
		}
	}
	if _, ok := r.get(9_950, start); !ok {
		t.Error("a recent one was forgotten")
	}
	if _, ok := r.get(0, start); ok {
		t.Error("the first one is still known")
	}
	if _, ok := r.get(9_999, start.Add(time.Minute)); ok {
		t.Error("it does not expire")
	}
	r.put(9_999, "y", start.Add(time.Hour))
	if v, ok := r.get(9_999, start.Add(time.Minute)); !ok || v != "y" {
		t.Errorf("put again it is %q, %v", v, ok)
	}
}
