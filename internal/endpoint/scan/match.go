package scan

import (
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/beside"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
)

const (
	// threshold is the confidence from which a program is a finding.
	threshold = event.Low
	// ActFrom is the confidence from which files may be taken away or removed: a name that others may bear too is shown, not acted on.
	ActFrom = event.Medium
	// talkers is how many messengers' tokens one file may hold before it is taken for something that talks about messengers, as virus
	// scanners, browsers and our own binary do.
	talkers = 3
	// maxEvidence bounds what one finding shows.
	maxEvidence = 16
)

// matcher tells which messenger an identity belongs to.
type matcher struct {
	catalog *catalog.Catalog
	tokens  []catalog.Token
	makers  makers
	heads   heads
}

func newMatcher(c *catalog.Catalog) *matcher {
	return &matcher{catalog: c, tokens: c.Tokens(), makers: newMakers(c)}
}

// texts returns the texts of all tokens, in the order of their indices, and behind them those of runtimes.
func (m *matcher) texts() []string {
	out := make([]string, len(m.tokens))
	for i, t := range m.tokens {
		out[i] = t.Text
	}
	return append(out, beside.Marks()...)
}

// runtime reports whether an identity is of a program that starts the application beside it.
func (m *matcher) runtime(id *program.Identity) bool {
	return (id.Format == program.ELF || id.Format == program.PE) && slices.ContainsFunc(id.Tokens, func(i int) bool { return i >= len(m.tokens) })
}

// candidate is what speaks for one app.
type candidate struct {
	evidence []event.Evidence
	firm     bool // something other than hints and bare names
	identity bool // a fact that identifies alone: package, bundle, hash, publisher
}

// known is what an identity is known as, and by what. App is "" when nothing suffices.
type known struct {
	app        string
	evidence   []event.Evidence
	confidence event.Confidence
	identity   bool
}

// app returns the app that most speaks for, "" when nothing suffices.
func (m *matcher) app(id *program.Identity) (string, []event.Evidence, event.Confidence) {
	k := m.best(id)
	return k.app, k.evidence, k.confidence
}

// best returns what most speaks for.
func (m *matcher) best(id *program.Identity) known {
	found := map[string]*candidate{}
	for _, match := range m.facts(id) {
		add(found, match.App, match.Evidence, match.Identity || match.Evidence.Strength >= event.Medium || strings.HasPrefix(match.Evidence.Fact, unverified))
		found[match.App].identity = found[match.App].identity || match.Identity
	}
	m.addProduct(found, id)
	m.addTokens(found, id.Tokens)
	var app string
	var best event.Confidence
	for name, c := range found {
		if !c.firm {
			continue
		}
		score := combine(c.evidence)
		if score > best || score == best && name < app {
			app, best = name, score
		}
	}
	if best < threshold {
		return known{}
	}
	evidence := found[app].evidence
	slices.SortStableFunc(evidence, func(a, b event.Evidence) int { return int(b.Strength - a.Strength) })
	return known{app, evidence[:min(len(evidence), maxEvidence)], best, found[app].identity}
}

func add(found map[string]*candidate, app string, e event.Evidence, firm bool) {
	c := found[app]
	if c == nil {
		c = &candidate{}
		found[app] = c
	}
	if slices.ContainsFunc(c.evidence, func(x event.Evidence) bool { return x.Fact == e.Fact }) {
		return
	}
	c.evidence = append(c.evidence, e)
	c.firm = c.firm || firm
}

// facts looks up everything that an identity says.
func (m *matcher) facts(id *program.Identity) []catalog.Match {
	c := m.catalog
	var out []catalog.Match
	look := func(f func(string) []catalog.Match, value string) {
		if value != "" {
			out = append(out, f(value)...)
		}
	}
	pkg := func(manager string) func(string) []catalog.Match {
		return func(name string) []catalog.Match { return c.ByPackage(manager, name) }
	}
	look(c.ByHash, id.SHA256)
	look(c.ByBuildID, id.BuildID)
	for i := range id.Signers {
		s := &id.Signers[i]
		out = append(out, signed(s, c.ByPublisherProduct(s.Subject, id.Product, s.Time))...)
		out = append(out, signed(s, c.ByPublisher(s.Subject, s.Time))...)
	}
	switch id.Format {
	case program.PE, program.MSI:
		look(c.ByUpgradeCode, id.Upgrade)
		out = append(out, claimed(c, id)...)
	case program.Deb:
		look(pkg("deb"), id.Package)
	case program.RPM:
		look(pkg("rpm"), id.Package)
	case program.AppImage:
		look(pkg("appimage"), id.Product)
	case program.Bundle, program.MachO:
		look(c.ByBundle, id.Bundle)
		look(c.ByTeam, id.Team)
	case program.Desktop:
		look(pkg("flatpak"), id.Flatpak)
		look(pkg("snap"), id.Snap)
		look(c.ByWebApp, id.WebApp)
		look(c.ByName, id.WebHost)
		for _, d := range id.DesktopID {
			look(c.ByDesktop, d)
		}
	case program.MSIX:
		look(c.ByAppX, id.Package)
		out = append(out, claimed(c, id)...)
	case program.JAR:
		look(c.ByJar, id.Package)
	case program.Wheel:
		look(c.ByPython, id.Package)
	case program.ASAR:
		for _, d := range id.DesktopID {
			look(c.ByDesktop, d)
		}
		out = append(out, claimed(c, id)...)
	}
	look(c.ByExe, id.Binary)
	return out
}

