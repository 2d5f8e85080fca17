package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	builtin "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/outside"
)

// Stage is how far a new catalog has come.
type Stage string

// The stages. In shadow both catalogs decide and only the old one acts; in canary the new one acts for one group; in all for everybody.
const (
	None    Stage = ""
	Fetched Stage = "fetched" // kept, and not asked
	Shadow  Stage = "shadow"
	Canary  Stage = "canary"
)

// Errors of a Depot.
var (
	ErrOld         = errors.New("the bundle is not newer than what was accepted before")
	ErrExpired     = errors.New("the bundle has expired")
	ErrNoCandidate = errors.New("no new catalog is waiting")
	ErrWatched     = errors.New("another catalog is waiting already")
)

// State is what a Depot remembers. Serial 0 is the catalog that is built into the program.
type State struct {
	Highest   uint64    `json:"highest"`            // ever accepted; nothing lower is accepted again
	InForce   uint64    `json:"in_force"`           //
	Previous  uint64    `json:"previous,omitempty"` // what was in force before: rollback goes there
	Since     time.Time `json:"since,omitzero"`     // when InForce came into force
	Promoted  time.Time `json:"promoted,omitzero"`  // the same when it was promoted: it is watched for a while; not after going back
	Candidate uint64    `json:"candidate,omitempty"`
	Stage     Stage     `json:"stage,omitempty"` // of the candidate
	Staged    time.Time `json:"staged,omitzero"` // when it came to that stage
	Refused   *Refusal  `json:"refused,omitempty"`

	Edition    time.Time `json:"edition,omitzero"`     // of the built-in catalog when what is in force was chosen
	Superseded uint64    `json:"superseded,omitempty"` // was in force when a program came whose built-in catalog is newer
}

