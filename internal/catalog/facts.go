package catalog

import (
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// kind is a kind of fact.
type kind string

// The kinds of facts, as they stand in evidence ("name:telegram.org").
const (
	kindName      kind = "name"
	kindAddress   kind = "address"
	kindTraffic   kind = "traffic"
	kindPublisher kind = "publisher"
	kindProduct   kind = "product"
	kindUpgrade   kind = "upgrade-code"
	kindDeb       kind = "deb"
	kindRPM       kind = "rpm"
	kindSnap      kind = "snap"
	kindFlatpak   kind = "flatpak"
	kindAppImage  kind = "appimage"
	kindBundle    kind = "bundle"
	kindTeam      kind = "team"
	kindDesktop   kind = "desktop"
	kindHash      kind = "hash"
	kindBuildID   kind = "build-id"
	kindExe       kind = "exe"
	kindToken     kind = "token"
	kindAppX      kind = "appx"
	kindWebApp    kind = "web-app"
	kindJar       kind = "jar"
	kindPython    kind = "python"
	kindHistory   kind = "history"
	kindInstall   kind = "install"
)

// fact is one statement of one app's file, in the one form that index, lint and self-check share.
type fact struct {
	kind     kind
	app      string
	text     string // as the file says it
	named    string // kind and text, as evidence names it
	key      string // as look-ups compare it
	service  string
	system   string
	source   string
	stated   Strength // what the file says, 0 for nothing
	strength event.Confidence
	shared   bool
	identity bool

	publisher *Publisher
	products  []string // of a publisher: the products named beside it
	traffic   *Traffic
	address   *Address
}

func (f *fact) id() string { return f.named }

func (f *fact) match(value string) Match {
	return Match{App: f.app, Service: f.service, Identity: f.identity,
		Evidence: event.Evidence{Fact: f.id(), Value: value, Strength: f.strength, Source: f.source}}
}

// collector gathers the facts of one app.
type collector struct {
	app   *App
	facts []fact
}

// facts lists all that the app's file states.
func (a *App) facts() []fact {
	c := &collector{app: a}
	c.names()
	for i := range a.Addresses {
		x := &a.Addresses[i]
		c.add(fact{kind: kindAddress, text: x.CIDR.String(), source: x.Source, stated: x.Confidence, strength: event.Low, shared: x.Shared, address: x})
	}
	for i := range a.Traffic {
		t := &a.Traffic[i]
		c.add(fact{kind: kindTraffic, text: t.ID, service: t.Service, source: t.Source, stated: t.Confidence, strength: event.Confidence(t.Confidence), traffic: t})
	}
	for i := range a.Programs.Windows {
		c.windows(&a.Programs.Windows[i])
	}
	for i := range a.Programs.MacOS {
		c.macos(&a.Programs.MacOS[i])
	}
	for i := range a.Programs.Linux {
		c.linux(&a.Programs.Linux[i])
	}
	for i := range a.Programs.Any {
		c.any(&a.Programs.Any[i])
	}
	c.history()
	for _, h := range a.Programs.Hashes {
		c.add(fact{kind: kindHash, text: h.SHA256, source: h.Source, strength: event.Exact, identity: true})
	}
	for _, b := range a.Programs.Builds {
		c.add(fact{kind: kindBuildID, text: b.ID, source: b.Source, strength: event.High})
	}
	return c.facts
}

func (c *collector) add(f fact) {
	f.app = c.app.ID
	f.named = string(f.kind) + ":" + f.text
	if f.key == "" {
		f.key = strings.ToLower(f.text)
	}
	if f.source == "" {
		f.source = strings.Join(c.app.Sources, "; ")
	}
	c.facts = append(c.facts, f)
}

func (c *collector) names() {
	n := &c.app.Names
	for _, list := range []struct {
		service string
		names   []NameFact
	}{{"", n.Service}, {"download", n.Download}, {"web", n.Web}, {"call", n.Call}, {"login", n.Login}, {"chat", n.Chat}, {"file", n.File}} {
		for _, x := range list.names {
			f := fact{kind: kindName, text: x.Suffix, service: list.service, source: x.Source, stated: x.Confidence, strength: event.High, shared: x.Shared}
			if x.Confidence != 0 {
				f.strength = event.Confidence(x.Confidence)
			}
			if x.Shared {
				f.strength = event.Low
			}
			c.add(f)
		}
	}
}

func (c *collector) windows(p *WindowsProgram) {
	each := func(k kind, strength event.Confidence, identity bool, texts ...string) {
		for _, text := range texts {
			c.add(fact{kind: k, text: text, system: "windows", source: p.Source, strength: strength, identity: identity})
		}
	}
	if p.Exe != "" {
		each(kindExe, event.Low, false, p.Exe)
	}
	each(kindProduct, event.Medium, false, p.Product...)
	for _, u := range p.Upgrade {
		c.add(fact{kind: kindUpgrade, text: u, key: upgradeKey(u), system: "windows", source: p.Source, strength: event.Exact, identity: true})
	}
	each(kindAppX, event.High, true, p.AppX...)
	for i := range p.Publishers {
		x := &p.Publishers[i]
		f := fact{kind: kindPublisher, text: x.Subject, system: "windows", source: x.Source, strength: event.High,
			identity: !x.Shared, shared: x.Shared, publisher: x, products: p.Product}
		if x.Shared {
			f.strength = event.Low
		}
		if f.source == "" {
			f.source = p.Source
		}
		c.add(f)
	}
	c.tokens("windows", p.Source, p.Tokens)
}

func (c *collector) macos(p *MacProgram) {
	if p.Bundle != "" {
		c.add(fact{kind: kindBundle, text: p.Bundle, system: "macos", source: p.Source, strength: event.Exact, identity: true})
	}
	if p.Team != "" {
		f := fact{kind: kindTeam, text: p.Team, system: "macos", source: p.Source, strength: event.High, identity: !p.SharedTeam, shared: p.SharedTeam}
		if p.SharedTeam {
			f.strength = event.Low
		}
		c.add(f)
	}
	c.tokens("macos", p.Source, p.Tokens)
}

func (c *collector) linux(p *LinuxProgram) {
	for _, list := range []struct {
		kind     kind
		texts    []string
		strength event.Confidence
		identity bool
	}{
		{kindDeb, p.Deb, event.Exact, true}, {kindRPM, p.RPM, event.Exact, true}, {kindSnap, p.Snap, event.Exact, true},
		{kindFlatpak, p.Flatpak, event.Exact, true}, {kindAppImage, p.AppImage, event.High, true},
		{kindDesktop, p.Desktop, event.Medium, false}, {kindExe, p.Binary, event.Low, false}, {kindInstall, p.Install, event.Low, false},
	} {
		for _, text := range list.texts {
			c.add(fact{kind: list.kind, text: text, system: "linux", source: p.Source, strength: list.strength, identity: list.identity})
		}
	}
	c.tokens("linux", p.Source, p.Tokens)
}

func (c *collector) any(p *AnyProgram) {
	for _, list := range []struct {
		kind     kind
		texts    []string
		strength event.Confidence
	}{{kindWebApp, p.WebApp, event.Exact}, {kindJar, p.Jar, event.High}, {kindPython, p.Python, event.High}} {
		for _, text := range list.texts {
			f := fact{kind: list.kind, text: text, source: p.Source, strength: list.strength, identity: true}
			if list.kind == kindPython {
				f.key = pythonKey(text)
			}
			c.add(f)
		}
	}
}

// history adds where conversations are kept. A place is made in a moment by anyone: it shows, and never identifies.
func (c *collector) history() {
	h := &c.app.History
	for _, list := range []struct {
		system string
		facts  []HistoryFact
	}{{"windows", h.Windows}, {"macos", h.MacOS}, {"linux", h.Linux}} {
		for _, f := range list.facts {
			c.add(fact{kind: kindHistory, text: f.Path, system: list.system, source: f.Source, strength: event.Low})
		}
	}
}

func (c *collector) tokens(system, source string, tokens []TokenFact) {
	for _, t := range tokens {
		f := fact{kind: kindToken, text: t.Text, key: t.Text, system: system, source: t.Source, strength: event.Medium, shared: t.Bare}
		if f.source == "" {
			f.source = source
		}
		c.add(f)
	}
}

// Fact is one statement about a messenger, for people to read.
type Fact struct {
	Kind     string // name, address, publisher, …
	Text     string
	Service  string
	Source   string
	Strength event.Confidence
	Shared   bool
	Identity bool
}

// Facts lists all that the app's file states, in its order.
func (a *App) Facts() []Fact {
	facts := a.facts()
	out := make([]Fact, len(facts))
	for i, f := range facts {
		out[i] = Fact{string(f.kind), f.text, f.service, f.source, f.strength, f.shared, f.identity}
	}
	return out
}

// Facts returns the number of facts of all messengers.
func (c *Catalog) Facts() int {
	n := 0
	for i := range c.apps {
		n += len(c.apps[i].facts())
	}
	return n
}
