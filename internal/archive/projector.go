package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Opener opens sealed contents.
type Opener interface {
	Open(sealed, context []byte) ([]byte, error)
}

// Bounds of what is applied at once.
const (
	batchRecords = 2000
	batchBytes   = 8 << 20
)

// Intervals of Run.
const (
	newStreams = time.Second     // how often new streams are looked for
	retryAfter = 2 * time.Second // after an error
)

// Projector keeps projections up with the journal.
type Projector struct {
	reader      journal.Reader
	opener      Opener
	projections []Projection
	clock       clock.Clock
	log         *slog.Logger

	busy       chan struct{} // holds a token while nobody applies
	done       map[string]uint64
	behind     atomic.Int64 // nanoseconds since 1970 of the last frame applied
	unreadable atomic.Int64
	keyLost    atomic.Int64
}

// NewProjector returns a projector of what reader reads into projections.
func NewProjector(reader journal.Reader, opener Opener, c clock.Clock, log *slog.Logger, projections ...Projection) *Projector {
	p := &Projector{reader: reader, opener: opener, projections: projections, clock: c, log: log, busy: make(chan struct{}, 1), done: map[string]uint64{}}
	p.busy <- struct{}{}
	return p
}

// Run follows the journal until the context ends. An error of a projection is logged and tried again: the journal waits.
func (p *Projector) Run(ctx context.Context) error {
	for {
		err := p.Sync(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			p.log.Error("projections stand still", "error", err)
			sleep(ctx, retryAfter)
		default:
			p.wait(ctx)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// wait returns when a frame was added to a stream that is known, or it is time to look for new ones.
func (p *Projector) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, newStreams)
	defer cancel()
	streams, err := p.applied(ctx)
	if err != nil {
		sleep(ctx, newStreams)
		return
	}
	woken := make(chan struct{}, len(streams))
	for stream := range streams {
		after := streams[stream]
		go func() {
			p.reader.Wait(ctx, stream, after) // its error ends the wait too; Sync will meet it
			woken <- struct{}{}
		}()
	}
	<-woken
	cancel()
	for range len(streams) - 1 {
		<-woken
	}
}

// applied returns the last frame applied of each stream there is.
func (p *Projector) applied(ctx context.Context) (map[string]uint64, error) {
	known, err := p.reader.Streams()
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.busy:
	}
	defer func() { p.busy <- struct{}{} }()
	out := map[string]uint64{journal.Local: 0}
	for stream := range known {
		out[stream] = p.done[stream]
	}
	return out, nil
}

// Sync applies everything that is durable now, and returns when it is applied.
func (p *Projector) Sync(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.busy:
	}
	defer func() { p.busy <- struct{}{} }()
	return p.catchUp(ctx)
}

func (p *Projector) catchUp(ctx context.Context) error {
	streams, err := p.reader.Streams()
	if err != nil {
		return fmt.Errorf("read the journal's streams: %w", err)
	}
	for stream, last := range streams {
		if p.done[stream] >= last {
			continue
		}
		if err := p.notAhead(ctx, stream, last); err != nil {
			return err
		}
		if err := p.follow(ctx, stream); err != nil {
			return fmt.Errorf("follow stream %s: %w", stream, err)
		}
	}
	return nil
}

// notAhead empties projections that stand behind the end of a stream: the journal is not the one that they were made from, as after an older
// one was restored.
func (p *Projector) notAhead(ctx context.Context, stream string, last uint64) error {
	if p.done[stream] > 0 {
		return nil
	}
	for _, pr := range p.projections {
		at, err := pr.Position(ctx, stream)
		if err != nil {
			return err
		}
		if at.Sequence <= last {
			continue
		}
		p.log.Warn("projections know more than the journal and are built anew", "stream", stream, "projection", at.Sequence, "journal", last)
		if err := pr.Reset(ctx); err != nil {
			return err
		}
		clear(p.done)
	}
	return nil
}

// Rebuild applies the whole journal again: to a projection beside the one in use where there is one, which it replaces when it is whole;
// else to one that is emptied.
func (p *Projector) Rebuild(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.busy:
	}
	defer func() { p.busy <- struct{}{} }()
	for _, pr := range p.projections {
		if err := p.renew(ctx, pr); err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
	}
	clear(p.done)
	return p.catchUp(ctx)
}

func (p *Projector) renew(ctx context.Context, pr Projection) error {
	beside, ok := pr.(Renewer)
	if !ok {
		return pr.Reset(ctx)
	}
	return beside.Renew(ctx, func(fresh Projection) error {
		return NewProjector(p.reader, p.opener, p.clock, p.log, fresh).catchUp(ctx)
	})
}

// batch is what is applied at once; sequence is that of its last whole frame.
type batch struct {
	entries  []Entry
	sequence uint64
	time     time.Time
	err      error
}

