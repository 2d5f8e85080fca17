package archive_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/archivetest"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// ill is a projection in memory that fails as often as it is told, in one of its methods.
type ill struct {
	mu     sync.Mutex
	where  string
	times  int
	seen   []event.ID
	at     journal.Position
	resets int
}

func (p *ill) fails(where string) error {
	if p.where == where && p.times > 0 {
		p.times--
		return errDriver
	}
	return nil
}

func (p *ill) Apply(_ context.Context, entries []archive.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fails("apply"); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Position.Sequence > p.at.Sequence || e.Position.Sequence == p.at.Sequence && e.Position.Record > p.at.Record {
			p.seen, p.at = append(p.seen, e.Header.ID), e.Position
		}
	}
	return nil
}

func (p *ill) Position(context.Context, string) (journal.Position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.fails("position")
}

func (p *ill) Reset(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fails("reset"); err != nil {
		return err
	}
	p.seen, p.at = nil, journal.Position{}
	p.resets++
	return nil
}

// torn is a log whose frames or streams cannot be read a few times.
type torn struct {
	*archivetest.Log
	frames, streams int
}

func (l *torn) Streams() (map[string]uint64, error) {
	if l.streams--; l.streams >= 0 {
		return nil, errDriver
	}
	return l.Log.Streams()
}

func (l *torn) Frames(ctx context.Context, stream string, from uint64) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		for f, err := range l.Log.Frames(ctx, stream, from) {
			if f.Head.Sequence == 3 {
				if l.frames--; l.frames >= 0 {
					yield(journal.Frame{}, errDriver)
					return
				}
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// TestAProjectorGoesOnWhereItFailed: whatever fails, however often, each record is applied once and in order, and a failure is said.
func TestAProjectorGoesOnWhereItFailed(t *testing.T) {
	for name, c := range map[string]struct {
		where           string
		frames, streams int
	}{"apply": {where: "apply"}, "position": {where: "position"}, "a frame": {frames: 2}, "the streams": {streams: 2}} {
		t.Run(name, func(t *testing.T) {
			l := &torn{archivetest.NewLog(), c.frames, c.streams}
			var want []event.ID
			for i := range 6 {
				e := message(i, "alice", "bob", "x")
				want = append(want, e.ID)
				if err := l.Record(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			well, sick := &ill{}, &ill{where: c.where, times: 2}
			p := archive.NewProjector(l, l.Log, clock.System{}, slog.New(slog.DiscardHandler), well, sick)
			for range 2 {
				if err := p.Sync(t.Context()); !errors.Is(err, errDriver) {
					t.Errorf("the failure gives %v", err)
				}
			}
			if err := p.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(well.seen, want) || !slices.Equal(sick.seen, want) {
				t.Errorf("applied %d and %d of %d", len(well.seen), len(sick.seen), len(want))
			}
			if lag, err := p.Lag(t.Context()); err != nil || lag.Frames != 0 || lag.Behind != 0 {
				t.Errorf("lag %+v (%v)", lag, err)
			}
		})
	}
}

// TestAProjectorThatFailsToEmpty says so, and is rebuilt by the next try.
func TestAProjectorThatFailsToEmpty(t *testing.T) {
	l := archivetest.NewLog()
	e := message(1, "alice", "bob", "x")
	if err := l.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	sick := &ill{where: "reset", times: 2, at: journal.Position{Sequence: 99}} // of a longer journal
	p := archive.NewProjector(l, l, clock.System{}, slog.New(slog.DiscardHandler), sick)
	if err := p.Sync(t.Context()); !errors.Is(err, errDriver) {
		t.Errorf("sync: %v", err)
	}
	if err := p.Rebuild(t.Context()); !errors.Is(err, errDriver) {
		t.Errorf("rebuild: %v", err)
	}
	if err := p.Sync(t.Context()); err != nil || !slices.Equal(sick.seen, []event.ID{e.ID}) || sick.resets != 1 {
		t.Errorf("then %v: applied %v after %d resets", err, sick.seen, sick.resets)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Rebuild(ctx); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("rebuild under a context that ended: %v", err)
	}
	if lag, err := archive.NewProjector(&torn{l, 0, 1}, l, clock.System{}, slog.New(slog.DiscardHandler)).Lag(t.Context()); !errors.Is(err, errDriver) {
		t.Errorf("lag of what cannot be read is %+v, %v", lag, err)
	}
}

// TestRunTriesAgain after every error, follows what comes, and ends with its context even while it waits to try again.
func TestRunTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &torn{archivetest.NewLog(), 0, 3}
		sick := &ill{where: "apply", times: 3}
		p := archive.NewProjector(l, l.Log, clock.System{}, slog.New(slog.DiscardHandler), sick)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		var want []event.ID
		for i := range 5 {
			e := message(i, "alice", "bob", "x")
			want = append(want, e.ID)
			if err := l.Record(ctx, e); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second) // of the bubble's clock
			synctest.Wait()
			sick.mu.Lock()
			if !slices.Equal(sick.seen, want) {
				t.Errorf("after record %d: %d are applied", i, len(sick.seen))
			}
			sick.where, sick.times = "apply", i
			sick.mu.Unlock()
		}
		sick.mu.Lock()
		sick.times = 1 << 30 // for ever
		sick.mu.Unlock()
		if err := l.Record(ctx, message(9, "alice", "bob", "x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run ends with %v", err)
		}
	})
}
