package fleet

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog/bundle"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

// FromConfig returns the configuration of the fleet in that of the server.
func FromConfig(c *config.Config, version string) Config {
	return Config{Listen: c.Fleet.Listen, Data: c.Data(), Keys: c.KeysDir(), MaxHosts: c.Fleet.MaxHosts, MustRun: c.Fleet.MustRun, CatalogKeys: c.Catalog.Keys, Version: version}
}

// Rules is a Source: policy and catalog in force on the server, as files.
type Rules struct {
	Pair   func() *rollout.Pair
	Data   string             // data directory, where accepted catalogs are
	People identity.Directory // of the groups whose members it gives; nil for none
}

// Version implements Source.
func (r Rules) Version() string { return r.Pair().First.Set.Policy.Version() }

// Policy implements Source.
func (r Rules) Policy() []byte { return r.Pair().First.Set.Policy.File().Source() }

// Catalog implements Source.
func (r Rules) Catalog() ([]byte, error) {
	serial := r.Pair().First.Serial
	if serial == 0 {
		return nil, nil
	}
	b, err := outside.ReadFile(filepath.Join(r.Data, "state", "catalog", strconv.FormatUint(serial, 10)+".bundle"), bundle.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("catalog %d: %w", serial, err)
	}
	return b, nil
}

// Groups implements Source.
func (r Rules) Groups(host event.Host) []string {
	p := r.Pair().First.Set.Policy
	from := event.Party{Person: host.Person, Groups: identity.GroupsOf(r.People, host.Person)}
	in := &policy.Input{Event: &event.Event{Kind: event.ProgramRun, Host: host, From: from}}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.File().Groups)) {
		if p.Member(name, in) {
			out = append(out, name)
		}
	}
	return out
}

// Check implements Source.
func (r Rules) Check(a Approval) error {
	set := r.Pair().First.Set
	if groups := slices.Sorted(maps.Keys(set.Policy.File().Groups)); a.Subject == OneGroup && !slices.Contains(groups, a.Name) {
		if len(groups) == 0 {
			return errors.New("the policy has no groups")
		}
		return fmt.Errorf("the policy has no group %q; it has %s", a.Name, strings.Join(groups, ", "))
	}
	if a.App == "*" {
		return errors.New("an exception is for one messenger: what everybody may run is a rule of the policy")
	}
	var apps []string
	for _, app := range set.Catalog.Apps() {
		apps = append(apps, app.ID)
	}
	return client.CheckApproval(protocol.Approval{ID: "check", App: a.App, SHA256: a.SHA256, Publisher: a.Publisher, Until: a.Until, Reason: a.Reason}, apps)
}
