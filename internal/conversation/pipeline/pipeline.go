// Package pipeline is the way of every conversation event to its verdict: people are resolved, inspectors look side by side, policy decides,
// the record is made durable, and only then the connector hears what to do.
//
// It implements connector.Judge for one gateway. Whatever fails on the way fails as stated: an inspector that does not answer in time is a
// mark on the event that policy sees; a record that cannot be made refuses the event, or, where the configuration says so, lets it through
// into a bounded durable spool that is recorded, marked late, as soon as recording works again.
package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// Objects keeps files, each sealed under a key of its own.
type Objects interface {
	// Put seals what r gives and keeps it durably. It fills in Object, Sealed and Key of the file.
	Put(ctx context.Context, f *event.File, r io.Reader) error
}

// Inspection looks into items with all inspectors there are, side by side and under its own deadline. An inspect.Runner is one.
type Inspection interface {
	Run(ctx context.Context, items ...*inspect.Item) inspect.Result
}

// Meter counts what the pipeline does.
type Meter interface {
	// Judged counts a verdict and the time it took, recording included.
	Judged(connector string, kind event.Kind, action event.Action, took time.Duration)
	// Failed counts an event that could not be recorded.
	Failed(connector string, kind event.Kind)
}

// Config says how one gateway's events are judged.
type Config struct {
	Connector string
	Open      bool // on_failure: open; it needs a Spool
	Outcomes  int  // most outcomes that wait to be recorded; default 10,000
}

// Spool keeps, durably and in order, what was let through although it could not be recorded, until it is. A storage/file.Spool is one.
type Spool interface {
	// Put keeps an event. When it returns nil the event survives power loss.
	Put(ctx context.Context, e *event.Event) error
	// Next returns the oldest events, at most most, and how many more there were that cannot be read. They stay until Done.
	Next(most int) (events []*event.Event, damaged int, err error)
	// Done says that what Next returned last is recorded.
	Done() error
	// Waiting receives a value when there is something to be recorded.
	Waiting() <-chan struct{}
}

// Deps is what a pipeline works with. Inspection, Objects, Spool, Meter and Health may be nil.
type Deps struct {
	Directory  identity.Directory
	Inspection Inspection
	Policy     policy.Decider
	Recorder   event.Recorder
	Objects    Objects
	Spool      Spool
	Meter      Meter
	Health     *health.Board
	Clock      clock.Clock
	Log        *slog.Logger
}

// Pipeline judges the events of one gateway.
type Pipeline struct {
	cfg      Config
	deps     Deps
	tally    tally
	tails    tails
	counts   []*event.Event // acts of what was excluded that are not recorded yet; only Run has them
	outcomes chan *event.Event
}

// ErrNotRecorded is wrapped by the error of an event that could not be recorded.
var ErrNotRecorded = errors.New("not recorded")

