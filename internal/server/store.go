// Package server builds, starts and stops everything that a configuration names, and opens a data directory for commands that run without
// it.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/ledger"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/server/keyring"
	"github.com/chaperone-im/chaperone/internal/server/shortfall"
	"github.com/chaperone-im/chaperone/internal/storage/file"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// Store is a data directory opened by the one process that writes to it. The parts that read are nil when no compliance key is unlocked.
type Store struct {
	Dir      string
	Journal  *file.Journal
	Recorder *journal.Recorder
	Ledger   *ledger.Ledger
	Book     *account.Book
	People   *People
	Board    *health.Board
	Clock    clock.Clock
	Log      *slog.Logger

	Projector *archive.Projector
	Archive   *archive.Archive // as the command line reads
	Pages     *archive.Archive // as the console reads
	Searcher  *search.Searcher
	Holds     *retention.Holds
	Keeper    *retention.Keeper
	opener    *seal.TreeOpener

	roller      *ledger.Roller
	roll        *pseudonym.Roll // who is known; nil where nothing is read
	names       *file.Names
	projections *sqlite.Store
	observed    *sqlite.Observations
	remade      []remade
	frames      uint64 // that the journal held when it was opened
	lastRoll    func() // ends the closing of days
	started     func() // ends what runs beside
	running     sync.WaitGroup
}