// unverified marks the facts of a signature that is not of this file, or not of the key it names: no more than a claim.
const unverified = "unverified-"

// signed says of what a publisher speaks for whether its signature verifies. One that does not identifies nothing.
func signed(s *program.Signer, found []catalog.Match) []catalog.Match {
	var out []catalog.Match
	for _, m := range found {
		switch {
		case s.Unverified != "" && !m.Identity:
			continue
		case s.Unverified != "":
			m.Identity = false
			m.Evidence.Fact = unverified + m.Evidence.Fact
			m.Evidence.Value += " (its signature does not verify: " + s.Unverified + ")"
			m.Evidence.Strength = min(m.Evidence.Strength, event.Medium-50)
		case s.Verified && s.SelfSigned:
			m.Evidence.Value += " (self-signed; verified with key " + s.Key[:16] + ")"
		case s.Verified:
			m.Evidence.Value += " (verified with key " + s.Key[:16] + ")"
		}
		out = append(out, m)
	}
	return out
}

// addProduct weighs the product name of a version resource or an MSI. Many messengers are called by words of every day (Signal, Line,
// Element): the name alone is low, together with a maker that is the messenger's it is medium, and beside somebody else's it is a hint.
func (m *matcher) addProduct(found map[string]*candidate, id *program.Identity) {
	if id.Product == "" || !slices.Contains([]program.Format{program.PE, program.MSI, program.MSIX, program.ASAR}, id.Format) {
		return
	}
	for _, match := range m.catalog.ByProduct(id.Product) {
		e := match.Evidence
		stance := m.makers.stance(match.App, id)
		e.Strength = event.Low
		if stance == contradicts {
			e.Strength = event.Low / 2
		}
		add(found, match.App, e, stance != contradicts)
		if stance == confirms && !proven(found[match.App]) {
			add(found, match.App, event.Evidence{Fact: "claimed-publisher:" + publisher(id), Value: publisher(id), Strength: event.Medium - 50, Source: e.Source}, true)
		}
	}
}

// proven reports whether a publisher speaks for the app already, so that it is not counted twice.
func proven(c *candidate) bool {
	return slices.ContainsFunc(c.evidence, func(e event.Evidence) bool {
		return strings.HasPrefix(e.Fact, "publisher:") && e.Strength > event.Low || strings.HasPrefix(e.Fact, "claimed-publisher:") || strings.HasPrefix(e.Fact, unverified)
	})
}

// claimed looks up the company that a version resource names, without a signature to prove it: a fact of medium strength at best, and only
// for a publisher that makes nothing else.
func claimed(c *catalog.Catalog, id *program.Identity) []catalog.Match {
	if id.Company == "" {
		return nil
	}
	var out []catalog.Match
	subject := "O=" + strings.NewReplacer(`\`, `\\`, ",", `\,`, "+", `\+`, `"`, `\"`).Replace(id.Company)
	for _, found := range c.ByPublisher(subject, id.SignedAt()) {
		if !found.Identity {
			continue
		}
		found.Identity = false
		found.Evidence.Fact = "claimed-" + found.Evidence.Fact
		found.Evidence.Value = id.Company
		found.Evidence.Strength = event.Medium - 50
		out = append(out, found)
	}
	return out
}

// addTokens counts tokens: one that only this messenger has, or two distinct ones; bare service names only beside something firmer.
func (m *matcher) addTokens(found map[string]*candidate, tokens []int) {
	apps := map[string]bool{}
	for _, i := range tokens {
		if i >= 0 && i < len(m.tokens) {
			apps[m.tokens[i].App] = true
		}
	}
	if len(apps) > talkers {
		return
	}
	for _, i := range tokens {
		if i < 0 || i >= len(m.tokens) {
			continue
		}
		t := &m.tokens[i]
		e := event.Evidence{Fact: "token:" + t.Text, Value: t.Text, Strength: event.Medium, Source: "catalog " + t.App}
		if t.BareName {
			e.Strength = event.Low / 2
		}
		add(found, t.App, e, !t.BareName)
	}
}

// combine joins independent facts: what is left of the doubt when each takes its share, never beyond exact.
func combine(evidence []event.Evidence) event.Confidence {
	doubt := 1000.0
	var strongest event.Confidence
	for _, e := range evidence {
		doubt *= 1 - e.Strength.Float()
		strongest = max(strongest, e.Strength)
	}
	return min(max(strongest, event.Confidence(1000-doubt)), max(strongest, event.Exact))
}
