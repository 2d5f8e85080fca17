package policies_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write makes a policy file, or another, in a directory of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// everyPlane is a policy with a rule for whatever explain can be asked about.
const everyPlane = `version: 1
internal: [example.org]
groups: {desk: {people: [alice@example.org]}, branch: {networks: [10.1.0.0/16]}, kiosks: {hosts: ["kiosk-*"]}}
otherwise: {network: allow}
rules:
  - {id: late, names: [late.example], until: 2020-01-01, verdict: block}
  - {id: desk, names: [a.example], groups: [desk], verdict: block, say: "Not from the desk.", reason: "venue"}
  - {id: branch, names: [a.example], groups: [branch], verdict: block}
  - {id: kiosk, programs: {publisher: "CN=Vendor*"}, groups: [kiosks], verdict: block}
  - {id: hash, programs: {sha256: ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}, verdict: block}
  - {id: six, addresses: ["2001:db8::/32"], verdict: block}
  - {id: irc, protocols: [irc], verdict: block}
  - {id: port, ports: [5222], verdict: block}
  - {id: room, rooms: ["board*"], verdict: block, review: secretary}
  - {id: out, messages: 'leaves_org', review: supervision}
  - {id: apps, apps: [whatsapp], verdict: block}
`

// TestExplainOfEveryPlane: the flags make the event that they speak of, and the rule for it decides.
func TestExplainOfEveryPlane(t *testing.T) {
	file := write(t, "p.yaml", everyPlane)
	for _, c := range []struct{ args, kind, verdict, rule string }{
		{"--name late.example", "dns", "allow", "otherwise"},
		{"--name a.example", "dns", "allow", "otherwise"},
		{"--name a.example --from alice@example.org", "dns", "block", "desk"},
		{"--name A.Example. --from alice@example.org", "dns", "block", "desk"},
		{"--name a.example --client 10.1.2.3", "dns", "block", "branch"},
		{"--name a.example --client 10.2.2.3", "dns", "allow", "otherwise"},
		{"--name a.example --client 10.1.2.3 --port 443", "flow", "block", "branch"},
		{"--name a.example --app whatsapp", "dns", "block", "apps"},
		{"--app whatsapp", "flow", "block", "apps"},
		{"--app telegram", "flow", "allow", "otherwise"},
		{"--address 2001:db8::1", "flow", "block", "six"},
		{"--address 2001:db9::1", "flow", "allow", "otherwise"},
		{"--address 192.0.2.1 --port 5222", "flow", "block", "port"},
		{"--port 5222", "flow", "block", "port"},
		{"--protocol irc", "flow", "block", "irc"},
		{"--protocol tls", "flow", "allow", "otherwise"},
		{"--publisher CN=Vendor,O=Vendor", "finding", "allow", "otherwise"},
		{"--publisher CN=Vendor,O=Vendor --host kiosk-3", "finding", "block", "kiosk"},
		{"--program-sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "finding", "block", "hash"},
		{"--program-sha256 " + strings.Repeat("0", 64) + " --app whatsapp", "finding", "block", "apps"},
		{"--room boardroom", "message", "block", "room"},
		{"--room lobby", "message", "allow", "otherwise"},
		{"--text hello --from alice@example.org --to bob@example.org", "message", "allow", "otherwise"},
		{"--to x@other.org", "message", "allow", "otherwise"},
	} {
		code, out, errOut := call(t, "", append([]string{"policy", "explain", "--json", "--policy", file}, strings.Fields(c.args)...)...)
		var got struct {
			Kind, Verdict, Rule, Say, Reason string
			Obligations                      []struct{ Queue string }
			Steps                            []struct {
				Rule, Result string
				Decides      bool
			}
		}
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
			t.Errorf("%s: exit %d, %v: %s%s", c.args, code, err, out, errOut)
			continue
		}
		if got.Kind != c.kind || got.Verdict != c.verdict || got.Rule != c.rule || len(got.Steps) != 11 {
			t.Errorf("%s: %+v, want %s %s by %s", c.args, got, c.kind, c.verdict, c.rule)
		}
		for _, s := range got.Steps {
			if s.Decides != (s.Rule == c.rule) || s.Decides && s.Result != "yes" {
				t.Errorf("%s: step %+v", c.args, s)
			}
		}
		if c.rule == "desk" && (got.Say != "Not from the desk." || got.Reason != "venue") {
			t.Errorf("%s: says %q because %q", c.args, got.Say, got.Reason)
		}
		if leaves := strings.Contains(c.args, "other.org"); leaves != (len(got.Obligations) == 1 && got.Obligations[0].Queue == "supervision") && c.rule != "room" {
			t.Errorf("%s: obligations %+v", c.args, got.Obligations)
		}
	}
}

