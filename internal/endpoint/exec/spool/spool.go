// Package spool keeps what an agent has to report until it is on record elsewhere: durable, bounded, and never waited for.
//
// Put hands an event over without waiting. One goroutine writes it to a file and syncs it, another takes it from there to the recorder, again
// and again until that succeeds. What finds no room is dropped and counted, and the count is an event of its own, written as soon as there is
// room, if need be by the next process. An event may be recorded twice when the process ends between its recording and the mark that says so;
// it bears the same id. One that cannot be a record (event.ErrUnfit) is set aside; all other errors are the recorder's, and pass.
package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

const (
	queue      = 1024     // events on their way to the file
	maxSize    = 64 << 20 // of the file
	maxLine    = 1 << 20
	batch      = 256
	shortPause = time.Second
	longPause  = time.Minute
)

// Spool is a file of events. It is safe for concurrent use.
type Spool struct {
	in    chan entry
	to    event.Recorder
	log   *slog.Logger
	short *shortage
	host  event.Host
	more  chan struct{}
	soon  chan struct{}

	mu   sync.Mutex
	file *os.File
	size int64
	sent int64
}

// entry is an event on its way to the file, and what to do once it is there, or was dropped and counted.
type entry struct {
	event *event.Event
	done  func()
}

// Open opens the spool in a folder, with what an earlier process left in it. The recorder may be nil: then events stay.
func Open(dir string, to event.Recorder, log *slog.Logger) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "spool.jsonl"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &Spool{in: make(chan entry, queue), to: to, log: log, more: make(chan struct{}, 1), soon: make(chan struct{}, 1), file: f}
	if log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.size, err = whole(f); err == nil {
		err = f.Truncate(s.size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	if s.short, err = openShortage(dir); err != nil {
		s.log.Warn("how many events are dropped is not kept over the end of this process", "error", err)
	}
	return s, nil
}

// About says which machine the count of what was dropped is about. It is called before Run.
func (s *Spool) About(host event.Host) { s.host = host }

// whole returns where the last whole line ends: one that a crash cut off is none.
func whole(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var end int64
	r := bufio.NewReader(io.NewSectionReader(f, 0, info.Size()))
	for at := int64(0); ; {
		part, err := r.ReadSlice('\n')
		at += int64(len(part))
		switch {
		case err == nil:
			end = at
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return end, nil
		default:
			return 0, err
		}
	}
}

// Put hands an event over. It never waits.
func (s *Spool) Put(e *event.Event) { s.PutThen(e, func() {}) }

// Soon has what waits tried again at once, however often that failed: a person waits for it.
func (s *Spool) Soon() {
	select {
	case s.soon <- struct{}{}:
	default:
	}
}

// PutThen hands an event over, and calls done when it is in the file, or was dropped and counted. It never waits.
func (s *Spool) PutThen(e *event.Event, done func()) {
	select {
	case s.in <- entry{e, done}:
	default:
		s.short.crowd.add()
		done()
	}
}

// Record implements event.Recorder for a scan: it is on record once it is in the file.
func (s *Spool) Record(_ context.Context, events ...*event.Event) error {
	return s.write(events)
}

// Pending tells how many bytes wait to be recorded.
func (s *Spool) Pending() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size - s.sent
}

// Run writes and records until the context ends.
func (s *Spool) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.deliver(ctx) })
	tick := time.NewTicker(gapEvery)
	defer tick.Stop()
	s.gather() // what an earlier process counted
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case e := <-s.in:
			s.gather(e)
		case <-tick.C:
			s.gather()
		}
	}
	for len(s.in) > 0 { // what was handed over is kept for the next process
		s.gather(<-s.in)
	}
	s.gather()
	wg.Wait()
	lost, err := s.short.close()
	if lost {
		s.log.Warn("events were dropped, which is not on record", "events", s.short.count.Events, "why", s.short.count.Why)
	}
	return errors.Join(err, s.file.Close())
}

