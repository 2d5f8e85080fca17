package alert_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaperone-im/chaperone/internal/alert"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// book is a channel that writes down what it is told.
type book struct {
	mu    sync.Mutex
	name  string
	fails int           // so many tries first
	hangs chan struct{} // not nil: until it is closed
	told  []alert.Alert
}

func (b *book) Name() string { return b.name }

func (b *book) Send(ctx context.Context, a alert.Alert) error {
	if b.hangs != nil {
		select {
		case <-b.hangs:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails > 0 {
		b.fails--
		return errors.New("nobody at home")
	}
	b.told = append(b.told, a)
	return nil
}

func (b *book) titles() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, a := range b.told {
		out = append(out, fmt.Sprintf("%s ×%d", a.Title, a.Repeated))
	}
	return out
}

// desk runs a desk in a bubble of fake time until f is done.
func desk(t *testing.T, every, heartbeat time.Duration, f func(t *testing.T, d *alert.Desk, board *health.Board), channels ...alert.Channel) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		board := health.NewBoard(time.Now)
		d := alert.NewDesk(channels, every, heartbeat, clock.System{}, board, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		f(t, d, board)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheSameAlertIsToldOnceInAnInterval(t *testing.T) {
	b := &book{name: "b"}
	desk(t, 15*time.Minute, 0, func(t *testing.T, d *alert.Desk, _ *health.Board) {
		for range 5 {
			d.Raise(alert.Alert{Key: "k", Title: "same"})
		}
		d.Raise(alert.Alert{Key: "other", Title: "other"})
		synctest.Wait()
		if got := b.titles(); !slices.Equal(got, []string{"same ×0", "other ×0"}) {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(31 * time.Minute) // what came again is told, though nothing more comes
		synctest.Wait()
		if got := b.titles(); !slices.Equal(got, []string{"same ×0", "other ×0", "same ×3"}) {
			t.Errorf("after the interval: %q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		d.Raise(alert.Alert{Key: "k", Title: "same"})
		synctest.Wait()
		if got := b.titles(); got[len(got)-1] != "same ×0" || len(got) != 4 {
			t.Errorf("later: %q", got)
		}
	}, b)
}

func TestHeartbeat(t *testing.T) {
	b := &book{name: "b"}
	desk(t, time.Minute, 24*time.Hour, func(t *testing.T, _ *alert.Desk, board *health.Board) {
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		board.Set("disk", health.Failed, "full", "")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if len(b.told) != 2 || !strings.Contains(b.told[0].Detail, "ok") || !strings.Contains(b.told[1].Detail, "failed") || b.told[0].Severity != alert.Informational {
			t.Errorf("%+v", b.told)
		}
	}, b)
}

func TestQueueIsBoundedAndSaysWhatItLost(t *testing.T) {
	stuck, well := &book{name: "stuck"}, &book{name: "well"}
	desk(t, time.Hour, 0, func(t *testing.T, d *alert.Desk, _ *health.Board) {
		stuck.hangs = make(chan struct{})
		for n := range 400 {
			d.Raise(alert.Alert{Key: fmt.Sprint(n), Title: fmt.Sprint(n)})
			synctest.Wait()
		}
		if len(well.titles()) != 400 {
			t.Errorf("a channel that hangs held up another: %d", len(well.titles()))
		}
		close(stuck.hangs)
		synctest.Wait()
		if n := len(stuck.titles()); n < 256 || n > 300 {
			t.Errorf("%d were kept", n)
		}
		lost := 400 - len(stuck.titles())
		if !slices.ContainsFunc(stuck.told, func(a alert.Alert) bool {
			return strings.Contains(a.Detail, fmt.Sprintf("(%d earlier alerts could not be told here)", lost))
		}) {
			t.Errorf("nothing says that %d were lost", lost)
		}
	}, stuck, well)
}

func TestFailuresAreTriedAgainAndShown(t *testing.T) {
	b := &book{name: "b", fails: 2}
	desk(t, time.Hour, 0, func(t *testing.T, d *alert.Desk, board *health.Board) {
		d.Raise(alert.Alert{Key: "1", Title: "one"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(b.titles()) != 1 || board.State("alerts b") != health.OK {
			t.Errorf("%q, %s", b.titles(), board.State("alerts b"))
		}
		b.fails = 3
		d.Raise(alert.Alert{Key: "2", Title: "two"})
		time.Sleep(time.Minute)
		synctest.Wait()
		if board.State("alerts b") != health.Degraded {
			t.Errorf("the item is %s", board.State("alerts b"))
		}
		d.Raise(alert.Alert{Key: "3", Title: "three"})
		synctest.Wait()
		if last := b.told[len(b.told)-1]; last.Title != "three" || !strings.Contains(last.Detail, "1 earlier") || board.State("alerts b") != health.OK {
			t.Errorf("%+v", last)
		}
	}, b)
}

func TestWhatWaitsAtTheEndIsTold(t *testing.T) {
	b := &book{name: "b"}
	desk(t, time.Hour, 0, func(t *testing.T, d *alert.Desk, _ *health.Board) {
		b.hangs = make(chan struct{})
		for n := range 3 {
			d.Raise(alert.Alert{Key: fmt.Sprint(n), Title: fmt.Sprint(n)})
		}
		synctest.Wait()
		time.AfterFunc(time.Second, func() { close(b.hangs) })
	}, b)
	if len(b.told) != 3 {
		t.Errorf("told %d of 3", len(b.told))
	}
}

func TestHealthIsTold(t *testing.T) {
	b := &book{name: "b"}
	desk(t, time.Minute, 0, func(t *testing.T, d *alert.Desk, board *health.Board) {
		board.Set("disk", health.OK, "", "")
		d.Watch(board)
		board.Set("policy", health.OK, "", "") // well from the start: no news
		board.Set("disk", health.Failed, "no room", "make room")
		board.Set("disk", health.Failed, "still no room", "make room")
		board.Set("disk", health.Degraded, "little room", "")
		board.Set("disk", health.OK, "room", "")
		synctest.Wait()
		if got := b.titles(); !slices.Equal(got, []string{"disk has failed ×0", "disk is degraded ×0", "disk is well again ×0"}) {
			t.Errorf("%q", got)
		}
		if b.told[0].Detail != "no room make room" || b.told[0].Severity != alert.High {
			t.Errorf("%+v", b.told[0])
		}
	}, b)
}

func TestTooLongIsCut(t *testing.T) {
	b := &book{name: "b"}
	desk(t, time.Minute, 0, func(t *testing.T, d *alert.Desk, _ *health.Board) {
		d.Raise(alert.Alert{Key: "k", Title: strings.Repeat("ä", 500), Detail: strings.Repeat("\xff€", 5000)})
		synctest.Wait()
		if a := b.told[0]; len(a.Title) > 200 || len(a.Detail) > 2000 || strings.Contains(a.Detail, "\xff") {
			t.Errorf("%d and %d bytes", len(a.Title), len(a.Detail))
		}
	}, b)
}

// store is a recorder that fails when told to.
type store struct {
	fail error
	got  []*event.Event
}

func (s *store) Record(_ context.Context, events ...*event.Event) error {
	if s.fail == nil {
		s.got = append(s.got, events...)
	}
	return s.fail
}

func TestRuleThatAlerts(t *testing.T) {
	b, s := &book{name: "b"}, &store{}
	alerting := func() *event.Event {
		return &event.Event{ID: event.NewID(), Kind: event.Message, Connector: "office", Received: time.Now(), From: event.Party{Handle: "alice@example.org"},
			Verdict: event.Verdict{Action: event.Block, Rule: "cards", Obligations: []event.Obligation{{Kind: event.Review, Rule: "r"}, {Kind: event.Alert, Rule: "cards"}}},
			Content: event.Content{Text: "my secret text", Subject: "topic"}}
	}
	desk(t, time.Minute, 0, func(t *testing.T, d *alert.Desk, _ *health.Board) {
		r := d.Recorder(s)
		s.fail = errors.New("disk full")
		if err := r.Record(t.Context(), alerting()); !errors.Is(err, s.fail) {
			t.Errorf("error is %v", err)
		}
		synctest.Wait()
		if len(b.told) != 0 {
			t.Error("an alert about what is no record")
		}
		s.fail = nil
		e := alerting()
		if err := r.Record(t.Context(), &event.Event{ID: event.NewID(), Kind: event.Message}, e); err != nil || len(s.got) != 2 {
			t.Fatalf("%v, %d", err, len(s.got))
		}
		synctest.Wait()
		if len(b.told) != 1 || b.told[0].Record != e.ID || b.told[0].Title != "Rule cards matched" {
			t.Fatalf("%+v", b.told)
		}
		raw, err := b.told[0].OCSF()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"secret", "alice", "topic"} {
			if strings.Contains(string(raw)+fmt.Sprint(b.told[0]), secret) {
				t.Errorf("the alert says %q: %s", secret, raw)
			}
		}
	}, b)
}