// TestMistakesOfTheCommandLine: each is exit status 2, says what is wrong and what helps, and prints no result.
func TestMistakesOfTheCommandLine(t *testing.T) {
	file := write(t, "p.yaml", everyPlane)
	groups := write(t, "g.yaml", "version: 1\ngroups: {sales: {hosts: [sales-1], people: [alice]}}\nrules: []\n")
	large := write(t, "large.jsonl", `{"text":"`+strings.Repeat("x", 9<<20)+`"}`)
	for _, c := range []struct {
		args []string
		want string
		hint string
	}{
		{[]string{"explain", "--app", "no-such"}, `no messenger has the id "no-such"`, "catalog show lists them"},
		{[]string{"explain", "--address", "web.example"}, `"web.example" is no address`, "--name takes the name of a host"},
		{[]string{"explain", "--client", "10.0.0.0/8", "--name", "x"}, `"10.0.0.0/8" is no address`, "take an IP address"},
		{[]string{"explain", "--port", "70000"}, "70000", "--help lists its flags"},
		{[]string{"explain", "--nome", "x"}, "unknown flag", "chaperone policy explain --help"},
		{[]string{"explain", "--from", "alice"}, "nothing to explain", "give --text"},
		{[]string{"explain", "--policy", file + ".none", "--text", "x"}, "p.yaml.none", ""},
		{[]string{"check", file + ".none"}, "p.yaml.none", ""},
		{[]string{"check", filepath.Dir(file)}, filepath.Dir(file), ""},
		{[]string{"test", write(t, "b.yaml", "version: 2\n")}, "b.yaml:1", ""},
		{[]string{"check", write(t, "b.yaml", "\x00\xff")}, "b.yaml", ""},
		{[]string{"check", write(t, "b.yaml", "version: 1\nrules:\n  - {id: a, when: 'nope ==', verdict: block}\n")}, "b.yaml:3", ""},
		{[]string{"check", write(t, "b.yaml", "version: 1\nrules:\n  - {id: a, names: [x], verdict: block}\n  - {id: a, names: [y], verdict: block}\n")}, "b.yaml:4", ""},
		{[]string{"try", "--policy", file, file + ".none"}, "p.yaml.none", ""},
		{[]string{"try", "--policy", file, write(t, "t.jsonl", "{}\n\n[]\n")}, "t.jsonl:3:", "each line is an object"},
		{[]string{"try", "--policy", file, write(t, "t.jsonl", `{"text":7}`)}, "t.jsonl:1:", "each line is an object"},
		{[]string{"try", "--policy", file, large}, "the line is longer than 8 MiB", ""},
		{[]string{"try", "--policy", file, "--packs", "no-such", "-"}, "no-such", ""},
		{[]string{"export", "--format", "no-such"}, `no format is called "no-such"`, "policy export lists them"},
		{[]string{"export", "--format", "fapolicyd", "--found", write(t, "f.jsonl", "{"), file}, "f.jsonl", "--found takes what chaperone scan --json prints"},
		{[]string{"export", "--format", "clients-declaration", file}, "https:// address", "--url"},
		{[]string{"export", "--format", "santa", "--host", "sals-1", groups}, `names the machine "sals-1"`, `did you mean "sales-1"? (what holds for a machine in no group is exported without --host)`},
		{[]string{"export", "--format", "santa", "--person", "zzzzzzzz", groups}, `names the person "zzzzzzzz"`, "the policy names alice"},
		{[]string{"nothing"}, "nothing", "--help lists"},
	} {
		code, out, errOut := call(t, "", append([]string{"policy"}, c.args...)...)
		if code != 2 || !strings.Contains(errOut, "chaperone: error: ") || !strings.Contains(errOut, c.want) || !strings.Contains(errOut, c.hint) || c.hint != "" && !strings.Contains(errOut, "hint: ") {
			t.Errorf("%.200q: exit %d, %.300s%.500s", c.args, code, out, errOut)
		}
	}
}

// TestHostileTextIsPrintedHarmless: what others wrote moves no cursor of whoever reads the terminal.
func TestHostileTextIsPrintedHarmless(t *testing.T) {
	evil := "\x1b[2J\x1b]0;gone\x07\u202e"
	text, err := json.Marshal(map[string]any{"id": evil, "text": evil + " 4111 1111 1111 1111", "from": evil, "room": evil})
	if err != nil {
		t.Fatal(err)
	}
	say, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "p.yaml", "version: 1\nrules:\n  - {id: r, rooms: ['*'], verdict: block, say: "+string(say)+", review: q}\n")
	for _, args := range [][]string{{"try", "-"}, {"explain", "--policy", file, "--room", "x"}, {"explain", "--app", evil}, {"explain", "--address", evil}, {"export", "--format", evil}, {"check", evil}} {
		_, out, errOut := call(t, string(text)+"\n", append([]string{"policy"}, args...)...)
		if strings.ContainsAny(out+errOut, "\x1b\x07\u202e") || out+errOut == "" {
			t.Errorf("%q prints %q", args, out+errOut)
		}
	}
}

