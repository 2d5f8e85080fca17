package execution

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/seal"
)

// Follow counts what the journal holds behind the last sums that were written, as after a crash, and from then on keeps the place up to which
// they count. It is called before the first record. With a nil opener nothing can be counted again, which is logged.
func (t *Tally) Follow(ctx context.Context, j journal.Reader, o *seal.TreeOpener) error {
	last, err := j.Streams()
	if err != nil {
		return fmt.Errorf("sums of programs: %w", err)
	}
	t.frames = j.Streams
	if t.d.Through == nil { // of an older version, or the first
		t.d.Through = last
		return nil
	}
	behind := map[string]uint64{}
	for stream, n := range last {
		if n > t.d.Through[stream] {
			behind[stream] = t.d.Through[stream] + 1
		}
	}
	if len(behind) > 0 && o == nil {
		t.log.Warn("sums of programs: no key is unlocked, so that what was recorded just before the last stop could not be counted")
		return nil
	}
	n := 0
	for _, stream := range slices.Sorted(maps.Keys(behind)) {
		for f, err := range j.Frames(ctx, stream, behind[stream]) {
			if err != nil {
				return fmt.Errorf("sums of programs: %w", err)
			}
			for _, r := range f.Records {
				if e := program(r, o); e != nil {
					t.add(e)
					n++
				}
			}
		}
	}
	if n > 0 {
		t.log.Info("sums of programs: counted from the records what was not written before the last stop", "records", n)
	}
	return nil
}

// program returns the start of a program that a record is of, nil for all else: also where the content was destroyed meanwhile.
func program(r journal.Record, o *seal.TreeOpener) *event.Event {
	h, err := event.ParseHeader(r.Header)
	if err != nil || h.Kind != event.ProgramRun || len(r.Sealed) == 0 {
		return nil
	}
	content, err := o.Open(r.Sealed, []byte(h.ID))
	if err != nil {
		return nil
	}
	e, err := event.Assemble(h, content)
	if err != nil || !counts(e) {
		return nil
	}
	return e
}
