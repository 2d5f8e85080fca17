package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server"
)

// Recording returns what makes events records in the data directory that the flags name, or nil when they name none.
func (d *DataFlags) Recording(e *Env) event.Recorder {
	if d.Data == "" && d.Config == "" {
		return nil
	}
	return d.Remote(e)
}

// Remote returns what records in the data directory that the flags name, and asks it for holds.
func (d *DataFlags) Remote(e *Env) *Remote { return &Remote{e: e, d: d} }

// Remote records through the operation "record", and counts what was acknowledged.
type Remote struct {
	e            *Env
	d            *DataFlags
	acknowledged atomic.Int64
}

// Record implements event.Recorder.
func (r *Remote) Record(ctx context.Context, events ...*event.Event) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, ev := range events {
		if ev.ID == "" {
			ev.ID = event.NewID()
		}
		if ev.Received.IsZero() {
			ev.Received = time.Now().UTC()
		}
		w, err := server.ToWire(ev)
		if err != nil {
			return err
		}
		if err := enc.Encode(w); err != nil {
			return err
		}
	}
	e := *r.e
	e.Ctx = ctx
	if err := Operate(&e, r.d, "record", struct{}{}, strings.NewReader(b.String()), io.Discard); err != nil {
		return fmt.Errorf("recording stopped, %d events of this run were acknowledged: %w", r.acknowledged.Load(), err)
	}
	r.acknowledged.Add(int64(len(events)))
	return nil
}

// HostHeld implements quarantine.Holds. Host.Person may name whose file it is: that person may be held though the host is not.
func (r *Remote) HostHeld(ctx context.Context, host event.Host) (string, bool, error) {
	e := *r.e
	e.Ctx = ctx
	var out strings.Builder
	if err := Operate(&e, r.d, "hold.host", host, nil, &out); err != nil {
		return "", false, err
	}
	var h server.HostHeld
	err := json.Unmarshal([]byte(out.String()), &h)
	return h.Matter, h.Held, err
}
