package sight

import (
	"context"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

func TestMemoryIsBoundedAndForgetsTheOldest(t *testing.T) {
	m := New(100)
	key := func(i int) Key { return m.Key("a", "b", strings.Repeat("x", i), "") }
	for i := range 1000 {
		m.Put(key(i), "", event.ID(strings.Repeat("x", i)), false)
		if len(m.young)+len(m.old) > 200 {
			t.Fatal("it grows")
		}
	}
	if m.Lookup(key(999)) == "" || m.Lookup(key(1)) != "" {
		t.Error("the wrong ones were forgotten")
	}
}

func TestAMessageIsClaimedOnce(t *testing.T) {
	m := New(100)
	k := m.Key("a", "b", "1", "")
	s, first := m.Claim(k, "x\r\ny")
	if again, second := m.Claim(k, "x\ny"); !first || second || again != s {
		t.Error("claimed twice")
	}
	m.Settle(k, s, "", false, false)
	if _, first := m.Claim(k, "x\ny"); !first {
		t.Error("what could not be judged cannot be tried again")
	}
	if _, first := m.Claim(k, "other"); !first {
		t.Error("another text under the same id is not judged")
	}
}

// TestWhatCouldNotBeRecordedIsNotTakenForJudged by another session that waited for it (law 1).
func TestWhatCouldNotBeRecordedIsNotTakenForJudged(t *testing.T) {
	m := New(100)
	k := m.Key("a", "b", "1", "")
	s, _ := m.Claim(k, "x")
	waiting, _ := m.Claim(k, "x")
	go m.Settle(k, s, "01", false, false)
	if id, _, err := waiting.Wait(t.Context()); id != "" || err != nil {
		t.Errorf("%q %v", id, err)
	}
}

func TestWaitingEnds(t *testing.T) {
	m := New(100)
	k := m.Key("a", "b", "1", "")
	s, _ := m.Claim(k, "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Wait(ctx); err == nil {
		t.Error("nobody judged it")
	}
	m.Put(k, "y", "02", true)
	again, first := m.Claim(k, "y")
	if id, stop, err := again.Wait(ctx); first || id != "02" || !stop || err != nil {
		t.Errorf("%q %v %v", id, stop, err)
	}
	m.Settle(k, s, "", false, false)
	if m.Lookup(k) != "02" {
		t.Error("one that could not be judged took another with it")
	}
}
