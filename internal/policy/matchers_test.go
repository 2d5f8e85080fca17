package policy_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// inputOf compiles a policy with one case and makes the case's input.
func inputOf(t *testing.T, text, testCase string) (*policy.Policy, *policy.Input) {
	t.Helper()
	p := compile(t, text+"\ntests:\n  - "+testCase+"\n")
	in, err := p.File().Tests[0].Input()
	if err != nil {
		t.Fatal(err)
	}
	return p, in
}

// matching is a policy of one rule r with these matchers, a case, and whether the rule must match it.
type matching struct {
	rule, about string
	want        bool
}

// checkMatching asks a rule that stops for each row, where otherwise allows everything, and the explanation of the same input.
func checkMatching(t *testing.T, head string, rows []matching) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.rule+" "+row.about, func(t *testing.T) {
			text := "version: 1\n" + head + "otherwise: {network: allow, not_inspected: allow}\nrules:\n  - {id: r, " + row.rule + ", verdict: block}\n"
			p, in := inputOf(t, text, "{"+row.about+"}")
			v := p.Decide(in)
			wantAction, wantRule := event.Allow, policy.OtherwiseRule
			if row.want {
				wantAction, wantRule = event.Block, "r"
			}
			if v.Action != wantAction || v.Rule != wantRule || !v.Enforced {
				t.Errorf("verdict %+v, want %s by %s", v, wantAction, wantRule)
			}
			x := p.Explain(in)
			if len(x.Steps) != 1 || x.Steps[0].Decides != row.want || (x.Steps[0].Result == "yes") != row.want {
				t.Errorf("explained as %+v", x.Steps)
			}
		})
	}
}

func TestMatchFlows(t *testing.T) {
	checkMatching(t, "", []matching{
		{"apps: [whatsapp]", "flow: {app: whatsapp}", true},
		{"apps: [whatsapp, signal]", "flow: {app: signal}", true},
		{"apps: [whatsapp]", "flow: {app: telegram}", false},
		{"apps: [whatsapp]", "flow: {name: example.org}", false},
		{`apps: ["*"]`, "flow: {app: telegram}", true},
		{`apps: ["*"]`, "flow: {name: example.org}", false},
		{"apps: [whatsapp]", "flow: {app: whatsapp, confidence: medium}", true},
		{"apps: [whatsapp]", "flow: {app: whatsapp, confidence: low}", false},
		{"apps: [whatsapp], confidence: low", "flow: {app: whatsapp, confidence: low}", true},
		{"apps: [whatsapp], confidence: high", "flow: {app: whatsapp, confidence: medium}", false},
		{"apps: [whatsapp], confidence: high", "flow: {app: whatsapp, confidence: high}", true},
		{"apps: [whatsapp], confidence: exact", "flow: {app: whatsapp, confidence: high}", false},
		{"apps: [whatsapp], confidence: exact", "flow: {app: whatsapp}", true},
		{"apps: [whatsapp], service: call", "flow: {app: whatsapp, service: call}", true},
		{"apps: [whatsapp], service: [call, chat]", "flow: {app: whatsapp, service: chat}", true},
		{"apps: [whatsapp], service: call", "flow: {app: whatsapp, service: login}", false},
		{"apps: [whatsapp], service: call", "flow: {app: whatsapp}", false},
		{"apps: [whatsapp], names: [web.example.org]", "flow: {app: whatsapp, name: web.example.org}", true},
		{"apps: [whatsapp], names: [web.example.org]", "flow: {app: whatsapp, name: example.org}", false},
	})
}

func TestMatchNames(t *testing.T) {
	checkMatching(t, "", []matching{
		{"names: [example.com]", "flow: {name: example.com}", true},
		{"names: [example.com]", "flow: {name: EXAMPLE.com.}", true},
		{"names: [Example.Com.]", "flow: {name: example.com}", true},
		{"names: [example.com]", "flow: {name: www.example.com}", false},
		{"names: [example.com]", "flow: {name: notexample.com}", false},
		{"names: ['*.example.com']", "flow: {name: www.example.com}", true},
		{"names: ['*.example.com']", "flow: {name: a.b.c.example.com}", true},
		{"names: ['*.example.com']", "flow: {name: example.com}", false},
		{"names: ['*.example.com']", "flow: {name: badexample.com}", false},
		{"names: ['*.example.com']", "flow: {name: example.com.evil.org}", false},
		{"names: ['*.com', example.org]", "flow: {name: example.org}", true},
		{"names: ['*']", "flow: {name: localhost}", true},
		{"names: ['*']", "flow: {server: '192.0.2.1:443'}", false},
		{"names: [example.com]", "question: {name: example.com}", true},
		{"names: [example.com]", "question: {name: Example.COM.}", true},
		{"names: ['*.example.com']", "question: {name: example.com}", false},
	})
}

