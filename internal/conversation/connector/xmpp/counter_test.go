package xmpp

import (
	"math/rand/v2"
	"testing"
)

// TestCounterAgainstAModel compares with a list of what happened: after the destination confirms h, the source must hear of exactly those of
// its stanzas that lie before the first unconfirmed one.
func TestCounterAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var c counter
		c.start()
		var all []fate
		confirmed := 0 // stanzas of the destination
		for range 200 {
			if rng.IntN(4) > 0 {
				f := fate(rng.IntN(3))
				if err := c.add(f, nil); err != nil {
					t.Fatal(err)
				}
				all = append(all, f)
				continue
			}
			dest := 0
			for _, f := range all {
				if f != swallowed {
					dest++
				}
			}
			confirmed += rng.IntN(dest - confirmed + 1)
			got, err := c.confirm(uint32(confirmed))
			if err != nil {
				t.Fatal(err)
			}
			want, left := uint32(0), confirmed
			for _, f := range all {
				if f != swallowed {
					if left == 0 {
						break
					}
					left--
				}
				if f != injected {
					want++
				}
			}
			if got != want {
				t.Fatalf("seed %d: source hears %d, want %d, of %v after %d", seed, got, want, all, confirmed)
			}
		}
		if _, err := c.confirm(uint32(len(all) + 1)); err == nil {
			t.Fatal("more was confirmed than was sent")
		}
	}
}

func TestCounterWrapsAround(t *testing.T) {
	c := counter{on: true, source: 1<<32 - 2, dest: 1<<32 - 1}
	for range 3 {
		c.add(forwarded, nil)
	}
	if n, err := c.confirm(2); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
}

func TestCounterIsBounded(t *testing.T) {
	var c counter
	if c.add(forwarded, nil); len(c.runs) != 0 {
		t.Error("counts before it is on")
	}
	c.start()
	for i := range maxRuns {
		if err := c.add(fate(i%2), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.add(fate(maxRuns%2), nil); err == nil {
		t.Error("no bound")
	}
}

func TestResyncKeepsWhatOnlyWeCanSendAgain(t *testing.T) {
	var c counter
	c.start()
	c.add(forwarded, nil)
	c.add(injected, []byte("a"))
	c.add(forwarded, nil)
	c.add(injected, []byte("b"))
	n, lost, err := c.resync(1)
	if err != nil || n != 1 || len(lost) != 2 || string(lost[1]) != "b" || len(c.runs) != 0 {
		t.Errorf("%d %q %v %v", n, lost, err, c.runs)
	}
}
