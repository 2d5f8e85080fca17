// Package alert tells people and other systems what needs a look: by mail, webhook and syslog, as OCSF detection findings.
//
// The same alert goes out once in an interval; what comes between is counted and told when the interval is over. A heartbeat in each interval says
// that nothing comes because nothing happened, and not because alerting is dead. Alerts carry no message text.
package alert

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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
	Route    string   // whose channels take it, "" for those of everything
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
	queueLen  = 256 // alerts that wait for one channel
	maxKeys   = 10_000
	attempts  = 3
	sendLimit = 10 * time.Second
	lastLimit = 5 * time.Second // for what waits when the desk stops
	maxTitle  = 200
	maxDetail = 2000
)

// Desk takes alerts and tells them to channels, each in its own time: one that hangs holds up no other.
type Desk struct {
	boxes     []*box
	every     time.Duration
	heartbeat time.Duration
	clock     clock.Clock
	board     *health.Board
	log       *slog.Logger

	mu   sync.Mutex
	seen map[string]*told
}

// told is an alert that was told, and how often it came since.
type told struct {
	last  Alert
	at    time.Time
	since int
}

// box is what waits for one channel.
type box struct {
	channel Channel
	route   string // whose alerts it takes, "" for those without a route
	queue   chan Alert

	mu   sync.Mutex
	lost int // not told since the last that was
}

// NewDesk returns a desk; Run must run for alerts to go out. A heartbeat that is not positive is none.
func NewDesk(channels []Channel, every, heartbeat time.Duration, c clock.Clock, board *health.Board, log *slog.Logger) *Desk {
	d := &Desk{every: every, heartbeat: heartbeat, clock: c, board: board, log: log, seen: map[string]*told{}}
	for _, c := range channels {
		d.boxes = append(d.boxes, &box{channel: c, queue: make(chan Alert, queueLen)})
	}
	return d
}

// Route adds channels that take only the alerts of one route, before Run.
func (d *Desk) Route(name string, channels ...Channel) {
	for _, c := range channels {
		d.boxes = append(d.boxes, &box{channel: c, route: name, queue: make(chan Alert, queueLen)})
	}
}

// of returns the boxes of an alert: those of its route when that has any, else those of everything, else all.
func (d *Desk) of(a Alert) []*box {
	var general, routed []*box
	for _, b := range d.boxes {
		switch b.route {
		case "":
			general = append(general, b)
		case a.Route:
			routed = append(routed, b)
		}
	}
	switch {
	case len(routed) > 0:
		return routed
	case len(general) > 0:
		return general
	}
	return d.boxes
}

// Raise takes an alert. It never blocks: what a channel's queue does not hold is counted and told with the next one.
func (d *Desk) Raise(a Alert) {
	now := d.clock.Now()
	if a.Time.IsZero() {
		a.Time = now
	}
	a.Title, a.Detail = clip(a.Title, maxTitle), clip(a.Detail, maxDetail)
	d.mu.Lock()
	t := d.seen[a.Key]
	if t != nil && now.Sub(t.at) < d.every {
		t.last, t.since = a, t.since+1
		d.mu.Unlock()
		return
	}
	if t != nil {
		a.Repeated = t.since
	}
	if t == nil && len(d.seen) >= maxKeys {
		d.forget(now)
	}
	d.seen[a.Key] = &told{last: a, at: now}
	d.mu.Unlock()
	d.put(a)
}

// forget makes room: first what is told anew anyway, then all.
func (d *Desk) forget(now time.Time) {
	for key, t := range d.seen {
		if now.Sub(t.at) >= d.every {
			delete(d.seen, key)
		}
	}
	if len(d.seen) >= maxKeys {
		clear(d.seen)
	}
}

func (d *Desk) put(a Alert) {
	for _, b := range d.of(a) {
		select {
		case b.queue <- a:
		default:
			b.lose(1)
		}
	}
}

func (b *box) lose(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost += n
}

func (b *box) takeLost() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.lost
	b.lost = 0
	return n
}

// Run tells alerts until the context ends, and then, for a short time, those that wait.
func (d *Desk) Run(ctx context.Context) error {
	var boxes sync.WaitGroup
	for _, b := range d.boxes {
		boxes.Go(func() { d.empty(ctx, b) })
	}
	defer boxes.Wait()
	var beat <-chan time.Time
	if d.heartbeat > 0 {
		tick := time.NewTicker(d.heartbeat)
		defer tick.Stop()
		beat = tick.C
	}
	again := time.NewTicker(max(d.every, time.Second))
	defer again.Stop()
	for {
		select {
		case <-again.C:
			d.repeat()
		case <-beat:
			d.put(Alert{Key: "heartbeat", Title: "Chaperone is at work", Severity: Informational, Time: d.clock.Now(), Detail: "health: " + string(d.board.Worst())})
		case <-ctx.Done():
			return nil
		}
	}
}

