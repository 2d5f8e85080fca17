// Package shortfall says whether a record is shorter than it is known to have been. Journal and ledger can vanish together, or be put back from
// an older backup, and are then consistent with each other: what was acknowledged outside, what was searched for day rolls and what the
// projections hold still know better.
package shortfall

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
)

// ErrLost says that no record is left of those that are known to have been.
var ErrLost = errors.New("the record is gone")

// Act is the action of the act that the record was found shorter than it was.
const Act = "record.short"

// Item is the health item of a record that is shorter than it was.
const Item = "record"

// Do says what helps when a record is shorter than it was.
const Do = "Stop serve, keep a copy of the data directory as it is, restore journal/ and ledger/ of the newest backup and run chaperone verify with a checkpoint from outside. " +
	"If the older backup was restored on purpose, the act record.short keeps what was found: stop serve and move state/checkpoints.json and state/rolls.json away."

// lost says what helps when it is gone.
const lost = "restore the data directory from its backup; if it is really meant to begin anew, move the whole data directory away and run chaperone quickstart"

// Frames returns how many frames a journal holds, of all its streams.
func Frames(r journal.Reader) (uint64, error) {
	streams, err := r.Streams()
	n := uint64(0)
	for _, last := range streams {
		n += last
	}
	return n, err
}

// Gone returns ErrLost when data/journal holds nothing and data/state knows that it did. It reads no frame.
func Gone(data string) error {
	segments, err := filepath.Glob(filepath.Join(data, "journal", "*", "*.seg"))
	if err != nil {
		return err
	}
	for _, s := range segments {
		if info, err := os.Stat(s); err != nil || info.Size() > 0 {
			return nil
		}
	}
	known, err := ledger.Known(data)
	if err != nil {
		return nil // whoever opens the ledger says what is damaged
	}
	_, err = Against(known, 0)
	return err
}

// Look compares a journal with what data/state knows of it. What it returns is "" when nothing is missing; the error is ErrLost when all is.
func Look(data string, r journal.Reader) (string, error) {
	known, err := ledger.Known(data)
	if err != nil {
		return "", nil // whoever opens the ledger says what is damaged
	}
	frames, err := Frames(r)
	if err != nil {
		return "", nil // whoever opens the journal says so
	}
	return Against(known, frames)
}

// Against compares a number of frames with what is known from elsewhere.
func Against(known ledger.Reach, frames uint64) (string, error) {
	if known.Leaves <= frames {
		return "", nil
	}
	if frames == 0 {
		return "", fmt.Errorf("%w: the journal holds nothing, and %s; %s", ErrLost, words(known), lost)
	}
	return fmt.Sprintf("the record is shorter than it was: the journal holds %d frames, and %s", frames, words(known)), nil
}

func words(k ledger.Reach) string {
	s := fmt.Sprintf("%s knows of %d frames", k.By, k.Leaves)
	if !k.Time.IsZero() {
		s = fmt.Sprintf("the newest checkpoint that %s acknowledged (%s) covers %d frames", k.By, k.Time.UTC().Format(time.RFC3339), k.Leaves)
	}
	return s
}
