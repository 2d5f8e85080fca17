package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
)

const (
	gapEvery  = 2 * time.Second // between tries to put on record what was dropped
	shortSize = 512             // of the file that keeps the count
)

// shortage is what was dropped and is not on record yet. The count lies in a file that has its room from the beginning, so that it can be written
// when the disk is full, and is there after a process that was killed. It is of one goroutine, but for crowd.
type shortage struct {
	file  *os.File // nil: there is no such room, the count is in memory alone
	crowd crowd
	count dropped
}

// dropped is what the file says.
type dropped struct {
	Events int64     `json:"dropped"`
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`
}

// crowd counts what came faster than it could be written. Counting waits for nothing.
type crowd struct{ events, since atomic.Int64 }

func (c *crowd) add() {
	c.since.CompareAndSwap(0, time.Now().UnixNano())
	c.events.Add(1)
}

const (
	crowded = "they came faster than they could be written"
	maxWhy  = 200
)

// openShortage opens the count that an earlier process left in a folder.
func openShortage(dir string) (*shortage, error) {
	s := &shortage{}
	f, err := os.OpenFile(filepath.Join(dir, "dropped.json"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return s, err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, shortSize))
	if err == nil && len(b) == shortSize && json.Unmarshal(b, &s.count) == nil && s.count.Events >= 0 {
		s.file = f
		return s, nil
	}
	s.count = dropped{} // a new one, or damaged
	if err = errors.Join(err, put(f, s.count)); err != nil {
		return s, errors.Join(err, f.Close())
	}
	s.file = f
	return s, nil
}

// put writes a count over the one before, in its place.
func put(f *os.File, c dropped) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	b = append(b, bytes.Repeat([]byte{' '}, max(0, shortSize-1-len(b)))...)
	if _, err := f.WriteAt(append(b, '\n'), 0); err != nil {
		return err
	}
	return f.Sync()
}

// add counts events that were dropped, and keeps the count.
func (s *shortage) add(n int, why error) error {
	if s.count.Events == 0 {
		s.count.Since = time.Now().UTC()
	}
	s.count.Events += int64(n)
	s.count.Why = cause(why)
	return s.keep()
}

// gather adds what the crowd counted.
func (s *shortage) gather() error {
	n := s.crowd.events.Swap(0)
	since := s.crowd.since.Swap(0)
	if n == 0 {
		return nil
	}
	if at := time.Unix(0, since).UTC(); s.count.Events == 0 {
		s.count.Since, s.count.Why = at, crowded
	}
	s.count.Events += n
	return s.keep()
}

func (s *shortage) keep() error {
	if s.file == nil {
		return nil
	}
	return put(s.file, s.count)
}

// cause is an error without the path that it is about, which means nothing to who reads the record.
func cause(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	words := err.Error()
	return string(bytes.ToValidUTF8([]byte(words[:min(len(words), maxWhy)]), nil))
}

// gap is the event that says what was dropped, nil when nothing was.
func (s *shortage) gap(host event.Host) *event.Event {
	if s.count.Events == 0 {
		return nil
	}
	now := time.Now().UTC()
	since := s.count.Since
	if since.IsZero() || since.After(now) { // the clock was set back
		since = now
	}
	return &event.Event{ID: event.NewID(), Kind: event.Gap, Time: since, Until: now, Received: now, Connector: "agent", Reason: event.ReasonUnavailable, Host: host,
		Content: event.Content{Explanation: fmt.Sprintf("%d events were dropped from %s to %s: %s", s.count.Events, since.Format(time.RFC3339), now.Format(time.RFC3339), s.count.Why)}}
}

// told begins anew: what was dropped is written.
func (s *shortage) told() error {
	s.count = dropped{}
	return s.keep()
}

// close ends it, and says whether a count is left that is kept nowhere.
func (s *shortage) close() (lost bool, err error) {
	if s.file == nil {
		return s.count.Events > 0, nil
	}
	return false, s.file.Close()
}
