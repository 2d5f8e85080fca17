package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"

	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Times of following: how long to wait for a frame before looking for new streams, after an error, and when stopped for the last frames and
// for bringing their checkpoint out.
const (
	lookEvery   = 500 * time.Millisecond
	retryAfter  = time.Second
	lastFrames  = 30 * time.Second
	lastSending = 5 * time.Second
)

// Run follows the journal until ctx ends, appending each frame once and sending checkpoints out. It returns ErrDiverged when log and
// journal contradict each other: nothing may be appended then. Other errors are retried and shown as health. When it returns nil every frame
// that the journal held when ctx ended is under a checkpoint.
func (l *Ledger) Run(ctx context.Context, r journal.Reader) error {
	if err := l.resume(ctx, r); err != nil {
		if ctx.Err() != nil { // stopped before it began
			return l.settle(context.WithoutCancel(ctx), r)
		}
		l.o.Health.Set("ledger", health.Failed, err.Error(), "run chaperone verify; restore the journal and the ledger from the same backup")
		return err
	}
	var sending sync.WaitGroup
	for _, s := range l.senders {
		sending.Go(func() { s.run(ctx, r) })
	}
	sending.Go(func() { l.reportEvery(ctx, time.Second) })
	for ctx.Err() == nil {
		n, err := l.appendNew(ctx, r)
		switch {
		case err != nil && ctx.Err() == nil:
			l.retry(ctx, r, err)
		case n == 0:
			l.failed.Store(nil)
			l.wait(ctx, r)
		}
	}
	sending.Wait()
	return l.settle(context.WithoutCancel(ctx), r)
}

// settle puts the last frames under a checkpoint and sends it out once. It returns ErrUncovered when it could not within lastFrames.
func (l *Ledger) settle(ctx context.Context, r journal.Reader) error {
	err := l.cover(ctx, r)
	ctx, cancel := context.WithTimeout(ctx, lastSending)
	defer cancel()
	var sending sync.WaitGroup
	for _, s := range l.senders {
		sending.Go(func() { s.last(ctx, r) })
	}
	sending.Wait()
	l.report()
	return err
}

// cover returns when a checkpoint covers every frame of the journal. What fails is tried again, on a log that is read anew: part of what
// failed may be in it.
func (l *Ledger) cover(ctx context.Context, r journal.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, lastFrames)
	defer cancel()
	err := l.resume(ctx, r)
	for {
		left := uint64(0)
		if err == nil {
			left, err = l.uncovered(ctx, r)
		}
		switch {
		case err == nil && left == 0 || errors.Is(err, ErrDiverged):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %d frames after %s; they are in the journal, and the next start takes them up: %w", ErrUncovered, left, lastFrames, errors.Join(ctx.Err(), err))
		}
		pause(ctx, batchAge)
		if err != nil {
			err = l.resume(ctx, r)
		}
	}
}

// uncovered appends what is new, and returns how many frames are under no checkpoint yet.
func (l *Ledger) uncovered(ctx context.Context, r journal.Reader) (uint64, error) {
	if _, err := l.appendNew(ctx, r); err != nil {
		return 0, err
	}
	_, size, err := l.Checkpoint(ctx)
	if err != nil {
		return 0, err
	}
	streams, err := r.Streams()
	if err != nil {
		return 0, err
	}
	left := l.Size() - min(size, l.Size())
	for name, last := range streams {
		left += last - min(l.last[name], last)
	}
	return left, nil
}

