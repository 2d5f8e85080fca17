package execution

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/logs"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/formats"
)

// Fired is an exported rule and whether it ever fired. Field names are API.
type Fired struct {
	Type     string    `json:"type"` // "rule", or "other": what an enforcer stopped by a rule that is not of this export
	Enforcer string    `json:"enforcer"`
	Key      string    `json:"key"`
	App      string    `json:"app,omitempty"`
	Rule     string    `json:"rule,omitempty"` // of the policy
	Times    int64     `json:"times"`
	Last     time.Time `json:"last,omitzero"`
	Hosts    []string  `json:"hosts,omitempty"`
}

// enforcerOf returns the enforcer that evidence is of.
func enforcerOf(e event.Evidence) (string, bool) { return strings.CutPrefix(e.Fact, logs.EnforcerFact) }

// Fired compares a plan's rules with what enforcers said, for one format or, with "", for each whose enforcer says something back.
func (t *Tally) Fired(format string, p *export.Plan) []Fired {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Fired
	for _, f := range formats.All() {
		if f.Rules == nil || format != "" && f.Name != format {
			continue
		}
		known := map[string]bool{}
		for _, r := range f.Rules(p) {
			line := Fired{Type: "rule", Enforcer: f.Name, Key: r.Key, App: r.App, Rule: r.Policy}
			for key, c := range t.d.Fired[f.Name] {
				if r.Fired(key) {
					known[key] = true
					line.add(c)
				}
			}
			out = append(out, line)
		}
		for _, key := range slices.Sorted(maps.Keys(t.d.Fired[f.Name])) {
			if !known[key] {
				line := Fired{Type: "other", Enforcer: f.Name, Key: key}
				line.add(t.d.Fired[f.Name][key])
				out = append(out, line)
			}
		}
	}
	return out
}

func (f *Fired) add(c *Count) {
	f.Times += c.Times
	if c.Last.After(f.Last) {
		f.Last = c.Last
	}
	for _, h := range c.Hosts {
		if !slices.Contains(f.Hosts, h) && len(f.Hosts) < maxHosts {
			f.Hosts = append(f.Hosts, h)
		}
	}
}

// Since is when counting began.
func (t *Tally) Since() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.d.Since
}

// encode writes a line for each.
func encode[T any](to *json.Encoder, list []T) error {
	for _, x := range list {
		if err := to.Encode(x); err != nil {
			return err
		}
	}
	return nil
}
