package fleet

import (
	"fmt"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// DecidesBy returns what holds for a machine that has another enforcer than our agent: the rules in force, and before them what was approved for the
// person whose machine it is, and for groups that it or the person is in, as agents get it.
func (s *Server) DecidesBy(set *rules.Set, host event.Host) (*policy.Policy, *catalog.Catalog, error) {
	approved := s.approvals.approvedFor(Host{}, host.Person, s.deps.Source.Groups(host))
	if len(approved) == 0 {
		return set.Policy, set.Catalog, nil
	}
	f, err := client.Bundle{Policy: set.Policy.File().Source(), Overlay: protocol.Overlay{Approvals: approved}}.File()
	if err != nil {
		return nil, nil, fmt.Errorf("exceptions of %s: %w", host.Name, err)
	}
	with, err := rules.Build(f, set.Catalog)
	if err != nil {
		return nil, nil, fmt.Errorf("exceptions of %s: %w", host.Name, err)
	}
	return with.Policy, with.Catalog, nil
}
