package server

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

// logSensor makes records and observations of what another program's log says. The log waits for the journal: nothing of it is lost.
type logSensor struct {
	s         *Server
	name      string // of the health item
	connector string
	log       string // as findings name it
	key       []byte // of the ids of its events
	judge     *logs.Judge
	trouble   int
	first     error
	failing   bool
}

// followLogs adds logs of other programs as sensors. Those of one program share what they taught.
func (s *Server) followLogs() error {
	judges := map[string]*logs.Judge{}
	for _, l := range s.cfg.Network.Logs {
		if judges[l.Format] == nil {
			judges[l.Format] = logs.NewJudge(func() classify.Catalog { return s.rules.Catalog() }, logs.Options{Source: l.Format, Policy: s.rules,
				Host: func(a netip.Addr, at time.Time) event.Host { return s.store.People.Host("", a.String(), at) }})
		}
		if err := s.followLog(l, judges[l.Format]); err != nil {
			return fmt.Errorf("network.logs: %w", err)
		}
	}
	return nil
}

func (s *Server) followLog(l config.Log, judge *logs.Judge) error {
	path := s.cfg.Path(l.Path)
	key, err := file.LoadOrCreateSecret(filepath.Join(s.store.Dir, "state", "logs.key"), 32)
	if err != nil {
		return err
	}
	x := &logSensor{s: s, name: "log " + path, connector: "log-" + l.Format, log: filepath.Base(path), key: key, judge: judge}
	f, err := logs.NewFollower(path, l.Format, filepath.Join(s.store.Dir, "state", "logs"), s.store.Clock.Now, x.take)
	if err != nil {
		return err
	}
	s.add(part{name: x.name, run: func(ctx context.Context) error { return x.run(ctx, f) }})
	return nil
}

func (x *logSensor) run(ctx context.Context, f *logs.Follower) error {
	defer f.Close()
	for ctx.Err() == nil {
		more, err := f.Step(ctx)
		if ctx.Err() != nil {
			break
		}
		x.report(f, err)
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

func (x *logSensor) report(f *logs.Follower, err error) {
	switch {
	case err != nil:
		if !x.failing {
			x.s.log.Error("log", "item", x.name, "error", err)
		}
		x.s.board.Set(x.name, health.Failed, "nothing is read: "+err.Error(), "The file must be there and readable for this user. It is tried again every few seconds, and nothing of it is left out.")
	case x.trouble > 0:
		x.s.board.Set(x.name, health.Degraded, fmt.Sprintf("%d lines were read since the start, %d of them could not be understood; the first at %v", f.Lines(), x.trouble, x.first), "Is it the right format?")
	default:
		x.s.board.Set(x.name, health.OK, fmt.Sprintf("%d lines were read since the start", f.Lines()), "")
	}
	x.failing = err != nil
}

// take makes a batch durable: what must be kept as records, all else as observations.
func (x *logSensor) take(ctx context.Context, b logs.Batch) error {
	var keep []*event.Event
	var seen []*event.Event
	for _, item := range b.Items {
		found := x.judge.Judge(item.Entry)
		e := found.Event
		e.Connector, e.Received = x.connector, x.s.store.Clock.Now()
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
		now := x.s.store.Clock.Now()
		keep = append(keep, &event.Event{ID: event.NewID(), Kind: event.Gap, Time: now, Until: now, Received: now, Connector: x.connector, Reason: event.ReasonUnreadable,
			Content: event.Content{Explanation: x.name + ": " + b.Lost}})
	}
	if len(keep) > 0 {
		if err := x.s.recorder.Record(ctx, keep...); err != nil {
			return fmt.Errorf("record what the log says: %w", err)
		}
	}
	for _, e := range seen {
		x.s.observer.Observe(e)
	}
	if x.trouble == 0 {
		x.first = b.Trouble.First
	}
	x.trouble += b.Trouble.Lines
	return nil
}
