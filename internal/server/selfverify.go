package server

import (
	"context"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

const (
	verifyEvery  = 24 * time.Hour
	verifyItem   = "verification"
	brokenAdvice = "Do not delete anything. Copy the data directory, run chaperone verify --checkpoint with one from outside on the copy, and restore what differs from the backup."
)

// verifyInTurn verifies the whole record once in each interval (SEC 17a-4(f)(2)(ii)). What it finds is a health item and an act; a break that was
// found stays on the board until a later turn finds none.
func (s *Server) verifyInTurn(ctx context.Context) error {
	every := s.cfg.Ledger.VerifyEvery
	if every < 0 {
		return nil
	}
	if every == 0 {
		every = verifyEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.verifySelf(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// verifySelf is one turn. Records go on meanwhile: what is written while it reads lies in the open window.
func (s *Server) verifySelf(ctx context.Context) {
	result, err := s.verifyNow(ctx)
	if ctx.Err() != nil {
		return
	}
	words := result.Words
	switch {
	case err != nil:
		words = "not verified: " + err.Error()
		s.board.Set(verifyItem, health.Degraded, words, "The record could not be read to its end; see the disk, then run chaperone verify.")
	case result.Broken:
		s.log.Error("self-verification", "result", words, "findings", len(result.Findings))
		s.board.Set(verifyItem, health.Failed, brokenDetail(result), brokenAdvice)
	default:
		s.board.Set(verifyItem, health.OK, fmt.Sprintf("%s; %d records in %s", words, result.Records, result.Took), "")
	}
	act := &event.Event{Kind: event.Act, Phase: "verify.self", Connector: "serve", Content: event.Content{Act: &event.ActDetail{Action: "verify.self", Object: "record",
		Details: []event.Fact{{Name: "result", Value: words}, {Name: "findings", Value: fmt.Sprint(len(result.Findings))}}}}}
	if err := s.store.Recorder.Record(ctx, act); err != nil && ctx.Err() == nil {
		s.log.Error("record an act", "act", "verify.self", "error", err)
	}
}

// brokenDetail is the words and the first finding.
func brokenDetail(r console.VerifyResult) string {
	if len(r.Findings) == 0 {
		return r.Words
	}
	return fmt.Sprintf("%s: %s (%d findings)", r.Words, r.Findings[0], len(r.Findings))
}
