// Package spool keeps what an agent has to say until the server has it on record: a folder of numbered segments, append-only and synced.
//
// Each item has a number. Numbers go on over restarts and are never given twice, so that the server can tell what it has already. When the
// spool is full nothing more is taken, and the recorder counts what was not: it is never dropped silently (law 3).
package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/chaperone-im/chaperone/internal/durable"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// ErrFull says that the spool has no room until the server takes something.
var ErrFull = errors.New("the spool is full: the server has not taken anything for long")

// Sizes, in bytes.
const (
	DefaultLimit = 64 << 20
	segmentSize  = 1 << 20
	entryHeader  = 9 // length, checksum, kind
)

// Spool is an open spool. It is safe for concurrent use within one process.
type Spool struct {
	dir   string
	name  string
	limit int64

	mu       sync.Mutex
	segments []segment
	active   *os.File
	next     uint64 // number of the next item
	acked    uint64
	size     int64
	wake     chan struct{} // closed when something is added
}

type segment struct {
	first uint64
	size  int64
}

// Open opens the spool in a folder, which it makes. What a crash left torn at its end was acknowledged to nobody and is cut off.
func Open(dir string, limit int64) (*Spool, error) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	s := &Spool{dir: dir, limit: limit, wake: make(chan struct{})}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return s, nil
}

func (s *Spool) open() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := s.loadName(); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(s.dir, "*.seg"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, path := range names {
		first, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".seg"), 10, 64)
		if err != nil || first == 0 {
			return fmt.Errorf("%s is no segment", path)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		s.segments = append(s.segments, segment{first, info.Size()})
		s.size += info.Size()
	}
	if len(s.segments) == 0 {
		s.next = 1
		return s.roll()
	}
	s.acked = s.segments[0].first - 1
	return s.resume()
}

func (s *Spool) loadName() error {
	path := filepath.Join(s.dir, "name")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		s.name = event.RandomID()
		return durable.Replace(path, []byte(s.name), 0o600)
	}
	s.name = string(raw)
	if err == nil && (len(raw) == 0 || len(raw) > 64) {
		err = fmt.Errorf("%s is damaged", path)
	}
	return err
}

// resume opens the last segment for more, after its last whole item.
func (s *Spool) resume() error {
	last := &s.segments[len(s.segments)-1]
	f, err := os.OpenFile(s.path(last.first), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.active, s.next = f, last.first
	in, whole := bufio.NewReader(f), int64(0)
	for {
		item, err := readItem(in)
		if err != nil {
			break // io.EOF, or torn
		}
		whole += int64(entryHeader + len(item.Body))
		s.next++
	}
	s.size += whole - last.size
	last.size = whole
	if err := f.Truncate(whole); err != nil {
		return err
	}
	_, err = f.Seek(whole, io.SeekStart)
	return err
}

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d.seg", first))
}

// roll begins a new segment.
func (s *Spool) roll() error {
	f, err := os.OpenFile(s.path(s.next), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	if s.active != nil {
		if err := s.active.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	s.active = f
	s.segments = append(s.segments, segment{first: s.next})
	return nil
}

// Name is random and the spool's own: its numbers mean nothing without it.
func (s *Spool) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

// Rename gives the spool another name: what is in it is new to a server that knows the one before.
func (s *Spool) Rename() error {
	name := event.RandomID()
	if err := durable.Replace(filepath.Join(s.dir, "name"), []byte(name), 0o600); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
	return nil
}

// Last returns the number of the last item.
func (s *Spool) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next - 1
}

// Add makes items durable, all or none.
func (s *Spool) Add(items ...protocol.Item) error {
	var b []byte
	for _, i := range items {
		if len(i.Body) > protocol.MaxItem {
			return fmt.Errorf("spool: an item of %d bytes, at most %d", len(i.Body), protocol.MaxItem)
		}
		b = appendItem(b, i)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		return fmt.Errorf("spool: %w", os.ErrClosed)
	}
	if s.size+int64(len(b)) > s.limit {
		return ErrFull
	}
	if err := s.write(b); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.next += uint64(len(items))
	s.size += int64(len(b))
	s.segments[len(s.segments)-1].size += int64(len(b))
	close(s.wake)
	s.wake = make(chan struct{})
	return nil
}

// write appends and syncs; what could not be written whole is taken back.
func (s *Spool) write(b []byte) error {
	if last := s.segments[len(s.segments)-1]; last.size >= segmentSize {
		if err := s.roll(); err != nil {
			return err
		}
	}
	end := s.segments[len(s.segments)-1].size
	_, err := s.active.WriteAt(b, end)
	if err == nil {
		err = s.active.Sync()
	}
	if err != nil {
		return errors.Join(err, s.active.Truncate(end))
	}
	return nil
}

// Waiting returns how many items nobody has acknowledged.
func (s *Spool) Waiting() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next - 1 - s.acked
}

