// Package file keeps the journal in append-only segment files, and the map from names to random ids in an encrypted file.
//
// One goroutine writes: it takes whatever is queued, writes it as one frame, syncs it, and only then acknowledges all of it. When a write
// or a sync fails nobody is acknowledged, the segment is cut back to its last durable frame, and until that has succeeded nothing more is
// taken.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Segment is an open segment file, as the writer needs it. Tests put faults between the writer and the file.
type Segment interface {
	Write(p []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Options of a Journal. The zero value is ready for use.
type Options struct {
	Stream      string                // journal.Local when empty
	Clock       clock.Clock           // the system's when nil
	SegmentSize int64                 // a new segment begins after so many bytes; 64 MiB when zero
	Wrap        func(Segment) Segment // for tests
}

// Cut says what was cut off the end of the journal at start: a frame that a crash left torn. Nobody was acknowledged for it.
type Cut struct {
	Segment string
	Offset  int64
	Bytes   int64
	Kept    string // file that holds what was cut, "" when it could not be written
}

// keep puts what is about to be cut aside: a torn frame proves nothing, but a segment that somebody truncated is evidence. A full disk does
// not keep the journal from opening.
func (c *Cut) keep(state string) {
	in, err := os.Open(c.Segment)
	if err != nil {
		return
	}
	defer in.Close()
	path := filepath.Join(state, fmt.Sprintf("cut-%s-%d-%d", strings.TrimSuffix(filepath.Base(c.Segment), ".seg"), c.Offset, time.Now().UnixNano()))
	if os.MkdirAll(state, 0o700) != nil {
		return
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	_, err = io.Copy(out, io.NewSectionReader(in, c.Offset, c.Bytes))
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		os.Remove(path)
		return
	}
	c.Kept = path
}

// Journal is the file driver of journal.Journal.
type Journal struct {
	*Reader
	o     Options
	dir   string // of the stream
	lock  *os.File
	queue chan *request
	stop  chan struct{}
	done  chan struct{}

	draining  sync.Once
	closing   sync.Once
	detaching sync.Mutex // one rewrite at a time

	// owned by the writer
	seg    Segment
	segAt  string
	size   int64 // durable bytes of the segment
	head   journal.Head
	prev   string
	broken error // what happened, while the segment is not known to be clean
}

type request struct {
	records []journal.Record
	size    int
	roll    bool // end the segment; no records
	done    chan result
	taken   atomic.Bool // by the writer, or back by who asked: whoever comes first
}

// take reports whether the request is the caller's to decide about.
func (r *request) take() bool { return r.taken.CompareAndSwap(false, true) }

type result struct {
	at  journal.Position
	err error
}

const (
	maxQueue     = 1024
	maxBatch     = 8 << 20 // bytes of one frame, unless one request is larger
	segmentSize  = 64 << 20
	segmentNames = 20 // digits
)

// Open opens or creates the journal under dir, takes its lock, and cuts off a torn last frame. The Cut is nil when nothing was cut.
func Open(dir string, o Options) (*Journal, *Cut, error) {
	if o.Stream == "" {
		o.Stream = journal.Local
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = segmentSize
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, nil, err
	}
	j := &Journal{o: o, dir: filepath.Join(dir, "journal", o.Stream), lock: lock,
		queue: make(chan *request, maxQueue), stop: make(chan struct{}), done: make(chan struct{})}
	cut, err := j.recover(dir)
	if err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	go j.write()
	return j, cut, nil
}

func takeLock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	path := filepath.Join(dir, "journal.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(path)
		f.Close()
		return nil, fmt.Errorf("%w: process %s holds %s", journal.ErrLocked, strings.TrimSpace(string(pid)), path)
	}
	f.Truncate(0)
	f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// recover finds the last whole frame and opens its segment for appending.
func (j *Journal) recover(dir string) (*Cut, error) {
	if err := os.MkdirAll(j.dir, 0o750); err != nil {
		return nil, err
	}
	for _, d := range []string{filepath.Dir(j.dir), dir} {
		if err := durable.SyncDir(d); err != nil {
			return nil, err
		}
	}
	if err := sweepRewrites(j.dir); err != nil {
		return nil, err
	}
	j.Reader = newReader(dir)
	j.Reader.live = j.o.Stream
	segments, err := j.Reader.segments(j.o.Stream)
	if err != nil {
		return nil, err
	}
	if len(segments) == 0 {
		return nil, j.newSegment(1)
	}
	last := segments[len(segments)-1]
	end := scan{next: last.first}
	if err := end.run(last.path); err != nil && !errors.Is(err, journal.ErrTorn) {
		return nil, fmt.Errorf("%s: %w; nothing was changed: restore the segment from a copy, or ask verify what is lost", last.path, err)
	}
	cut, err := cutOf(last.path, end.size)
	if err != nil {
		return nil, err
	}
	if end.prev == "" && len(segments) > 1 { // the last segment is empty: what comes before it ends with the frame it continues
		before := segments[len(segments)-2]
		end = scan{next: before.first}
		if err := end.run(before.path); err != nil {
			return nil, fmt.Errorf("%s: %w", before.path, err)
		}
		if end.next != last.first {
			return nil, fmt.Errorf("%s: %w: it ends with frame %d", before.path, journal.ErrCorrupt, end.next-1)
		}
		end.size = 0
	}
	if cut != nil {
		cut.keep(filepath.Join(dir, "state"))
	}
	if err := j.openSegment(last.path, end.size); err != nil {
		return nil, err
	}
	j.head, j.prev = end.head, end.prev
	j.Reader.publish(j.head.Sequence)
	return cut, nil
}

func cutOf(path string, size int64) (*Cut, error) {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= size {
		return nil, err
	}
	return &Cut{Segment: path, Offset: size, Bytes: info.Size() - size}, nil
}

func (j *Journal) newSegment(first uint64) error {
	return j.openSegment(filepath.Join(j.dir, fmt.Sprintf("%0*d.seg", segmentNames, first)), 0)
}

// openSegment opens a segment for appending after size bytes, and cuts off what is behind them.
func (j *Journal) openSegment(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	var seg Segment = f
	if j.o.Wrap != nil {
		seg = j.o.Wrap(f)
	}
	err = seg.Truncate(size)
	if err == nil {
		_, err = f.Seek(size, 0)
	}
	if err == nil {
		err = seg.Sync()
	}
	if err == nil {
		err = durable.SyncDir(j.dir)
	}
	if err != nil {
		seg.Close()
		return err
	}
	if j.seg != nil {
		j.seg.Close()
	}
	j.seg, j.segAt, j.size = seg, path, size
	return nil
}

// Append implements journal.Journal. When the context ends while the records wait for their turn, they are taken back and never written.
// When it ends while they are being written, the error says that they may have become durable.
func (j *Journal) Append(ctx context.Context, records ...journal.Record) (journal.Position, error) {
	r := &request{records: records, done: make(chan result, 1)}
	for _, rec := range records {
		if len(rec.Header) > journal.MaxHeader || len(rec.Sealed) > journal.MaxSealed || len(rec.Header) == 0 {
			return journal.Position{}, fmt.Errorf("journal: a record of %d and %d bytes: %w", len(rec.Header), len(rec.Sealed), journal.ErrTooLarge)
		}
		r.size += len(rec.Header) + len(rec.Sealed)
	}
	if len(records) == 0 || len(records) > journal.MaxRecords/2 || r.size > journal.MaxFrame/2 {
		return journal.Position{}, fmt.Errorf("journal: %d records of %d bytes at once: %w", len(records), r.size, journal.ErrTooLarge)
	}
	return j.ask(ctx, r)
}

func (j *Journal) ask(ctx context.Context, r *request) (journal.Position, error) {
	select {
	case j.queue <- r:
	case <-j.stop:
		return journal.Position{}, journal.ErrClosed
	case <-ctx.Done():
		return journal.Position{}, ctx.Err()
	}
	select {
	case done := <-r.done:
		return done.at, done.err
	case <-ctx.Done():
		if r.take() {
			return journal.Position{}, ctx.Err()
		}
		return journal.Position{}, fmt.Errorf("journal: the disk did not answer in time, and the records may have been kept: %w", ctx.Err())
	case <-j.done:
		select {
		case done := <-r.done:
			return done.at, done.err
		default:
			return journal.Position{}, journal.ErrClosed
		}
	}
}

// Drain writes what is queued, also of callers that did not wait for it, and takes nothing more. What is there can be read until Close.
func (j *Journal) Drain() {
	j.draining.Do(func() { close(j.stop) })
	<-j.done
}

// Close drains, and gives the lock back.
func (j *Journal) Close() error {
	j.Drain()
	j.closing.Do(func() { j.lock.Close() })
	return nil
}

// write is the one goroutine that writes.
func (j *Journal) write() {
	defer close(j.done)
	defer func() { j.seg.Close() }()
	var held *request
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-j.queue:
			case <-j.stop:
				select {
				case first = <-j.queue:
				default:
					return
				}
			}
		}
		if first.roll {
			if first.take() {
				first.done <- result{err: j.roll()}
			}
			continue
		}
		batch := []*request{first}
		batch, held = j.gather(batch)
		j.commit(batch)
	}
}

