package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
)

// take makes the items of a host's spool durable. Those that are on record already are passed over.
func (s *Server) take(ctx context.Context, host, spool string, items protocol.Items) error {
	h, ok := s.roster.get(host)
	if !ok {
		return ErrUnknownHost
	}
	list := items.List
	if h.Seen.Spool == spool && items.First <= h.Seen.Acked {
		list = list[min(uint64(len(list)), h.Seen.Acked-items.First+1):]
	}
	var events []*event.Event
	for _, i := range list {
		if i.Kind == protocol.EventItem {
			events = append(events, s.eventOf(h, i.Body))
		}
	}
	if len(events) > 0 {
		if err := s.deps.Recorder.Record(ctx, events...); err != nil {
			return err
		}
	}
	for _, i := range list {
		if err := s.takeOther(ctx, h, i); err != nil {
			return err
		}
	}
	s.roster.see(host, func(h *Host) {
		h.Seen.At, h.Seen.Spool, h.Seen.Acked = s.deps.Clock.Now(), spool, items.Last()
	})
	return nil
}

// takeOther takes an item that is no event.
func (s *Server) takeOther(ctx context.Context, h Host, i protocol.Item) error {
	switch i.Kind {
	case protocol.InventoryItem:
		inv, err := protocol.Decode[protocol.Inventory](i.Body)
		if err != nil {
			return s.undecodable(ctx, h, i.Body, err)
		}
		return s.roster.addInventory(h.ID, inv)
	case protocol.ReportItem:
		r, err := protocol.Decode[protocol.Report](i.Body)
		if err != nil {
			return s.undecodable(ctx, h, i.Body, err)
		}
		err = s.campaigns.report(h, r, s.deps.Clock.Now())
		if ss := s.session(h.ID); ss != nil { // what else it is to do comes at once
			ss.poke(hostFlag)
		}
		return err
	case protocol.RequestItem:
		r, err := protocol.Decode[protocol.Request](i.Body)
		if err != nil {
			return s.undecodable(ctx, h, i.Body, err)
		}
		return s.ask(ctx, h, r)
	}
	return nil
}

// hostOf is the host as records name it, and whose machine it is.
func (s *Server) hostOf(h Host) event.Host {
	found := s.deps.Directory.Host(h.Name, h.From, s.deps.Clock.Now())
	return event.Host{Name: h.Name, Address: h.From, Person: found.Person}
}

// aheadMost is how far an agent's clock may be ahead.
const aheadMost = 5 * time.Minute

// eventOf decodes what an agent says happened on its machine. The machine, its person and the id are what we know, not what it says; what an
// agent may not say becomes a record of just that (law 3).
func (s *Server) eventOf(h Host, body []byte) *event.Event {
	e, err := protocol.DecodeEvent(body)
	if err == nil && !maySay(e) {
		err = fmt.Errorf("an agent says nothing of kind %s %s", e.Kind, e.Phase)
	}
	if err != nil {
		return s.undecodableEvent(h, body, err)
	}
	now := s.deps.Clock.Now()
	e.ID = event.ImportID(s.eventKey, "agent "+h.ID, string(e.ID), "")
	if e.Refers != "" {
		e.Refers = event.ImportID(s.eventKey, "agent "+h.ID, string(e.Refers), "")
	}
	e.Connector, e.Source, e.Received, e.Host, e.Room, e.To, e.Audience = "agent", event.SourceLive, now, s.hostOf(h), event.Room{}, nil, nil
	if e.Time.IsZero() || e.Time.Sub(now) > aheadMost {
		e.Time = now
	}
	switch {
	case e.Kind == event.Act:
		e.From = event.Party{Handle: "agent on " + h.Name}
	case e.From.Handle != "":
		e.From = event.Party{Handle: e.From.Handle + "@" + h.Name, Name: e.From.Handle, Person: e.Host.Person, Groups: identity.GroupsOf(s.deps.Directory, e.Host.Person)}
	default:
		e.From = event.Party{}
	}
	return e
}

// maySay reports whether an agent may have an event recorded: what it found and ran into, and what it did about it. Messages, holds,
// erasures and looks at content are true only when others say so.
func maySay(e *event.Event) bool {
	switch e.Kind {
	case event.FindingHit, event.ProgramRun, event.MediaIn, event.Gap:
		return true
	case event.Act:
		if e.Act == nil || e.Phase != e.Act.Action {
			return false
		}
		for _, prefix := range []string{"quarantine.", "program.", "agent.", "harden."} {
			if strings.HasPrefix(e.Act.Action, prefix) {
				return true
			}
		}
	}
	return false
}

// maxKept bounds what is kept of something that could not be decoded.
const maxKept = 16 << 10

func (s *Server) undecodableEvent(h Host, body []byte, why error) *event.Event {
	now := s.deps.Clock.Now()
	return &event.Event{Kind: event.Gap, Time: now, Until: now, Received: now, Connector: "agent", Reason: event.ReasonUndecodable, Host: s.hostOf(h),
		Content: event.Content{Raw: body[:min(len(body), maxKept)], Explanation: "an agent reported what could not be taken as it is: " + why.Error()}}
}

func (s *Server) undecodable(ctx context.Context, h Host, body []byte, why error) error {
	if !errors.Is(why, protocol.ErrMalformed) {
		return why
	}
	return s.deps.Recorder.Record(ctx, s.undecodableEvent(h, body, why))
}
