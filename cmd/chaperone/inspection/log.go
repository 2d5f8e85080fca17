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
	mostly, read := []string{}, false
	for _, spec := range specs {
		format, path, ok := strings.Cut(spec, ":")
		if !ok || !slices.Contains(logs.Formats(), format) {
			r.nothing(read)
			return hint.New(fmt.Errorf("--log %s: want FORMAT:PATH", spec), "the formats are "+strings.Join(logs.Formats(), ", "))
		}
		judge, ok := judges[format]
		if !ok {
			judge = logs.NewJudge(func() classify.Catalog { return r.Catalog }, logs.Options{Source: format, Policy: r.Decider,
				Host: func(a netip.Addr, _ time.Time) event.Host { return event.Host{Name: r.Host, Address: a.String()} }})
			judges[format] = judge
		}
		good, err := r.log(ctx, judge, format, path)
		if errors.Is(err, errUnopened) {
			r.nothing(read)
		}
		if err != nil {
			return err
		}
		if read = true; !good {
			mostly = append(mostly, spec)
		}
	}
	if len(mostly) > 0 {
		return hint.New(fmt.Errorf("most lines of %s could not be read", strings.Join(mostly, ", ")), "is that the format? --log FORMAT:PATH takes "+strings.Join(logs.Formats(), ", ")+
			"; what cannot be read in each is said above")
	}
	return nil
}

// nothing keeps a summary from being written when nothing was read: it would say that there is no messenger.
func (r *Run) nothing(read bool) {
	if !read {
		r.Out.read(&total{captures: 1})
	}
}

// log inspects one log. It is no good when most of its lines could not be read.
func (r *Run) log(ctx context.Context, judge *logs.Judge, format, path string) (good bool, err error) {
	in, err := r.source(path)
	if err != nil && isPipe(path) {
		return false, hint.New(unopened{err}, fmt.Sprintf("a pipe is read as standard input: chaperone inspect --log %s:- < PIPE", format))
	}
	if err != nil {
		return false, unopened{err}
	}
	defer in.Close()
	reader, err := logs.NewReader(format, in, time.Now)
	if err != nil {
		return false, err
	}
	for ctx.Err() == nil {
		entry, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		found := judge.Judge(entry)
		found.Finding.Flow.Capture = r.called(path)
		if err := r.takeLog(ctx, &found); err != nil {
			return false, err
		}
	}
	if t := reader.Trouble; t.Lines > 0 {
		err := errors.Join(ctx.Err(), r.Out.failure(r.called(path), fmt.Errorf("%d of its lines could not be read; %w", t.Lines, t.First)))
		return int64(t.Lines)*2 <= reader.Lines(), err
	}
	return true, ctx.Err()
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
