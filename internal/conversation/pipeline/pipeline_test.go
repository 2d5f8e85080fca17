package pipeline

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/policy"
)

type inspector struct {
	name string
	look func(ctx context.Context, item *inspect.Item) inspect.Result
}

func (i inspector) Name() string    { return i.name }
func (i inspector) Version() string { return "1" }
func (i inspector) Inspect(ctx context.Context, item *inspect.Item) inspect.Result {
	return i.look(ctx, item)
}

func finds(word string) inspector {
	return inspector{word, func(_ context.Context, item *inspect.Item) inspect.Result {
		text := item.Text
		if item.Body != nil {
			b, _ := io.ReadAll(io.NewSectionReader(item.Body, 0, item.Size))
			text = string(b)
		}
		if strings.Contains(text, word) {
			return inspect.Result{Type: "text/plain", Hits: []event.Hit{{Inspector: word, Name: word, Spans: []event.Span{{Start: 0, End: 1}}}}}
		}
		return inspect.Result{Type: "text/plain"}
	}}
}

type decider func(in *policy.Input) event.Verdict

func (d decider) Decide(in *policy.Input) event.Verdict { return d(in) }

func blocksHits(in *policy.Input) event.Verdict {
	if len(in.Event.Hits)+len(in.Event.NotChecked) > 0 {
		return event.Verdict{Action: event.Block, Rule: "hits", Enforced: true}
	}
	return event.Verdict{Action: event.Allow, Rule: "otherwise", Enforced: true}
}

type recorder struct {
	mu     sync.Mutex
	err    error
	events []event.Event
}

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for _, e := range events {
		r.events = append(r.events, *e)
	}
	return nil
}

func (r *recorder) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// all returns what was recorded, acts apart.
func (r *recorder) all() []event.Event {
	return r.kind(func(k event.Kind) bool { return k != event.Act })
}

func (r *recorder) acts() []event.Event {
	return r.kind(func(k event.Kind) bool { return k == event.Act })
}

func (r *recorder) kind(wanted func(event.Kind) bool) []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []event.Event
	for _, e := range r.events {
		if wanted(e.Kind) {
			out = append(out, e)
		}
	}
	return out
}

type objects struct{ kept map[string]string }

func (o objects) Put(_ context.Context, f *event.File, r io.Reader) error {
	b, err := io.ReadAll(r)
	f.Object, f.Sealed = "object-of-"+f.Name, event.Digest(b)
	o.kept[f.Object] = string(b)
	return err
}

func message(text string) *event.Event {
	now := time.Now()
	return &event.Event{ID: event.NewID(), Kind: event.Message, Time: now, Received: now, From: event.Party{Handle: "alice@example.org"},
		To: []event.Party{{Handle: "bob@example.org"}}, Content: event.Content{Text: text}}
}

