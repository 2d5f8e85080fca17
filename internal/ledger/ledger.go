// Package ledger makes the journal provable: a tlog-tiles Merkle log (C2SP) with one leaf per journal frame, whose signed checkpoints are sent
// where the administrator cannot reach them.
//
// Run follows the journal and appends each frame's head once, in each stream's order; after a crash it finds out from the log itself what is
// in it. A checkpoint over what was appended is signed within a second. Each outlet gets the checkpoints together with the record hashes
// since the last one it acknowledged, so that a verifier who holds them can name the record that was changed (see docs/reference/proof-format.md).
package ledger

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/health"
)

// ErrDiverged says that the log holds other frames than the journal: one of the two was tampered with or restored from an older copy.
var ErrDiverged = errors.New("ledger: the log and the journal do not hold the same frames")

// ErrUncovered says that the ledger stopped with frames under no checkpoint.
var ErrUncovered = errors.New("ledger: stopped with frames outside the last checkpoint")

// Intervals of the log: a frame waits at most batchAge to be written, and a checkpoint follows within two checkpointEvery.
const (
	batchAge        = 25 * time.Millisecond
	batchSize       = 256
	checkpointEvery = 200 * time.Millisecond
	collectEvery    = time.Minute
)

// Options of a Ledger. All are optional but Now.
type Options struct {
	Recipients []Recipient   // who gets the checkpoints
	Every      time.Duration // least time between two bundles to the same recipient, 10 s when zero
	Log        *slog.Logger
	Health     *health.Board
	Now        func() time.Time
}

// Ledger is the log of one data directory. One process has it open.
type Ledger struct {
	dir     string // the data directory
	key     *Key
	o       Options
	add     tessera.AddFn
	stop    func(context.Context) error
	cancel  context.CancelFunc
	reader  tessera.LogReader
	size    atomic.Uint64          // leaves appended
	last    map[string]uint64      // sequence of the last frame in the log, by stream; owned by Run
	failed  atomic.Pointer[string] // why appending does not work at present
	senders []*sender
	state   *progress
}

// Open opens or creates the log under dir/ledger.
func Open(ctx context.Context, dir string, key *Key, o Options) (*Ledger, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Health == nil {
		o.Health = health.NewBoard(o.Now)
	}
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	hear(o.Log)
	l := &Ledger{dir: dir, key: key, o: o, last: map[string]uint64{}}
	if err := l.checkKey(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := sweep(filepath.Join(dir, "ledger")); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(dir, "ledger")})
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	appender, stop, reader, err := tessera.NewAppender(inner, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(key.plain, key.timed).
		WithBatching(batchSize, batchAge).
		WithCheckpointInterval(checkpointEvery).
		WithCheckpointRepublishInterval(0).
		WithGarbageCollectionInterval(collectEvery).
		WithShutdownTimeout(5*time.Second))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.add, l.stop, l.cancel, l.reader = appender.Add, stop, cancel, reader
	size, err := reader.IntegratedSize(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.size.Store(size)
	if l.state, err = loadProgress(progressPath(dir)); err != nil {
		cancel()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	for _, r := range o.Recipients {
		l.senders = append(l.senders, &sender{l: l, to: r})
	}
	l.report()
	return l, nil
}

// checkKey refuses a key that did not sign what is there: two keys in one log prove nothing.
func (l *Ledger) checkKey() error {
	raw, err := os.ReadFile(filepath.Join(l.dir, "ledger", layout.CheckpointPath))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = l.open(raw)
	return err
}

func (l *Ledger) open(raw []byte) (uint64, error) {
	v, err := note.NewVerifier(l.key.verifier)
	if err != nil {
		return 0, err
	}
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		return 0, fmt.Errorf("the checkpoint was not signed by this key: %w", err)
	}
	var size uint64
	lines := strings.SplitN(n.Text, "\n", 3)
	if len(lines) < 3 {
		return 0, errors.New("the checkpoint is malformed")
	}
	_, err = fmt.Sscan(lines[1], &size)
	return size, err
}

// Checkpoint returns the newest signed checkpoint and the number of leaves under it.
func (l *Ledger) Checkpoint(ctx context.Context) ([]byte, uint64, error) {
	raw, err := l.reader.ReadCheckpoint(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("read checkpoint: %w", err)
	}
	size, err := l.open(raw)
	return raw, size, err
}

// Origin returns the name of the log.
func (l *Ledger) Origin() string { return l.key.Origin() }

// SignedAt returns when a checkpoint of this log was signed; zero when it is none of this log.
func (l *Ledger) SignedAt(checkpoint []byte) time.Time { return l.key.SignedAt(checkpoint) }

// Size returns the number of frames in the log.
func (l *Ledger) Size() uint64 { return l.size.Load() }

// Close stops the log. Run must have returned: it has left a checkpoint over everything it appended.
func (l *Ledger) Close(ctx context.Context) error {
	err := l.stop(ctx)
	l.cancel()
	if err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// leafHead is what the ledger reads back of a leaf.
type leafHead struct {
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"time"`
}

// leaves returns the data of the leaves of one entry bundle, of a log with that size.
func (l *Ledger) leaves(ctx context.Context, index, size uint64) ([][]byte, error) {
	raw, err := l.reader.ReadEntryBundle(ctx, index, layout.PartialTileSize(0, index, size))
	if err != nil {
		return nil, fmt.Errorf("read entries %d: %w", index, err)
	}
	var out [][]byte
	for len(raw) >= 2 {
		n := int(binary.BigEndian.Uint16(raw))
		if len(raw) < 2+n {
			break
		}
		out = append(out, raw[2:2+n])
		raw = raw[2+n:]
	}
	if want := min(layout.EntryBundleWidth, size-index*layout.EntryBundleWidth); uint64(len(out)) < want {
		return nil, fmt.Errorf("read entries %d: %d of %d", index, len(out), want)
	}
	return out[:min(layout.EntryBundleWidth, size-index*layout.EntryBundleWidth)], nil
}

func parseLeaf(leaf []byte) (leafHead, error) {
	var h leafHead
	if err := json.Unmarshal(leaf, &h); err != nil {
		return h, fmt.Errorf("leaf is no frame head: %w", err)
	}
	return h, nil
}
