package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
	"github.com/chaperone-im/chaperone/internal/server/sensors"
)

// taken is a recorder and an observer that pass on what they get. While broken holds something, nothing is recorded.
type taken struct {
	recorded, observed chan *event.Event
	broken             chan error
}

func (x *taken) Record(_ context.Context, events ...*event.Event) error {
	select {
	case err := <-x.broken:
		return err
	default:
	}
	for _, e := range events {
		x.recorded <- e
	}
	return nil
}

func (x *taken) Observe(e *event.Event) { x.observed <- e }

func next(t *testing.T, from <-chan *event.Event) *event.Event {
	t.Helper()
	select {
	case e := <-from:
		return e
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing came")
		return nil
	}
}

// world is what the sensors of a test work with; the quickstart policy stops messengers.
func world(t *testing.T) (sensors.Deps, *taken) {
	t.Helper()
	set, err := rules.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	x := &taken{make(chan *event.Event, 100), make(chan *event.Event, 100), make(chan error, 1)}
	return sensors.Deps{Pair: func() *rollout.Pair { return &rollout.Pair{First: &rollout.Side{Set: set}} },
		Policy: set.Policy, Directory: &identity.People{}, Recorder: x, Observer: x,
		Board: health.NewBoard(time.Now), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}, x
}

// dataDir is a data directory with the folder of states.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func questions(t *testing.T, path string, names ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range names {
		fmt.Fprintf(f, "%s dnsmasq[7]: query[A] %s from 10.0.0.7\n", time.Now().Format(time.RFC3339), name)
	}
}

// follow runs the sensors of one log until the function it returns is called.
func follow(t *testing.T, log, data string, d sensors.Deps) (stop func()) {
	t.Helper()
	all, err := sensors.Logs([]config.Log{{Format: "dnsmasq", Path: filepath.Base(log)}}, func(p string) string { return filepath.Join(filepath.Dir(log), p) }, data, d)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].Name() != "log "+log {
		t.Fatalf("%d sensors, %q", len(all), all[0].Name())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- all[0].Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestLogRecordsAndObserves: what policy stops is a record under an id that a second reading gives again, the rest is observed.
func TestLogRecordsAndObserves(t *testing.T) {
	d, x := world(t)
	well := make(chan health.Item, 100)
	d.Board.Watch(func(i health.Item) { well <- i })
	log := filepath.Join(t.TempDir(), "queries.log")
	data := dataDir(t)
	questions(t, log, "intranet.example", "web.whatsapp.com")
	stop := follow(t, log, data, d)
	e := next(t, x.recorded)
	if e.Question == nil || e.Question.Name != "web.whatsapp.com" || e.Connector != "log-dnsmasq" || !e.Verdict.Action.Stops() || e.Received.IsZero() || e.Host.Address != "10.0.0.7" {
		t.Errorf("recorded: %+v", e)
	}
	if o := next(t, x.observed); o.Question == nil || o.Question.Name != "intranet.example" || o.Connector != "log-dnsmasq" {
		t.Errorf("observed: %+v", o)
	}
	select {
	case i := <-well:
		if i.Name != "log "+log || i.State != health.OK {
			t.Errorf("health: %+v", i)
		}
	case <-time.After(2 * time.Minute):
		t.Error("health says nothing")
	}
	stop()
	if err := os.RemoveAll(filepath.Join(data, "state", "logs")); err != nil { // where it stood is forgotten, the key is not
		t.Fatal(err)
	}
	defer follow(t, log, data, d)()
	if again := next(t, x.recorded); again.ID != e.ID {
		t.Errorf("read again it is %s, and was %s", again.ID, e.ID)
	}
}

// TestLogWaitsForTheJournal: what cannot be recorded is tried again, and health says so meanwhile.
func TestLogWaitsForTheJournal(t *testing.T) {
	d, x := world(t)
	failed := make(chan string, 100)
	d.Board.Watch(func(i health.Item) {
		if i.State == health.Failed {
			failed <- i.Detail
		}
	})
	log := filepath.Join(t.TempDir(), "queries.log")
	x.broken <- errors.New("the disk is full")
	questions(t, log, "web.whatsapp.com")
	defer follow(t, log, dataDir(t), d)()
	if e := next(t, x.recorded); e.Question == nil || e.Question.Name != "web.whatsapp.com" {
		t.Errorf("recorded: %+v", e)
	}
	if said := <-failed; !strings.Contains(said, "the disk is full") {
		t.Errorf("health: %s", said)
	}
}

// TestLogSaysWhatItDoesNotUnderstand: lines of another form are counted on the board.
func TestLogSaysWhatItDoesNotUnderstand(t *testing.T) {
	d, x := world(t)
	degraded := make(chan string, 100)
	d.Board.Watch(func(i health.Item) {
		if i.State == health.Degraded {
			degraded <- i.Detail
		}
	})
	log := filepath.Join(t.TempDir(), "queries.log")
	if err := os.WriteFile(log, []byte("Hello, this is no log.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	questions(t, log, "intranet.example")
	defer follow(t, log, dataDir(t), d)()
	next(t, x.observed)
	select {
	case said := <-degraded:
		if !strings.Contains(said, "could not be understood") {
			t.Errorf("health: %s", said)
		}
	case <-time.After(2 * time.Minute):
		t.Error("health says nothing")
	}
}

// TestLogsOfAnUnknownFormat are refused before anything runs.
func TestLogsOfAnUnknownFormat(t *testing.T) {
	d, _ := world(t)
	if _, err := sensors.Logs([]config.Log{{Format: "runes", Path: "x"}}, func(p string) string { return p }, dataDir(t), d); err == nil {
		t.Error("it is taken")
	}
}

// TestInterfaceThatIsNotThere: it is said on the board, tried again, and does not end the process.
func TestInterfaceThatIsNotThere(t *testing.T) {
	d, _ := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan string, 1)
	d.Board.Watch(func(i health.Item) {
		if i.Name == "sensor nowhere0" && i.State == health.Failed {
			select {
			case failed <- i.Detail:
			default:
			}
		}
	})
	done := make(chan error, 1)
	go func() { done <- sensors.Interface(config.Sensor{Interface: "nowhere0"}, d)(ctx) }()
	select {
	case said := <-failed:
		if !strings.Contains(said, "nothing is seen") {
			t.Errorf("health: %s", said)
		}
	case <-time.After(2 * time.Minute):
		t.Error("health says nothing")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
