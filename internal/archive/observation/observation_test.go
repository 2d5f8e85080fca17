package observation_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/observation"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/storage/sqlite"
)

// acts takes the acts of a keeper.
type acts struct {
	mu   sync.Mutex
	fail error
	list []*event.Event
}

func (a *acts) Record(_ context.Context, events ...*event.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail == nil {
		a.list = append(a.list, events...)
	}
	return a.fail
}

// sum adds up one number of all acts.
func (a *acts) sum(name string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.list {
		for _, d := range e.Act.Details {
			if d.Name == name {
				var k int
				fmt.Sscan(d.Value, &k)
				n += k
			}
		}
	}
	return n
}

// holds hold machines by address.
type holds struct {
	mu   sync.Mutex
	held map[string]bool
}

func (h *holds) Sparing(_ context.Context, f func(func(event.Host) (bool, error)) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return f(func(x event.Host) (bool, error) { return h.held[x.Address], nil })
}

func (h *holds) set(address string, held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[address] = held
}

// bench is a keeper over a real file.
type bench struct {
	*observation.Keeper
	t     *testing.T
	dir   string
	store *sqlite.Observations
	acts  *acts
	holds *holds
	board *health.Board
	end   func()
}

func key() []byte { return bytes.Repeat([]byte{3}, sqlite.KeySize) }

func newBench(t *testing.T, days int, most int64) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), acts: &acts{}, holds: &holds{held: map[string]bool{}}, board: health.NewBoard(time.Now)}
	b.start(days, most)
	t.Cleanup(b.stop)
	return b
}

func (b *bench) start(days int, most int64) {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	if b.store, _, err = sqlite.OpenObservations(b.dir, key(), log); err != nil {
		b.t.Fatal(err)
	}
	b.Keeper = observation.New(observation.Config{Store: b.store, Holds: b.holds, Acts: b.acts, Days: days, Max: most, Board: b.board, Clock: clock.System{}, Log: log,
		Known: func(h event.Host) string { return "id-of-" + h.Address }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	b.end = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := b.store.Close(); err != nil {
			b.t.Error(err)
		}
	})
}

func (b *bench) stop() { b.end() }

func (b *bench) all(f archive.ObservedFilter) []archive.SelectedObservation {
	b.t.Helper()
	var out []archive.SelectedObservation
	for o, err := range b.store.Observed(b.t.Context(), f, "") {
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

func (b *bench) hours() (times, bytes int64) {
	b.t.Helper()
	counts, err := b.store.Hours(b.t.Context(), time.Time{}, time.Now().Add(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range counts {
		times += c.Times
		bytes += c.Bytes
	}
	return times, bytes
}

func flow(address, server, name, app string) *event.Event {
	return &event.Event{Kind: event.FlowSeen, Time: time.Now(), Connector: "sensor-lan", Host: event.Host{Address: address, Person: "alice"}, Verdict: event.Verdict{Action: event.Allow, Rule: "sites"},
		Content: event.Content{Evidence: []event.Evidence{{Fact: "name", Value: name, Strength: event.High}},
			Flow: &event.Flow{Proto: "tcp", Client: address + ":40000", Server: server, Name: name, App: app, Packets: 10, Bytes: 1000, Confidence: event.High}}}
}

func question(address, name string) *event.Event {
	return &event.Event{Kind: event.DNSQuery, Time: time.Now(), Connector: "resolver", Host: event.Host{Address: address}, Verdict: event.Verdict{Action: event.Allow},
		Content: event.Content{Question: &event.Question{Name: name, Type: "A", Client: address}}}
}

// TestFourteenDays keeps what was seen for 14 days, and then only what names nobody: not even in pages that are free again.
func TestFourteenDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 0)
		for i := range 3 {
			e := flow("10.0.0.7", "192.0.2.10:443", "secret-site.example", "zoom")
			e.Flow.Client = fmt.Sprintf("10.0.0.7:%d", 40000+i)
			b.Observe(e)
		}
		b.Observe(question("10.0.0.8", "another-secret.example"))
		time.Sleep(2 * time.Second)
		got := b.all(archive.ObservedFilter{})
		if len(got) != 2 {
			t.Fatalf("%d observations, want 2", len(got))
		}
		f := b.all(archive.ObservedFilter{Host: "ALICE", App: "zoom"})
		if len(f) != 1 || f[0].Times != 3 || f[0].Event.Flow.Bytes != 3000 || f[0].Event.Flow.Packets != 30 || f[0].Event.Host.ID != "id-of-10.0.0.7" || len(f[0].Event.Evidence) != 1 {
			t.Fatalf("the flow: %+v", f)
		}
		time.Sleep(14*24*time.Hour - time.Minute)
		if n := len(b.all(archive.ObservedFilter{})); n != 2 || b.acts.sum("entries") != 0 {
			t.Fatalf("a minute before their time %d are there; %d folded", n, b.acts.sum("entries"))
		}
		time.Sleep(2 * time.Hour)
		if n := len(b.all(archive.ObservedFilter{})); n != 0 {
			t.Fatalf("%d are there after their time", n)
		}
		if b.acts.sum("entries") != 2 || b.acts.sum("times") != 4 {
			t.Errorf("the act speaks of %d entries, %d times", b.acts.sum("entries"), b.acts.sum("times"))
		}
		if times, octets := b.hours(); times != 4 || octets != 3000 {
			t.Errorf("hourly counts: %d times, %d bytes", times, octets)
		}
		if info, err := os.Stat(filepath.Join(b.dir, sqlite.ObservationsName+"-wal")); err == nil && info.Size() != 0 {
			t.Errorf("the log still holds %d bytes", info.Size())
		}
		if words := b.remains("secret", "10.0.0.", "alice", "192.0.2.10"); len(words) > 0 {
			t.Errorf("on disk still: %q", words)
		}
	})
}