// repeat tells alerts that came again within the interval, now that it is over.
func (d *Desk) repeat() {
	now := d.clock.Now()
	var due []Alert
	d.mu.Lock()
	for key, t := range d.seen {
		switch {
		case now.Sub(t.at) < d.every:
		case t.since == 0:
			delete(d.seen, key)
		default:
			a := t.last
			a.Repeated = t.since - 1 // the last of them is this one
			d.seen[key] = &told{last: a, at: now}
			due = append(due, a)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(due, func(x, y Alert) int { return x.Time.Compare(y.Time) })
	for _, a := range due {
		d.put(a)
	}
}

// empty tells what is in a box as it comes.
func (d *Desk) empty(ctx context.Context, b *box) {
	for ctx.Err() == nil {
		select {
		case a := <-b.queue:
			if !d.tell(ctx, b, a) && ctx.Err() != nil {
				d.last(ctx, b, a)
				return
			}
		case <-ctx.Done():
		}
	}
	d.last(ctx, b)
}

// last tells what a stop left, once each.
func (d *Desk) last(ctx context.Context, b *box, left ...Alert) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLimit)
	defer cancel()
	for _, a := range left {
		b.takeLost()
		d.tell(ctx, b, a)
	}
	for len(b.queue) > 0 && ctx.Err() == nil {
		d.tell(ctx, b, <-b.queue)
	}
	if n := len(b.queue) + b.takeLost(); n > 0 {
		d.log.Error("alerts not told before the end", "channel", b.channel.Name(), "count", n)
	}
}

// tell reports whether the alert went out.
func (d *Desk) tell(ctx context.Context, b *box, a Alert) bool {
	lost := b.takeLost()
	if lost > 0 {
		a.Detail = strings.TrimSpace(fmt.Sprintf("%s (%d earlier alerts could not be told here)", a.Detail, lost))
	}
	item := "alerts " + b.channel.Name()
	if err := send(ctx, b.channel, a); err != nil {
		b.lose(lost + 1)
		d.log.Error("alert not told", "channel", b.channel.Name(), "alert", a.Title, "error", err)
		d.board.Set(item, health.Degraded, err.Error(), "Look at the recipient; the alert is in the log and, where it is about a record, in the journal.")
		return false
	}
	d.board.Set(item, health.OK, "last told "+a.Time.Format(time.RFC3339), "")
	return true
}

func send(ctx context.Context, c Channel, a Alert) error {
	var err error
	for n := range attempts {
		if n > 0 {
			select {
			case <-time.After(time.Duration(n) * time.Second):
			case <-ctx.Done():
				return err
			}
		}
		try, cancel := context.WithTimeout(ctx, sendLimit)
		err = c.Send(try, a)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// clip shortens a text to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "…"
}

// Watch raises an alert for each health item that goes bad, and when it is well again. Channels' own items are told like any: by the others.
func (d *Desk) Watch(board *health.Board) {
	var mu sync.Mutex
	bad := map[string]bool{}
	board.Watch(func(i health.Item) {
		mu.Lock()
		was := bad[i.Name]
		bad[i.Name] = i.State != health.OK
		mu.Unlock()
		about := strings.TrimSpace(i.Detail + " " + i.Advice)
		switch {
		case i.State == health.Failed:
			d.Raise(Alert{Key: "health " + i.Name + " failed", Title: i.Name + " has failed", Detail: about, Severity: High})
		case i.State == health.Degraded:
			d.Raise(Alert{Key: "health " + i.Name + " degraded", Title: i.Name + " is degraded", Detail: about, Severity: Medium})
		case was:
			d.Raise(Alert{Key: "health " + i.Name + " well", Title: i.Name + " is well again", Detail: about, Severity: Informational})
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
				r.desk.Raise(Alert{Key: "rule " + o.Rule, Route: o.Queue, Title: "Rule " + o.Rule + " matched", Severity: Medium, Record: e.ID, Time: e.Received,
					Detail: fmt.Sprintf("%s by %s, verdict %s", e.Kind, e.Connector, e.Verdict.Action)})
			}
		}
	}
	return nil
}
