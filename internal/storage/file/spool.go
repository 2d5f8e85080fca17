package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
)

// Spool keeps, in order, events that were let through although they could not be recorded, until they are. Each is encrypted under
// state/spool.key and synced before Put returns. The file has its full size from the start, so that there is room for them when the disk is
// full; once all are recorded it is overwritten with zeros, as far as the file system lets us. What was done when the program ended is not
// given again; what was recorded, but not yet done, is given once more, under the same id.
type Spool struct {
	mu      sync.Mutex
	file    *os.File
	codec   spoolCodec
	size    int64 // of the file: the bound
	end     int64 // where the next entry goes
	next    uint64
	waiting []spoolPlace
	given   int // of them, by the last Next
	damaged int
	wake    chan struct{}
}

// DefaultSpool is the size of a spool in bytes: room for some 20,000 messages.
const DefaultSpool = 32 << 20

// SpoolPath returns the file of the spool of that name in a data directory.
func SpoolPath(dir, name string) string {
	return filepath.Join(dir, "state", "spool-"+url.PathEscape(name)+".log")
}

// OpenSpool opens or creates a spool in dir/state; size 0 means DefaultSpool. A spool keeps its size when it is opened with a smaller one.
func OpenSpool(dir, name string, size int64) (*Spool, error) {
	if size <= 0 {
		size = DefaultSpool
	}
	s := &Spool{size: size, wake: make(chan struct{}, 1)}
	if err := s.open(dir, name); err != nil {
		return nil, fmt.Errorf("open spool: %w", classify(err))
	}
	return s, nil
}

func (s *Spool) open(dir, name string) error {
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	key, err := LoadOrCreateSecret(filepath.Join(state, "spool.key"), secretSize)
	if err != nil {
		return err
	}
	if s.codec, err = newSpoolCodec(key); err != nil {
		return err
	}
	raw, err := os.ReadFile(SpoolPath(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if s.file, err = os.OpenFile(SpoolPath(dir, name), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	s.size = max(s.size, int64(len(raw)))
	if err := errors.Join(s.take(raw), durable.SyncDir(state)); err != nil {
		s.file.Close()
		return err
	}
	return nil
}

// take takes over what the file holds, and clears what is no entry.
func (s *Spool) take(raw []byte) error {
	f := s.codec.scan(raw)
	s.waiting, s.damaged, s.end, s.next = f.waiting, f.damaged, f.end, f.next
	if len(s.waiting) == 0 {
		s.end, s.next = 0, newGeneration()
	} else {
		s.rouse()
	}
	used := int64(len(bytes.TrimRight(raw, "\x00")))
	if err := s.zero(s.end, used); err != nil {
		return err
	}
	if err := s.zero(int64(len(raw)), s.size); err != nil {
		return err
	}
	return s.file.Sync()
}

// zero writes zeros from one offset up to another.
func (s *Spool) zero(from, to int64) error {
	zeros := make([]byte, min(1<<20, max(0, to-from)))
	for from < to {
		n, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

func (s *Spool) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Waiting receives a value when there is something to be recorded.
func (s *Spool) Waiting() <-chan struct{} { return s.wake }

// Put keeps an event durably. When the spool is full it returns journal.ErrFull.
func (s *Spool) Put(_ context.Context, e *event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, err := s.codec.seal(s.next, e)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if s.end+int64(len(entry)) > s.size || s.next&maxIndex == maxIndex {
		return fmt.Errorf("spool: %w", journal.ErrFull)
	}
	if _, err = s.file.WriteAt(entry, s.end); err == nil {
		err = s.file.Sync()
	}
	if err != nil { // nobody is told that it is kept, so it should not be
		return fmt.Errorf("spool: %w", classify(errors.Join(err, s.zero(s.end, s.end+int64(len(entry))))))
	}
	s.waiting = append(s.waiting, spoolPlace{s.end, len(entry)})
	s.end += int64(len(entry))
	s.next++
	s.rouse()
	return nil
}

// Next returns the oldest events, at most most of them, and how many more there were that cannot be read. They stay until Done.
func (s *Spool) Next(most int) (events []*event.Event, damaged int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = 0
	damaged = s.damaged
	for _, p := range s.waiting[:min(most, len(s.waiting))] {
		raw := make([]byte, p.size)
		if _, err := s.file.ReadAt(raw, p.at); err != nil {
			return nil, 0, fmt.Errorf("spool: %w", err)
		}
		s.given++
		plain, _, _, err := s.codec.open(raw)
		if err != nil {
			damaged++
			continue
		}
		e, err := spooled(plain)
		if err != nil {
			damaged++
			continue
		}
		events = append(events, e)
	}
	return events, damaged, nil
}

// Done says that what Next returned last is recorded. It is not given again by this Spool, even when an error says that it may be after a
// restart.
func (s *Spool) Done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damaged = 0; s.given == 0 {
		return nil
	}
	last := s.waiting[s.given-1]
	s.waiting, s.given = s.waiting[s.given:], 0
	_, err := s.file.WriteAt([]byte{spoolDone}, last.at)
	if err := errors.Join(err, s.file.Sync()); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if len(s.waiting) > 0 {
		return nil
	}
	if err := s.wipe(last); err != nil {
		return fmt.Errorf("spool: wipe: %w", err)
	}
	return nil
}

// wipe overwrites everything. The last entry, which says that all are done, goes last.
func (s *Spool) wipe(last spoolPlace) error {
	if err := s.zero(0, last.at); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if err := s.zero(last.at, s.end); err != nil {
		return err
	}
	s.end, s.next = 0, newGeneration()
	return s.file.Sync()
}

// Close closes the file. What waits is there at the next start.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Close()
}
