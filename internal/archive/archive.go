package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Errors of Open, and of looks.
var (
	ErrNoPurpose = errors.New("reading content needs a purpose")
	ErrNotReader = errors.New("this account may not read content")
	// ErrKeyLost says that content is there and its key is not.
	ErrKeyLost = errors.New("the content is not readable: its key is missing from the keys folder")
	// ErrUnrecorded says that a look could not be recorded, and was not had.
	ErrUnrecorded = errors.New("could not be recorded")
)

// maxPurpose bounds the words of a purpose, in bytes.
const maxPurpose = 1000

// Account is who looks.
type Account struct {
	Name  string
	Reads bool // has a role that reads; administrators do not
}

// Driver is where an Archive keeps what it knows. One value usually is the first three.
type Driver struct {
	Records      Records
	Catalogue    Catalogue
	Counts       Counts
	Observations Observations // nil: none are kept
}

// Archive answers questions about the record.
type Archive struct {
	driver Driver
	acts   event.Recorder
	clock  clock.Clock
	roll   *pseudonym.Roll // nil: no pseudonyms
	veil   bool            // views show them
}

// New returns an archive over a driver. Every look at content is recorded through acts first.
func New(driver Driver, acts event.Recorder, c clock.Clock) *Archive {
	return &Archive{driver: driver, acts: acts, clock: c}
}

// Open lets an account look at content for a stated purpose. Each look through the View is an act of its own in the journal.
func (a *Archive) Open(_ context.Context, who Account, purpose string) (*View, error) {
	purpose = strings.TrimSpace(purpose)
	switch {
	case who.Name == "" || !who.Reads:
		return nil, fmt.Errorf("open archive: %w: %q", ErrNotReader, who.Name)
	case purpose == "":
		return nil, ErrNoPurpose
	case len(purpose) > maxPurpose:
		return nil, fmt.Errorf("open archive: the purpose is longer than %d bytes", maxPurpose)
	}
	return &View{archive: a, who: who, purpose: purpose, seen: map[string]bool{}, known: map[pseudonym.Identity]bool{}}, nil
}

// Verdicts counts records by day, kind and verdict in [from, to).
func (a *Archive) Verdicts(ctx context.Context, from, to time.Time) ([]DayCount, error) {
	return a.driver.Counts.Verdicts(ctx, from, to)
}

// Captures returns the accounts (law 3) of the days in [from, to).
func (a *Archive) Captures(ctx context.Context, from, to time.Time) ([]Capture, error) {
	return a.driver.Counts.Captures(ctx, from, to)
}

// Apps sums the messengers seen, without names of people and hosts.
func (a *Archive) Apps(ctx context.Context) ([]AppCount, error) { return a.driver.Counts.Apps(ctx) }

// View is a reader with a purpose. It is safe for concurrent use. What was looked at once through a View is not recorded again.
type View struct {
	archive *Archive
	who     Account
	purpose string

	mu    sync.Mutex
	seen  map[string]bool
	known map[pseudonym.Identity]bool // identities that this reader knows
}

// maxSeen bounds how many different looks one View remembers; beyond, looks are recorded again.
const maxSeen = 1000

// Look makes an act that object was looked at durable. The methods of View call it themselves; packages that give content from elsewhere
// (search, exports, files) call it before they return anything.
func (v *View) Look(ctx context.Context, object string) error {
	v.mu.Lock()
	known := v.seen[object]
	v.mu.Unlock()
	if known {
		return nil
	}
	if err := v.record(ctx, &event.ActDetail{Action: ActRead, Object: object, Purpose: v.purpose}); err != nil {
		return fmt.Errorf("record the look at %s: %w", object, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.seen) >= maxSeen {
		clear(v.seen)
	}
	v.seen[object] = true
	return nil
}

// record makes an act of this reader durable.
func (v *View) record(ctx context.Context, a *event.ActDetail) error {
	now := v.archive.clock.Now()
	return v.archive.acts.Record(ctx, &event.Event{
		ID: event.NewID(), Kind: event.Act, Phase: a.Action, Time: now, Received: now,
		From:    event.Party{Handle: v.who.Name},
		Content: event.Content{Act: a},
	})
}

// Account returns who looks.
func (v *View) Account() Account { return v.who }

// Purpose returns why.
func (v *View) Purpose() string { return v.purpose }
