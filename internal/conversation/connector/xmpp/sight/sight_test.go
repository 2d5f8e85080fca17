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
		m.Put(key(i), "", Judged{Event: event.ID(strings.Repeat("x", i))})
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
	m.Settle(k, s, Judged{})
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
	go m.Settle(k, s, Judged{})
	if j, err := waiting.Wait(t.Context()); j.Event != "" || err != nil {
		t.Errorf("%+v %v", j, err)
	}
}

func TestWaitingEnds(t *testing.T) {
	m := New(100)
	k := m.Key("a", "b", "1", "")
	s, _ := m.Claim(k, "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx); err == nil {
		t.Error("nobody judged it")
	}
	m.Put(k, "y", Judged{"02", "no"})
	again, first := m.Claim(k, "y")
	if j, err := again.Wait(ctx); first || j != (Judged{"02", "no"}) || err != nil {
		t.Errorf("%+v %v", j, err)
	}
	m.Settle(k, s, Judged{})
	if m.Lookup(k) != "02" {
		t.Error("one that could not be judged took another with it")
	}
}