// TestTryOfManyLines: every line has its answer, in order, and in one form for people and one for programs.
func TestTryOfManyLines(t *testing.T) {
	file := write(t, "p.yaml", everyPlane)
	var in strings.Builder
	for i := range 200 {
		room := []string{"boardroom", "lobby"}[i%2]
		in.WriteString(`{"id":` + string(rune('0'+i%10)) + `,"from":"a@example.org","room":"` + room + `","text":"x"}` + "\n\n")
	}
	code, out, errOut := call(t, in.String(), "policy", "try", "--policy", file, "-")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if code != 0 || len(lines) != 200 {
		t.Fatalf("exit %d, %d lines: %s", code, len(lines), errOut)
	}
	for i, l := range lines {
		if want := string(rune('0'+i%10)) + []string{": block by room", ": allow by otherwise"}[i%2]; l != want {
			t.Fatalf("line %d is %q, want %q", i, l, want)
		}
	}
	if code, out, _ := call(t, "", "policy", "try", "--policy", file, "-"); code != 0 || out != "" {
		t.Errorf("no texts: exit %d, %q", code, out)
	}
}

// TestExportWritesWhatItIsAskedFor: to a file or to the standard output the same, and nothing where the policy stops nothing.
func TestExportWritesWhatItIsAskedFor(t *testing.T) {
	file := write(t, "p.yaml", everyPlane)
	code, list, _ := call(t, "", "policy", "export")
	if code != 0 || !strings.Contains(list, "fapolicyd") {
		t.Fatalf("exit %d: %s", code, list)
	}
	for line := range strings.Lines(list) {
		name := strings.Fields(line)[0]
		target := filepath.Join(t.TempDir(), "rules")
		code, printed, errOut := call(t, "", "policy", "export", "--format", name, "--url", "https://mdm.example.org/p", file)
		written, _, errOutFile := call(t, "", "policy", "export", "--format", name, "--url", "https://mdm.example.org/p", "-o", target, file)
		raw, err := os.ReadFile(target)
		if code != 0 || written != 0 || err != nil || printed == "" || len(raw) != len(printed) {
			t.Errorf("%s: exit %d and %d, %v: %d bytes printed, %d written: %s%s", name, code, written, err, len(printed), len(raw), errOut, errOutFile)
		}
	}
	var kinds []string
	target := filepath.Join(t.TempDir(), "rules")
	for _, args := range [][]string{{"policy", "export", "--json"}, {"policy", "export", "--json", "--format", "santa", "-o", target, file}} {
		code, out, errOut := call(t, "", args...)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", args, code, errOut)
		}
		for line := range strings.Lines(out) {
			var l struct{ Type, Name, Text, Path string }
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Name+l.Text+l.Path == "" {
				t.Errorf("%q: %s: %v", args, line, err)
			}
			if !slices.Contains(kinds, l.Type) {
				kinds = append(kinds, l.Type)
			}
		}
	}
	if !slices.Equal(kinds, []string{"format", "note", "export"}) {
		t.Errorf("lines are of %q", kinds)
	}
	if code, out, errOut := call(t, "", "policy", "export", "--json", "--format", "santa", file); code != 2 || out != "" || !strings.Contains(errOut, "hint: give it a file") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	watched := write(t, "w.yaml", strings.Replace(everyPlane, "version: 1", "version: 1\nmode: monitor", 1))
	if code, out, errOut := call(t, "", "policy", "export", "--format", "fapolicyd", watched); code != 2 || out != "" || !strings.Contains(errOut, "hint: --enforce") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
}

// TestExportForAPersonOfTheDirectory: the groups of the people table of the configuration hold for a person, and for the machine that is hers.
func TestExportForAPersonOfTheDirectory(t *testing.T) {
	config := write(t, "chaperone.yaml", "policy: p.yaml\npeople: {csv: people.csv}\n")
	for name, text := range map[string]string{"people.csv": "person,host,groups\nalice,mac-a,traders\nbob,mac-b,\n",
		"p.yaml": "version: 1\ngroups: {traders: {}}\nrules:\n  - {id: may, apps: [telegram], groups: [traders], verdict: allow}\n  - {id: none, apps: ['*'], verdict: block}\n"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(config), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		who     []string
		allowed bool
	}{{[]string{"--person", "alice"}, true}, {[]string{"--host", "MAC-A"}, true}, {[]string{"--person", "bob"}, false}, {[]string{"--host", "mac-b"}, false}, {nil, false}} {
		code, out, errOut := call(t, "", append([]string{"policy", "export", "--format", "santa", "--enforce", "--config", config}, c.who...)...)
		if code != 0 || strings.Contains(out, "6N38VWS5BX") == c.allowed || strings.Contains(errOut, "none was asked") != (c.who == nil) {
			t.Errorf("%q: exit %d, telegram stopped %v: %s", c.who, code, strings.Contains(out, "6N38VWS5BX"), errOut)
		}
	}
	code, _, errOut := call(t, "", "policy", "export", "--format", "santa", "--enforce", "--config", config, "--person", "alcie")
	if code != 2 || !strings.Contains(errOut, `knows no person "alcie"`) {
		t.Errorf("a person nobody knows: exit %d, %s", code, errOut)
	}
}
