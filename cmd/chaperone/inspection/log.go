package inspection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/logs"
)

// Logs inspects logs of other programs, one after the other. Those of one program share what they taught: Zeek writes names into one file and
// sizes into another, and speaks of the same flows in both.
func (r *Run) Logs(ctx context.Context, specs []string) error {
	judges := map[string]*logs.Judge{}
	var paths []string
	for _, spec := range specs {
		if _, path, ok := strings.Cut(spec, ":"); ok {
			paths = append(paths, path)
		}
	}
	r.names = shortNames(paths)
	for _, spec := range specs {
		format, path, ok := strings.Cut(spec, ":")
		if !ok || !slices.Contains(logs.Formats(), format) {
			return hint.New(fmt.Errorf("--log %s: want FORMAT:PATH", spec), "the formats are "+strings.Join(logs.Formats(), ", "))
		}
		judge, ok := judges[format]
		if !ok {
			judge = logs.NewJudge(func() classify.Catalog { return r.Catalog }, logs.Options{Source: format, Policy: r.Decider,
				Host: func(a netip.Addr, _ time.Time) event.Host { return event.Host{Name: r.Host, Address: a.String()} }})
			judges[format] = judge
		}
		if err := r.log(ctx, judge, format, path); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) log(ctx context.Context, judge *logs.Judge, format, path string) error {
	in, err := r.source(path)
	if err != nil && isPipe(path) {
		return hint.New(err, fmt.Sprintf("a pipe is read as standard input: chaperone inspect --log %s:- < PIPE", format))
	}
	if err != nil {
		return err
	}
	defer in.Close()
	reader, err := logs.NewReader(format, in, time.Now)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		entry, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		found := judge.Judge(entry)
		found.Finding.Flow.Capture = r.called(path)
		if err := r.takeLog(ctx, &found); err != nil {
			return err
		}
	}
	if t := reader.Trouble; t.Lines > 0 {
		return errors.Join(ctx.Err(), r.Out.failure(r.called(path), fmt.Errorf("%d of its lines could not be read; %w", t.Lines, t.First)))
	}
	return ctx.Err()
}

// takeLog writes what a line said, and records it when it must be kept.
func (r *Run) takeLog(ctx context.Context, found *logs.Found) error {
	if found.Finding.Verdict.Action.Stops() {
		r.Forbidden++
	}
	if err := r.Out.flow(&found.Finding, r.Host); err != nil {
		return err
	}
	if r.Recorder == nil || !found.Finding.Record() {
		return nil
	}
	found.Event.ID, found.Event.Connector = event.NewID(), "inspect"
	return r.Recorder.Record(ctx, found.Event)
}
