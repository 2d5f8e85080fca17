// Package inspection runs what `chaperone inspect` and `survey` do: it reads captures, interfaces and logs of other programs through the
// recogniser, and writes flows as lines for programs, as a table for people, or as the explanation of one.
package inspection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Run is one run of inspect or survey.
type Run struct {
	Catalog   *catalog.Catalog
	Decider   policy.Decider
	Out       Writer
	Host      string         // the client of every flow, when it is known
	Recorder  event.Recorder // takes findings; nil records nothing
	In        io.Reader      // standard input, what the capture or log "-" means
	Progress  io.Writer      // nil is quiet
	One       bool           // the captures are of one network
	Forbidden int            // flows that the policy stops, once they were read

	tracker    *flow.Tracker // used for one capture after the other
	classifier *classify.Classifier
	network    *oneNetwork
	explainer  *explainer
	failed     error              // of recorder or output
	stop       context.CancelFunc // ends reading when that failed
	names      map[string]string  // what captures are called, by path
}

// Captures inspects one capture after the other. An error in one is said, and the next is read.
func (r *Run) Captures(ctx context.Context, paths []string) error {
	failed, shut, advice := 0, 0, ""
	r.names = shortNames(paths)
	if r.One {
		if slices.Contains(paths, "-") && len(paths) > 1 {
			return errors.New("standard input has no place in the order of several captures")
		}
		if len(paths) > 1 {
			paths = inTimeOrder(paths)
		}
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	r.stop = stop
	r.begin(reading)
	for _, path := range paths {
		err := r.capture(reading, path)
		if r.failed != nil {
			return r.failed
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, errUnopened) {
				shut++
			}
			if advice == "" || isPipe(path) {
				advice = adviceOn(path, err)
			}
			if err := r.Out.failure(r.called(path), err); err != nil {
				return err
			}
			if !errors.Is(err, flow.ErrCut) {
				failed++
			}
		}
	}
	if r.One {
		r.tracker.Flush()
		if r.failed != nil {
			return r.failed
		}
	}
	r.Out.read(&total{captures: len(paths), opened: len(paths) - shut, counts: r.tracker.Counts()})
	return unread(failed, shut, len(paths), advice)
}

// unread is the error for captures that could not be read to the end, of them shut ones that could not be opened; nil when there are none.
func unread(failed, shut, all int, advice string) error {
	if failed == 0 {
		return nil
	}
	what := "read to the end"
	if failed == shut {
		what = "opened"
	}
	err := fmt.Errorf("%d of %d captures could not be %s", failed, all, what)
	if advice != "" {
		return hint.New(err, advice)
	}
	return err
}

// adviceOn says what helps with a capture that could not be read, "" when nobody knows.
func adviceOn(path string, err error) string {
	switch info, _ := os.Stat(path); {
	case isPipe(path):
		return pipeHint
	case info != nil && info.IsDir():
		return "give the captures of a folder by their paths: chaperone inspect FOLDER/*.pcap"
	case errors.Is(err, flow.ErrNotCapture):
		return "captures are in pcap or pcapng, as tcpdump -w and Wireshark write them: unpack what is compressed, and read logs with --log FORMAT:PATH"
	}
	return ""
}

// isPipe reports whether a path leads to a pipe, which is never opened by its name.
func isPipe(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeNamedPipe != 0
}

const pipeHint = "a pipe is read as standard input: chaperone inspect - < PIPE, or PROGRAM | chaperone inspect -"

// errUnopened says that a capture could not be opened at all.
var errUnopened = errors.New("not opened")

// unopened is errUnopened in the words of what opened it.
type unopened struct{ error }

func (u unopened) Is(target error) bool { return target == errUnopened }
func (u unopened) Unwrap() error        { return u.error }

// source opens a file, or standard input for "-", which stays open.
func (r *Run) source(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(r.In), nil
	}
	return outside.Open(path)
}

