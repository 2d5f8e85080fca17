// Package connectortest is the conformance suite of connectors: what every gateway promises, whatever it speaks. A connector's test gives it
// a running gateway with two clients, and it tries to break law 1.
package connectortest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Client is a person's client on the system behind the gateway.
type Client interface {
	// Say sends a text to the other client's handle, or to the room both are in.
	Say(ctx context.Context, to, id, text string) error
	// Heard returns the next text that came from somebody else.
	Heard(ctx context.Context) (string, error)
	// Refused returns the words of the next refusal.
	Refused(ctx context.Context) (string, error)
	// Handle is how others write to it.
	Handle() string
}

// Setting is a gateway under test. Start runs it with a judge and returns two clients that are signed in through it.
type Setting struct {
	Start func(t *testing.T, judge connector.Judge) (from, to Client)
	// Connector is the id that its events must carry.
	Connector string
}

// Judge is a judge whose answers a test decides. It also keeps what it was asked.
type Judge struct {
	mu       sync.Mutex
	answer   func(e *event.Event) error
	judged   []event.Event
	outcomes []event.Event
}

var _ connector.Judge = (*Judge)(nil)

// Answer sets what is done with events from now on: it sets the verdict, or returns an error. Nil allows everything.
func (j *Judge) Answer(f func(e *event.Event) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = f
}

// Judge implements connector.Judge.
func (j *Judge) Judge(_ context.Context, e *event.Event) error {
	j.mu.Lock()
	answer := j.answer
	j.mu.Unlock()
	e.Verdict = event.Verdict{Action: event.Allow, Enforced: true}
	if answer != nil {
		if err := answer(e); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.judged = append(j.judged, *e)
	return nil
}

// JudgeFile implements connector.Judge.
func (j *Judge) JudgeFile(ctx context.Context, e *event.Event, _ io.ReaderAt, _ int64) error {
	return j.Judge(ctx, e)
}

// Outcome implements connector.Judge.
func (j *Judge) Outcome(_ context.Context, e *event.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outcomes = append(j.outcomes, *e)
	return nil
}

// Judged returns the messages with that text.
func (j *Judge) Judged(text string) []event.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []event.Event
	for _, e := range j.judged {
		if e.Text == text {
			out = append(out, e)
		}
	}
	return out
}

var errDisk = errors.New("no space left on device")

// Run runs the suite.
func Run(t *testing.T, s Setting) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, ctx context.Context, s Setting, j *Judge, from, to Client)
	}{
		{"a message is judged once, whole, and delivered", delivered},
		{"nothing is delivered before it is recorded", recordedFirst},
		{"a refused message is never delivered and its sender is told why", refused},
		{"held and quarantined messages are not delivered", held},
		{"what is only monitored is delivered", monitored},
		{"what cannot be recorded is not delivered", unrecorded},
		{"a verdict that never comes delivers nothing", silent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			j := &Judge{}
			from, to := s.Start(t, j)
			tt.test(t, ctx, s, j, from, to)
		})
	}
}

func say(t *testing.T, ctx context.Context, from, to Client, id, text string) {
	t.Helper()
	if err := from.Say(ctx, to.Handle(), id, text); err != nil {
		t.Fatal(err)
	}
}

// hears fails unless the next text is the wanted one: then nothing was delivered in between.
func hears(t *testing.T, ctx context.Context, to Client, want string) {
	t.Helper()
	if got, err := to.Heard(ctx); err != nil || got != want {
		t.Fatalf("heard %q (%v), want %q", got, err, want)
	}
}

