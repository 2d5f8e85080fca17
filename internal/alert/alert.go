// Package alert tells people and other systems what needs a look: by mail, webhook and syslog, as OCSF detection findings.
//
// The same alert goes out once in an interval; what comes between is counted and told with the next one. A heartbeat in each interval says
// that nothing comes because nothing happened, and not because alerting is dead. Alerts carry no message text.
package alert

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// Severity is how much an alert matters, by its OCSF number.
type Severity int

// The severities (OCSF severity_id).
const (
	Informational Severity = 1
	Medium        Severity = 3
	High          Severity = 4
)

// Alert is one thing that needs a look. Title and Detail name rules, hosts of ours and parts of the program, never what people wrote.
type Alert struct {
	Key      string // alerts with one key are the same alert
	Title    string
	Detail   string
	Severity Severity
	Record   event.ID // where to look, "" for none
	Time     time.Time
	Repeated int // how often it came since it was told last
}

// Channel brings alerts to one recipient.
type Channel interface {
	Name() string
	Send(ctx context.Context, a Alert) error
}

// Bounds of a Desk.
const (
	queueLen = 1024
	maxKeys  = 10_000
	attempts = 3
)

// Desk takes alerts and tells them to channels.
type Desk struct {
	channels  []Channel
	every     time.Duration
	heartbeat time.Duration
	clock     clock.Clock
	board     *health.Board
	log       *slog.Logger
	queue     chan Alert

	mu   sync.Mutex
	seen map[string]*told
	lost int
}

type told struct {
	at    time.Time
	since int
}

// NewDesk returns a desk; Run must run for alerts to go out. A heartbeat that is not positive is none.
func NewDesk(channels []Channel, every, heartbeat time.Duration, c clock.Clock, board *health.Board, log *slog.Logger) *Desk {
	return &Desk{channels: channels, every: every, heartbeat: heartbeat, clock: c, board: board, log: log,
		queue: make(chan Alert, queueLen), seen: map[string]*told{}}
}

// Raise takes an alert. It never blocks: what the queue does not hold is counted and told.
func (d *Desk) Raise(a Alert) {
	now := d.clock.Now()
	if a.Time.IsZero() {
		a.Time = now
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.seen[a.Key]; t != nil {
		if now.Sub(t.at) < d.every {
			t.since++
			return
		}
		a.Repeated, t.at, t.since = t.since, now, 0
	} else {
		if len(d.seen) >= maxKeys {
			clear(d.seen)
		}
		d.seen[a.Key] = &told{at: now}
	}
	select {
	case d.queue <- a:
	default:
		d.lost++
	}
}

// Run tells alerts until the context ends.
func (d *Desk) Run(ctx context.Context) error {
	beat := make(<-chan time.Time)
	if d.heartbeat > 0 {
		tick := time.NewTicker(d.heartbeat)
		defer tick.Stop()
		beat = tick.C
	}
	for {
		select {
		case a := <-d.queue:
			d.tell(ctx, a)
		case <-beat:
			d.mu.Lock()
			lost := d.lost
			d.lost = 0
			d.mu.Unlock()
			d.tell(ctx, Alert{Key: "heartbeat", Title: "Chaperone is at work", Severity: Informational, Time: d.clock.Now(),
				Detail: fmt.Sprintf("health: %s; alerts not told for lack of room: %d", d.board.Worst(), lost)})
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *Desk) tell(ctx context.Context, a Alert) {
	for _, c := range d.channels {
		name := "alerts " + c.Name()
		if err := send(ctx, c, a); err != nil {
			if ctx.Err() == nil {
				d.log.Error("alert not told", "channel", c.Name(), "error", err)
				d.board.Set(name, health.Degraded, err.Error(), "Look at the recipient; the alert is in the log and, where it is about a record, in the journal.")
			}
			continue
		}
		d.board.Set(name, health.OK, "last told "+a.Time.Format(time.RFC3339), "")
	}
}

func send(ctx context.Context, c Channel, a Alert) error {
	var err error
	for n := range attempts {
		if n > 0 {
			select {
			case <-time.After(time.Duration(n) * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err = c.Send(try, a)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// Watch raises an alert for each health item that goes bad, or well again.
func (d *Desk) Watch(board *health.Board) {
	board.Watch(func(i health.Item) {
		switch i.State {
		case health.Failed:
			d.Raise(Alert{Key: "health " + i.Name + " failed", Title: i.Name + " has failed", Detail: i.Detail + " " + i.Advice, Severity: High})
		case health.Degraded:
			d.Raise(Alert{Key: "health " + i.Name + " degraded", Title: i.Name + " is degraded", Detail: i.Detail + " " + i.Advice, Severity: Medium})
		}
	})
}

// Recorder returns a recorder that raises what policy wants raised, once next has made it durable.
func (d *Desk) Recorder(next event.Recorder) event.Recorder { return raising{d, next} }

type raising struct {
	desk *Desk
	next event.Recorder
}

// Record implements event.Recorder.
func (r raising) Record(ctx context.Context, events ...*event.Event) error {
	if err := r.next.Record(ctx, events...); err != nil {
		return err
	}
	for _, e := range events {
		for _, o := range e.Verdict.Obligations {
			if o.Kind == event.Alert {
				r.desk.Raise(Alert{Key: "rule " + o.Rule, Title: "Rule " + o.Rule + " matched", Severity: Medium, Record: e.ID, Time: e.Received,
					Detail: fmt.Sprintf("%s by %s, verdict %s", e.Kind, e.Connector, e.Verdict.Action)})
			}
		}
	}
	return nil
}