func (r *Run) capture(ctx context.Context, path string) error {
	source, err := r.source(path)
	if err != nil {
		return unopened{err}
	}
	defer source.Close()
	var in io.Reader = source
	if f, ok := source.(*os.File); ok {
		if info, err := f.Stat(); err == nil && r.Progress != nil && info.Size() > 64<<20 {
			p := newProgress(r.Progress, r.called(path), info.Size(), f)
			defer p.clear()
			in = p
		}
	}
	if r.One {
		r.network.begin(r.called(path))
	} else {
		r.classifier.Reset(r.called(path))
	}
	read := flow.ReadCapture
	if r.One {
		read = flow.ReadPart
	}
	before := r.tracker.Counts()
	_, err = read(ctx, in, r.tracker)
	return errors.Join(err, r.short(r.called(path), before, r.tracker.Counts()))
}

// short says how many flows were not seen to their end for lack of room.
func (r *Run) short(name string, before, after flow.Counts) error {
	evicted, unread := after.Evicted-before.Evicted, after.Unread-before.Unread
	if evicted == 0 && unread == 0 {
		return nil
	}
	return r.Out.failure(name, fmt.Errorf("for lack of room %d flows were reported before their end, and %d are not known by all that they said", evicted, unread))
}

// begin makes what all captures are read with.
func (r *Run) begin(ctx context.Context) {
	r.classifier = classify.New(r.Catalog, r.options(ctx, ""))
	var h flow.Handler = r.classifier
	if r.One {
		r.network = &oneNetwork{Classifier: r.classifier, began: map[*flow.Flow]string{}}
		h = r.network
	}
	if r.explainer != nil {
		r.explainer.Handler, r.explainer.classifier = h, r.classifier
		h = r.explainer
	}
	r.tracker = flow.NewTracker(h, flow.Limits{})
}

// Live inspects what passes an interface.
func (r *Run) Live(ctx context.Context, name string, limit time.Duration) error {
	ctx, r.stop = context.WithCancel(ctx)
	defer r.stop()
	if limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, limit)
		defer stop()
	}
	k := classify.New(r.Catalog, r.options(ctx, name))
	tracker := flow.NewTracker(k, flow.Limits{Idle: 2 * time.Minute})
	stats, err := flow.Live(ctx, name, tracker)
	if r.failed != nil {
		return r.failed
	}
	if err != nil && stats.Packets == 0 {
		r.nothing(false)
	}
	if errors.Is(err, fs.ErrPermission) {
		return hint.New(err, "listening needs root, or the capability CAP_NET_RAW")
	}
	if err != nil {
		return hint.New(err, "ip link lists the interfaces of this machine")
	}
	r.Out.read(&total{counts: tracker.Counts(), kernel: stats})
	if err := r.short(name, flow.Counts{}, tracker.Counts()); err != nil {
		return err
	}
	if stats.Gaps > 0 {
		if err := r.Out.failure(name, fmt.Errorf("it was down or away %d times, %s in all", stats.Gaps, stats.Missed.Round(time.Millisecond))); err != nil {
			return err
		}
	}
	if stats.Dropped > 0 {
		return r.Out.failure(name, fmt.Errorf("%d of %d packets were dropped by the kernel: this machine is too slow for them", stats.Dropped, stats.Packets))
	}
	return nil
}

func (r *Run) options(ctx context.Context, capture string) classify.Options {
	return classify.Options{
		Capture: capture, Policy: r.Decider,
		Host: func(a netip.Addr) event.Host {
			return event.Host{Name: r.Host, Address: a.String()}
		},
		Report: func(f *classify.Finding) { r.take(ctx, f) },
	}
}

// take writes a finding, and records it when it is one that must be kept: a messenger that no rule allows, or what was stopped.
func (r *Run) take(ctx context.Context, f *classify.Finding) {
	if f.Verdict.Action.Stops() {
		r.Forbidden++
	}
	if r.network != nil {
		f.Flow.Capture = r.network.ending
	}
	if r.failed == nil {
		r.failed = r.Out.flow(f, r.Host)
	}
	if r.Recorder != nil && r.failed == nil && f.Record() {
		e := f.Event()
		e.ID, e.Connector = event.NewID(), "inspect"
		r.failed = r.Recorder.Record(ctx, e)
	}
	if r.failed != nil && r.stop != nil {
		r.stop()
	}
}