// remains looks for words in the whole file, free pages and log included, as somebody who has the key could.
func (b *bench) remains(words ...string) []string {
	b.t.Helper()
	plain := filepath.Join(b.t.TempDir(), "plain.db")
	c, err := sqlite3.Open("file:" + filepath.Join(b.dir, sqlite.ObservationsName) + "?vfs=adiantum")
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec("PRAGMA hexkey='" + hex.EncodeToString(key()) + "'"); err != nil {
		b.t.Fatal(err)
	}
	if err := c.Backup("main", "file:"+plain); err != nil {
		b.t.Fatal(err)
	}
	raw, err := os.ReadFile(plain)
	if err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("CREATE TABLE observations")) {
		b.t.Fatal("the copy is not readable: the test tests nothing")
	}
	var out []string
	for _, w := range words {
		if bytes.Contains(raw, []byte(w)) {
			out = append(out, w)
		}
	}
	return out
}

func TestHeldMachineIsNotFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 0)
		b.holds.set("10.0.0.7", true)
		b.Observe(flow("10.0.0.7", "192.0.2.10:443", "held.example", "zoom"))
		b.Observe(flow("10.0.0.8", "192.0.2.10:443", "free.example", "zoom"))
		time.Sleep(30 * 24 * time.Hour)
		left := b.all(archive.ObservedFilter{})
		if len(left) != 1 || left[0].Event.Flow.Name != "held.example" {
			t.Fatalf("left: %+v", left)
		}
		if words := b.remains("free.example"); len(words) > 0 {
			t.Errorf("on disk still: %q", words)
		}
		b.holds.set("10.0.0.7", false)
		time.Sleep(time.Hour)
		if n := len(b.all(archive.ObservedFilter{})); n != 0 || b.acts.sum("entries") != 2 {
			t.Errorf("after the release %d are there; %d folded", n, b.acts.sum("entries"))
		}
	})
}

// TestNothingIsFoldedWithoutItsAct: an act that cannot be recorded leaves all as it was.
func TestNothingIsFoldedWithoutItsAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, 0)
		b.acts.fail = errors.New("disk full")
		b.Observe(question("10.0.0.8", "a.example"))
		time.Sleep(72 * time.Hour)
		if n := len(b.all(archive.ObservedFilter{})); n != 1 {
			t.Fatalf("%d are there", n)
		}
		if b.board.State(observation.Item) != health.Degraded {
			t.Error("nobody is told")
		}
		b.acts.mu.Lock()
		b.acts.fail = nil
		b.acts.mu.Unlock()
		time.Sleep(time.Hour)
		if n := len(b.all(archive.ObservedFilter{})); n != 0 {
			t.Fatalf("%d are there", n)
		}
	})
}

// TestFlood: one machine that floods takes no other's room, a ring that is full drops and counts, and the board says so.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 0)
		sent := 0
		for range 12 {
			for i := range 1000 {
				b.Observe(question("10.0.0.66", fmt.Sprintf("x%d-%d.example", sent, i)))
				sent++
			}
			b.Observe(question("10.0.0.8", fmt.Sprintf("y%d.example", sent)))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		if n := len(b.all(archive.ObservedFilter{Host: "10.0.0.66"})); n != 5000 {
			t.Errorf("%d of the machine that floods", n)
		}
		if n := len(b.all(archive.ObservedFilter{Host: "10.0.0.8"})); n != 12 {
			t.Errorf("%d of the other", n)
		}
		if n := b.Dropped()["host-quota"]; n != int64(sent-5000) {
			t.Errorf("%d dropped", n)
		}
		if b.board.State(observation.Item) != health.Degraded {
			t.Error("the board says nothing")
		}
		time.Sleep(time.Hour)
		if b.board.State(observation.Item) != health.OK {
			t.Error("the board speaks of it for ever")
		}
	})
}

func TestRingNeverWaits(t *testing.T) {
	k := observation.New(observation.Config{Clock: clock.System{}}) // nobody takes
	for range 10_000 {
		k.Observe(question("10.0.0.1", "x.example"))
	}
	if n := k.Dropped()["ring-full"]; n != 10_000-8192 {
		t.Errorf("%d dropped", n)
	}
}

