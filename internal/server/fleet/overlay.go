package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// overlay is what holds for one host alone, in its bytes. The same state gives the same bytes.
func (s *Server) overlay(id string) ([]byte, error) {
	h, ok := s.roster.get(id)
	if !ok {
		return nil, ErrUnknownHost
	}
	host := s.hostOf(h)
	o := protocol.Overlay{Person: host.Person, Groups: s.deps.Source.Groups(host)}
	held, err := s.held(host)
	if err != nil {
		return nil, err
	}
	o.Held = held
	o.Approvals = s.approvals.approvedFor(h, o.Person, o.Groups)
	o.Orders = s.campaigns.ordersFor(h.ID, held)
	return protocol.Encode(o)
}

// holdTime bounds the look at holds.
const holdTime = 10 * time.Second

// held reports whether a host is under a hold. Where holds cannot be read every host counts as held.
func (s *Server) held(host event.Host) (bool, error) {
	if s.deps.Holds == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), holdTime)
	defer cancel()
	_, held, err := s.deps.Holds.HostHeld(ctx, host)
	if err != nil {
		return true, fmt.Errorf("look at holds: %w", err)
	}
	return held, nil
}