// gather adds what is queued to a batch, up to its bounds. A request that does not fit is held for the next.
func (j *Journal) gather(batch []*request) ([]*request, *request) {
	size, records := batch[0].size, len(batch[0].records)
	for {
		select {
		case r := <-j.queue:
			if r.roll || size+r.size > maxBatch || records+len(r.records) > journal.MaxRecords {
				return batch, r
			}
			batch = append(batch, r)
			size += r.size
			records += len(r.records)
		default:
			return batch, nil
		}
	}
}

func (j *Journal) commit(batch []*request) {
	batch = slices.DeleteFunc(batch, func(r *request) bool { return !r.take() })
	if len(batch) == 0 {
		return
	}
	frame, err := j.append(batch)
	if err == nil { // before anybody is told, so that who was told can read it
		j.Reader.publish(frame.Head.Sequence)
	}
	at := 0
	for _, r := range batch {
		if err != nil {
			r.done <- result{err: err}
			continue
		}
		at += len(r.records)
		r.done <- result{at: journal.Position{Stream: j.o.Stream, Sequence: frame.Head.Sequence, Record: at}}
	}
}

func (j *Journal) append(batch []*request) (*journal.Frame, error) {
	if err := j.mend(); err != nil {
		return nil, err
	}
	if j.size >= j.o.SegmentSize {
		if err := j.newSegment(j.head.Sequence + 1); err != nil {
			return nil, classify(err)
		}
	}
	f := &journal.Frame{Head: journal.Head{Version: journal.Version, Stream: j.o.Stream, Sequence: j.head.Sequence + 1, Prev: j.prev, Time: j.o.Clock.Now()}}
	var headers [][]byte
	for _, r := range batch {
		f.Records = append(f.Records, r.records...)
		for _, rec := range r.records {
			headers = append(headers, rec.Header)
		}
	}
	f.Head.Count, f.Head.Root = len(f.Records), journal.Root(headers)
	b, err := journal.EncodeFrame(nil, f)
	if err != nil {
		return nil, err
	}
	if _, err = j.seg.Write(b); err == nil {
		err = j.seg.Sync()
	}
	if err != nil {
		j.broken = err
		j.mend() // at once where it can be; else before the next append
		return nil, classify(err)
	}
	j.size += int64(len(b))
	j.head, j.prev = f.Head, journal.Hash(f.HeadRaw)
	return f, nil
}

// mend brings the segment back to its last durable frame after a failure. A failed sync may have dropped pages that look written: cutting
// them off and opening the file anew makes what is read what is on disk.
func (j *Journal) mend() error {
	if j.broken == nil {
		return nil
	}
	if err := j.openSegment(j.segAt, j.size); err != nil {
		return classify(errors.Join(j.broken, err))
	}
	j.broken = nil
	return nil
}

func classify(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	return fmt.Errorf("journal: %w", err)
}
