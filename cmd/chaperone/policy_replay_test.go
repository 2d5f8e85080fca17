package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server"
)

// judged records events as gateways and sensors do: inspected, decided by the policy in force, and stored.
func (d *desk) judged(events ...*event.Event) {
	d.t.Helper()
	s, rules := d.open()
	for _, e := range events {
		if err := rules.Try(d.t.Context(), e); err != nil {
			d.t.Error(err)
		}
		e.Verdict = rules.Decide(&policy.Input{Event: e, Now: e.Received, Final: true})
	}
	if err := s.Recorder.Record(d.t.Context(), events...); err != nil {
		d.t.Error(err)
	}
	if err := s.Close(); err != nil {
		d.t.Error(err)
	}
}

// answers runs a command of lines, and returns the lines about records by id, and the summary.
func (d *desk) answers(status int, args ...string) (map[event.ID]server.Redecided, server.Replayed) {
	d.t.Helper()
	lines := strings.Split(strings.TrimSpace(d.says(status, `"type":"summary"`, args...)), "\n")
	out := map[event.ID]server.Redecided{}
	for _, line := range lines[:len(lines)-1] {
		var l server.Redecided
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			d.t.Fatal(err)
		}
		out[l.ID] = l
	}
	var sum server.Replayed
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil {
		d.t.Fatal(err)
	}
	return out, sum
}