// Refusal is the last bundle that was refused or taken back, and why.
type Refusal struct {
	Serial uint64    `json:"serial"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// Depot keeps the bundles of one data directory, and which of them is in force. It belongs to one process at a time, the one that holds the
// journal's lock; others may open it to read.
type Depot struct {
	dir      string
	keys     []string
	edition  time.Time  // of the built-in catalog
	changing sync.Mutex // held from reading the state to writing it
}

// keptBundles is how many bundles stay besides those in use: an administrator can go back to them.
const keptBundles = 4

// OpenDepot opens the depot in the data directory, which need not exist yet. Bundles must be signed by one of the keys.
func OpenDepot(data string, keys []string) *Depot {
	return &Depot{dir: filepath.Join(data, "state", "catalog"), keys: keys, edition: Edition()}
}

// State returns what is in force and what is waiting.
func (d *Depot) State() (State, error) {
	var s State
	b, err := os.ReadFile(filepath.Join(d.dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("catalog state: %w", err)
	}
	return s, nil
}

// change applies f to the state, tells those who must know before anything changes, and makes the result durable.
func (d *Depot) change(f func(s *State) error, tell ...func(before, after State) error) (State, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	s, err := d.State()
	if err != nil {
		return s, err
	}
	before := s
	if err := f(&s); err != nil {
		return before, err
	}
	for _, t := range tell {
		if err := t(before, s); err != nil {
			return before, err
		}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = d.write("state.json", append(b, '\n'))
	}
	if err != nil {
		return s, fmt.Errorf("catalog state: %w", err)
	}
	return s, nil
}

// write puts a file into the depot: after a crash there is the old one or the new one.
func (d *Depot) write(name string, b []byte) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(d.dir, name)); err != nil {
		return err
	}
	folder, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func (d *Depot) path(serial uint64) string {
	return filepath.Join(d.dir, strconv.FormatUint(serial, 10)+".bundle")
}

// Files returns the files of a catalog that is kept, and what its bundle says; 0 is the built-in one. Signature and digests are checked
// each time.
func (d *Depot) Files(serial uint64) (bundle.Info, fs.FS, error) {
	if serial == 0 {
		return bundle.Info{}, builtin.Files, nil
	}
	b, err := readBounded(d.path(serial))
	if err != nil {
		return bundle.Info{}, nil, fmt.Errorf("catalog %d: %w", serial, err)
	}
	info, files, err := bundle.Open(b, d.keys)
	if err == nil && info.Serial != serial {
		err = fmt.Errorf("it is number %d", info.Serial)
	}
	if err != nil {
		return info, nil, fmt.Errorf("catalog %d: %w", serial, err)
	}
	return info, files, nil
}

func readBounded(path string) ([]byte, error) { return outside.ReadFile(path, bundle.MaxSize) }

// Load returns a catalog that is kept.
func (d *Depot) Load(serial uint64) (*catalog.Catalog, bundle.Info, error) {
	info, files, err := d.Files(serial)
	if err != nil {
		return nil, info, err
	}
	c, err := catalog.Load(files)
	if err != nil {
		return nil, info, fmt.Errorf("catalog %d: %w", serial, err)
	}
	return c, info, nil
}

// Accept checks a bundle and keeps it: it must be signed by a trusted key, newer than every bundle before and than the built-in catalog, not expired, and pass its own
// test. What is refused is noted with its reason.
func (d *Depot) Accept(ctx context.Context, b []byte, now time.Time) (bundle.Info, error) {
	info, err := d.accept(ctx, b, now)
	if err != nil && ctx.Err() == nil {
		if errors.Is(err, ErrOld) && d.has(info.Serial) {
			return info, err // the source has nothing new
		}
		_, noted := d.change(func(s *State) error {
			s.Refused = &Refusal{info.Serial, now.UTC(), err.Error()}
			return nil
		})
		err = errors.Join(err, noted)
	}
	return info, err
}

func (d *Depot) has(serial uint64) bool {
	_, err := os.Stat(d.path(serial))
	return err == nil
}

func (d *Depot) accept(ctx context.Context, b []byte, now time.Time) (bundle.Info, error) {
	info, files, err := bundle.Open(b, d.keys)
	if err != nil {
		return info, err
	}
	s, err := d.State()
	switch {
	case err != nil:
		return info, err
	case info.Serial <= s.Highest:
		return info, fmt.Errorf("%w: it is number %d, and number %d was accepted", ErrOld, info.Serial, s.Highest)
	case now.After(info.Expires):
		return info, fmt.Errorf("%w: on %s", ErrExpired, info.Expires.Format(time.DateOnly))
	case info.Created.Before(d.edition) && now.After(d.edition): // else the clock is wrong, and tells nothing
		return info, d.tooOld(info.Created)
	case info.Created.After(now.Add(24 * time.Hour)):
		return info, fmt.Errorf("the bundle was made on %s, which is yet to come", info.Created.Format(time.DateOnly))
	}
	checked, err := Check(ctx, files, "", now)
	if err != nil {
		return info, err
	}
	if failed := checked.Failed(); len(failed) > 0 {
		return info, fmt.Errorf("%w: %d problems, the first: %s", ErrFailsItsTest, len(failed), failed[0])
	}
	if err := d.write(strconv.FormatUint(info.Serial, 10)+".bundle", b); err != nil {
		return info, fmt.Errorf("keep bundle %d: %w", info.Serial, err)
	}
	_, err = d.change(func(s *State) error {
		if info.Serial <= s.Highest { // another came meanwhile
			return fmt.Errorf("%w: number %d was accepted", ErrOld, s.Highest)
		}
		s.Highest = info.Serial
		if s.Candidate == 0 || s.Stage == Fetched {
			s.Candidate, s.Stage, s.Staged = info.Serial, Fetched, now.UTC()
		}
		return nil
	})
	return info, errors.Join(err, d.sweep())
}

// sweep removes the oldest bundles that nobody needs.
func (d *Depot) sweep() error {
	s, err := d.State()
	if err != nil {
		return err
	}
	kept := d.Kept()
	for n, serial := range kept {
		if len(kept)-n <= keptBundles {
			break
		}
		if serial != s.InForce && serial != s.Previous && serial != s.Candidate && serial != s.Superseded {
			if err := os.Remove(d.path(serial)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Kept returns the serial numbers of the bundles that are kept, the oldest first.
func (d *Depot) Kept() []uint64 {
	names, err := filepath.Glob(filepath.Join(d.dir, "*.bundle"))
	if err != nil {
		return nil
	}
	var out []uint64
	for _, name := range names {
		base := filepath.Base(name)
		if n, err := strconv.ParseUint(base[:len(base)-len(".bundle")], 10, 63); err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// Stage puts the newest bundle that is kept, or the one with the number, into shadow.
func (d *Depot) Stage(serial uint64, now time.Time, tell ...func(before, after State) error) (State, error) {
	return d.change(func(s *State) error {
		if serial == 0 {
			serial = s.Highest
		}
		switch {
		case serial == 0:
			return fmt.Errorf("%w: fetch one first", ErrNoCandidate)
		case !d.has(serial):
			return fmt.Errorf("%w: number %d is not kept; kept are %v", ErrNoCandidate, serial, d.Kept())
		case serial <= s.InForce:
			return fmt.Errorf("%w: number %d is in force; rollback goes back", ErrOld, s.InForce)
		case s.Candidate != 0 && s.Candidate != serial && s.Stage != Fetched:
			return fmt.Errorf("%w: number %d is in %s; promote it or roll it back first", ErrWatched, s.Candidate, s.Stage)
		}
		s.Candidate, s.Stage, s.Staged = serial, Shadow, now.UTC()
		return nil
	}, tell...)
}

// Promote takes the candidate one stage on: from shadow to the canary group when there is one and it is not skipped, else to all.
func (d *Depot) Promote(canary bool, now time.Time, tell ...func(before, after State) error) (State, error) {
	return d.change(func(s *State) error {
		switch {
		case s.Candidate == 0 || s.Stage == Fetched:
			return fmt.Errorf("%w: stage one first, so that it is known what it would stop", ErrNoCandidate)
		case s.Stage == Shadow && canary:
			s.Stage, s.Staged = Canary, now.UTC()
			return nil
		}
		s.Previous, s.InForce, s.Since, s.Promoted = s.InForce, s.Candidate, now.UTC(), now.UTC()
		s.Edition, s.Superseded = d.edition, 0
		s.Candidate, s.Stage, s.Staged = 0, None, time.Time{}
		return nil
	}, tell...)
}

// Rollback gives up the candidate; when there is none, it goes back to what was in force before, or to the number that is given (-1 for
// none). This is the only way to a lower number.
func (d *Depot) Rollback(to int64, reason string, now time.Time, tell ...func(before, after State) error) (State, error) {
	return d.change(func(s *State) error {
		back, before := s.InForce, s.InForce
		switch {
		case to >= 0 && (to == 0 || d.has(uint64(to))) && uint64(to) != s.InForce:
			s.Previous, s.InForce, s.Since, s.Promoted = 0, uint64(to), now.UTC(), time.Time{}
			s.Candidate, s.Stage, s.Staged = 0, None, time.Time{}
		case to >= 0:
			return fmt.Errorf("number %d is in force or is not kept; kept are 0 (built in) and %v", to, d.Kept())
		case s.Candidate != 0:
			back = s.Candidate
			s.Candidate, s.Stage, s.Staged = 0, None, time.Time{}
		case s.InForce == 0:
			return errors.New("the built-in catalog is in force: there is nothing to go back to")
		default:
			s.InForce, s.Previous, s.Since, s.Promoted = s.Previous, 0, now.UTC(), time.Time{}
		}
		s.Refused = &Refusal{back, now.UTC(), reason}
		if s.InForce != before {
			s.Edition, s.Superseded = d.edition, 0
		}
		return nil
	}, tell...)
}
