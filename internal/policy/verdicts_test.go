package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// ask decides one case by a policy of these rules and gives the verdict in words.
func ask(t *testing.T, head, rules, about string) string {
	t.Helper()
	p, in := inputOf(t, "version: 1\n"+head+"\nrules:\n"+rules, about)
	return words(p.Decide(in))
}

// TestOtherwise: what comes where no rule decides, by plane, as written and by default.
func TestOtherwise(t *testing.T) {
	for _, test := range []struct{ otherwise, about, want string }{
		{"", "{flow: {name: x}}", "block by otherwise, enforced"},
		{"", "{question: {name: x}}", "block by otherwise, enforced"},
		{"", "{program: {path: /x}}", "allow by otherwise, enforced"},
		{"", "{message: {text: x}}", "allow by otherwise, enforced"},
		{"", "{message: {file: x, not_inspected: [timeout]}}", "block by otherwise, enforced, reason not inspected: timeout"},
		{"", "{message: {file: x, not_inspected: [encrypted, timeout]}}", "block by otherwise, enforced, reason not inspected: encrypted"},
		{"otherwise: {network: allow}", "{flow: {name: x}}", "allow by otherwise, enforced"},
		{"otherwise: {programs: quarantine}", "{program: {path: /x}}", "quarantine by otherwise, enforced"},
		{"otherwise: {messages: hold}", "{message: {text: x}}", "hold by otherwise, enforced"},
		{"otherwise: {messages: block, not_inspected: allow}", "{message: {file: x, not_inspected: [timeout]}}", "allow by otherwise, enforced, reason not inspected: timeout"},
		{"otherwise: {not_inspected: hold}", "{message: {file: x, not_inspected: [timeout]}}", "hold by otherwise, enforced, reason not inspected: timeout"},
	} {
		if got := ask(t, test.otherwise, "  []", test.about); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.otherwise, test.about, got, test.want)
		}
	}
}

// TestModes: the mode of the rule goes before that of groups, that before the plane's; among groups enforcing wins.
func TestModes(t *testing.T) {
	const groups = "groups:\n  watched: {people: [ann, both], mode: monitor}\n  strict: {people: [bob, both], mode: enforce}\n  plain: {people: [cid]}\n"
	for _, test := range []struct {
		mode, rule, person string
		enforced           bool
	}{
		{"", "", "cid", true},
		{"mode: enforce", "", "cid", true},
		{"mode: monitor", "", "cid", false},
		{"mode: {network: monitor}", "", "cid", false},
		{"mode: {programs: monitor, messages: monitor}", "", "cid", true},
		{"mode: monitor", "", "bob", true},
		{"mode: enforce", "", "ann", false},
		{"mode: monitor", "", "both", true},
		{"mode: enforce", "", "both", true},
		{"mode: enforce", ", mode: monitor", "bob", false},
		{"mode: monitor", ", mode: enforce", "ann", true},
		{"mode: monitor", ", mode: monitor", "both", false},
	} {
		rule := "  - {id: r, names: [x.example]" + test.rule + ", verdict: block}\n"
		got := ask(t, test.mode+"\n"+groups, rule, "{flow: {name: x.example, person: "+test.person+"}}")
		want := "block by r"
		if test.enforced {
			want += ", enforced"
		}
		if got != want {
			t.Errorf("%s%s about %s: %s, want %s", test.mode, test.rule, test.person, got, want)
		}
	}
}