// gather writes events with those that came in the meantime, and what was dropped before. What cannot be written is counted before anybody is
// told that it is done.
func (s *Spool) gather(entries ...entry) {
	for len(s.in) > 0 && len(entries) < batch {
		entries = append(entries, <-s.in)
	}
	kept := s.short.gather()
	events := make([]*event.Event, 0, len(entries)+1)
	for _, e := range entries {
		events = append(events, e.event)
	}
	gap := s.short.gap(s.host)
	if gap != nil {
		events = append(events, gap)
	}
	if len(events) == 0 {
		return
	}
	switch err := s.write(events); {
	case err != nil && len(entries) > 0:
		kept = errors.Join(kept, s.short.add(len(entries), err))
		s.log.Warn("events cannot be spooled", "error", err)
	case err == nil && gap != nil:
		kept = s.short.told()
	}
	if kept != nil {
		s.log.Warn("how many events were dropped is not kept over the end of this process", "error", kept)
	}
	for _, e := range entries {
		e.done()
	}
}

var errFull = errors.New("the spool is full")

func (s *Spool) write(events []*event.Event) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size+int64(b.Len()) > maxSize {
		return errFull
	}
	if _, err := s.file.WriteAt(b.Bytes(), s.size); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.size += int64(b.Len())
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

// deliver takes what is in the file to the recorder.
func (s *Spool) deliver(ctx context.Context) {
	if s.to == nil {
		return
	}
	pause := shortPause
	for ctx.Err() == nil {
		done, err := s.next(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			if pause == shortPause {
				s.log.Warn("events stay in the spool", "error", err)
			}
			if pause = min(2*pause, longPause); s.wait(ctx, pause/2) {
				pause = shortPause
			}
		case done:
			pause = shortPause
			select {
			case <-ctx.Done():
			case <-s.more:
			}
		default:
			pause = shortPause
		}
	}
}

// wait waits, or until it is to be tried soon, which it reports.
func (s *Spool) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	case <-s.soon:
		return true
	}
	return false
}

// next records one batch, and says whether nothing is left.
func (s *Spool) next(ctx context.Context) (bool, error) {
	s.mu.Lock()
	from, to := s.sent, s.size
	s.mu.Unlock()
	if from == to {
		return true, nil
	}
	lines, rest, err := read(io.NewSectionReader(s.file, from, to-from))
	if err != nil {
		return false, err
	}
	n, err := s.record(ctx, lines)
	if err != nil {
		return false, err
	}
	if n == len(lines) {
		from += rest
	}
	for _, l := range lines[:n] {
		from += l.size
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent = from; s.sent < s.size {
		return false, nil
	}
	s.sent, s.size = 0, 0
	return true, s.file.Truncate(0)
}

// record records events, and returns how many are settled. One that cannot be a record would hold up all others for ever: it is set aside. Any
// other error is the recorder's, and passes: what follows waits, so that nothing that is good is set aside.
func (s *Spool) record(ctx context.Context, lines []line) (int, error) {
	events := make([]*event.Event, len(lines))
	for i := range lines {
		events[i] = lines[i].event
	}
	if len(events) == 0 || s.to.Record(ctx, events...) == nil {
		return len(lines), nil
	}
	for i, e := range events {
		err := s.to.Record(ctx, e)
		if errors.Is(err, event.ErrUnfit) {
			err = s.setAside(e, err)
		}
		if err != nil && i == 0 {
			return 0, err
		}
		if err != nil {
			return i, nil // it is tried again at once, as the first of its batch
		}
	}
	return len(lines), nil
}

// setAside keeps an event that can be no record in a file beside the spool, for people.
func (s *Spool) setAside(e *event.Event, why error) error {
	s.log.Warn("an event can be no record and is set aside", "file", s.file.Name()+".refused", "error", why)
	f, err := os.OpenFile(s.file.Name()+".refused", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return errors.Join(json.NewEncoder(f).Encode(e), f.Sync(), f.Close())
}

// line is an event and how long it is in the file, with what stood before it and was none.
type line struct {
	event *event.Event
	size  int64
}

// read reads a batch of events, and tells how long what follows the last is. What is no event is passed by: nothing comes of it later either.
func read(r io.Reader) (lines []line, rest int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for len(lines) < batch {
		text, err := in.ReadSlice('\n')
		rest += int64(len(text))
		if errors.Is(err, io.EOF) {
			return lines, rest, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, 0, fmt.Errorf("spool: %w", err)
		}
		e := &event.Event{}
		if json.Unmarshal(text, e) == nil && e.Kind != "" {
			lines, rest = append(lines, line{e, rest}), 0
		}
	}
	return lines, rest, nil
}