func (d *desk) editPolicy(from, to string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, "policy.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		d.t.Fatalf("the policy does not have %q", from)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(from), []byte(to), 1), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// TestPolicyReplay decides a real record anew: by the same version, by another, with a verdict that is not what was decided, and erased.
func TestPolicyReplay(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	card, lunch, venue := wrote(now, "alice", "4111 1111 1111 1111"), wrote(now, "alice", "lunch?"), wrote(now, "bob", "let's move this to WhatsApp")
	venue.Audience = []event.Party{{Handle: "x@other.org"}}
	flow := &event.Event{ID: event.NewID(), Kind: event.FlowSeen, Time: now, Received: now, Connector: "border", Host: event.Host{Name: "laptop-17", Person: "alice"},
		Content: event.Content{Flow: &event.Flow{Proto: "tcp", App: "whatsapp", Confidence: event.High, Name: "web.whatsapp.com", Server: "157.240.0.60:443"}}}
	weak := &event.Event{ID: event.NewID(), Kind: event.FlowSeen, Time: now, Received: now, Connector: "border", Host: event.Host{Name: "laptop-17", Person: "alice"},
		Content: event.Content{Flow: &event.Flow{Proto: "tcp", App: "telegram", Confidence: event.Low, Server: "149.154.167.50:443"}}}
	d.judged(card, lunch, venue, flow, weak)
	if card.Verdict.Action != event.Block || len(venue.Verdict.Obligations) != 1 || flow.Verdict.Action != event.Block || weak.Verdict.Action != event.Allow {
		t.Fatalf("decided %+v, %+v, %+v, %+v", card.Verdict, venue.Verdict, flow.Verdict, weak.Verdict)
	}
	d.says(2, "--purpose", d.as("reviewer", "policy", "replay")...)
	d.says(2, "may not read content", d.as("admin", "policy", "replay", "--purpose", "audit")...)
	lines, sum := d.answers(0, d.as("reviewer", "policy", "replay", "--json", "--purpose", "audit")...)
	if len(lines) != 0 || sum.Records != 5 || sum.Same != 5 || sum.OtherVersion != 0 || sum.Policy != card.Verdict.Policy {
		t.Errorf("replayed: %+v %+v", lines, sum)
	}
	d.says(0, "2 of 2 verdicts come again", d.as("reviewer", "policy", "replay", "--purpose", "audit", "kind:flow")...)
	d.says(0, "content.read policy.replay", d.as("reviewer", "search", "kind:act policy.replay", "--purpose", "audit")...)
	d.replayForged(card.Verdict.Policy)

	for _, who := range []string{"counsel", "reviewer"} {
		d.says(0, "", d.as(who, "erase", string(lunch.ID), "--reason", "asked for")...)
	}
	d.editPolicy(`verdict: block, say: "Card numbers may not be sent by chat."`, "verdict: allow")
	lines, sum = d.answers(0, d.as("reviewer", "policy", "replay", "--json", "--purpose", "audit")...)
	if sum.OtherVersion != 5 || sum.Erased != 1 || sum.Broken != 0 || sum.Differ != 2 || lines[card.ID].Now.Verdict != event.Allow || lines[lunch.ID].Result != server.Erased {
		t.Errorf("by another version: %+v %+v", lines, sum)
	}
	d.says(0, "5 were decided by another version", d.as("reviewer", "policy", "replay", "--purpose", "audit")...)
	d.says(0, "1 cannot be decided anew", d.as("reviewer", "policy", "replay", "--purpose", "audit")...)
}

// replayForged records a verdict that the policy in force did not give, in its name: replay must find it.
func (d *desk) replayForged(version string) {
	d.t.Helper()
	now := time.Now().UTC()
	forged := wrote(now, "bob", "nothing")
	forged.Verdict = event.Verdict{Action: event.Block, Rule: "cards", Enforced: true, Policy: version}
	d.record(forged)
	lines, sum := d.answers(1, d.as("reviewer", "policy", "replay", "--json", "--purpose", "audit")...)
	if l := lines[forged.ID]; sum.Broken != 1 || sum.Changes["block to allow"] != 1 || l.Result != server.Differs || l.Recorded.Rule != "cards" || l.Now.Rule != "otherwise" {
		d.t.Errorf("a verdict that was not decided so: %+v %+v", lines, sum)
	}
	d.says(1, "1 differ although the same version decided them", d.as("reviewer", "policy", "replay", "--purpose", "audit")...)
}

// TestPolicyDryRun asks what a policy with a lexicon of its own, and without the card rule, would have changed.
func TestPolicyDryRun(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	card, lunch := wrote(now, "alice", "4111 1111 1111 1111"), wrote(now, "alice", "about project aurora")
	file := wrote(now, "alice", "")
	file.Kind, file.Files = event.FileUpload, []event.File{{Name: "aurora.txt", Size: 3}}
	d.judged(card, lunch, file)
	old := filepath.Join(d.dir, "policy.yaml")
	text, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	next := strings.Replace(string(text), "  - {id: malware,", "  - {id: projects, messages: 'hits.exists(h, h.name == \"aurora\")', verdict: block}\n  - {id: malware,", 1)
	next = strings.Replace(next, "packs: [pii, venue, secrets]", "packs: [venue]\nlexicons: {aurora: {words: [aurora]}}", 1)
	for _, gone := range []string{"  - {id: cards,", "  - {id: secrets,"} {
		before, after, _ := strings.Cut(next, gone)
		_, after, _ = strings.Cut(after, "\n")
		next = before + after
	}
	path := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(path, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	dry := d.as("counsel", "policy", "dry-run", "--policy", path, "--purpose", "what would change")
	lines, sum := d.answers(0, append(dry, "--json")...)
	if sum.Records != 3 || sum.Differ != 3 || sum.Changes["allow to block"] != 2 || sum.Changes["block to allow"] != 1 || lines[lunch.ID].Now.Rule != "projects" || lines[card.ID].Now.Verdict != event.Allow {
		t.Errorf("%+v %+v", lines, sum)
	}
	d.says(0, "2 allow to block", dry...)
	same := d.as("counsel", "policy", "dry-run", "--policy", old, "--purpose", "what would change")
	if _, sum := d.answers(0, append(same, "--json")...); sum.Same != 3 || sum.OtherVersion != 0 {
		t.Errorf("by the policy in force: %+v", sum)
	}
	ofConfig := d.as("counsel", "policy", "dry-run", "--purpose", "what would change")
	if _, sum := d.answers(0, append(ofConfig, "--json")...); sum.Same != 3 || sum.OtherVersion != 0 {
		t.Errorf("by the policy that the configuration names: %+v", sum)
	}
	if err := os.WriteFile(path, []byte("version: 1\nrulez: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.says(2, "unknown key", dry...)
}