// TestFullStore folds the oldest hours early, and says so.
func TestFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 100)
		for i := range 300 {
			b.Observe(question("10.0.0.8", fmt.Sprintf("n%d.example", i)))
			time.Sleep(15 * time.Minute)
		}
		if n := len(b.all(archive.ObservedFilter{})); n > 110 || n < 80 {
			t.Errorf("%d are kept of at most 100", n)
		}
		if times, _ := b.hours(); times < 190 {
			t.Errorf("%d are in the hourly counts", times)
		}
		if newest := b.all(archive.ObservedFilter{})[0]; newest.Event.Question.Name != "n299.example" {
			t.Errorf("the newest is %s", newest.Event.Question.Name)
		}
		b.holds.set("10.0.0.8", true)
		for i := range 200 {
			b.Observe(question("10.0.0.8", fmt.Sprintf("m%d.example", i)))
			time.Sleep(15 * time.Minute)
		}
		if n := len(b.all(archive.ObservedFilter{})); n > 110 {
			t.Errorf("%d are kept of at most 100, all held", n)
		}
		if b.Dropped()["store-full"] < 150 {
			t.Errorf("dropped: %v", b.Dropped())
		}
	})
}

// TestNoDays keeps counts only, and folds what another configuration kept.
func TestNoDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 0)
		b.Observe(question("10.0.0.8", "before.example"))
		time.Sleep(2 * time.Second)
		b.stop()
		b.start(0, 0)
		b.Observe(question("10.0.0.8", "after.example"))
		time.Sleep(2 * time.Second)
		if n := len(b.all(archive.ObservedFilter{})); n != 0 {
			t.Errorf("%d are there", n)
		}
		if times, _ := b.hours(); times != 2 {
			t.Errorf("%d counted", times)
		}
		if words := b.remains("before", "after.example", "10.0.0.8"); len(words) > 0 {
			t.Errorf("on disk: %q", words)
		}
		b.stop()
	})
}

// TestRestartAndPowerLoss: what was flushed more than a moment ago is there after a copy of the files at any time, and the file is whole.
func TestRestartAndPowerLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 0)
		for i := range 50 {
			b.Observe(question("10.0.0.8", fmt.Sprintf("n%d.example", i)))
			time.Sleep(1100 * time.Millisecond)
		}
		pulled := t.TempDir() // the files as they are now, with the server still running
		for _, suffix := range []string{"", "-wal"} {
			raw, err := os.ReadFile(filepath.Join(b.dir, sqlite.ObservationsName+suffix))
			if err != nil {
				t.Fatal(err)
			}
			if suffix == "-wal" {
				raw = raw[:len(raw)-100] // torn
			}
			if err := os.WriteFile(filepath.Join(pulled, sqlite.ObservationsName+suffix), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b.stop()
		b.dir = pulled
		b.start(14, 0)
		defer b.stop()
		if n := len(b.all(archive.ObservedFilter{})); n < 48 || n > 50 {
			t.Errorf("%d are there", n)
		}
		b.Observe(question("10.0.0.9", "more.example"))
		time.Sleep(2 * time.Second)
		if n := len(b.all(archive.ObservedFilter{Host: "10.0.0.9"})); n != 1 {
			t.Errorf("%d of the new", n)
		}
	})
}

func TestFileOfAnotherKeyIsSetAside(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	o, aside, err := sqlite.OpenObservations(dir, key(), log)
	if err != nil || aside != "" {
		t.Fatal(aside, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o, aside, err = sqlite.OpenObservations(dir, bytes.Repeat([]byte{9}, sqlite.KeySize), log)
	if err != nil || !strings.HasSuffix(aside, ".unusable") {
		t.Fatal(aside, err)
	}
	if _, err := os.Stat(aside); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 14, 0)
		for i := range 1200 {
			b.Observe(question("10.0.0.8", fmt.Sprintf("n%d.example", i)))
		}
		time.Sleep(2 * time.Second)
		seen, cursor := map[string]bool{}, ""
		for {
			n := 0
			for o, err := range b.store.Observed(t.Context(), archive.ObservedFilter{}, cursor) {
				if err != nil {
					t.Fatal(err)
				}
				seen[o.Event.Question.Name], cursor = true, o.Cursor
				if n++; n == 70 {
					break
				}
			}
			if n == 0 {
				break
			}
		}
		if len(seen) != 1200 {
			t.Errorf("%d of 1200", len(seen))
		}
		for _, err := range b.store.Observed(t.Context(), archive.ObservedFilter{}, "nonsense") {
			if !errors.Is(err, archive.ErrCursor) {
				t.Error(err)
			}
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	o, _, err := sqlite.OpenObservations(b.TempDir(), key(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	k := observation.New(observation.Config{Store: o, Holds: &holds{held: map[string]bool{}}, Acts: &acts{}, Days: 14, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	events := make([]*event.Event, 1000)
	for i := range events {
		events[i] = question(fmt.Sprintf("10.0.0.%d", i%50), fmt.Sprintf("n%d.example", i))
	}
	for i := 0; b.Loop(); i++ {
		k.Observe(events[i%len(events)])
	}
	cancel()
	<-done
}