func TestMatchServers(t *testing.T) {
	checkMatching(t, "", []matching{
		{"addresses: [192.0.2.1]", "flow: {server: '192.0.2.1:443'}", true},
		{"addresses: [192.0.2.1]", "flow: {server: '192.0.2.2:443'}", false},
		{"addresses: [192.0.2.0/25]", "flow: {server: '192.0.2.127:1'}", true},
		{"addresses: [192.0.2.0/25]", "flow: {server: '192.0.2.128:1'}", false},
		{"addresses: [192.0.2.77/25]", "flow: {server: '192.0.2.1:1'}", true}, // host bits are no matter
		{"addresses: [192.0.2.1]", "flow: {server: '[::ffff:192.0.2.1]:443'}", true},
		{"addresses: ['2001:db8::/32']", "flow: {server: '[2001:db8:1::1]:443'}", true},
		{"addresses: ['2001:db8::/32']", "flow: {server: '[2001:db9::1]:443'}", false},
		{"addresses: ['2001:db8::/32']", "flow: {server: '192.0.2.1:443'}", false},
		{"addresses: [0.0.0.0/0]", "flow: {server: nonsense}", false},
		{"addresses: [0.0.0.0/0]", "flow: {name: example.org}", false},
		{"ports: 443", "flow: {server: '192.0.2.1:443'}", true},
		{"ports: 443", "flow: {server: '192.0.2.1:80'}", false},
		{"ports: [5060-5070]", "flow: {server: '192.0.2.1:5060'}", true},
		{"ports: [5060-5070]", "flow: {server: '192.0.2.1:5070'}", true},
		{"ports: [5060-5070]", "flow: {server: '192.0.2.1:5071'}", false},
		{"ports: [80, 5060-5070]", "flow: {server: '192.0.2.1:80'}", true},
		{"ports: [65535]", "flow: {server: '[2001:db8::1]:65535'}", true},
		{"addresses: [192.0.2.1], ports: 443", "flow: {server: '192.0.2.1:444'}", false},
	})
}

func TestMatchProtocols(t *testing.T) {
	checkMatching(t, "", []matching{
		{"protocols: tls", "flow: {protocol: tls}", true},
		{"protocols: [TLS]", "flow: {protocol: tls}", true},
		{"protocols: tls", "flow: {protocol: quic}", false},
		{"protocols: tls", "flow: {name: example.org}", false},
		{"protocols: udp", "flow: {proto: udp}", true},
		{"protocols: tcp", "flow: {name: example.org}", true}, // a case without a transport is tcp
		{"protocols: udp", "flow: {proto: tcp}", false},
		{"protocols: dns", "flow: {server: '192.0.2.1:53'}", true},
		{"protocols: dns", "flow: {proto: udp, server: '192.0.2.1:53'}", true},
		{"protocols: dot", "flow: {server: '192.0.2.1:853'}", true},
		{"protocols: dot", "flow: {proto: udp, server: '192.0.2.1:853'}", false},
		{"protocols: doq", "flow: {proto: udp, server: '192.0.2.1:853'}", true},
		{"protocols: ntp", "flow: {proto: udp, server: '192.0.2.1:123'}", true},
		{"protocols: ntp", "flow: {proto: tcp, server: '192.0.2.1:123'}", false},
		{"protocols: [xmpp, irc]", "flow: {protocol: irc}", true},
		{"protocols: download", "flow: {app: signal, service: download}", true},
	})
}

// TestQuestionsHaveNoServer: a question to the resolver has no address, port or protocol. A rule that would stop by one of them never
// stops the question; a rule that allows a name at one of them allows the question, for else the flow could never begin.
func TestQuestionsHaveNoServer(t *testing.T) {
	for _, server := range []string{"addresses: [192.0.2.0/24]", "ports: [443]", "protocols: [tls]", "addresses: [192.0.2.1], ports: 443, protocols: [dns]"} {
		for _, test := range []struct {
			what, verdict string
			matches       bool
		}{
			{"names: [site.example], ", "allow", true},
			{`apps: ["*"], `, "allow", true},
			{"apps: [signal], ", "allow", true},
			{"names: [other.example], ", "allow", false},
			{"apps: [whatsapp], ", "allow", false},
			{"", "allow", false},
			{"names: [site.example], ", "block", false},
			{`apps: ["*"], `, "block", false},
			{"", "block", false},
		} {
			other := map[string]string{"allow": "block", "block": "allow"}[test.verdict]
			text := "version: 1\notherwise: {network: " + other + "}\nrules:\n  - {id: r, " + test.what + server + ", verdict: " + test.verdict + "}\n"
			p, in := inputOf(t, text, "{question: {name: site.example, app: signal, client: 10.0.0.1}}")
			in.Final = false // a question is never pending
			if v := p.Decide(in); (v.Rule == "r") != test.matches || v.Action == event.Pending {
				t.Errorf("%s%s, %s: %+v", test.what, server, test.verdict, v)
			}
		}
	}
}