// New returns a pipeline. Run must be running for outcomes and the spool to be recorded.
func New(cfg Config, deps Deps) *Pipeline {
	if cfg.Outcomes <= 0 {
		cfg.Outcomes = 10_000
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	if deps.Inspection == nil {
		deps.Inspection = inspect.New(nil, time.Second)
	}
	return &Pipeline{cfg: cfg, deps: deps, outcomes: make(chan *event.Event, cfg.Outcomes)}
}

// Judge resolves, inspects, decides and records e.
func (p *Pipeline) Judge(ctx context.Context, e *event.Event) error {
	start := time.Now()
	p.resolve(e)
	if e.Text != "" || e.Subject != "" {
		p.inspectText(ctx, e)
	}
	remember := p.inspectEarlier(ctx, e)
	if err := p.finish(ctx, e, start); err != nil {
		return err
	}
	remember()
	return nil
}

// JudgeFile does the same for a file, whose sealed object is durable before its record is.
func (p *Pipeline) JudgeFile(ctx context.Context, e *event.Event, body io.ReaderAt, size int64) error {
	start := time.Now()
	p.resolve(e)
	if len(e.Files) == 0 {
		e.Files = []event.File{{Size: size}}
	}
	f := &e.Files[0]
	if err := digest(f, body, size); err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	found := p.deps.Inspection.Run(ctx, &inspect.Item{File: f, Size: size, Body: body})
	if found.Type != "" {
		f.Type = found.Type
	}
	e.Hits, e.NotChecked = append(e.Hits, found.Hits...), append(e.NotChecked, found.NotInspected...)
	if f.Name != "" {
		p.inspectText(ctx, e)
	}
	if p.deps.Objects != nil {
		if err := p.deps.Objects.Put(ctx, f, io.NewSectionReader(body, 0, size)); err != nil {
			return p.failed(ctx, e, fmt.Errorf("keep file: %w", err), p.decide(e))
		}
	}
	return p.finish(ctx, e, start)
}

func digest(f *event.File, body io.ReaderAt, size int64) error {
	f.Size = size
	if f.SHA256 != "" {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(body, 0, size)); err != nil {
		return err
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// Outcome queues what became of an event. When the queue is full it answers with an error instead of making anybody wait.
func (p *Pipeline) Outcome(_ context.Context, e *event.Event) error {
	p.resolve(e)
	if e.Received.IsZero() {
		e.Received = p.deps.Clock.Now()
	}
	select {
	case p.outcomes <- e:
		return nil
	default:
		p.tally.add(e, Excluded, "outcomes-full")
		return fmt.Errorf("%s outcome: the queue is full", e.Phase)
	}
}

// Exclude counts a copy that is not a record of its own.
func (p *Pipeline) Exclude(_, room, reason string) {
	p.tally.add(&event.Event{Received: p.deps.Clock.Now(), Room: event.Room{Name: room}}, Excluded, reason)
}

// resolve puts people behind all handles of an event.
func (p *Pipeline) resolve(e *event.Event) {
	if e.Connector == "" {
		e.Connector = p.cfg.Connector
	}
	d := p.deps.Directory
	if d == nil {
		return
	}
	at := e.Time
	party := func(x *event.Party) {
		if x.Handle != "" && x.Person == "" {
			found := d.Party(e.Connector, x.Handle, at)
			x.Person, x.Name, x.Groups = found.Person, found.Name, found.Groups
		}
	}
	party(&e.From)
	for _, list := range [][]event.Party{e.To, e.Audience} {
		for i := range list {
			party(&list[i])
		}
	}
	if e.CallDetail != nil {
		for i := range e.CallDetail.Parties {
			party(&e.CallDetail.Parties[i])
		}
	}
	if e.Host.Name != "" || e.Host.Address != "" {
		id := e.Host.ID
		found := d.Host(e.Host.Name, e.Host.Address, at)
		found.ID, found.Address = id, e.Host.Address
		e.Host = found
	}
}

// inspectText looks into the text, then the subject, then names of files: people write in all of them.
func (p *Pipeline) inspectText(ctx context.Context, e *event.Event) {
	parts := []string{e.Text, e.Subject}
	if e.Kind == event.FileUpload {
		for _, f := range e.Files {
			parts = append(parts, f.Name)
		}
	}
	for i, part := range parts {
		if part == "" {
			continue
		}
		found := p.deps.Inspection.Run(ctx, &inspect.Item{Text: part, Size: int64(len(part))})
		for _, h := range found.Hits {
			if i > 0 { // spans are places in the text
				h.Spans = nil
			}
			e.Hits = append(e.Hits, h)
		}
		e.NotChecked = append(e.NotChecked, found.NotInspected...)
	}
	p.inspectTogether(ctx, e, e.Subject, e.Text, false)
}

// decide asks policy. What is still pending although nothing more will come is stopped.
func (p *Pipeline) decide(e *event.Event) event.Verdict {
	if e.Received.IsZero() {
		e.Received = p.deps.Clock.Now()
	}
	return p.deps.Policy.Decide(&policy.Input{Event: e, Now: e.Received, Final: true})
}

func (p *Pipeline) finish(ctx context.Context, e *event.Event, start time.Time) error {
	e.Verdict = p.decide(e)
	if e.Verdict.Action == event.Pending || e.Verdict.Action == "" {
		e.Verdict.Action, e.Verdict.Enforced = event.Quarantine, true
		e.Verdict.Reason = "policy gave no answer"
	}
	if err := p.deps.Recorder.Record(ctx, e); err != nil {
		return p.failed(ctx, e, err, e.Verdict)
	}
	p.state(health.OK, "", "")
	p.tally.stored(e)
	if p.deps.Meter != nil {
		p.deps.Meter.Judged(p.cfg.Connector, e.Kind, e.Verdict.Action, time.Since(start))
	}
	return nil
}

// failed is what happens to an event that cannot be recorded: refused, or let through into the spool. What policy stops stays stopped.
func (p *Pipeline) failed(ctx context.Context, e *event.Event, err error, v event.Verdict) error {
	if p.deps.Meter != nil {
		p.deps.Meter.Failed(p.cfg.Connector, e.Kind)
	}
	err = fmt.Errorf("%w: %w", ErrNotRecorded, err)
	const advice = "free space for the data directory, or mend its disk"
	if p.cfg.Open {
		spoolErr := p.spool(ctx, e, v)
		if spoolErr == nil {
			p.state(health.Degraded, "messages are delivered before they are recorded, and spooled (on_failure: open): "+err.Error(), advice)
			return nil
		}
		err = fmt.Errorf("%w, and not spooled: %w", err, spoolErr)
	}
	p.state(health.Failed, "messages are refused, because they cannot be recorded: "+err.Error(), advice)
	p.tally.add(e, Excluded, "not-recorded")
	return err
}

// spool keeps an event that is let through until it can be recorded. Who sent it may be gone already: that does not matter.
func (p *Pipeline) spool(ctx context.Context, e *event.Event, v event.Verdict) error {
	if p.deps.Spool == nil {
		return errors.New("there is no spool")
	}
	if e.ID == "" {
		e.ID = event.NewID()
	}
	spooled := *e
	spooled.Verdict, spooled.Reason = v, event.ReasonLate
	if err := p.deps.Spool.Put(context.WithoutCancel(ctx), &spooled); err != nil {
		return err
	}
	e.Verdict, e.Reason = v, event.ReasonLate
	return nil
}

func (p *Pipeline) state(s health.State, detail, advice string) {
	if p.deps.Health != nil {
		p.deps.Health.Set("recording "+p.cfg.Connector, s, detail, advice)
	}
}
