package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Updater takes releases of this program, and proves them for itself: that a server offers one says nothing. The errors of Offered and Piece say why a
// release is refused.
type Updater interface {
	Hello() *protocol.Update
	Welcomed()
	Offered(ctx context.Context, note []byte) (*protocol.Get, error)
	Piece(ctx context.Context, p protocol.Piece) (*protocol.Get, error)
}

// errOffer says why the stream ends.
var errOffer = errors.New("the server offered a program for this agent, which was refused")

// errNoUpdates is why an agent without a release key refuses whatever is offered.
var errNoUpdates = errors.New("this machine takes no releases of its agent: its configuration names no key that signs them (agent.update.key)")

// updates is how this machine does with releases; nil where it takes none.
func (s *stream) updates() *protocol.Update {
	if s.Update == nil {
		return nil
	}
	return s.Update.Hello()
}

// offer takes a release that the server offers, or refuses it and hangs up.
func (s *stream) offer(ctx context.Context, note []byte) error {
	if s.Update == nil {
		return s.refuseOffer(note, errNoUpdates)
	}
	want, err := s.Update.Offered(ctx, bytes.Clone(note))
	if err != nil {
		return s.refuseOffer(note, err)
	}
	s.offered = bytes.Clone(note)
	return s.wanted(want)
}

// pieceOfRelease gives a piece that is of no bundle to whom it may be for.
func (s *stream) pieceOfRelease(ctx context.Context, p protocol.Piece) error {
	if s.Update == nil || s.offered == nil {
		return nil
	}
	want, err := s.Update.Piece(ctx, p)
	if err != nil {
		return s.refuseOffer(s.offered, err)
	}
	return s.wanted(want)
}

// wanted asks for the next piece; where there is none, something was decided, and the server is told.
func (s *stream) wanted(g *protocol.Get) error {
	if g == nil {
		return s.tellUpdate()
	}
	return s.send(protocol.GetFrame, g.Encode())
}

func (s *stream) tellUpdate() error {
	return s.sendJSON(protocol.AppliedFrame, protocol.Applied{Scope: protocol.ReleaseScope, Update: s.Update.Hello()})
}

// TellUpdate tells the server how this machine does with releases, where there is a connection: with the next one it is told in any case.
func (c *Client) TellUpdate() {
	if s := c.current.Load(); s != nil {
		if err := s.tellUpdate(); err != nil {
			c.Log.Debug("say what became of a release", "error", err)
		}
	}
}

// OfferRefused is the act of refusing a program for the agent.
const OfferRefused = "agent.update.refuse"

// refuseOffer puts on record that the server offered a program which this agent does not take. The stream ends after it, and what was refused before
// is not put on record again, so that no server fills spool and journal with offers.
func (s *stream) refuseOffer(note []byte, why error) error {
	sum := sha256.Sum256(note)
	digest := hex.EncodeToString(sum[:])
	ends := fmt.Errorf("%w: %w", errOffer, why)
	s.Log.Error("the server offered a program for this agent, which was refused", "reason", why)
	now := s.Now().UTC()
	left, isNew := s.offers.take(digest, now)
	if !isNew {
		return ends
	}
	reason := why.Error()
	details := []event.Fact{{Name: "sha256", Value: digest}, {Name: "reason", Value: reason[:min(len(reason), 500)]}}
	if left > 0 {
		details = append(details, event.Fact{Name: "not_recorded", Value: strconv.Itoa(left)})
	}
	body, err := protocol.EncodeEvent(&event.Event{ID: event.NewID(), Kind: event.Act, Phase: OfferRefused, Time: now, Received: now, Connector: "agent", Host: event.Host{Name: s.Machine.Name},
		Content: event.Content{Act: &event.ActDetail{Action: OfferRefused, Object: "another program for the agent", Details: details}}})
	if err == nil {
		err = s.Spool.Add(protocol.Item{Kind: protocol.EventItem, Body: body})
	}
	if err != nil {
		s.offers.forget(digest)
	}
	return errors.Join(err, s.offers.keep(), ends)
}

// refusals remembers which offers were refused, so that each is recorded once, and so many in a day.
type refusals struct {
	path string
	refusalsKept
}

// refusalsKept is what of it is kept on disk.
type refusalsKept struct {
	Known []string  `json:"known"` // digests of what is on record
	Since time.Time `json:"since"` // of the day that is counted
	Count int       `json:"count"` // recorded in it
	Left  int       `json:"left"`  // not recorded since
}

// Bounds on what is put on record of offers.
const (
	mostKnown = 64
	mostDaily = 16
)

// loadRefusals reads what was kept. What cannot be read counts as nothing: offers are refused all the same.
func loadRefusals(dir string) *refusals {
	r := &refusals{path: filepath.Join(dir, offersFile)}
	if b, err := outside.ReadFile(r.path, maxStateFile); err == nil {
		if json.Unmarshal(b, &r.refusalsKept) != nil {
			r.refusalsKept = refusalsKept{}
		}
	}
	return r
}

// take reports whether an offer is to be put on record, and how many were not since the last that was.
func (r *refusals) take(digest string, now time.Time) (left int, record bool) {
	if age := now.Sub(r.Since); age < 0 || age >= 24*time.Hour {
		r.Since, r.Count = now, 0
	}
	if slices.Contains(r.Known, digest) {
		return 0, false
	}
	if r.Count >= mostDaily {
		r.Left++
		return 0, false
	}
	r.Count++
	left, r.Left = r.Left, 0
	r.Known = append(r.Known, digest)
	r.Known = r.Known[max(0, len(r.Known)-mostKnown):]
	return left, true
}

// forget has an offer put on record when it comes again, as it could not be now.
func (r *refusals) forget(digest string) {
	r.Known = slices.DeleteFunc(r.Known, func(s string) bool { return s == digest })
}

func (r *refusals) keep() error {
	b, err := json.Marshal(r.refusalsKept)
	if err != nil {
		return err
	}
	return durable.Replace(r.path, b, 0o600)
}
