// Package remove carries out the orders of a fleet on a machine: what `scan --remove` and `quarantine restore` do, for the files of a plan.
//
// A file is only touched when it is, byte for byte, what the plan names, and when the evidence identifies the messenger or a person named the
// file. Files go into this machine's quarantine, or their package is removed by its manager; either way it is recorded first, and a hold that
// this machine knows of refuses it once more.
package remove

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Remover carries out orders.
type Remover struct {
	store *quarantine.Store
}

// New returns a Remover on a quarantine.
func New(s *quarantine.Store) *Remover { return &Remover{s} }

// Execute carries out an order and says what became of each file.
func (r *Remover) Execute(ctx context.Context, o protocol.Order) protocol.Report {
	var out protocol.Report
	for _, i := range o.Items {
		if ctx.Err() != nil {
			return out
		}
		done := protocol.Outcome{Path: i.Path, SHA256: i.SHA256, Action: "none"}
		var err error
		if o.Action == protocol.RestoreOrder {
			err = r.restore(ctx, i, &done)
		} else {
			err = r.take(ctx, o.Action, i, &done)
		}
		if err != nil {
			done.Error = err.Error()
			done.Error = strings.ToValidUTF8(done.Error[:min(len(done.Error), 1000)], "")
		}
		out.Outcomes = append(out.Outcomes, done)
	}
	return out
}

var errEvidence = errors.New("not removed: evidence below identity grade, and nobody who looked at it named the file by its SHA-256")

var errOther = errors.New("the file is another than the plan names: nothing was done to it")

// take takes one file away.
func (r *Remover) take(ctx context.Context, action string, i protocol.OrderItem, done *protocol.Outcome) error {
	if !i.Identity && !i.Named {
		return errEvidence
	}
	t, err := target(i)
	if errors.Is(err, os.ErrNotExist) {
		return r.taken(i, done) // it may be we who took it, before a crash
	}
	if err != nil {
		return err
	}
	if owner, ok := quarantine.OwnerOf(ctx, t.Path); ok && action == protocol.RemoveOrder {
		if err := r.store.Remove(ctx, owner, t); err != nil {
			return err
		}
		done.Action, done.Undo = "removed", owner.Undo(r.store.Dir())
		return nil
	}
	item, err := r.store.Take(ctx, t)
	if err != nil {
		return err
	}
	done.Action, done.ID = "quarantined", item.ID
	return nil
}

// taken finds a file that lies in quarantine already.
func (r *Remover) taken(i protocol.OrderItem, done *protocol.Outcome) error {
	items, err := r.store.List()
	if err != nil {
		return err
	}
	for _, q := range items {
		if path, err := q.RealPath(); err == nil && path == i.Path && q.SHA256 == i.SHA256 {
			done.Action, done.ID = "quarantined", q.ID
			return nil
		}
	}
	return errors.New("the file is not there any more")
}

// restore brings a file back.
func (r *Remover) restore(ctx context.Context, i protocol.OrderItem, done *protocol.Outcome) error {
	item, err := r.store.Restore(ctx, i.ID)
	if _, there := target(i); errors.Is(err, quarantine.ErrNotFound) && there == nil { // before a crash, or by hand
		done.Action, done.ID = "restored", i.ID
		return nil
	}
	if err != nil {
		return err
	}
	done.Action, done.ID = "restored", item.ID
	return nil
}

// target looks at the file that a plan names. Links are not followed.
func target(i protocol.OrderItem) (quarantine.Target, error) {
	none := quarantine.Target{}
	f, err := handle.Open(nil, i.Path, i.Path)
	if errors.Is(err, handle.ErrLink) {
		return none, fmt.Errorf("%s: %w", i.Path, outside.ErrNotRegular)
	}
	if err != nil {
		return none, err
	}
	defer f.Close()
	st, err := handle.Stat(f)
	if err != nil {
		return none, err
	}
	if st.Kind != handle.Regular {
		return none, fmt.Errorf("%s: %w", i.Path, outside.ErrNotRegular)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return none, err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != i.SHA256 {
		return none, errOther
	}
	return quarantine.Target{Path: i.Path, Dev: st.Dev, Ino: st.Ino, Size: st.Size, SHA256: i.SHA256, App: i.App, Reason: "rule " + i.Rule}, nil
}
