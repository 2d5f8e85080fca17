package policies_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/policies"
)

// call runs a command line and returns its exit status and output.
func call(t *testing.T, stdin string, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	var cli struct {
		Policy policies.Command `cmd:""`
	}
	code := command.Run(&cli, args, &command.Env{Ctx: t.Context(), In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	return code, out.String(), errOut.String()
}

func TestPolicyCheck(t *testing.T) {
	code, out, _ := call(t, "", "policy", "check")
	if code != 0 || !strings.Contains(out, "is fine") {
		t.Errorf("exit %d: %s", code, out)
	}
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nrules: [{id: a, aps: [signal], verdict: block}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := call(t, "", "policy", "check", path)
	if code != 2 || !strings.Contains(errOut, `p.yaml:2:17: unknown key "aps"`) || !strings.Contains(errOut, `hint: did you mean "apps"?`) {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if code, out, _ = call(t, "", "policy", "check", "--vars"); code != 0 || !strings.Contains(out, "not_inspected[].reason string") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestPolicyTest(t *testing.T) {
	if code, out, _ := call(t, "", "policy", "test"); code != 0 || !strings.Contains(out, "11 of 11 cases passed") {
		t.Errorf("exit %d: %s", code, out)
	}
	path := filepath.Join(t.TempDir(), "p.yaml")
	text := "version: 1\npacks: [pii]\nrules:\n  - {id: cards, messages: 'hits.exists(h, h.name == \"payment-card\")', verdict: block}\ntests:\n  - {message: {text: \"4111 1111 1111 1111\"}, verdict: allow}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := call(t, "", "policy", "test", path)
	if code != 1 || !strings.Contains(out, "p.yaml:6: case 1: wanted allow, got block by cards") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestPolicyCheckRefusesWhatIsNotCarriedOut: nothing is promised that no gateway does, and what is only put on record is said.
func TestPolicyCheckRefusesWhatIsNotCarriedOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	check := func(rules string) (int, string, string) {
		if err := os.WriteFile(path, []byte("version: 1\nrules:\n"+rules), 0o600); err != nil {
			t.Fatal(err)
		}
		return call(t, "", "policy", "check", path)
	}
	for rule, word := range map[string]string{
		"- {id: a, messages: 'leaves_org', redact: '*'}\n":   "redact cannot be carried out on messages",
		"- {id: c, messages: 'leaves_org', verdict: hold}\n": "no gateway releases messages later yet",
		"- {id: d, rooms: [x], verdict: quarantine}\n":       "no gateway releases messages later yet",
	} {
		if code, _, errOut := check(rule); code != 2 || !strings.Contains(errOut, word) || !strings.Contains(errOut, "hint: verdict: block") {
			t.Errorf("%s: exit %d: %s", rule, code, errOut)
		}
	}
	code, out, errOut := check("- {id: b, apps: ['*'], warn: 'not here'}\n- {id: e, programs: {media: removable}, verdict: quarantine, alert: desk}\n- {id: f, rooms: [y], verdict: block, review: q}\n- {id: g, rooms: [y], warn: 'told'}\n")
	if code != 0 || strings.Count(out, "note: ") != 1 || !strings.Contains(out, "no resolver or scan tells anybody") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
}

// TestPolicyCheckWarnsOfWeakRecognitions: an expression that stops by app alone would stop what merely shares an address.
func TestPolicyCheckWarnsOfWeakRecognitions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	text := "version: 1\nrules:\n- {id: a, when: 'app == \"signal\"', verdict: block}\n- {id: b, when: 'app == \"signal\" && confidence >= 0.8', verdict: block}\n- {id: c, when: 'app == \"signal\"', verdict: allow}\n- {id: d, when: 'service == \"call\"', review: calls}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "", "policy", "check", path)
	if code != 0 || strings.Count(out, "note: ") != 1 || !strings.Contains(out, "confidence >= 0.8") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if _, out, _ = call(t, "", "policy", "check", "--vars"); !strings.Contains(out, "confidence double: ") || !strings.Contains(out, "service string: ") {
		t.Errorf("%s", out)
	}
}

func TestPolicyExplain(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--text", "4111 1111 1111 1111"}, []string{"message: block by cards (enforced)", "rule malware", "no: expression", "decides"}},
		{[]string{"--name", "web.whatsapp.com"}, []string{"dns: block by no-messengers (not enforced: monitor mode)", "no: apps"}},
		{[]string{"--app", "telegram", "--address", "149.154.167.50", "--port", "443"}, []string{"flow: block by no-messengers"}},
		{[]string{"--address", "149.154.167.50", "--port", "443"}, []string{"flow: allow by otherwise", "no: apps: too weak (0.50, wants 0.80)"}},
		{[]string{"--program-sha256", strings.Repeat("0", 64)}, []string{"finding: allow by otherwise"}},
		{[]string{"--text", "let's move this to WhatsApp", "--json"}, []string{`"change-of-venue"`, `"kind":"review"`, `"result":"other plane"`}},
	} {
		code, out, errOut := call(t, "", append([]string{"policy", "explain"}, c.args...)...)
		for _, want := range c.want {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%v: exit %d, %s%s, want %q", c.args, code, out, errOut, want)
			}
		}
	}
	if code, _, errOut := call(t, "", "policy", "explain"); code != 2 || !strings.Contains(errOut, "hint: give --text") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

func TestPolicyTry(t *testing.T) {
	lines := `{"id":"1","from":"alice@example.org","to":["bob@example.org"],"text":"📎 4111 1111 1111 1111 and DE89370400440532013000"}
{"id":2,"from":"a@example.org","room":"desk","text":"fine"}
`
	code, out, errOut := call(t, lines, "policy", "try", "--json", "--packs", "all", "-")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	var first struct {
		ID, Verdict, Rule string
		Hits              []struct {
			Inspector, Name string
			Start, End      int
		}
	}
	all := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(all[0]), &first); err != nil {
		t.Fatal(err)
	}
	if first.ID != "1" || first.Verdict != "block" || first.Rule != "cards" || len(first.Hits) != 2 || first.Hits[1].Start != 2 || first.Hits[1].End != 21 {
		t.Errorf("%+v", first)
	}
	if len(all) != 2 || all[1] != `{"hits":[],"id":2,"rule":"otherwise","verdict":"allow"}` {
		t.Errorf("%q", all[1:])
	}
	if code, _, errOut = call(t, "{", "policy", "try", "--json", "-"); code != 2 || !strings.Contains(errOut, "-:1:") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}