// retry shows what failed, waits, and finds out anew what the log holds: part of what failed may be in it.
func (l *Ledger) retry(ctx context.Context, r journal.Reader, err error) {
	why := err.Error()
	l.failed.Store(&why)
	l.report()
	l.o.Log.ErrorContext(ctx, "append to the ledger", "error", err)
	pause(ctx, retryAfter)
	if err := l.resume(ctx, r); err != nil && ctx.Err() == nil {
		l.o.Log.ErrorContext(ctx, "read the ledger", "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// resume finds the last frame of each stream in the log, from its tail backwards, and compares it with the journal's.
func (l *Ledger) resume(ctx context.Context, r journal.Reader) error {
	streams, err := r.Streams()
	if err != nil {
		return fmt.Errorf("follow journal: %w", err)
	}
	size, err := l.reader.IntegratedSize(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	l.size.Store(size)
	found := map[string]uint64{}
	for end := size; end > 0 && len(found) < max(1, len(streams)); { // a log of a journal that is gone says so, too
		index := (end - 1) / layout.EntryBundleWidth
		leaves, err := l.leaves(ctx, index, size)
		if err != nil {
			return err
		}
		if end == size {
			if err := l.sameHashes(ctx, index, size, leaves); err != nil {
				return err
			}
		}
		for _, leaf := range slices.Backward(leaves) {
			h, err := parseLeaf(leaf)
			if err != nil {
				return fmt.Errorf("%w: an entry cannot be read: %w", ErrDiverged, err)
			}
			if _, ok := found[h.Stream]; ok {
				continue
			}
			if err := l.same(ctx, r, h, leaf); err != nil {
				return err
			}
			found[h.Stream] = h.Sequence
		}
		end = index * layout.EntryBundleWidth
	}
	l.last = found
	return nil
}

// sameHashes compares the newest entries with the hashes that the tree has of them: a byte that changed in either shows before anything is
// appended. What lies further back is for verify.
func (l *Ledger) sameHashes(ctx context.Context, index, size uint64, leaves [][]byte) error {
	tile, err := l.reader.ReadTile(ctx, 0, index, layout.PartialTileSize(0, index, size))
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	if len(tile) < len(leaves)*sha256.Size {
		return fmt.Errorf("%w: the tile of the newest entries is too short", ErrDiverged)
	}
	for i, leaf := range leaves {
		if sum := sha256.Sum256(append([]byte{0}, leaf...)); !bytes.Equal(sum[:], tile[i*sha256.Size:][:sha256.Size]) {
			return fmt.Errorf("%w: entry %d is not what the tree was made of", ErrDiverged, index*layout.EntryBundleWidth+uint64(i))
		}
	}
	return nil
}

// Check says whether the journal still holds the newest frame of each of its streams that the log has, before anything is appended to
// either. It returns ErrDiverged when it does not.
func (l *Ledger) Check(ctx context.Context, r journal.Reader) error { return l.resume(ctx, r) }

// same checks that the journal holds the frame of a leaf.
func (l *Ledger) same(ctx context.Context, r journal.Reader, h leafHead, leaf []byte) error {
	for f, err := range r.Frames(ctx, h.Stream, h.Sequence) {
		if err != nil {
			return fmt.Errorf("follow journal: %w", err)
		}
		if f.Head.Sequence == h.Sequence && bytes.Equal(f.HeadRaw, leaf) {
			return nil
		}
		break
	}
	return fmt.Errorf("%w: stream %s, frame %d", ErrDiverged, h.Stream, h.Sequence)
}

// appendNew appends the frames that are not in the log yet and returns how many there were.
func (l *Ledger) appendNew(ctx context.Context, r journal.Reader) (int, error) {
	streams, err := r.Streams()
	if err != nil {
		return 0, err
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		if streams[name] <= l.last[name] {
			continue
		}
		n, err := l.appendStream(ctx, r, name)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (l *Ledger) appendStream(ctx context.Context, r journal.Reader, name string) (int, error) {
	var waiting []tessera.IndexFuture
	total := 0
	settle := func() error {
		var failed error
		for _, future := range waiting {
			index, err := future()
			if err != nil {
				failed = fmt.Errorf("append: %w", err)
			}
			if failed != nil {
				continue // what came after it is found in the log when it is read again
			}
			l.size.Store(max(l.size.Load(), index.Index+1))
			l.last[name]++
			total++
		}
		waiting = waiting[:0]
		return failed
	}
	next := l.last[name] + 1
	// What was handed to the log is waited for, whatever ends the reading: a frame whose fate is not known would be appended again.
	lasting := context.WithoutCancel(ctx)
	for f, err := range r.Frames(ctx, name, next) {
		if err != nil {
			return total, errors.Join(fmt.Errorf("follow journal: %w", err), settle())
		}
		if f.Head.Sequence != next {
			return total, errors.Join(fmt.Errorf("%w: stream %s has frame %d where %d must follow", ErrDiverged, name, f.Head.Sequence, next), settle())
		}
		next++
		waiting = append(waiting, l.add(lasting, tessera.NewEntry(bytes.Clone(f.HeadRaw))))
		if len(waiting) == batchSize {
			if err := settle(); err != nil {
				return total, err
			}
		}
	}
	return total, settle()
}

// wait returns when any stream has a new frame, or it is time to look for new streams.
func (l *Ledger) wait(ctx context.Context, r journal.Reader) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	streams, err := r.Streams()
	if err != nil || len(streams) == 0 {
		<-ctx.Done()
		return
	}
	var waiting sync.WaitGroup
	for name := range streams {
		waiting.Go(func() {
			if r.Wait(ctx, name, l.last[name]) == nil {
				cancel()
			}
		})
	}
	<-ctx.Done()
	waiting.Wait()
}
