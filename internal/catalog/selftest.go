package catalog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SelfTest asks every look-up for every fact of every messenger, as the planes would, and returns what was not found, or found for a
// messenger that does not state it.
func (c *Catalog) SelfTest() []Problem {
	var out []Problem
	for i := range c.apps {
		app := &c.apps[i]
		for _, f := range app.facts() {
			if message := c.tryFact(&f); message != "" {
				out = append(out, Problem{File: app.file, App: app.ID, Fact: f.id(), Message: message})
			}
		}
	}
	return out
}

// tryFact looks one fact up, in a spelling that differs where the look-up promises to see through it.
func (c *Catalog) tryFact(f *fact) string {
	switch f.kind {
	case kindPublisher:
		return c.tryPublisher(f)
	case kindHistory:
		return tryList(slices.ContainsFunc(c.histories, func(h HistoryPlace) bool { return h.App == f.app && h.Path == f.text && h.System == f.system }))
	case kindInstall: // what is exported reads it in the app
		return ""
	case kindToken:
		return tryList(slices.ContainsFunc(c.tokens, func(t Token) bool { return t.App == f.app && t.Text == f.text }))
	case kindTraffic:
		return tryList(slices.ContainsFunc(c.traffic, func(t TrafficSignature) bool { return t.App == f.app && t.ID == f.text }))
	}
	return f.judge(c.lookUpSpelled(f))
}

// lookUpSpelled asks the look-up of a fact's kind.
func (c *Catalog) lookUpSpelled(f *fact) []Match {
	switch f.kind {
	case kindName:
		return c.ByName("host-1." + f.text + ".")
	case kindAddress:
		return c.ByAddress(f.address.CIDR.Addr())
	case kindProduct:
		return c.ByProduct(f.text)
	case kindUpgrade:
		return c.ByUpgradeCode("{" + f.text + "}")
	case kindDeb, kindRPM, kindSnap, kindFlatpak, kindAppImage:
		return c.ByPackage(string(f.kind), f.text)
	case kindBundle:
		return c.ByBundle(f.text)
	case kindTeam:
		return c.ByTeam(f.text)
	case kindDesktop:
		return c.ByDesktop(f.text + ".desktop")
	case kindHash:
		return c.ByHash(f.text)
	case kindBuildID:
		return c.ByBuildID(strings.ToUpper(f.text))
	case kindExe:
		return c.ByExe(f.text)
	case kindAppX:
		return c.ByAppX(f.text)
	case kindWebApp:
		return c.ByWebApp(f.text)
	case kindJar:
		return c.ByJar(f.text)
	case kindPython:
		return c.ByPython(strings.ReplaceAll(f.text, "-", "_"))
	}
	return nil
}

func tryList(listed bool) string {
	if !listed {
		return "is not listed"
	}
	return ""
}

// judge says what is wrong with the matches of a fact: its own app must be among them, another only where the fact allows it.
func (f *fact) judge(found []Match) string {
	if !slices.ContainsFunc(found, func(m Match) bool { return m.App == f.app }) {
		return "is not found by its look-up"
	}
	if f.shared || f.kind == kindExe || f.kind == kindProduct {
		return ""
	}
	for _, m := range found {
		if m.App != f.app {
			return "is also found for " + m.App
		}
	}
	return ""
}

func (c *Catalog) tryPublisher(f *fact) string {
	at := f.publisher.From.Time
	if at.IsZero() && !f.publisher.To.IsZero() {
		at = f.publisher.To.Time
	}
	subject := "C=XX, " + f.text + ", L=Somewhere"
	found := c.ByPublisher(subject, at)
	for _, m := range found {
		if m.App == f.app && m.Identity == f.shared {
			return fmt.Sprintf("identifies: %t, must be %t", m.Identity, !f.shared)
		}
	}
	if f.shared && len(f.products) > 0 {
		for _, product := range f.products {
			both := f.judgePair(c.ByPublisherProduct(subject, product, at))
			if both != "" {
				return fmt.Sprintf("with product %q %s", product, both)
			}
		}
	}
	if message := c.tryOutside(f, subject); message != "" {
		return message
	}
	return f.judge(found)
}

func (f *fact) judgePair(found []Match) string {
	for _, m := range found {
		if m.App != f.app {
			return "is also found for " + m.App
		}
	}
	if len(found) == 0 {
		return "is not found by its look-up"
	}
	return ""
}

// tryOutside asks for a signature of the day after the publisher's time, which must not identify by this fact.
func (c *Catalog) tryOutside(f *fact, subject string) string {
	if f.publisher.To.IsZero() {
		return ""
	}
	late := f.publisher.To.Add(48 * time.Hour)
	for _, m := range c.ByPublisher(subject, late) {
		if m.App == f.app && m.Evidence.Fact == f.id() && m.Identity {
			return "identifies after its time"
		}
	}
	return ""
}
