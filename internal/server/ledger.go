package server

import (
	"context"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/ledger/verify"
	"github.com/chaperone-im/chaperone/internal/mail"
	"github.com/chaperone-im/chaperone/internal/server/selfverify"
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
	return selfverify.Now(ctx, s.store.Dir, verify.Options{Keys: s.cfg.KeysDir()})
}

// recipientOf makes the recipient of checkpoints that a line of the configuration names.
func recipientOf(c *config.Config, spec string) (ledger.Recipient, error) {
	if path, ok := strings.CutPrefix(spec, "file:"); ok {
		return ledger.ParseRecipient("file:" + c.Path(path))
	}
	if !strings.HasPrefix(spec, "mailto:") {
		return ledger.ParseRecipient(spec)
	}
	var settings mail.Config
	if c.Alerts.Mail != nil {
		var err error
		if settings, err = mailConfig(c, c.Alerts.Mail); err != nil {
			return ledger.Recipient{}, err
		}
	}
	return ledger.MailRecipient(spec, settings)
}
