package sensors

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/logs"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// Pauses of following a log: when it has nothing new, and after an error.
const (
	logIdle  = 500 * time.Millisecond
	logRetry = 5 * time.Second
)

// Log makes records and observations of what another program's log says. The log waits for the journal: nothing of it is lost.
type Log struct {
	d         Deps
	follower  *logs.Follower
	name      string // of the health item
	connector string
	log       string // as findings name it
	key       []byte // of the ids of its events
	judge     *logs.Judge
	trouble   int
	first     error
	failing   bool
}

// Logs makes sensors of logs of other programs, whose state lies under the data directory. Those of one program share what they taught.
func Logs(all []config.Log, path func(string) string, data string, d Deps) ([]*Log, error) {
	var out []*Log
	judges := map[string]*logs.Judge{}
	for _, l := range all {
		if judges[l.Format] == nil {
			judges[l.Format] = logs.NewJudge(func() classify.Catalog { return d.Pair().First.Set.Catalog }, logs.Options{Source: l.Format, Policy: d.Policy,
				Host: func(a netip.Addr, at time.Time) event.Host { return d.Directory.Host("", a.String(), at) }})
		}
		x, err := newLog(path(l.Path), l.Format, data, judges[l.Format], d)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func newLog(path, format, data string, judge *logs.Judge, d Deps) (*Log, error) {
	key, err := file.LoadOrCreateSecret(filepath.Join(data, "state", "logs.key"), 32)
	if err != nil {
		return nil, err
	}
	x := &Log{d: d, name: "log " + path, connector: "log-" + format, log: filepath.Base(path), key: key, judge: judge}
	x.follower, err = logs.NewFollower(path, format, filepath.Join(data, "state", "logs"), d.Clock.Now, x.take)
	return x, err
}

// Name is that of the health item.
func (x *Log) Name() string { return x.name }

// Run follows the log until the context ends.
func (x *Log) Run(ctx context.Context) error {
	f := x.follower
	defer f.Close()
	for ctx.Err() == nil {
		more, err := f.Step(ctx)
		if ctx.Err() != nil {
			break
		}
		x.report(err)
		pause := logIdle
		switch {
		case err != nil:
			pause = logRetry
		case more:
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

func (x *Log) report(err error) {
	switch {
	case err != nil:
		if !x.failing {
			x.d.Log.Error("log", "item", x.name, "error", err)
		}
		x.d.Board.Set(x.name, health.Failed, "nothing is read: "+err.Error(), "The file must be there and readable for this user. It is tried again every few seconds, and nothing of it is left out.")
	case x.trouble > 0:
		x.d.Board.Set(x.name, health.Degraded, fmt.Sprintf("%d lines were read since the start, %d of them could not be understood; the first at %v", x.follower.Lines(), x.trouble, x.first), "Is it the right format?")
	default:
		x.d.Board.Set(x.name, health.OK, fmt.Sprintf("%d lines were read since the start", x.follower.Lines()), "")
	}
	x.failing = err != nil
}

// take makes a batch durable: what must be kept as records, all else as observations.
func (x *Log) take(ctx context.Context, b logs.Batch) error {
	var keep []*event.Event
	var seen []*event.Event
	for _, item := range b.Items {
		found := x.judge.Judge(item.Entry)
		e := found.Event
		e.Connector, e.Received = x.connector, x.d.Clock.Now()
		if e.Flow != nil {
			e.Flow.Capture = x.log
		}
		if !found.Finding.Record() {
			seen = append(seen, e)
			continue
		}
		e.ID = event.ImportID(x.key, x.connector, item.Source, "")
		keep = append(keep, e)
	}
	if b.Lost != "" {
		now := x.d.Clock.Now()
		keep = append(keep, &event.Event{ID: event.NewID(), Kind: event.Gap, Time: now, Until: now, Received: now, Connector: x.connector, Reason: event.ReasonUnreadable,
			Content: event.Content{Explanation: x.name + ": " + b.Lost}})
	}
	if len(keep) > 0 {
		if err := x.d.Recorder.Record(ctx, keep...); err != nil {
			return fmt.Errorf("record what the log says: %w", err)
		}
	}
	for _, e := range seen {
		x.d.Observer.Observe(e)
	}
	if x.trouble == 0 {
		x.first = b.Trouble.First
	}
	x.trouble += b.Trouble.Lines
	return nil
}