// TestObligationsGather: of rules that match up to the one that decides, in order; those after it are only named.
func TestObligationsGather(t *testing.T) {
	const rules = `  - {id: first, messages: 'text.contains("a")', review: desk, alert: risk}
  - {id: second, messages: 'text.contains("b")', warn: "careful", redact: "*"}
  - {id: third, messages: 'text.contains("c")', verdict: hold, review: court, say: wait, reason: why}
  - {id: fourth, messages: 'text.contains("d")', review: late}
  - {id: fifth, messages: 'text.contains("e")', verdict: block, alert: never}
`
	for text, want := range map[string]string{
		"x":     "allow by otherwise, enforced",
		"a":     "allow by otherwise, enforced, review desk (first), alert risk (first)",
		"ab":    "allow by otherwise, enforced, review desk (first), alert risk (first), redact * (second), warn careful (second)",
		"b":     "allow by otherwise, enforced, redact * (second), warn careful (second)",
		"c":     "hold by third, enforced, reason why, review court (third)",
		"ac":    "hold by third, enforced, reason why, review desk (first), alert risk (first), review court (third)",
		"cd":    "hold by third, enforced, reason why, review court (third), also fourth",
		"cde":   "hold by third, enforced, reason why, review court (third), also fourth fifth",
		"de":    "block by fifth, enforced, review late (fourth), alert never (fifth)",
		"abcde": "hold by third, enforced, reason why, review desk (first), alert risk (first), redact * (second), warn careful (second), review court (third), also fourth fifth",
	} {
		if got := ask(t, "", rules, "{message: {text: "+text+"}}"); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	p, in := inputOf(t, "version: 1\nrules:\n"+rules, "{message: {text: c}}")
	if v := p.Decide(in); v.Say != "wait" {
		t.Errorf("says %q", v.Say)
	}
}

// TestPending: while a fact may come that could change the answer, there is none; what has come decides as far as it can.
func TestPending(t *testing.T) {
	const app, name, tls, any = "  - {id: app, apps: [signal], verdict: block}\n", "  - {id: name, names: [x.example], verdict: allow}\n",
		"  - {id: tls, protocols: [tls], verdict: block}\n", "  - {id: any, addresses: [0.0.0.0/0], verdict: block}\n"
	for _, test := range []struct{ rules, flow, want string }{
		{app, "name: x.example", "pending, enforced"}, // whatever comes, it is blocked
		{app + name, "name: x.example", "pending"},
		{app + name, "app: signal", "block by app, enforced"},
		{name + app, "app: signal", "pending"},
		{name + app, "app: signal, name: y.example", "block by app, enforced"},
		{name + app, "app: telegram, name: x.example", "allow by name, enforced"},
		{app, "app: telegram", "block by otherwise, enforced"},
		{app, "app: signal, confidence: low", "pending, enforced"}, // it may become sure
		{tls, "name: x.example", "pending, enforced"},
		{tls, "protocol: quic", "block by otherwise, enforced"},
		{tls, "protocol: tls", "block by tls, enforced"},
		{any, "server: '192.0.2.1:443'", "block by any, enforced"},
		{any, "name: x.example", "block by otherwise, enforced"}, // addresses do not come later
		{app + any, "server: '192.0.2.1:443'", "pending, enforced"},
		{any + app, "server: '192.0.2.1:443'", "block by any, enforced"},
		{any + name, "server: '192.0.2.1:443'", "block by any, enforced"},
		{"  - {id: both, names: [x.example], ports: [80], verdict: allow}\n" + any, "server: '192.0.2.1:443'", "block by any, enforced"}, // one no is enough
		{"  - {id: call, apps: [signal], service: call, verdict: allow}\n" + app, "app: signal", "pending"},
		{"  - {id: call, apps: [signal], service: call, verdict: allow}\n" + app, "app: signal, service: chat", "block by app, enforced"},
		{"  - {id: note, apps: [signal], review: q}\n" + any, "server: '192.0.2.1:443'", "pending"},
	} {
		if got := ask(t, "", test.rules, "{flow: {pending: true, "+test.flow+"}}"); got != test.want {
			t.Errorf("%s about %s: %s, want %s", test.rules, test.flow, got, test.want)
		}
		if got := ask(t, "", test.rules, "{flow: {"+test.flow+"}}"); strings.HasPrefix(got, "pending") {
			t.Errorf("%s about %s: pending, and all is told", test.rules, test.flow)
		}
	}
}

// TestPendingTellsNothing: an answer that stands out carries no rule, words or obligations that may turn out wrong.
func TestPendingTellsNothing(t *testing.T) {
	p, in := inputOf(t, "version: 1\nrules:\n  - {id: a, apps: [signal], verdict: block}\n  - {id: b, when: 'true', review: q, verdict: block, say: x, reason: y}\n", "{flow: {pending: true, name: x}}")
	v := p.Decide(in)
	if v.Action != event.Pending || v.Rule != "" || v.Say != "" || v.Reason != "" || len(v.Obligations)+len(v.Also) > 0 || v.Policy != p.Version() {
		t.Errorf("%+v", v)
	}
}

// TestBrokenExpressions: a rule that cannot be evaluated neither matches nor fails to: what would allow after it does not, unless it
// names what was not inspected.
func TestBrokenExpressions(t *testing.T) {
	const broken = "  - {id: bad, messages: 'int(text) > 5', verdict: block}\n"
	const allow = "  - {id: yes, messages: 'true', verdict: allow}\n"
	const aware = "  - {id: aware, messages: 'not_inspected.exists(n, n.reason == \"policy-error\")', verdict: allow}\n"
	const block = "  - {id: no, messages: 'true', verdict: hold}\n"
	for _, test := range []struct{ head, rules, text, want string }{
		{"", broken, `"7"`, "block by bad, enforced"},
		{"", broken, `"3"`, "allow by otherwise, enforced"},
		{"", broken, "words", "block by otherwise, enforced, reason policy-error: bad"},
		{"otherwise: {not_inspected: hold}", broken, "words", "hold by otherwise, enforced, reason policy-error: bad"},
		{"", broken + allow, `"3"`, "allow by yes, enforced"},
		{"", broken + allow, "words", "block by otherwise, enforced, reason policy-error: bad, also yes"},
		{"", allow + broken, "words", "allow by yes, enforced"},
		{"", broken + aware, "words", "allow by aware, enforced"},
		{"", broken + block, "words", "hold by no, enforced"},
		{"", broken + allow + block, "words", "hold by no, enforced, also yes"},
		{"", strings.Replace(broken, "bad", "worse", 1) + broken, "words", "block by otherwise, enforced, reason policy-error: worse"},
	} {
		if got := ask(t, test.head, test.rules, "{message: {text: "+test.text+"}}"); got != test.want {
			t.Errorf("%s about %s: %s, want %s", test.rules, test.text, got, test.want)
		}
	}
}

// TestCostlyExpressions: an expression that costs too much is an error, not a match and not a hang.
func TestCostlyExpressions(t *testing.T) {
	p := compile(t, `version: 1
rules:
  - {id: slow, messages: 'audience.all(a, audience.all(b, audience.all(c, a.handle + b.handle != c.handle)))', verdict: allow}
`)
	e := message("a", "b")
	for i := range 500 {
		e.Audience = append(e.Audience, event.Party{Handle: fmt.Sprintf("p%d", i)})
	}
	if v := p.Decide(&policy.Input{Event: e, Now: monday, Final: true}); v.Action != event.Block || v.Reason != "policy-error: slow" {
		t.Errorf("%+v", v)
	}
}

// TestExplainNamesTheMatcher that said no, of each kind.
func TestExplainNamesTheMatcher(t *testing.T) {
	const head = "version: 1\ngroups: {g: {people: [ann]}}\nrules:\n  - {id: r, "
	for _, test := range []struct{ rule, about, result, matcher string }{
		{"apps: [signal]", "flow: {app: telegram}", "no", "apps"},
		{"apps: [signal]", "flow: {app: signal, confidence: low}", "no", "apps: too weak (0.50, wants 0.80)"},
		{"apps: ['*'], confidence: exact", "program: {app: signal, confidence: high}", "no", "apps: too weak (0.95, wants 0.99)"},
		{"apps: [signal]", "flow: {app: telegram, confidence: low}", "no", "apps"},
		{"apps: [signal]", "flow: {pending: true, name: x}", "pending", "apps"},
		{"apps: [signal], service: call", "flow: {app: signal, service: chat}", "no", "service"},
		{"names: [x.example]", "flow: {name: y.example}", "no", "names"},
		{"names: [x.example]", "flow: {pending: true, server: '192.0.2.1:1'}", "pending", "names"},
		{"names: [x.example], addresses: [192.0.2.1]", "flow: {name: x.example, server: '192.0.2.2:1'}", "no", "addresses"},
		{"names: [x.example], ports: [80]", "flow: {name: x.example, server: '192.0.2.2:1'}", "no", "ports"},
		{"names: [x.example], protocols: [tls]", "flow: {name: x.example, protocol: irc}", "no", "protocols"},
		{"programs: {format: pe}", "program: {format: elf}", "no", "programs"},
		{"rooms: [desk]", "message: {text: x, room: hall}", "no", "rooms"},
		{"rooms: [desk], groups: [g]", "message: {text: x, from: bob, room: desk}", "no", "groups"},
		{"when: 'true', until: 2020-01-01", "message: {text: x}", "no", "until"},
		{"when: 'true', hours: 'Sun 07:00-08:00'", "message: {text: x}", "no", "hours"},
		{"when: 'text == \"y\"'", "message: {text: x}", "no", "expression"},
		{"when: 'int(text) > 1'", "message: {text: x}", "error", "expression"},
		{"names: [x.example]", "message: {text: x}", "other plane", ""},
		{"when: 'true'", "message: {text: x}", "yes", ""},
	} {
		p, in := inputOf(t, head+test.rule+", verdict: block}\n", "{"+test.about+"}")
		s := p.Explain(in).Steps[0]
		if s.Rule != "r" || s.Result != test.result || s.Matcher != test.matcher || s.Decides != (test.result == "yes") {
			t.Errorf("%s about %s: %+v, want %s %s", test.rule, test.about, s, test.result, test.matcher)
		}
	}
}

// TestExplainOfWhatIsNotDecided names every rule and lets none decide.
func TestExplainOfWhatIsNotDecided(t *testing.T) {
	p := compile(t, example)
	x := p.Explain(&policy.Input{Event: &event.Event{Kind: event.Act}, Now: monday, Final: true})
	if len(x.Steps) != len(p.Rules()) || x.Verdict.Rule != policy.OtherwiseRule {
		t.Errorf("%+v", x)
	}
	for _, s := range x.Steps {
		if s.Result != "other plane" || s.Decides {
			t.Errorf("%+v", s)
		}
	}
}

// TestWebRequests: name, address and port come out of the URL.
func TestWebRequests(t *testing.T) {
	for _, test := range []struct {
		rule, url string
		want      bool
	}{
		{"names: [x.example]", "https://x.example/path?q", true},
		{"names: [x.example]", "https://X.EXAMPLE:8443/", true},
		{"names: [x.example]", "https://y.example/?x.example", false},
		{"names: ['*']", "https://192.0.2.1/", false},
		{"addresses: [192.0.2.1]", "https://192.0.2.1/", true},
		{"addresses: ['2001:db8::1']", "https://[2001:db8::1]:444/", true},
		{"addresses: [192.0.2.1]", "https://x.example/", false},
		{"ports: [443]", "https://192.0.2.1/", true},
		{"ports: [80]", "http://192.0.2.1/", true},
		{"ports: [8443]", "https://192.0.2.1:8443/", true},
		{"ports: [443]", "https://192.0.2.1:8443/", false},
		{"ports: [443]", "https://x.example/", true},
		{"protocols: [http]", "https://x.example/", true},
		{"protocols: [irc]", "https://x.example/", false},
		{"names: ['*']", "http://%zz", false},
		{"when: 'event.web.url.startsWith(\"https://x\") && event.web.method == \"POST\"'", "https://x.example/", true},
	} {
		p := compile(t, "version: 1\notherwise: {network: allow}\nrules:\n  - {id: r, "+test.rule+", verdict: block}\n")
		e := &event.Event{Kind: event.WebRequest, Content: event.Content{Web: &event.Web{Method: "POST", URL: test.url}}}
		if v := p.Decide(&policy.Input{Event: e, Now: monday}); (v.Rule == "r") != test.want {
			t.Errorf("%s about %s: %+v", test.rule, test.url, v)
		}
	}
}

// TestRulesForPeople: planes, modes, obligations and what is carried out otherwise than one may think.
func TestRulesForPeople(t *testing.T) {
	rules := compile(t, `version: 1
mode: {network: monitor, messages: enforce}
rules:
  - {id: a, apps: [signal], verdict: block}
  - {id: b, messages: 'true', verdict: hold, review: q, mode: monitor}
  - {id: c, messages: 'true', verdict: quarantine, redact: "*"}
  - {id: d, when: 'true', warn: careful, alert: risk}
`).Rules()
	got := make([]string, 0, len(rules))
	for _, r := range rules {
		notes := make([]string, 0, 2)
		for _, n := range r.Notes {
			word, _, _ := strings.Cut(n, ":")
			notes = append(notes, word)
		}
		got = append(got, fmt.Sprintf("%s %v %v %s %v %v", r.ID, r.Planes, r.Mode, r.Verdict, r.Obligations, notes))
	}
	want := []string{"a [network programs] [monitor enforce] block [] []", "b [messages] [monitor] hold [review: q] [hold]",
		"c [messages] [enforce] quarantine [redact: *] [quarantine redact]", "d [network programs messages] [monitor enforce enforce]  [warn: careful alert: risk] [warn]"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s, want %s", got[i], want[i])
		}
	}
}

// TestDecides: every kind either has a plane, or passes.
func TestDecides(t *testing.T) {
	yes := []event.Kind{event.FlowSeen, event.DNSQuery, event.WebRequest, event.ProgramRun, event.FindingHit, event.MediaIn, event.Message, event.Edit,
		event.Retraction, event.Reaction, event.FileUpload, event.Join, event.Leave, event.RoomChange, event.Call}
	p := compile(t, "version: 1\nrules:\n  - {id: r, when: 'true', verdict: block}\n")
	for _, k := range append(slices.Clone(yes), event.Act, event.Gap, event.VerdictSet, event.Delivery, "nonsense") {
		want := slices.Contains(yes, k)
		v := p.Decide(&policy.Input{Event: &event.Event{Kind: k}, Now: monday, Final: true})
		if policy.Decides(k) != want || (v.Action == event.Block) != want {
			t.Errorf("%s: decides %v, %+v", k, policy.Decides(k), v)
		}
	}
}
