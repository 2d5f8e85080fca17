package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
)

// carried returns the verdicts that a plane can carry out: a packet cannot be held for a reviewer, a running program cannot be redacted.
func carried(pl plane) []string {
	return [planeCount][]string{{"allow", "block"}, {"allow", "block", "quarantine"}, {"allow", "hold", "quarantine", "block"}}[pl]
}

// Words about what no gateway does yet.
const (
	notCarried  = "no gateway releases messages later yet"
	insteadHint = "verdict: block refuses it with words; review: puts the record before a reviewer"
)

// unfinished reports a verdict or obligation that would promise what no gateway keeps.
func (c *compiler) unfinished(what string) bool { return slices.Contains(c.known.Unfinished, what) }

func carries(pl plane, a event.Action) bool { return slices.Contains(carried(pl), string(a)) }

// compileRule compiles rule i and puts it on its planes.
func (c *compiler) compileRule(i int, src *Rule) {
	r := &rule{id: src.ID, action: event.Action(src.Verdict), say: src.Say, reason: src.Reason, mode: c.mode(src.Mode, "rules", i, "mode")}
	r.obligations = obligationsOf(src)
	c.who(i, src, r)
	c.network(i, src, r)
	c.programs(i, src, r)
	r.rooms = newGlobs(src.Rooms)
	c.expression(i, "messages", src.Messages, r)
	c.expression(i, "when", src.When, r)
	c.planes(i, src, r)
	c.p.rules = append(c.p.rules, r)
	for pl, on := range r.planes {
		if on {
			c.p.byPlane[pl] = append(c.p.byPlane[pl], r)
		}
	}
}

func obligationsOf(src *Rule) []event.Obligation {
	var out []event.Obligation
	for _, o := range []event.Obligation{{Kind: event.Redact, Queue: src.Redact}, {Kind: event.Warn, Queue: src.Warn}, {Kind: event.Review, Queue: src.Review}, {Kind: event.Alert, Queue: src.Alert}} {
		if o.Queue != "" {
			o.Rule = src.ID
			out = append(out, o)
		}
	}
	return out
}

func (c *compiler) who(i int, src *Rule, r *rule) {
	r.groups = c.groupIndexes(src.Groups, "rules", i, "groups")
	for _, text := range src.Hours {
		spans, err := newSpans(text)
		if err != nil {
			c.fail(err.Error(), "", "rules", i, "hours")
		}
		r.hours = append(r.hours, spans...)
	}
	if src.Until != "" {
		var err error
		if r.until, err = newUntil(src.Until, c.p.zone); err != nil {
			c.fail(err.Error(), "", "rules", i, "until")
		}
	}
}

func (c *compiler) network(i int, src *Rule, r *rule) {
	for _, app := range src.Apps {
		switch {
		case app == "*":
			r.anyApp = true
		case c.known.Apps != nil && !slices.Contains(c.known.Apps, app):
			c.fail(fmt.Sprintf("unknown app %q", app), didYouMean(app, c.known.Apps), "rules", i, "apps")
		default:
			r.apps = append(r.apps, app)
		}
	}
	c.sureness(i, src, r)
	r.services = src.Service
	if len(src.Service) > 0 && len(src.Apps) == 0 {
		c.fail("service is a phase of a messenger", "add apps: [\"*\"]", "rules", i, "service")
	}
	if len(src.Names) > 0 {
		r.names = newNameSet(src.Names)
		for _, n := range src.Names {
			if strings.Contains(strings.TrimPrefix(n, "*."), "*") && n != "*" || n == "" || strings.ContainsAny(n, "/: ") {
				c.fail(fmt.Sprintf("%q is not a host name", n), "example.com, *.example.com or *", "rules", i, "names")
			}
		}
	}
	c.servers(i, src, r)
}

// servers compiles what a rule says of the server's address.
func (c *compiler) servers(i int, src *Rule, r *rule) {
	for _, s := range src.Addresses {
		prefix, ok := newPrefix(s)
		if !ok {
			c.fail(fmt.Sprintf("%q is not an address or range", s), "such as 192.0.2.1 or 10.0.0.0/8", "rules", i, "addresses")
		}
		r.addresses = append(r.addresses, prefix)
	}
	for _, s := range src.Ports {
		ports, ok := newPortRange(s)
		if !ok {
			c.fail(fmt.Sprintf("%q is not a port or range", s), "such as 443 or 5060-5070", "rules", i, "ports")
		}
		r.ports = append(r.ports, ports)
	}
	for _, s := range src.Protocols {
		r.protocols = append(r.protocols, strings.ToLower(s))
	}
}

// confidenceOf reads a word for how sure a recognition is, as the catalog uses them.
func confidenceOf(word string) (event.Confidence, bool) {
	c, ok := map[string]event.Confidence{"low": event.Low, "medium": event.Medium, "high": event.High, "exact": event.Exact}[word]
	return c, ok
}

