package ack

import (
	"math/rand/v2"
	"testing"
)

// TestCounterAgainstAModel compares with a list of what happened: after the destination confirms h, the source must hear of exactly those of
// its stanzas that lie before the first unconfirmed one.
func TestCounterAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var c Counter
		c.Start()
		var all []Fate
		confirmed := 0 // stanzas of the destination
		for range 200 {
			if rng.IntN(4) > 0 {
				f := Fate(rng.IntN(3))
				if err := c.Add(f, nil); err != nil {
					t.Fatal(err)
				}
				all = append(all, f)
				continue
			}
			dest := 0
			for _, f := range all {
				if f != Swallowed {
					dest++
				}
			}
			confirmed += rng.IntN(dest - confirmed + 1)
			got, err := c.Confirm(uint32(confirmed))
			if err != nil {
				t.Fatal(err)
			}
			want, left := uint32(0), confirmed
			for _, f := range all {
				if f != Swallowed {
					if left == 0 {
						break
					}
					left--
				}
				if f != Injected {
					want++
				}
			}
			if got != want {
				t.Fatalf("seed %d: source hears %d, want %d, of %v after %d", seed, got, want, all, confirmed)
			}
		}
		if _, err := c.Confirm(uint32(len(all) + 1)); err == nil {
			t.Fatal("more was confirmed than was sent")
		}
	}
}

func TestCounterWrapsAround(t *testing.T) {
	c := Counter{on: true, source: 1<<32 - 2, dest: 1<<32 - 1}
	for range 3 {
		c.Add(Forwarded, nil)
	}
	if n, err := c.Confirm(2); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
}

func TestCounterIsBounded(t *testing.T) {
	var c Counter
	if c.Add(Forwarded, nil); len(c.runs) != 0 {
		t.Error("counts before it is on")
	}
	c.Start()
	for i := range maxRuns {
		if err := c.Add(Fate(i%2), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Add(Fate(maxRuns%2), nil); err == nil {
		t.Error("no bound")
	}
	c.Start()
	large, n := make([]byte, 1<<20), uint32(0)
	for ; c.Add(Injected, large) == nil; n++ {
		if n > maxHeld>>20 {
			t.Fatal("no bound of bytes")
		}
	}
	if _, err := c.Confirm(1); err != nil || c.Add(Injected, large) != nil {
		t.Error("what is confirmed is still held")
	}
}

func TestResyncKeepsWhatOnlyWeCanSendAgain(t *testing.T) {
	var c Counter
	c.Start()
	for i, f := range []Fate{Injected, Forwarded, Injected, Swallowed, Forwarded, Injected} {
		c.Add(f, []byte{'a' + byte(i)})
	}
	n, err := c.Resync(2)
	if again := c.Injected(); err != nil || n != 1 || len(again) != 2 || string(again[0]) != "c" || string(again[1]) != "f" {
		t.Errorf("%d %q %v", n, again, err)
	}
	c.Add(Forwarded, nil) // the client sends its own again
	if n, err := c.Confirm(5); err != nil || n != 2 || len(c.Injected()) != 0 {
		t.Errorf("%d %v", n, err)
	}
	if _, err := c.Resync(9); err == nil {
		t.Error("more was confirmed than was sent")
	}
}
