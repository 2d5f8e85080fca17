package sensors

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

// queue bounds the findings that wait for the journal; packets never wait.
const queue = 4096

// Interface returns what watches one interface until the context ends: what must be kept (classify.Finding.Record) becomes a record, all else is observed.
func Interface(c config.Sensor, d Deps) func(ctx context.Context) error {
	name := "sensor " + c.Interface
	return func(ctx context.Context) error {
		found := make(chan *event.Event, queue)
		recorded := make(chan struct{})
		go func() {
			defer close(recorded)
			for e := range found {
				if err := d.Recorder.Record(context.WithoutCancel(ctx), e); err != nil {
					d.Board.Set(name, health.Degraded, "a finding was not recorded: "+err.Error(), "See the item journal.")
				}
			}
		}()
		k := rollout.NewTwin(d.Pair, classify.Options{Live: true, Now: d.Clock.Now,
			Host:   func(a netip.Addr) event.Host { return d.Directory.Host("", a.String(), d.Clock.Now()) },
			Report: func(f *classify.Finding) { d.report(name, c, f, found) }})
		for ctx.Err() == nil {
			d.Board.Set(name, health.OK, "listening", "")
			tracker := flow.NewTracker(k, flow.Limits{Idle: 2 * time.Minute})
			tracker.Watch(d.watch(name, c, found).see)
			_, err := flow.Live(ctx, c.Interface, tracker)
			if err != nil && ctx.Err() == nil {
				d.Log.Error("sensor", "interface", c.Interface, "error", err)
				d.Board.Set(name, health.Failed, "nothing is seen: "+err.Error(), "The interface must exist and be up, and this process needs CAP_NET_RAW. It is tried again every few seconds.")
			}
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
		}
		close(found)
		<-recorded
		return nil
	}
}

// retry is the pause before an interface that went away is tried again. Gateways and records go on meanwhile.
const retry = 5 * time.Second

// watch tells of one listening what it does not see. A gap is not waited for when the queue is full: the health item stays.
func (d Deps) watch(name string, c config.Sensor, found chan<- *event.Event) *watch {
	return &watch{
		connector: "sensor-" + c.Interface, now: d.Clock.Now,
		set: func(state health.State, detail, advice string) { d.Board.Set(name, state, detail, advice) },
		gap: func(e *event.Event) {
			d.Log.Warn("sensor", "interface", c.Interface, "gap", e.Explanation)
			select {
			case found <- e:
			default:
				d.Observer.Observe(e)
			}
		},
	}
}

func (d Deps) report(name string, c config.Sensor, f *classify.Finding, found chan<- *event.Event) {
	e := f.Event()
	e.Connector = "sensor-" + c.Interface
	if !f.Record() {
		d.Observer.Observe(e)
		return
	}
	select {
	case found <- e:
	default:
		d.Board.Set(name, health.Degraded, "findings come faster than they can be recorded; some were counted only", "")
		d.Observer.Observe(e)
	}
}
