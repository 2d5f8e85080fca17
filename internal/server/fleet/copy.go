package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// errCopy ends a connection of an agent that works from a copy of a state.
var errCopy = errors.New("the state of the agent is a copy, or was restored")

// turnFor gives the turn of a new connection. Turns go up by the time, so that one is never given twice even where a crash forgot the last.
func (s *Seen) turnFor(hello protocol.Hello, now time.Time) uint64 {
	s.Kept = max(s.Kept, hello.Turn) // more than we know of: a crash lost a minute of what was seen
	s.Turn = max(s.Turn+1, s.Kept+1, uint64(max(now.UnixNano(), 1)))
	return s.Turn
}

// isCopy reports whether another agent has worked for this host since the state was left that this one works from. One that keeps no turns
// cannot be told.
func isCopy(s Seen, hello protocol.Hello) bool { return hello.Turn != 0 && hello.Turn < s.Kept }

// kept notes that the agent has kept its turn: it says nothing before it has. Until then, the turn before counts: the welcome may be lost.
func (ss *session) kept() {
	if ss.turn == 0 {
		return
	}
	turn := ss.turn
	ss.turn = 0
	ss.s.roster.see(ss.host, func(h *Host) { h.Seen.Kept = max(h.Seen.Kept, turn) })
}

// refuseCopy records that the state of a host is used twice, or was restored, and has the agent begin a spool of its own: numbers of the one
// that it has may stand for something else here already, and what it found would be taken for what is on record.
func (ss *session) refuseCopy(ctx context.Context, h Host, now time.Time) error {
	words := fmt.Sprintf("the state of this machine is a copy, or was restored: it was used elsewhere until %s", h.Seen.At.UTC().Format(time.DateTime+" UTC"))
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	err := ss.s.deps.Recorder.Record(ctx, &event.Event{Kind: event.Gap, Time: h.Seen.At, Until: now, Received: now, Connector: "agent", Reason: event.ReasonDuplicate, Host: ss.s.hostOf(h),
		Content: event.Content{Explanation: words + ". What waited there and was not handed up is not on record."}})
	if err != nil {
		ss.refuse("what you report cannot be recorded now", 60)
		return err
	}
	ss.s.roster.see(h.ID, func(h *Host) { h.Seen.Copied = now })
	ss.s.deps.Log.Warn("fleet: the state of a host is used twice, or was restored", "host", h.ID, "name", h.Name)
	ss.refuseWith(protocol.Refused{Reason: words, Stale: h.Seen.Kept})
	return errCopy
}
