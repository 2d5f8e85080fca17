package connectortest

import (
	"context"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/event"
)

// wire is the smallest connector there can be: it shows that the suite can be passed.
type wire struct {
	judge          connector.Judge
	name           string
	other          *wire
	heard, refused chan string
}

func (w *wire) Handle() string { return w.name }

func (w *wire) Say(ctx context.Context, _, id, text string) error {
	go func() {
		e := &event.Event{ID: event.NewID(), Kind: event.Message, Connector: "wire", From: event.Party{Handle: w.name}, To: []event.Party{{Handle: w.other.name}}}
		e.Text, e.Native, e.Raw, e.Audience = text, id, []byte(text), e.To
		e.Received = time.Now()
		e.Time = e.Received
		err := w.judge.Judge(ctx, e)
		stopped := e.Verdict.Enforced && e.Verdict.Action != event.Allow || e.Verdict.Action == "" || e.Verdict.Action == event.Pending
		switch {
		case err != nil:
			w.refused <- err.Error()
		case stopped && e.Verdict.Say == "":
			w.refused <- "stopped"
		case stopped:
			w.refused <- e.Verdict.Say
		default:
			w.other.heard <- text
		}
	}()
	return nil
}

func (w *wire) Heard(ctx context.Context) (string, error)   { return next(ctx, w.heard) }
func (w *wire) Refused(ctx context.Context) (string, error) { return next(ctx, w.refused) }

func next(ctx context.Context, c chan string) (string, error) {
	select {
	case s := <-c:
		return s, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func TestTheSuiteCanBePassed(t *testing.T) {
	Run(t, Setting{Connector: "wire", Start: func(_ *testing.T, j connector.Judge) (Client, Client) {
		a := &wire{judge: j, name: "a", heard: make(chan string, 9), refused: make(chan string, 9)}
		b := &wire{judge: j, name: "b", other: a, heard: make(chan string, 9), refused: make(chan string, 9)}
		a.other = b
		return a, b
	}})
}
