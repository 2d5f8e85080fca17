package server

import (
	"context"
	"net/netip"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// sensorQueue bounds the findings that wait for the journal; packets never wait.
const sensorQueue = 4096

// sensor watches one interface: what must be kept (classify.Finding.Record) becomes a record, all else is observed.
func (s *Server) sensor(c config.Sensor) func(ctx context.Context) error {
	name := "sensor " + c.Interface
	return func(ctx context.Context) error {
		found := make(chan *event.Event, sensorQueue)
		recorded := make(chan struct{})
		go func() {
			defer close(recorded)
			for e := range found {
				if err := s.recorder.Record(context.WithoutCancel(ctx), e); err != nil {
					s.board.Set(name, health.Degraded, "a finding was not recorded: "+err.Error(), "See the item journal.")
				}
			}
		}()
		k := rollout.NewTwin(s.rules.Pair, classify.Options{Live: true, Now: s.store.Clock.Now,
			Host:   func(a netip.Addr) event.Host { return s.store.People.Host("", a.String(), s.store.Clock.Now()) },
			Report: func(f *classify.Finding) { s.report(name, c, f, found) }})
		for ctx.Err() == nil {
			s.board.Set(name, health.OK, "listening", "")
			tracker := flow.NewTracker(k, flow.Limits{Idle: 2 * time.Minute})
			tracker.Watch(s.sensorWatch(name, c, found).see)
			_, err := flow.Live(ctx, c.Interface, tracker)
			if err != nil && ctx.Err() == nil {
				s.log.Error("sensor", "interface", c.Interface, "error", err)
				s.board.Set(name, health.Failed, "nothing is seen: "+err.Error(), "The interface must exist and be up, and this process needs CAP_NET_RAW. It is tried again every few seconds.")
			}
			select {
			case <-ctx.Done():
			case <-time.After(sensorRetry):
			}
		}
		close(found)
		<-recorded
		return nil
	}
}

// sensorRetry is the pause before an interface that went away is tried again. Gateways and records go on meanwhile.
const sensorRetry = 5 * time.Second

// sensorWatch tells of one listening what it does not see. A gap is not waited for when the queue is full: the health item stays.
func (s *Server) sensorWatch(name string, c config.Sensor, found chan<- *event.Event) *sensorWatch {
	return &sensorWatch{
		connector: "sensor-" + c.Interface, now: s.store.Clock.Now,
		set: func(state health.State, detail, advice string) { s.board.Set(name, state, detail, advice) },
		gap: func(e *event.Event) {
			s.log.Warn("sensor", "interface", c.Interface, "gap", e.Explanation)
			select {
			case found <- e:
			default:
				s.observer.Observe(e)
			}
		},
	}
}

func (s *Server) report(name string, c config.Sensor, f *classify.Finding, found chan<- *event.Event) {
	e := f.Event()
	e.Connector = "sensor-" + c.Interface
	if !f.Record() {
		s.observer.Observe(e)
		return
	}
	select {
	case found <- e:
	default:
		s.board.Set(name, health.Degraded, "findings come faster than they can be recorded; some were counted only", "")
		s.observer.Observe(e)
	}
}