func delivered(t *testing.T, ctx context.Context, s Setting, j *Judge, from, to Client) {
	text := "zwölf <Boxkämpfer> & \"Viktor\" \U0001F469\u200D\U0001F680 \t ]]>"
	say(t, ctx, from, to, "d1", text)
	hears(t, ctx, to, text)
	got := j.Judged(text)
	if len(got) != 1 {
		t.Fatalf("judged %d times", len(got))
	}
	e := got[0]
	if e.Kind != event.Message || e.Connector != s.Connector || e.From.Handle != from.Handle() || len(e.To) != 1 || e.To[0].Handle != to.Handle() {
		t.Errorf("judged as %s of %s from %s to %v", e.Kind, e.Connector, e.From.Handle, e.To)
	}
	if e.ID == "" || e.Time.IsZero() || e.Received.IsZero() || len(e.Raw) == 0 || len(e.Audience) == 0 {
		t.Errorf("id %q, time %v, received %v, %d raw bytes, audience %v", e.ID, e.Time, e.Received, len(e.Raw), e.Audience)
	}
}

func recordedFirst(t *testing.T, ctx context.Context, _ Setting, j *Judge, from, to Client) {
	asked, release := make(chan struct{}), make(chan struct{})
	j.Answer(func(*event.Event) error {
		close(asked)
		<-release
		return nil
	})
	say(t, ctx, from, to, "r1", "patience")
	<-asked
	heard := make(chan string, 1)
	go func() {
		text, _ := to.Heard(ctx)
		heard <- text
	}()
	select {
	case text := <-heard:
		t.Fatalf("heard %q before it was recorded", text)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	if text := <-heard; text != "patience" {
		t.Errorf("heard %q", text)
	}
}

// stopOn makes the judge give v for one text.
func stopOn(text string, v event.Verdict) func(*event.Event) error {
	return func(e *event.Event) error {
		if e.Text == text {
			e.Verdict = v
		}
		return nil
	}
}

func refused(t *testing.T, ctx context.Context, _ Setting, j *Judge, from, to Client) {
	const words = "Please don't: <this> & that."
	j.Answer(stopOn("secret", event.Verdict{Action: event.Block, Enforced: true, Say: words}))
	say(t, ctx, from, to, "f1", "secret")
	if got, err := from.Refused(ctx); err != nil || got != words {
		t.Errorf("refused with %q (%v), want %q", got, err, words)
	}
	say(t, ctx, from, to, "f2", "public")
	hears(t, ctx, to, "public")
}

func held(t *testing.T, ctx context.Context, _ Setting, j *Judge, from, to Client) {
	for _, action := range []event.Action{event.Hold, event.Quarantine, event.Pending, ""} {
		j.Answer(stopOn("doubtful", event.Verdict{Action: action, Enforced: true}))
		say(t, ctx, from, to, "h-"+string(action), "doubtful")
		if got, err := from.Refused(ctx); err != nil || got == "" {
			t.Errorf("%q: refused with %q (%v)", action, got, err)
		}
	}
	say(t, ctx, from, to, "h2", "clear")
	hears(t, ctx, to, "clear")
}

func monitored(t *testing.T, ctx context.Context, _ Setting, j *Judge, from, to Client) {
	j.Answer(stopOn("watched", event.Verdict{Action: event.Block, Enforced: false}))
	say(t, ctx, from, to, "m1", "watched")
	hears(t, ctx, to, "watched")
}

func unrecorded(t *testing.T, ctx context.Context, _ Setting, j *Judge, from, to Client) {
	j.Answer(func(e *event.Event) error {
		if e.Text == "lost" {
			return errDisk
		}
		return nil
	})
	say(t, ctx, from, to, "u1", "lost")
	if got, err := from.Refused(ctx); err != nil || got == "" {
		t.Errorf("refused with %q (%v)", got, err)
	}
	say(t, ctx, from, to, "u2", "found")
	hears(t, ctx, to, "found")
}

func silent(t *testing.T, ctx context.Context, _ Setting, j *Judge, from, to Client) {
	release := make(chan struct{})
	j.Answer(func(e *event.Event) error {
		if e.Text == "stuck" {
			<-release
			return context.DeadlineExceeded
		}
		return nil
	})
	say(t, ctx, from, to, "s1", "stuck")
	say(t, ctx, to, from, "s2", "others go on")
	hears(t, ctx, from, "others go on")
	close(release)
	if _, err := from.Refused(ctx); err != nil {
		t.Error(err)
	}
}
