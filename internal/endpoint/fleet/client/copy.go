package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// errAgain says that the stream is to be begun again at once.
var errAgain = errors.New("the spool has another name now")

// Copied returns how the server said that this state is a copy, or was restored from an older one; "" while it did not. What the state held
// went up all the same.
func (c *Client) Copied() string {
	if words := c.copied.Load(); words != nil {
		return *words
	}
	return ""
}

// loadTurn reads the turn that was kept. A file that is damaged counts as none: the server takes the state as it is then.
func (c *Client) loadTurn() error {
	b, err := outside.ReadFile(filepath.Join(c.Dir, turnFile), maxStateFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state of the agent: %w", err)
	}
	turn, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		c.Log.Warn("the state of the agent: its turn is damaged, and is counted as none", "error", err)
		return nil
	}
	c.turn.Store(turn)
	return nil
}

// keepTurn keeps the turn of a connection, before anything is said on it.
func (c *Client) keepTurn(turn uint64) error {
	if err := durable.Replace(filepath.Join(c.Dir, turnFile), strconv.AppendUint(nil, turn, 10), 0o600); err != nil {
		return fmt.Errorf("state of the agent: %w", err)
	}
	c.turn.Store(turn)
	return nil
}

// welcomed takes what the server says of our spool.
func (s *stream) welcomed(w protocol.Welcome) error {
	if last := s.Spool.Last(); w.Acked > last { // a server whose turns we do not have yet
		words := fmt.Sprintf("the state of this machine is a copy, or was restored: it has said %d things, and the server has %d of it", last, w.Acked)
		if err := s.reportCopy(words); err != nil && !errors.Is(err, spool.ErrFull) {
			return err
		}
		return s.beginAgain(w.Turn, words)
	}
	if w.Turn != 0 {
		if err := s.keepTurn(w.Turn); err != nil {
			return err
		}
	}
	return s.Spool.Ack(w.Acked)
}

// reportCopy has a gap recorded where the server did not see it for itself.
func (s *stream) reportCopy(words string) error {
	now := s.Now().UTC()
	body, err := protocol.EncodeEvent(&event.Event{ID: event.NewID(), Kind: event.Gap, Time: now, Until: now, Received: now, Connector: "agent", Reason: event.ReasonDuplicate,
		Content: event.Content{Explanation: words}})
	if err != nil {
		return err
	}
	return s.Spool.Add(protocol.Item{Kind: protocol.EventItem, Body: body})
}

// beginAgain goes on with a spool of another name: what is in it is new to the server, whatever its numbers stand for there.
func (s *stream) beginAgain(turn uint64, words string) error {
	if err := s.Spool.Rename(); err != nil {
		return err
	}
	if turn != 0 {
		if err := s.keepTurn(turn); err != nil {
			return err
		}
	}
	s.copied.Store(&words)
	s.Log.Warn("what this machine found goes up under another name", "reason", words)
	return errAgain
}
