package journal_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/journal"
	"github.com/chaperone-im/chaperone/internal/journal/journaltest"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

type world struct {
	dir     string
	journal *file.Journal
	names   *file.Names
	opener  *seal.TreeOpener
	*journal.Recorder
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	key, err := seal.GenerateCompliance()
	if err != nil {
		t.Fatal(err)
	}
	public := []*seal.PublicKey{key.Public()}
	sealer, err := seal.NewSealer(w.dir+"/keys", public, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if w.journal, _, err = file.Open(w.dir, file.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.journal.Close() })
	if w.names, err = file.OpenNames(w.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.names.Close() })
	w.opener = seal.NewOpener(w.dir+"/keys", key, public)
	w.Recorder = journal.NewRecorder(w.journal, sealer, w.names, clock.Func(func() time.Time { return time.Unix(1_800_000_000, 5) }))
	return w
}

// events reads everything back.
func (w *world) events(t *testing.T) []*event.Event {
	t.Helper()
	var out []*event.Event
	for _, f := range journaltest.All(t, w.journal, journal.Local, 1) {
		for _, r := range f.Records {
			h, err := event.ParseHeader(r.Header)
			if err != nil {
				t.Fatal(err)
			}
			if h.Sealed != event.Digest(r.Sealed) {
				t.Errorf("the header does not commit to the sealed bytes")
			}
			content, err := w.opener.Open(r.Sealed, []byte(h.ID))
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Assemble(h, content)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
	}
	return out
}

func message(text string) *event.Event {
	return &event.Event{Kind: event.Message, Connector: "office", From: event.Party{Handle: "alice@example.org", Person: "alice"},
		To: []event.Party{{Handle: "bob@example.org"}}, Content: event.Content{Text: text}}
}

func TestRecord(t *testing.T) {
	w := newWorld(t)
	room := message("to all")
	room.To, room.Room = nil, event.Room{Name: "desk@rooms.example.org"}
	flow := &event.Event{Kind: event.FlowSeen, Host: event.Host{Address: "10.0.0.7"}, Content: event.Content{Flow: &event.Flow{App: "whatsapp"}}}
	if err := w.Record(t.Context(), message("one"), message("two"), room, flow); err != nil {
		t.Fatal(err)
	}
	got := w.events(t)
	if len(got) != 4 || got[0].Text != "one" || got[1].Text != "two" || got[2].Room.Name != "desk@rooms.example.org" {
		t.Fatalf("%d events", len(got))
	}
	streams, _ := w.journal.Streams()
	if streams[journal.Local] != 1 {
		t.Errorf("events recorded together are in %d frames", streams[journal.Local])
	}
	for _, e := range got {
		if e.ID == "" || e.Received.IsZero() || e.Time.IsZero() {
			t.Errorf("%s lacks an id or a time", e.Kind)
		}
	}
	if got[0].From.ID == "" || got[0].From.ID != got[2].From.ID || got[0].From.ID == got[0].To[0].ID || got[2].Room.ID == "" || got[3].Host.ID == "" {
		t.Error("ids are missing, or not those of the names")
	}
	if id, err := w.names.ID(t.Context(), identity.HandleName, "office", "alice@example.org"); err != nil || id != got[0].From.ID {
		t.Errorf("%s, %v", id, err)
	}
}

// TestHeadersSayNothing looks for anything typed or called in all that is not sealed.
func TestHeadersSayNothing(t *testing.T) {
	w := newWorld(t)
	if err := w.Record(t.Context(), message("secret words")); err != nil {
		t.Fatal(err)
	}
	for _, f := range journaltest.All(t, w.journal, journal.Local, 1) {
		for _, r := range f.Records {
			for _, word := range []string{"secret", "alice", "bob", "example"} {
				if bytes.Contains(r.Header, []byte(word)) || bytes.Contains(r.Sealed, []byte(word)) {
					t.Errorf("%q can be read: %s", word, r.Header)
				}
			}
		}
	}
}

// TestScopes: the messages of two people share a key tree in both directions, and no other.
func TestScopes(t *testing.T) {
	w := newWorld(t)
	back := message("back")
	back.From, back.To = event.Party{Handle: "bob@example.org"}, []event.Party{{Handle: "alice@example.org"}}
	other := message("other")
	other.To = []event.Party{{Handle: "carol@example.org"}}
	act := &event.Event{Kind: event.Act, From: event.Party{Handle: "root"}, Content: event.Content{Act: &event.ActDetail{Action: "hold.place"}}}
	if err := w.Record(t.Context(), message("there"), back, other, act, message("again")); err != nil {
		t.Fatal(err)
	}
	root := map[int]string{}
	for i, r := range journaltest.All(t, w.journal, journal.Local, 1)[0].Records {
		root[i] = string(r.Sealed[1:17])
	}
	if root[0] != root[1] || root[0] != root[4] || root[0] == root[2] || root[0] == root[3] || root[2] == root[3] {
		t.Errorf("roots %x", root)
	}
}

func TestTooLarge(t *testing.T) {
	w := newWorld(t)
	err := w.Record(t.Context(), message("fits"), message(strings.Repeat("x", journal.MaxSealed)))
	if !errors.Is(err, journal.ErrTooLarge) || !errors.Is(err, event.ErrUnfit) {
		t.Errorf("content beyond the limit: %v", err)
	}
	many := message("to many")
	for range 3000 {
		many.To = append(many.To, event.Party{ID: event.RandomID()})
	}
	if err := w.Record(t.Context(), many); !errors.Is(err, journal.ErrTooLarge) || !errors.Is(err, event.ErrUnfit) {
		t.Errorf("a header beyond the limit: %v", err)
	}
	if got := w.events(t); len(got) != 0 {
		t.Errorf("%d events of refused calls were recorded", len(got))
	}
}

type noNames struct{}

func (noNames) ID(context.Context, identity.NameKind, string, string) (string, error) {
	return "", errors.New("disk full")
}

func TestNoNameNoRecord(t *testing.T) {
	w := newWorld(t)
	sealer, err := seal.NewSealer(t.TempDir(), []*seal.PublicKey{}, clock.System{})
	if err == nil {
		t.Fatal(sealer)
	}
	r := journal.NewRecorder(w.journal, nil, noNames{}, clock.System{})
	if err := r.Record(t.Context(), message("x")); err == nil {
		t.Error("recorded without an id")
	}
	w.journal.Close()
	if err := w.Record(t.Context(), message("x")); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("recorded on a closed journal: %v", err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	if err := w.Record(t.Context(), message("x")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := journal.Follow(ctx, w.journal, journal.Local, 1, func(journal.Frame) error { cancel(); return nil }); err != nil {
		t.Error(err)
	}
	if err := journal.Follow(ctx, w.journal, journal.Local, 1, func(journal.Frame) error { return nil }); err != nil {
		t.Errorf("ended before it began: %v", err)
	}
	broken := errors.New("broken")
	if err := journal.Follow(t.Context(), w.journal, journal.Local, 1, func(journal.Frame) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type kept struct {
	mu     sync.Mutex
	fail   error
	events []*event.Event
}

func (k *kept) Record(_ context.Context, events ...*event.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	k.events = append(k.events, events...)
	return nil
}

// counts are the counts of all batches together.
func (k *kept) counts() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]string{}
	for _, e := range k.events {
		for _, d := range e.Act.Details {
			out[d.Name] = d.Value
		}
	}
	return out
}

func TestObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{fail: errors.New("disk full")}
		o := journal.NewObservations(k, time.Minute, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); o.Run(ctx) }()
		flow := &event.Event{Kind: event.FlowSeen, Connector: "lan", Content: event.Content{Flow: &event.Flow{App: "zoom", Name: "us04web.zoom.us"}}}
		for range 3 {
			o.Observe(flow)
		}
		time.Sleep(61 * time.Second) // of the test's own time: a flush that cannot be recorded
		k.mu.Lock()
		k.fail = nil
		k.mu.Unlock()
		o.Observe(flow)
		for i := range 20_000 {
			o.Observe(&event.Event{Kind: event.DNSQuery, Connector: strings.Repeat("x", i%20) + string(rune('a'+i/20%26)) + time.Duration(i).String()})
		}
		cancel()
		<-done
		got := k.counts()
		if got["flow lan zoom"] != "4" {
			t.Errorf("%d counts; of the flow: %q", len(got), got["flow lan zoom"])
		}
		if got["dropped"] != "10001" {
			t.Errorf("dropped: %q", got["dropped"])
		}
		for _, e := range k.events {
			for _, d := range e.Act.Details {
				if strings.Contains(d.Name, "us04web") {
					t.Error("a count names a site")
				}
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	dir := b.TempDir()
	key, _ := seal.GenerateCompliance()
	sealer, err := seal.NewSealer(dir+"/keys", []*seal.PublicKey{key.Public()}, clock.System{})
	if err != nil {
		b.Fatal(err)
	}
	j, _, err := file.Open(dir, file.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	names, err := file.OpenNames(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer names.Close()
	r := journal.NewRecorder(j, sealer, names, clock.System{})
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := r.Record(context.Background(), message("let us meet at ten, and bring the numbers of last week with you")); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