func TestMatchPrograms(t *testing.T) {
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	checkMatching(t, "", []matching{
		{"programs: {sha256: " + hash + "}", "program: {sha256: " + hash + "}", true},
		{"programs: {sha256: 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08}", "program: {sha256: " + hash + "}", true},
		{"programs: {sha256: " + hash + "}", "program: {path: /x}", false},
		{"programs: {media: removable}", "program: {media: removable}", true},
		{"programs: {media: removable}", "program: {media: fixed}", false},
		{"programs: {media: [removable, fixed]}", "program: {media: fixed}", true},
		{"programs: {media: removable}", "program: {path: /x}", false},
		{"programs: {publisher: 'CN=Vendor*'}", "program: {publisher: 'CN=Vendor Ltd'}", true},
		{"programs: {publisher: 'cn=vendor*'}", "program: {publisher: 'CN=VENDOR Ltd'}", true},
		{"programs: {publisher: '*'}", "program: {path: /x}", false}, // unsigned
		{"programs: {publisher: '*O=Vendor*'}", "program: {publisher: 'CN=X, O=Vendor, C=CH'}", true},
		{"programs: {publisher: 'CN=Vendor'}", "program: {publisher: 'CN=Vendor Ltd'}", false},
		{"programs: {format: [pe, msi]}", "program: {format: msi}", true},
		{"programs: {format: pe}", "program: {format: elf}", false},
		{"programs: {form: installer}", "program: {form: installer}", true},
		{"programs: {form: installer}", "program: {form: client}", false},
		{`programs: {paths: 'c:\users\*\downloads\*'}`, `program: {path: 'C:\Users\alice\Downloads\x.exe'}`, true},
		{"programs: {paths: '/home/*/bin/*'}", "program: {path: /home/alice/src/x}", false},
		{"programs: {paths: ['/opt/*', /tmp/x]}", "program: {path: /tmp/x}", true},
		{"programs: {format: pe, media: removable}", "program: {format: pe, media: fixed}", false},
		{"programs: {format: pe, media: removable}", "program: {format: pe, media: removable}", true},
		{"apps: [signal]", "program: {app: signal}", true},
		{"apps: [signal]", "program: {app: signal, confidence: low}", false},
		{"apps: [signal], programs: {form: installer}", "program: {app: signal, form: installer}", true},
		{"apps: [signal], programs: {form: installer}", "program: {app: signal, form: client}", false},
	})
}