func TestJudgeResolvesInspectsDecidesRecords(t *testing.T) {
	people, err := identity.ParsePeople(strings.NewReader("person,name,handle,address,groups\nalice,Alice,alice@example.org,10.0.0.1,traders\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	p := New(Config{Connector: "office"}, Deps{Directory: people, Inspection: inspect.New([]inspect.Inspector{finds("card"), finds("none")}, time.Second), Policy: decider(blocksHits), Recorder: r})
	good, bad := message("hello"), message("a card")
	good.Host.Address = "10.0.0.1"
	for _, e := range []*event.Event{good, bad} {
		if err := p.Judge(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if good.Verdict.Action != event.Allow || bad.Verdict.Action != event.Block || len(r.all()) != 2 {
		t.Errorf("verdicts %v %v, %d records", good.Verdict, bad.Verdict, len(r.all()))
	}
	if good.From.Person != "alice" || good.From.Groups[0] != "traders" || good.Host.Person != "alice" || good.Connector != "office" || good.To[0].Person != "" {
		t.Errorf("resolved to %+v", good)
	}
	p.Exclude("office", "", event.ReasonDuplicate)
	var n uint64
	for _, c := range p.Counts() {
		n += c.N
	}
	if n != 3 {
		t.Errorf("counts %+v", p.Counts())
	}
}

func TestAnInspectorThatHangsOrCrashesIsAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := inspector{"hangs", func(context.Context, *inspect.Item) inspect.Result { time.Sleep(time.Hour); return inspect.Result{} }}
		var nothing map[string]int
		crashes := inspector{"crashes", func(context.Context, *inspect.Item) inspect.Result { nothing["x"]++; return inspect.Result{} }}
		p := New(Config{Connector: "office"}, Deps{Inspection: inspect.New([]inspect.Inspector{hangs, crashes, finds("x")}, time.Second), Policy: decider(blocksHits), Recorder: &recorder{}})
		e := message("x")
		start := time.Now()
		if err := p.Judge(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		if len(e.NotChecked) != 2 || e.NotChecked[0].Reason != event.ReasonTimeout || e.NotChecked[1].Reason != event.ReasonUnparseable || len(e.Hits) != 1 {
			t.Errorf("marks %+v, hits %+v", e.NotChecked, e.Hits)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestWhatPolicyLeavesPendingIsQuarantined(t *testing.T) {
	p := New(Config{Connector: "office"}, Deps{Policy: decider(func(*policy.Input) event.Verdict { return event.Verdict{Action: event.Pending} }), Recorder: &recorder{}})
	e := message("x")
	if err := p.Judge(t.Context(), e); err != nil || e.Verdict.Action != event.Quarantine || !e.Verdict.Enforced {
		t.Errorf("%v %+v", err, e.Verdict)
	}
}

func TestClosedRefusesWhatCannotBeRecorded(t *testing.T) {
	r, board := &recorder{err: errors.New("disk full")}, health.NewBoard(time.Now)
	p := New(Config{Connector: "office"}, Deps{Policy: decider(blocksHits), Recorder: r, Health: board})
	if err := p.Judge(t.Context(), message("x")); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("got %v", err)
	}
	if board.Worst() != health.Failed {
		t.Errorf("health %v", board.Items())
	}
	r.set(nil)
	if err := p.Judge(t.Context(), message("x")); err != nil || board.Worst() != health.OK {
		t.Errorf("after recovery: %v, %v", err, board.Items())
	}
}

// memory is a spool for tests of what a pipeline does with one.
type memory struct {
	mu      sync.Mutex
	most    int
	events  []*event.Event
	given   int
	damaged int
	wake    chan struct{}
}

func (m *memory) Put(_ context.Context, e *event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) >= m.most {
		return errors.New("the spool is full")
	}
	m.events = append(m.events, e)
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return nil
}

func (m *memory) Next(most int) ([]*event.Event, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.given = min(most, len(m.events))
	return m.events[:m.given:m.given], m.damaged, nil
}

func (m *memory) Done() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events, m.given, m.damaged = m.events[m.given:], 0, 0
	return nil
}

func (m *memory) Waiting() <-chan struct{} { return m.wake }

func TestOpenSpoolsWhatCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, spool, board := &recorder{err: errors.New("disk full")}, &memory{most: 2, damaged: 3, wake: make(chan struct{}, 1)}, health.NewBoard(time.Now)
		p := New(Config{Connector: "office", Open: true}, Deps{Inspection: inspect.New([]inspect.Inspector{finds("card")}, time.Second), Policy: decider(blocksHits), Recorder: r, Spool: spool, Health: board})
		good, bad, third := message("a"), message("card"), message("c")
		good.ID = ""
		if err := p.Judge(t.Context(), good); err != nil || good.Verdict.Action != event.Allow || good.Reason != event.ReasonLate || good.ID == "" {
			t.Errorf("%v %+v", err, good.Verdict)
		}
		if board.Worst() != health.Degraded {
			t.Errorf("health %+v", board.Items())
		}
		if err := p.Judge(t.Context(), bad); err != nil || bad.Verdict.Action != event.Block {
			t.Errorf("what policy stops must stay stopped: %v %+v", err, bad.Verdict)
		}
		if err := p.Judge(t.Context(), third); !errors.Is(err, ErrNotRecorded) {
			t.Errorf("a full spool: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(2 * time.Second)
		r.set(nil)
		time.Sleep(2 * time.Second)
		cancel()
		<-done
		if got := r.all(); len(got) != 2 || got[0].Reason != event.ReasonLate || got[0].Text != "a" || got[1].Text != "card" {
			t.Errorf("recorded %+v", got)
		}
		acts := r.acts()
		if len(acts) != 2 || acts[0].Act.Action != ActLate || acts[0].Act.Details[0].Value != "2" || acts[0].Act.Details[3].Value != "3" || board.Worst() != health.OK {
			t.Errorf("said %+v, health %v", acts, board.Items())
		}
		if counted := event.ExcludedIn(&acts[1]); len(counted) != 2 || counted[0].Reason != "not-recorded" || counted[1] != (event.Excluded{Day: counted[1].Day, Reason: "spool-damaged", N: 3}) {
			t.Errorf("counted %+v", counted)
		}
	})
}

func TestOpenWithoutASpoolRefuses(t *testing.T) {
	p := New(Config{Connector: "office", Open: true}, Deps{Policy: decider(blocksHits), Recorder: &recorder{err: errors.New("disk full")}})
	if err := p.Judge(t.Context(), message("x")); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("got %v", err)
	}
}

func TestOutcomesWaitForNobodyAndAreKeptAtTheEnd(t *testing.T) {
	r := &recorder{}
	p := New(Config{Connector: "office", Outcomes: 2}, Deps{Policy: decider(blocksHits), Recorder: r})
	for i := range 3 {
		err := p.Outcome(t.Context(), &event.Event{Kind: event.Delivery, Phase: event.HandedOver})
		if (err != nil) != (i == 2) {
			t.Errorf("outcome %d: %v", i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx)
	if len(r.all()) != 2 {
		t.Errorf("%d outcomes recorded", len(r.all()))
	}
	counted := event.ExcludedIn(&r.acts()[0])
	if len(counted) != 1 || counted[0].Reason != "outcomes-full" || counted[0].N != 1 {
		t.Errorf("counted %+v", counted)
	}
}

func TestFiles(t *testing.T) {
	r, o := &recorder{}, objects{map[string]string{}}
	p := New(Config{Connector: "office"}, Deps{Inspection: inspect.New([]inspect.Inspector{finds("EICAR"), finds("secret")}, time.Second), Policy: decider(blocksHits), Recorder: r, Objects: o})
	for _, tt := range []struct {
		name, body string
		want       event.Action
	}{{"a.txt", "fine", event.Allow}, {"b.txt", "EICAR", event.Block}, {"secret.txt", "fine", event.Block}} {
		e := &event.Event{Kind: event.FileUpload, Received: time.Now(), Content: event.Content{Files: []event.File{{Name: tt.name}}}}
		if err := p.JudgeFile(t.Context(), e, strings.NewReader(tt.body), int64(len(tt.body))); err != nil {
			t.Fatal(err)
		}
		f := e.Files[0]
		if e.Verdict.Action != tt.want || f.Type != "text/plain" || f.SHA256 != event.Digest([]byte(tt.body)) || o.kept[f.Object] != tt.body {
			t.Errorf("%s: %v %+v", tt.name, e.Verdict, f)
		}
	}
	if len(r.all()) != 3 {
		t.Errorf("%d records", len(r.all()))
	}
}

type broken struct{}

func (broken) Put(context.Context, *event.File, io.Reader) error { return errors.New("disk full") }

func TestAFileThatCannotBeKeptIsRefused(t *testing.T) {
	r := &recorder{}
	p := New(Config{Connector: "office"}, Deps{Policy: decider(blocksHits), Recorder: r, Objects: broken{}})
	e := &event.Event{Kind: event.FileUpload, Content: event.Content{Files: []event.File{{Name: "a"}}}}
	if err := p.JudgeFile(t.Context(), e, strings.NewReader("x"), 1); !errors.Is(err, ErrNotRecorded) || len(r.all()) != 0 {
		t.Errorf("%v, %d records", err, len(r.all()))
	}
}

func BenchmarkJudge(b *testing.B) {
	p := New(Config{Connector: "office"}, Deps{Policy: decider(blocksHits), Recorder: discard{}})
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Judge(b.Context(), message("hello")); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Record(context.Context, ...*event.Event) error { return nil }

// picky records everything but one event, as for one that is too large.
type picky struct {
	recorder
	never string
}

func (p *picky) Record(ctx context.Context, events ...*event.Event) error {
	for _, e := range events {
		if e.Native == p.never {
			return errors.New("too large")
		}
	}
	return p.recorder.Record(ctx, events...)
}

func TestOneOutcomeThatCannotBeRecordedDoesNotHoldUpTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &picky{never: "3"}
		p := New(Config{Connector: "office"}, Deps{Policy: decider(blocksHits), Recorder: r})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for _, id := range []string{"1", "2", "3", "4"} {
			p.Outcome(ctx, &event.Event{Kind: event.Delivery, Content: event.Content{Native: id}})
		}
		time.Sleep(2 * time.Minute)
		p.Outcome(ctx, &event.Event{Kind: event.Delivery, Content: event.Content{Native: "5"}})
		time.Sleep(time.Minute)
		if got := r.all(); len(got) != 4 || got[3].Native != "5" {
			t.Errorf("recorded %d", len(got))
		}
		cancel()
		<-done
	})
}