// follow applies a stream up to its end. One goroutine reads and unseals while another applies.
func (p *Projector) follow(ctx context.Context, stream string) error {
	from, err := p.start(ctx, stream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch, 1)
	go p.read(ctx, stream, from, batches)
	for b := range batches {
		if err == nil {
			if err = b.err; err == nil {
				err = p.apply(ctx, stream, b)
			}
		}
		if err != nil {
			cancel() // and drain until the reader has seen it
		}
	}
	cancel()
	return err
}

// start returns the first frame that some projection has not applied to its end.
func (p *Projector) start(ctx context.Context, stream string) (uint64, error) {
	if done := p.done[stream]; done > 0 {
		return done + 1, nil
	}
	var positions []uint64
	for _, pr := range p.projections {
		at, err := pr.Position(ctx, stream)
		if err != nil {
			return 0, err
		}
		positions = append(positions, at.Sequence)
	}
	if len(positions) == 0 {
		return 1, nil
	}
	return max(1, slices.Min(positions)), nil
}

func (p *Projector) apply(ctx context.Context, stream string, b batch) error {
	for _, pr := range p.projections {
		if err := pr.Apply(ctx, b.entries); err != nil {
			return err
		}
	}
	p.done[stream] = b.sequence
	if !b.time.IsZero() {
		p.behind.Store(b.time.UnixNano())
	}
	return nil
}

// read sends a stream's records in batches, and closes the channel at its end.
func (p *Projector) read(ctx context.Context, stream string, from uint64, out chan<- batch) {
	defer close(out)
	b := batch{sequence: from - 1}
	size := 0
	send := func() bool {
		select {
		case out <- b:
			b.entries, size = nil, 0
			return true
		case <-ctx.Done():
			return false
		}
	}
	for frame, err := range p.reader.Frames(ctx, stream, from) {
		if err != nil {
			b.err = err
			send()
			return
		}
		for i, r := range frame.Records {
			entry, err := p.open(journal.Position{Stream: stream, Sequence: frame.Head.Sequence, Record: i + 1}, r)
			if err != nil {
				b.err = err
				send()
				return
			}
			b.entries = append(b.entries, entry)
			if size += len(r.Header) + len(r.Sealed); (len(b.entries) >= batchRecords || size >= batchBytes) && !send() {
				return
			}
		}
		b.sequence, b.time = frame.Head.Sequence, frame.Head.Time
	}
	if len(b.entries) > 0 || b.sequence >= from {
		send()
	}
}

// open makes the entry of a record. A record that is sealed to other compliance keys stops the projector: so would be all others, and what is
// there is worth more. One whose own key is lost, or that is damaged, does not: it is counted, logged, and known by its header alone.
func (p *Projector) open(at journal.Position, r journal.Record) (Entry, error) {
	h, err := event.ParseHeader(r.Header)
	if err != nil {
		return Entry{}, fmt.Errorf("frame %d, record %d: %w", at.Sequence, at.Record, err)
	}
	entry := Entry{Position: at, Header: h}
	if len(r.Sealed) == 0 {
		return entry, nil
	}
	content, err := p.opener.Open(r.Sealed, []byte(h.ID))
	switch {
	case errors.Is(err, seal.ErrErased):
		return entry, nil
	case errors.Is(err, seal.ErrNoKey):
		return Entry{}, fmt.Errorf("record %s: %w", h.ID, err)
	case errors.Is(err, seal.ErrRootLost):
		entry.KeyLost = true
		if p.keyLost.Add(1) == 1 {
			p.log.Error("the content of records cannot be read: their key is missing", "record", h.ID, "stream", at.Stream, "sequence", at.Sequence, "error", err)
		}
		return entry, nil
	case err == nil:
		entry.Event, err = event.Assemble(h, content)
	}
	if err != nil {
		p.unreadable.Add(1)
		p.log.Error("the content of a record cannot be read", "record", h.ID, "stream", at.Stream, "sequence", at.Sequence, "error", err)
		entry.Event = nil
	}
	return entry, nil
}

// Unreadable returns how many records were met whose content is damaged.
func (p *Projector) Unreadable() int64 { return p.unreadable.Load() }

// Lag returns how far the projections stand behind the journal.
func (p *Projector) Lag(ctx context.Context) (Lag, error) {
	streams, err := p.reader.Streams()
	if err != nil {
		return Lag{}, err
	}
	var lag Lag
	for stream, last := range streams {
		from := last
		for _, pr := range p.projections {
			at, err := pr.Position(ctx, stream)
			if err != nil {
				return Lag{}, err
			}
			from = min(from, at.Sequence)
		}
		lag.Frames += last - from
	}
	if since := p.behind.Load(); lag.Frames > 0 && since > 0 {
		lag.Behind = p.clock.Now().Sub(time.Unix(0, since))
	}
	return lag, nil
}