// Wait returns when there is an item that is not acknowledged, or the context ends.
func (s *Spool) Wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		wake, some := s.wake, s.next-1 > s.acked
		s.mu.Unlock()
		if some {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Next returns the oldest items that are not acknowledged, as many as fit into a frame; none when there are none.
func (s *Spool) Next() (protocol.Items, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := protocol.Items{First: s.acked + 1}
	room := protocol.MaxItems - 64
	for i, seg := range s.segments {
		if i+1 < len(s.segments) && s.segments[i+1].first <= out.First {
			continue
		}
		more, err := s.read(seg, &out, &room)
		if err != nil {
			return out, fmt.Errorf("spool: %w", err)
		}
		if !more {
			break
		}
	}
	return out, nil
}

// maxBatch bounds the items of one frame.
const maxBatch = 500

// read adds the items of a segment to a batch and reports whether there is room for more.
func (s *Spool) read(seg segment, out *protocol.Items, room *int) (bool, error) {
	f, err := os.Open(s.path(seg.first))
	if err != nil {
		return false, err
	}
	defer f.Close()
	in := bufio.NewReader(io.LimitReader(f, seg.size))
	for n := seg.first; ; n++ {
		item, err := readItem(in)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("item %d: %w", n, err)
		}
		if n < out.First {
			continue
		}
		if item.Cost() > *room || len(out.List) == maxBatch {
			return false, nil
		}
		*room -= item.Cost()
		out.List = append(out.List, item)
	}
}

// Ack forgets the items up to a number: the server has them on record.
func (s *Spool) Ack(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= s.next {
		return fmt.Errorf("spool: %d was acknowledged, and the last item is %d", n, s.next-1)
	}
	if n <= s.acked || s.active == nil {
		return nil
	}
	s.acked = n
	if s.acked == s.next-1 && s.segments[len(s.segments)-1].size > 0 {
		if err := s.roll(); err != nil { // so that all that was taken can go
			return fmt.Errorf("spool: %w", err)
		}
	}
	for len(s.segments) > 1 && s.segments[1].first <= s.acked+1 {
		if err := os.Remove(s.path(s.segments[0].first)); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		s.size -= s.segments[0].size
		s.segments = s.segments[1:]
	}
	return nil
}

// Close closes the spool.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		return nil
	}
	err := s.active.Close()
	s.active = nil
	return err
}

func appendItem(b []byte, i protocol.Item) []byte {
	var h [entryHeader]byte
	binary.BigEndian.PutUint32(h[:], uint32(len(i.Body)))
	h[8] = byte(i.Kind)
	sum := crc32.Update(crc32.Checksum(h[8:], castagnoli()), castagnoli(), i.Body)
	binary.BigEndian.PutUint32(h[4:], sum)
	return append(append(b, h[:]...), i.Body...)
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

var errTorn = errors.New("torn")

func readItem(r io.Reader) (protocol.Item, error) {
	var h [entryHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return protocol.Item{}, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > protocol.MaxItem {
		return protocol.Item{}, errTorn
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return protocol.Item{}, errTorn
	}
	if crc32.Update(crc32.Checksum(h[8:], castagnoli()), castagnoli(), body) != binary.BigEndian.Uint32(h[4:]) {
		return protocol.Item{}, errTorn
	}
	return protocol.Item{Kind: protocol.ItemKind(h[8]), Body: body}, nil
}