// OpenStore opens the data directory of a configuration. What was cut off the journal after a crash becomes a record.
func OpenStore(ctx context.Context, c *config.Config, classes Classes, board *health.Board, log *slog.Logger) (*Store, error) {
	s := &Store{Dir: c.Data(), Board: board, Clock: clock.System{}, Log: log}
	if err := s.open(ctx, c, classes); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Classes gives the retention class of an event.
type Classes func(e *event.Event) (retention.Class, bool)

func (s *Store) open(ctx context.Context, c *config.Config, classes Classes) error {
	public, private, err := keyring.Keys(c)
	if err != nil {
		return err
	}
	if err := shortfall.Gone(s.Dir); err != nil { // before a new journal takes its place
		return err
	}
	var cut *file.Cut
	if s.Journal, cut, err = file.Open(s.Dir, file.Options{Clock: s.Clock}); err != nil {
		return err
	}
	less, err := shortfall.Look(s.Dir, s.Journal)
	if err != nil {
		return err
	}
	if s.frames, err = shortfall.Frames(s.Journal); err != nil {
		return err
	}
	if s.names, err = file.OpenNames(s.Dir); err != nil {
		return err
	}
	sealer, err := seal.NewSealer(c.KeysDir(), public, s.Clock)
	if err != nil {
		return err
	}
	s.Recorder = journal.NewRecorder(s.Journal, sealer, s.names, s.Clock)
	if s.Book, err = account.Open(s.Dir, s.Clock); err != nil {
		return err
	}
	if s.People, err = LoadPeople(c); err != nil {
		return err
	}
	if err := s.openLedger(ctx, c); err != nil {
		return err
	}
	// Before the first record: what is appended to a journal that lost frames would take their places.
	if err := s.Ledger.Check(ctx, s.Journal); errors.Is(err, ledger.ErrDiverged) {
		return fmt.Errorf("%w; run chaperone verify on a copy, and restore journal and ledger from the same backup", err)
	}
	if err := s.checkNames(ctx); err != nil {
		return err
	}
	if cut != nil {
		if err := s.recordCut(ctx, cut); err != nil {
			return err
		}
	}
	if private != nil {
		if err := s.openReading(ctx, c, private, public, classes); err != nil {
			return err
		}
	}
	return errors.Join(s.short(ctx, less), s.recordRemade(ctx))
}

func (s *Store) recordCut(ctx context.Context, cut *file.Cut) error {
	now, kept := s.Clock.Now(), "nowhere: it could not be written"
	if cut.Kept != "" {
		kept = "state/" + filepath.Base(cut.Kept)
	}
	return s.Recorder.Record(ctx, &event.Event{Kind: event.Gap, Time: now, Until: now, Connector: "journal", Reason: event.ReasonCut,
		Content: event.Content{Explanation: fmt.Sprintf("a torn last frame of %d bytes was cut off %s at %d; nobody was acknowledged for it; the bytes are kept: %s", cut.Bytes, filepath.Base(cut.Segment), cut.Offset, kept)}})
}

func (s *Store) openLedger(ctx context.Context, c *config.Config) error {
	origin := c.Ledger.Origin
	if origin == "" {
		id, err := installID(s.Dir)
		if err != nil {
			return err
		}
		origin = "chaperone/" + id
	}
	// Before any key is made anew: an error after that would keep the act of it from the record.
	if err := errors.Join(keyring.LedgerKeyLost(s.Dir, c.KeysDir()), ledger.CheckMemory(s.Dir)); err != nil {
		return err
	}
	s.sayNew(filepath.Join(c.KeysDir(), "ledger.key"), "checkpoints kept outside were signed by another key, and prove nothing about what is here")
	key, err := ledger.LoadOrCreateKey(c.KeysDir(), origin, s.Clock.Now)
	if err != nil {
		return err
	}
	o := ledger.Options{Log: s.Log, Health: s.Board, Now: s.Clock.Now, Every: 2 * time.Second}
	for _, spec := range c.Ledger.Checkpoints {
		r, err := recipientOf(c, spec)
		if err != nil {
			return err
		}
		o.Recipients = append(o.Recipients, r)
	}
	if s.Ledger, err = ledger.Open(ctx, s.Dir, key, o); err != nil {
		return err
	}
	if err := s.publish(key, c.KeysDir()); err != nil {
		return err
	}
	s.sayNew(filepath.Join(c.KeysDir(), "roll.key"), "roots of day rolls from before cannot be checked any more")
	rollKey, err := file.LoadOrCreateSecret(filepath.Join(c.KeysDir(), "roll.key"), 32)
	if err != nil {
		return err
	}
	s.roller, err = ledger.NewRoller(s.Dir, s.Journal, s.Recorder, rollKey, s.Clock.Now, s.Log)
	return err
}

// installID returns the random id of a data directory, made at its first use.
func installID(dir string) (string, error) {
	path := filepath.Join(dir, "state", "install-id")
	raw, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var b [4]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return id, durable.Create(path, []byte(id+"\n"), 0o640)
}

func (s *Store) openReading(ctx context.Context, c *config.Config, private *seal.PrivateKey, public []*seal.PublicKey, classes Classes) error {
	// Projections hold what records say. The file beside them is half of their key: without the compliance key they cannot be read.
	salt, err := sqlite.LoadKey(filepath.Join(s.Dir, "state", "projections.key"))
	if err != nil {
		return err
	}
	key, err := private.Derive(salt, "chaperone projections v1", sqlite.KeySize)
	if err != nil {
		return err
	}
	if s.projections, err = sqlite.Open(filepath.Join(s.Dir, "projections"), key, s.Log); err != nil {
		return err
	}
	if err := s.projectedMore(ctx); err != nil {
		return err
	}
	if err := s.openObservations(private, salt); err != nil {
		return err
	}
	s.sayNew(filepath.Join(c.KeysDir(), "pseudonyms.key"), "people have other pseudonyms than before")
	roll, err := newRoll(c, private)
	if err != nil {
		return err
	}
	s.roll = roll
	s.People.Enrol(roll)
	s.opener = seal.NewOpener(c.KeysDir(), private, public)
	return s.readOrRebuild(ctx, c, classes)
}

// Start runs ledger and projector beside the caller until Close.
func (s *Store) Start(ctx context.Context) {
	ctx, s.started = context.WithCancel(context.WithoutCancel(ctx))
	rolling, endRolls := context.WithCancel(ctx)
	rolled := make(chan struct{})
	s.lastRoll = func() { endRolls(); <-rolled }
	go func() { defer close(rolled); s.roller.Run(rolling) }()
	s.run(func() {
		if err := s.Ledger.Run(ctx, s.Journal); err != nil {
			s.Log.Error("ledger stopped", "error", err)
			s.Board.Set("ledger", health.Failed, err.Error(), "Do not delete anything. Run chaperone verify on a copy of the data directory.")
		}
	})
	if s.Projector != nil {
		s.run(func() {
			if err := s.Projector.Run(ctx); err != nil && ctx.Err() == nil {
				s.Board.Set("projections", health.Failed, err.Error(), "Search and pages stand still; records are still made. Run chaperone rebuild.")
			}
		})
	}
}

func (s *Store) run(f func()) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		f()
	}()
}

// Close stops what Start began, in order: first everything that records, and the journal's writer, so that there is a last frame; then the
// ledger, once its checkpoint covers that; the journal itself last, because everything else reads it.
func (s *Store) Close() error {
	var errs []error
	if s.started != nil {
		s.lastRoll()
		s.Journal.Drain()
		s.started()
		s.running.Wait()
	}
	if s.Ledger != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, s.Ledger.Close(ctx))
	}
	if s.projections != nil {
		errs = append(errs, s.projections.Close())
	}
	if s.observed != nil {
		errs = append(errs, s.observed.Close())
	}
	if s.names != nil {
		errs = append(errs, s.names.Close())
	}
	if s.Journal != nil {
		errs = append(errs, s.Journal.Close())
	}
	return errors.Join(errs...)
}