func TestMatchMessages(t *testing.T) {
	checkMatching(t, "internal: [example.org]\n", []matching{
		{"rooms: [desk]", "message: {text: x, from: a, room: desk}", true},
		{"rooms: [desk]", "message: {text: x, from: a, room: Desk}", true},
		{"rooms: ['desk*']", "message: {text: x, from: a, room: desk-7@rooms.example.org}", true},
		{"rooms: ['*-public']", "message: {text: x, from: a, room: desk-7}", false},
		{"rooms: ['a*b*c']", "message: {text: x, from: a, room: a-b-b-c}", true},
		{"rooms: ['a*b*c']", "message: {text: x, from: a, room: abd}", false},
		{"rooms: ['ab*ba']", "message: {text: x, from: a, room: aba}", false}, // the two ends may not overlap
		{"rooms: ['*']", "message: {text: x, from: a, to: [b]}", false},       // a direct message is in no room
		{"rooms: ['*']", "message: {text: x, from: a, room: any}", true},
		{"messages: 'text == \"x\"'", "message: {text: x, from: a}", true},
		{"messages: 'text == \"x\"'", "message: {text: y, from: a}", false},
		{"messages: 'event.kind == \"edit\"'", "message: {text: y, from: a, kind: edit}", true},
		{"messages: 'size(files) == 1 && files[0].name == \"a.pdf\"'", "message: {from: a, file: a.pdf}", true},
		{"messages: 'leaves_org'", "message: {text: x, from: a@example.org, to: [b@example.org]}", false},
		{"messages: 'leaves_org'", "message: {text: x, from: a@example.org, to: [b@example.org, c@other.org]}", true},
		{"messages: 'leaves_org'", "message: {text: x, from: a@example.org, room: r, to: [c@other.org]}", true},
		{"messages: 'leaves_org'", "message: {text: x, from: a@example.org, to: [b@chat.example.org/phone]}", false},
		{"messages: 'leaves_org'", "message: {text: x, from: a@example.org, to: [b@example.org.evil.com]}", true},
		{"messages: 'room == \"\" && size(audience) == 2'", "message: {text: x, from: a, to: [b, c]}", true},
		{"messages: 'hits.exists(h, h.name == \"payment-card\")'", "message: {text: x, from: a, hits: [payment-card]}", true},
		{"messages: 'hits.exists(h, h.inspector == \"malware\")'", "message: {text: x, from: a, hits: [malware/Eicar]}", true},
		{"messages: 'hits.exists(h, h.inspector == \"malware\")'", "message: {text: x, from: a, hits: [Eicar]}", false},
		{"messages: 'hits.exists(h, h.confidence >= 0.99 && h.count == 1 && h.file == \"f.zip\")'", "message: {from: a, file: f.zip, hits: [z]}", true},
		{"messages: 'not_inspected.exists(n, n.reason == \"encrypted\")'", "message: {from: a, file: f, not_inspected: [encrypted]}", true},
		{"messages: 'not_inspected.exists(n, n.reason == \"encrypted\")'", "message: {from: a, file: f, not_inspected: [timeout]}", false},
		{"rooms: [desk], messages: 'text == \"x\"'", "message: {text: x, from: a, room: other}", false},
		{"when: 'true'", "message: {text: x, from: a}", true},
		{"when: 'true'", "flow: {name: x}", true},
		{"when: 'true'", "program: {path: /x}", true},
		{"when: 'true'", "question: {name: x}", true},
		{"when: 'event.question.name == \"x.example\"'", "question: {name: x.example}", true},
		{"when: 'event.flow.proto == \"udp\"'", "flow: {proto: udp}", true},
		{"when: 'app == \"signal\"'", "program: {app: signal}", true},
	})
}

// TestRulesKeepToTheirPlane: the matchers say what a rule is for, and it has no part in anything else.
func TestRulesKeepToTheirPlane(t *testing.T) {
	cases := map[string]string{"network": "{flow: {app: signal, name: x.example, protocol: tls, server: '192.0.2.1:443'}}",
		"programs": "{program: {app: signal, media: removable, path: /x}}", "messages": "{message: {text: x, from: a, room: r}}"}
	for rule, planes := range map[string][]string{
		"names: [x.example]":                             {"network"},
		"addresses: [192.0.2.1]":                         {"network"},
		"ports: [443]":                                   {"network"},
		"protocols: [tls]":                               {"network"},
		"programs: {media: removable}":                   {"programs"},
		"rooms: [r]":                                     {"messages"},
		"messages: 'true'":                               {"messages"},
		"apps: [signal]":                                 {"network", "programs"},
		"when: 'true'":                                   {"network", "programs", "messages"},
		"apps: [signal], ports: [443]":                   {"network"},
		"apps: [signal], programs: {paths: /x}":          {"programs"},
		"when: 'true', rooms: [r]":                       {"messages"},
		"when: 'true', apps: [signal]":                   {"network", "programs"},
		"when: 'true', names: [x.example]":               {"network"},
		"when: 'true', programs: {paths: '/*'}":          {"programs"},
		"rooms: [r], messages: 'sender.handle == \"a\"'": {"messages"},
	} {
		text := "version: 1\notherwise: {network: allow}\nrules:\n  - {id: r, " + rule + ", verdict: block}\n"
		if got := compile(t, text).Rules()[0].Planes; len(got) != len(planes) {
			t.Errorf("%s: planes %q, want %q", rule, got, planes)
		}
		for plane, about := range cases {
			want, step := "otherwise", "other plane"
			for _, p := range planes {
				if p == plane {
					want, step = "r", "yes"
				}
			}
			p, in := inputOf(t, text, about)
			x := p.Explain(in)
			if x.Verdict.Rule != want || x.Steps[0].Result != step {
				t.Errorf("%s on %s: %+v, %+v", rule, plane, x.Verdict, x.Steps)
			}
		}
	}
}
