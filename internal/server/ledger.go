package server

import (
	"context"
	"time"

	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

func (s *Server) ledgerState(ctx context.Context) (console.LedgerState, error) {
	note, size, err := s.store.Ledger.Checkpoint(ctx)
	if err != nil {
		return console.LedgerState{}, err
	}
	state := console.LedgerState{Origin: s.store.Ledger.Origin(), Size: size, Time: s.store.Ledger.SignedAt(note), Checkpoint: string(note)}
	var open time.Duration
	state.Open, open, state.Outside = s.store.Ledger.Window(ctx)
	state.OpenFor = int64(open / time.Second)
	if state.Outside {
		state.OutsideAt = s.store.Clock.Now().Add(-open)
	}
	return state, nil
}

// verifyNow checks the store as it lies on disk, without anything from outside: at best CONSISTENT, NOT PROVEN.
func (s *Server) verifyNow(ctx context.Context) (console.VerifyResult, error) {
	start := time.Now()
	r, err := verify.Verify(ctx, s.store.Dir, verify.Options{})
	if err != nil {
		return console.VerifyResult{}, err
	}
	out := console.VerifyResult{Broken: r.Verdict == verify.Broken, Words: r.Words, Records: int(r.Records), Took: time.Since(start).Round(time.Millisecond)}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, f.String())
	}
	return out, nil
}