// sureness finds how sure a recognition must be for the apps of a rule: what stops wants more than an address or a port unless it says so.
func (c *compiler) sureness(i int, src *Rule, r *rule) {
	switch sure, ok := confidenceOf(src.Confidence); {
	case src.Confidence == "":
		if r.action.Stops() {
			r.sure = event.Medium
		}
	case !ok:
		c.fail(fmt.Sprintf("unknown confidence %q", src.Confidence), "low, medium, high or exact", "rules", i, "confidence")
	case len(src.Apps) == 0:
		c.fail("confidence is how surely a messenger was recognised", "add apps", "rules", i, "confidence")
	default:
		r.sure = sure
	}
}

func (p *Programs) empty() bool {
	return len(p.SHA256)+len(p.Media)+len(p.Publisher)+len(p.Format)+len(p.Form)+len(p.Paths) == 0
}

func (c *compiler) programs(i int, src *Rule, r *rule) {
	m := &src.Programs
	if m.empty() {
		return
	}
	r.programs = &programs{media: m.Media, publishers: newGlobs(m.Publisher), formats: m.Format, forms: m.Form, paths: newGlobs(m.Paths)}
	for _, s := range m.Media {
		if s != "removable" && s != "fixed" {
			c.fail(fmt.Sprintf("unknown media %q", s), "removable or fixed", "rules", i, "programs", "media")
		}
	}
	for _, s := range m.SHA256 {
		s = strings.ToLower(s)
		if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
			c.fail(fmt.Sprintf("%q is not a SHA-256", s), "64 hexadecimal digits, as sha256sum prints", "rules", i, "programs", "sha256")
		}
		if r.programs.hashes == nil {
			r.programs.hashes = map[string]struct{}{}
		}
		r.programs.hashes[s] = struct{}{}
	}
}

func (c *compiler) expression(i int, key, source string, r *rule) {
	if source == "" {
		return
	}
	x, err := compileExpression(c.env, source)
	if err != nil {
		c.fail(err.Error(), "chaperone policy check --vars lists the variables", "rules", i, key)
		return
	}
	for _, name := range x.hitNames {
		if !c.hits[name] {
			c.fail(fmt.Sprintf("no pack, pattern or lexicon defines the hit %q", name), didYouMean(name, sortedKeys(c.hits)), "rules", i, key)
		}
	}
	r.exprs = append(r.exprs, x)
}

// planes finds the planes of a rule from its matchers, and refuses what they cannot carry out.
func (c *compiler) planes(i int, src *Rule, r *rule) {
	on, any := [planeCount]bool{true, true, true}, false
	only := func(has bool, planes ...plane) {
		if !has {
			return
		}
		any = true
		for pl := range on {
			on[pl] = on[pl] && slices.Contains(planes, plane(pl))
		}
	}
	only(len(src.Names)+len(src.Addresses)+len(src.Ports)+len(src.Protocols) > 0, network)
	only(!src.Programs.empty(), endpoint)
	only(len(src.Rooms) > 0 || src.Messages != "", conversation)
	only(len(src.Apps) > 0, network, endpoint)
	only(src.When != "", network, endpoint, conversation)
	r.planes = on
	switch {
	case !any:
		c.fail("the rule does not say what it is for", "add apps, names, programs, messages …; for everything: when: 'true'", "rules", i)
	case on == [planeCount]bool{}:
		c.fail("matchers of different planes can never hold together", "names, addresses, ports and protocols are of the network, programs of machines, rooms and messages of conversations, apps never of messages: make two rules", "rules", i)
	default:
		c.verdict(i, src, r)
	}
}

func (c *compiler) verdict(i int, src *Rule, r *rule) {
	if r.action == "" && len(r.obligations) == 0 {
		c.fail("the rule has neither a verdict nor an obligation", "add verdict: allow or block, or review, alert, warn, redact", "rules", i)
	}
	for pl, on := range r.planes {
		if !on {
			continue
		}
		if plane(pl) == conversation && c.unfinished(string(r.action)) {
			c.fail(fmt.Sprintf("the verdict %q cannot be carried out on messages: %s", r.action, notCarried), insteadHint, "rules", i, "verdict")
		} else if r.action != "" && !carries(plane(pl), r.action) {
			hint := "there: " + strings.Join(carried(plane(pl)), ", ")
			c.fail(fmt.Sprintf("the verdict %q cannot be carried out on the plane %s", r.action, plane(pl)), hint, "rules", i, "verdict")
		}
		if src.Redact != "" && plane(pl) == conversation && c.unfinished(event.Redact) {
			c.fail("redact cannot be carried out on messages: no gateway rewrites them yet", insteadHint, "rules", i, "redact")
		}
		if src.Redact != "" && plane(pl) != conversation {
			c.fail(fmt.Sprintf("redact cannot be carried out on the plane %s", plane(pl)), "only messages can be redacted", "rules", i, "redact")
		}
	}
	if src.Redact != "" && src.Redact != "*" && !c.hits[src.Redact] {
		c.fail(fmt.Sprintf("no pack, pattern or lexicon defines the hit %q", src.Redact), didYouMean(src.Redact, sortedKeys(c.hits)), "rules", i, "redact")
	}
}
