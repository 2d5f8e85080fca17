package server

import (
	"context"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/health"
)

// keysItem is the health item of the keys folder.
const keysItem = "keys"

const restoreKeys = "Stop serve, restore the keys folder from its backup, run chaperone rebuild: what is sealed under a key that comes back is readable again."

// keysHealth says how many records are known to be unreadable because their keys are missing.
func (s *Store) keysHealth(ctx context.Context) error {
	n, err := s.projections.KeysLost(ctx)
	switch {
	case err != nil:
		return err
	case n > 0:
		detail := fmt.Sprintf("content not readable: its key is missing from keys/roots, of %d records", n)
		s.Log.Error(detail, "do", restoreKeys)
		s.Board.Set(keysItem, health.Failed, detail, restoreKeys)
	case s.Board.State(keysItem) != "":
		s.Board.Set(keysItem, health.OK, "", "")
	}
	return nil
}
