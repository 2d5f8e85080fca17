package server_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// TestStopUnderLoad closes a store again and again while others record: whoever was acknowledged is under the last checkpoint.
func TestStopUnderLoad(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	h.cfg.Keys.Unlock = "" // a store that only seals opens in no time
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		s, _ := h.open()
		s.Start(t.Context())
		var load sync.WaitGroup
		for who := range 8 {
			load.Go(func() {
				for n := 0; ; n++ {
					err := s.Recorder.Record(t.Context(), wrote(time.Now(), fmt.Sprint("u", who), fmt.Sprint("message ", n)))
					if errors.Is(err, journal.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		time.Sleep(rand.N(150 * time.Millisecond)) // at any moment of the log's own rhythm
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		load.Wait()
		r, err := verify.Verify(t.Context(), h.cfg.Data(), verify.Options{})
		if err != nil || r.Verdict != verify.Consistent || r.Uncommitted != 0 || r.Ledger != r.Frames {
			t.Fatalf("stop %d: %d of %d frames are under the last checkpoint (%v): %+v", round, r.Ledger, r.Frames, err, r.Findings)
		}
	}
}
