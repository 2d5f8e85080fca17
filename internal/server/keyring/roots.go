package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Lost are the roots that records need and the keys folder has not, with how many records each would open.
type Lost map[string]int

// maxNamed bounds the roots that Detail names.
const maxNamed = 5

// Records returns how many records cannot be opened.
func (l Lost) Records() int {
	n := 0
	for _, of := range l {
		n += of
	}
	return n
}

// Detail says which roots are lost, those that would open most first.
func (l Lost) Detail() string {
	ids := slices.SortedFunc(maps.Keys(l), func(a, b string) int { return cmp.Or(cmp.Compare(l[b], l[a]), strings.Compare(a, b)) })
	var named []string
	for _, id := range ids[:min(len(ids), maxNamed)] {
		named = append(named, fmt.Sprintf("%s (%d)", id, l[id]))
	}
	more := ""
	if n := len(ids) - len(named); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("the content of %d records cannot be opened: %d roots are missing from keys/roots, or damaged: %s%s", l.Records(), len(l), strings.Join(named, ", "), more)
}

// workFor is how long LostRoots reads before it lets others have the disk for twice as long.
const workFor = 50 * time.Millisecond

// LostRoots reads the journal, and looks for the root of each sealed content in the keys folder. It opens nothing and takes its time: serve
// does its work meanwhile.
func LostRoots(ctx context.Context, r journal.Reader, keys string) (Lost, error) {
	streams, err := r.Streams()
	if err != nil {
		return nil, fmt.Errorf("look for roots: %w", err)
	}
	look := &looker{keys: keys, whole: map[string]bool{}, lost: Lost{}}
	for name := range streams {
		began := time.Now()
		for f, err := range r.Frames(ctx, name, 1) {
			if err == nil {
				err = look.frame(f)
			}
			if err != nil {
				return nil, fmt.Errorf("look for roots: %w", err)
			}
			if time.Since(began) > workFor {
				select {
				case <-ctx.Done():
				case <-time.After(2 * workFor):
				}
				began = time.Now()
			}
		}
	}
	return look.lost, ctx.Err()
}

type looker struct {
	keys  string
	whole map[string]bool // what was looked for already
	lost  Lost
}

func (l *looker) frame(f journal.Frame) error {
	for _, rec := range f.Records {
		if len(rec.Sealed) == 0 {
			continue // disposed of
		}
		id, err := seal.RootOf(rec.Sealed)
		if err != nil {
			continue // damaged: verify says so
		}
		whole, asked := l.whole[id]
		if !asked {
			err := seal.CheckRoot(l.keys, id)
			if err != nil && !errors.Is(err, seal.ErrRootLost) {
				return err
			}
			whole = err == nil
			l.whole[id] = whole
		}
		if !whole {
			l.lost[id]++
		}
	}
	return nil
}

// HasNames reports whether any record in a journal is about somebody, a room or a host: then the map of names has entries.
func HasNames(ctx context.Context, r journal.Reader) (bool, error) {
	streams, err := r.Streams()
	if err != nil {
		return false, fmt.Errorf("look for names: %w", err)
	}
	for name := range streams {
		for f, err := range r.Frames(ctx, name, 1) {
			if err != nil {
				return false, fmt.Errorf("look for names: %w", err)
			}
			for _, rec := range f.Records {
				if h, err := event.ParseHeader(rec.Header); err == nil && (h.From != "" || len(h.To) > 0 || h.Room != "" || h.Host != "") {
					return true, nil
				}
			}
		}
	}
	return false, nil
}
