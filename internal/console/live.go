package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/health"
)

// Bounds of the live streams.
const (
	livePerSession = 8  // pages of one session that move by themselves; more stand still
	liveInAll      = 64 // pages of everybody
	liveEvery      = time.Second
	liveBeat       = 20 * time.Second // a sign of life, when nothing else is sent
	liveWrite      = 10 * time.Second // a browser that takes longer to take what is sent is left
)

// Events of the stream. The first carries the numbers; the others say which part of a page is out of date, so that the browser asks for it
// again, as an ordinary page.
const (
	eventNumbers = "live-numbers"
	eventCounts  = "live-counts"
	eventHealth  = "live-health"
	eventDetails = "live-details"
	eventLedger  = "live-ledger"
)

// numbers is all that a stream carries: no name, no text.
type numbers struct {
	Judged      int          `json:"judged"`
	Allowed     int          `json:"allowed"`
	Held        int          `json:"held"`
	Quarantined int          `json:"quarantined"`
	Blocked     int          `json:"blocked"`
	Frames      uint64       `json:"frames"`
	Unseen      uint64       `json:"unseen"` // frames that nobody outside has acknowledged
	Open        int64        `json:"open"`   // seconds since the first of them
	Health      health.State `json:"health"`
	Messages    *int         `json:"messages,omitempty"` // of the conversation that the page shows
}

// moment is what the pages show now.
type moment struct {
	numbers
	counts string // of today's verdicts and the messengers seen: when it changes, so did the tables
	states string // of the health items
	items  string // all that is said of them
}

// pulse makes the moment at most once a second, for everybody who watches, and counts them.
type pulse struct {
	make func(ctx context.Context) (moment, error)
	done chan struct{} // closed when the server stops

	mu   sync.Mutex
	last moment
	made time.Time

	watching sync.Mutex
	sessions map[string]int
	all      int
	stopped  bool
}

func newPulse(mk func(ctx context.Context) (moment, error)) *pulse {
	return &pulse{make: mk, done: make(chan struct{}), sessions: map[string]int{}}
}

// now returns the moment, made anew when the last one is a second old.
func (p *pulse) now(ctx context.Context) (moment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.made) < liveEvery*9/10 {
		return p.last, nil
	}
	m, err := p.make(ctx)
	if err == nil {
		p.last, p.made = m, time.Now()
	}
	return m, err
}

// enter counts a stream in, unless there are too many.
func (p *pulse) enter(token string) bool {
	p.watching.Lock()
	defer p.watching.Unlock()
	if p.stopped || p.all >= liveInAll || p.sessions[token] >= livePerSession {
		return false
	}
	p.all++
	p.sessions[token]++
	return true
}

func (p *pulse) leave(token string) {
	p.watching.Lock()
	defer p.watching.Unlock()
	p.all--
	if p.sessions[token]--; p.sessions[token] == 0 {
		delete(p.sessions, token)
	}
}

func (p *pulse) stop() {
	p.watching.Lock()
	defer p.watching.Unlock()
	if !p.stopped {
		p.stopped = true
		close(p.done)
	}
}

// Stop ends the live streams, so that a server can stop without waiting for those who look.
func (c *Console) Stop() { c.pulse.stop() }

// moment asks what the pages show. Nothing in it is content: counts of verdicts, the ledger's state and words of health.
func (c *Console) moment(ctx context.Context) (moment, error) {
	now := c.Clock.Now()
	midnight := now.Truncate(24 * time.Hour)
	counts, err := c.Archive.Verdicts(ctx, midnight, now.Add(time.Hour))
	if err != nil {
		return moment{}, err
	}
	apps, err := c.Archive.Apps(ctx)
	if err != nil {
		return moment{}, err
	}
	state, err := c.Ledger(ctx)
	if err != nil {
		return moment{}, err
	}
	kinds, total := byKind(counts, midnight.Format(time.DateOnly))
	m := moment{counts: fmt.Sprint(kinds, apps)}
	for _, i := range c.Board.Items() {
		m.states += i.Name + " " + string(i.State) + "\n"
		m.items += fmt.Sprintln(i)
	}
	m.numbers = numbers{Judged: total.All(), Allowed: total.Allowed, Held: total.Held, Quarantined: total.Quarantined, Blocked: total.Blocked,
		Frames: state.Size, Unseen: state.Open, Open: state.OpenFor, Health: c.Board.Worst()}
	return m, nil
}

// live streams numbers to a page until the session ends, the browser goes away or is too slow, or the server stops.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	s, ok := c.session(r)
	if !ok {
		http.Error(w, "The session is over.", http.StatusUnauthorized)
		return
	}
	if !c.pulse.enter(s.token) {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "Too many pages move by themselves. Reload this one to see what is new.", http.StatusTooManyRequests)
		return
	}
	defer c.pulse.leave(s.token)
	st := &stream{w: w, control: http.NewResponseController(w)}
	if st.control.SetReadDeadline(time.Time{}) != nil { // nothing more is read, for as long as somebody looks
		http.Error(w, "This connection cannot be kept open.", http.StatusNotImplemented)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		if err := c.tell(r.Context(), st, s, r.FormValue("conversation")); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.pulse.done:
			return
		case <-tick.C:
		}
		if _, ok := c.Book.Peek(s.token); !ok {
			return
		}
	}
}

// tell sends what is new since the last time.
func (c *Console) tell(ctx context.Context, st *stream, s *session, conversation string) error {
	m, err := c.pulse.now(ctx)
	if err == nil && conversation != "" && s.view != nil && s.Has(control.Reviewer, control.Counsel) {
		var talk archive.Conversation
		if talk, err = s.view.Conversation(ctx, conversation); err == nil { // a look, as the page itself is
			m.Messages = &talk.Messages
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			c.Log.Warn("a live page stands still", "error", err)
		}
		return err
	}
	return st.send(m)
}

// stream is one browser that watches.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	last    *moment
	data    string
	spoken  time.Time
}

// send writes the events that tell a moment from the one before, and a comment where there are none for long.
func (st *stream) send(m moment) error {
	raw, err := json.Marshal(m.numbers)
	if err != nil {
		return err
	}
	var out []byte
	event := func(name, data string) { out = fmt.Appendf(out, "event: %s\ndata: %s\n\n", name, data) }
	if string(raw) != st.data {
		event(eventNumbers, string(raw))
	}
	l := st.last // at first there is none: what came while the page was on its way is asked for too
	if l == nil || l.counts != m.counts {
		event(eventCounts, "")
	}
	if l == nil || l.states != m.states {
		event(eventHealth, "")
	}
	if l == nil || l.items != m.items {
		event(eventDetails, "")
	}
	if l == nil || l.Frames != m.Frames || l.Unseen != m.Unseen {
		event(eventLedger, "")
	}
	if len(out) == 0 {
		if time.Since(st.spoken) < liveBeat {
			return nil
		}
		out = []byte(":\n\n")
	}
	st.last, st.data, st.spoken = &m, string(raw), time.Now()
	if err := st.control.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
		return err
	}
	if _, err := st.w.Write(out); err != nil {
		return err
	}
	return st.control.Flush()
}
