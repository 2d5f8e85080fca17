//go:build linux

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
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

// Record implements event.Recorder. What was found before a run was interrupted is still recorded.
func (r *Remote) Record(ctx context.Context, events ...*event.Event) error {
	ctx, stop := graced(ctx, grace)
	defer stop()
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

// grace is how long what is being recorded may take when the run is interrupted: so long it is known what is on record.
const grace = 5 * time.Second

// graced returns a context that ends a while after another.
func graced(ctx context.Context, while time.Duration) (context.Context, func()) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		late := time.AfterFunc(while, cancel)
		context.AfterFunc(out, func() { late.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// Interrupted says of a run that was interrupted what came on record, and what did not. Other errors stay as they are.
func Interrupted(e *Env, err error, recorder event.Recorder) error {
	if e.Ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	r, records := recorder.(*Remote)
	if !records {
		return hint.New(errors.New("interrupted before the end; what is printed above was found until then, and nothing was recorded"), "run it again for the rest")
	}
	return hint.New(fmt.Errorf("interrupted before the end; %d findings of this run are on record, among them all that are printed above; the rest was not looked at", r.acknowledged.Load()),
		"run it again for the rest; what is on record then is recorded once more")
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
