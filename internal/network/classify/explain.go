package classify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// Considered is one statement of the catalog that a flow was compared with, and what came of it.
type Considered struct {
	App      string
	Service  string
	Fact     string // as evidence names it
	Strength event.Confidence
	Holds    bool
	Why      string // what was seen, or what was missing
}

// Consider compares a flow of which these facts were decoded with all that could speak for a messenger: the signatures that ask for what was
// decoded, the names that it carries or that its client asked for, and the addresses at its ends. It is for people who ask why, and costs
// more than naming the flow did. What holds comes first; of what was seen several times, the time that it held.
func (c *Classifier) Consider(f *flow.Flow, facts []decode.Fact) []Considered {
	type key struct{ app, fact string }
	at := map[key]int{}
	var out []Considered
	for _, x := range c.considerAll(f, facts) {
		k := key{x.App, x.Fact}
		i, known := at[k]
		switch {
		case !known:
			at[k] = len(out)
			out = append(out, x)
		case x.Holds && !out[i].Holds:
			out[i] = x
		}
	}
	slices.SortStableFunc(out, func(a, b Considered) int {
		switch {
		case a.Holds == b.Holds:
			return 0
		case a.Holds:
			return -1
		}
		return 1
	})
	return out
}

func (c *Classifier) considerAll(f *flow.Flow, facts []decode.Fact) []Considered {
	var out []Considered
	for i := range facts {
		out = append(out, c.considerSignatures(f, &facts[i])...)
		for _, a := range facts[i].Attrs {
			if a.Key == "name" && facts[i].Decoder != "xmpp" {
				why := "the flow carries " + a.Value
				if offersECH(&facts[i]) {
					why += ", the outer name unless its encrypted client hello is GREASE"
				}
				out = append(out, c.considerName(facts[i].Decoder, a.Value, why)...)
			}
		}
	}
	for _, way := range []pair{{f.Client.Addr(), f.Server.Addr()}, {f.Server.Addr(), f.Client.Addr()}} {
		if a, ok := c.memory.find(way); ok && f.First().Before(a.until) {
			if a.name == "" {
				out = append(out, Considered{Fact: "answer", Why: fmt.Sprintf("%s used names of different services at %s", way.client, way.server)})
				continue
			}
			out = append(out, c.considerName("answer", a.name, fmt.Sprintf("%s asked for or used %s at %s", way.client, a.name, way.server))...)
		}
	}
	for _, end := range []netip.Addr{f.Server.Addr(), f.Client.Addr()} {
		for _, m := range c.catalog.ByAddress(end) {
			out = append(out, Considered{m.App, m.Service, m.Evidence.Fact, min(m.Evidence.Strength, event.Low), true,
				end.String() + ": counts only where nothing better speaks"})
		}
	}
	return out
}

func (c *Classifier) considerSignatures(f *flow.Flow, fact *decode.Fact) []Considered {
	var out []Considered
	for i := range c.signature[fact.Decoder] {
		sig := &c.signature[fact.Decoder][i]
		x := Considered{App: sig.App, Service: sig.Service, Fact: "traffic:" + sig.ID, Strength: sig.Confidence}
		switch {
		case sig.Transport != "" && sig.Transport != f.ProtoName() && !(sig.Transport == "quic" && fact.Decoder == "quic"):
			x.Why = "it is for " + sig.Transport
		default:
			x.Why, x.Holds = c.holds(f, sig, fact)
			if !x.Holds {
				x.Why = c.missing(f, sig, fact)
			}
		}
		out = append(out, x)
	}
	return out
}

// missing says which of a signature's values is not there.
func (c *Classifier) missing(f *flow.Flow, sig *catalog.TrafficSignature, fact *decode.Fact) string {
	keys := make([]string, 0, len(sig.Match))
	for key := range sig.Match {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		want := sig.Match[key]
		switch key {
		case "port":
			if !serves(f, want) {
				return fmt.Sprintf("port is %d, wants %s", f.Server.Port(), want)
			}
		case "address":
			if !c.addressOf(f.Server.Addr(), sig.App) && !c.addressOf(f.Client.Addr(), sig.App) {
				return fmt.Sprintf("%s is no address of %s", f.Server.Addr(), sig.App)
			}
		default:
			if !hasValue(fact, key, want) {
				return fmt.Sprintf("%s is %q, wants %q", key, valuesOf(fact, key), want)
			}
		}
	}
	return "does not hold"
}

// FromMemory reports whether evidence is what another flow taught.
func FromMemory(fact string) bool {
	return strings.HasPrefix(fact, "answer ") || factOf(fact) != fact
}

func valuesOf(fact *decode.Fact, key string) string {
	var values []string
	for _, a := range fact.Attrs {
		if a.Key == key {
			values = append(values, a.Value)
		}
	}
	return strings.Join(values, ", ")
}

func (c *Classifier) considerName(how, name, why string) []Considered {
	var out []Considered
	for _, m := range c.catalog.ByName(name) {
		x := Considered{m.App, m.Service, how + " " + m.Evidence.Fact, m.Evidence.Strength, m.Evidence.Strength > event.Low, why}
		if !x.Holds {
			x.Why += ", which other products use too: it names nobody"
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		out = append(out, Considered{Fact: how + " name", Why: why + ", which no messenger claims"})
	}
	return out
}
