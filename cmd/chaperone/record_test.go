package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/account"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/search"
	"github.com/chaperone-im/chaperone/internal/server"
)

// desk is a data directory that quickstart made, with accounts that have passwords.
type desk struct {
	t   *testing.T
	dir string
}

const deskPassword = "correct horse battery"

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t, t.TempDir()}
	t.Setenv("CHAPERONE_PASSWORD", deskPassword)
	d.says(0, "Written to", "quickstart", d.dir)
	book, err := account.Open(filepath.Join(d.dir, "data"), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reviewer", "counsel", "admin"} {
		if err := book.SetPassword(name, deskPassword); err != nil {
			t.Fatal(err)
		}
	}
	policy := filepath.Join(d.dir, "policy.yaml")
	text, err := os.ReadFile(policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policy, bytes.Replace(text, []byte("days: 2190, erasable: no"), []byte("days: 30, erasable: request"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// says runs a command line and checks its exit status and that it says a thing, on either stream.
func (d *desk) says(status int, what string, args ...string) string {
	d.t.Helper()
	var out, errOut bytes.Buffer
	if got := run(args, &command.Env{Ctx: d.t.Context(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut}); got != status {
		d.t.Fatalf("%q: exit status %d, want %d\n%s%s", args, got, status, &out, &errOut)
	}
	if !strings.Contains(out.String()+errOut.String(), what) {
		d.t.Errorf("%q does not say %q:\n%s%s", args, what, &out, &errOut)
	}
	return out.String()
}

// as adds who asks.
func (d *desk) as(who string, args ...string) []string {
	return append(args, "--config", filepath.Join(d.dir, "chaperone.yaml"), "--account", who)
}

// open opens the data directory as serve does.
func (d *desk) open() (*server.Store, *server.Rules) {
	d.t.Helper()
	c, err := config.Load(filepath.Join(d.dir, "chaperone.yaml"))
	if err != nil {
		d.t.Fatal(err)
	}
	rules, err := server.LoadRules(c)
	if err != nil {
		d.t.Fatal(err)
	}
	s, err := server.OpenStore(d.t.Context(), c, rules.Class, health.NewBoard(time.Now), slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	s.Start(d.t.Context())
	return s, rules
}

func (d *desk) record(events ...*event.Event) {
	d.t.Helper()
	s, _ := d.open()
	if err := s.Recorder.Record(d.t.Context(), events...); err != nil {
		d.t.Error(err)
	}
	if err := s.Close(); err != nil {
		d.t.Error(err)
	}
}

func wrote(at time.Time, who, text string) *event.Event {
	return &event.Event{ID: event.NewID(), Kind: event.Message, Time: at, Received: at, Connector: "office", From: event.Party{Handle: who + "@example.org", Person: who},
		Room: event.Room{Name: "desk@rooms.example.org"}, Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Text: text}}
}

func TestSearchAndPersonOnTheCommandLine(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	flow := &event.Event{ID: event.NewID(), Kind: event.FlowSeen, Time: now.Add(time.Minute), Received: now, Connector: "border", Host: event.Host{Name: "laptop-17", Person: "alice"},
		Verdict: event.Verdict{Action: event.Block, Rule: "no-messengers"}, Content: event.Content{Flow: &event.Flow{App: "whatsapp", Name: "web.whatsapp.com", Server: "157.240.0.60:443"}}}
	d.record(wrote(now, "alice", "let's move this to WhatsApp\x1b[2J"), flow, wrote(now, "bob", "unrelated"))
	d.says(2, "--purpose", d.as("reviewer", "search", "whatsapp")...)
	d.says(2, "may not read content", d.as("admin", "search", "whatsapp", "--purpose", "x")...)
	d.says(2, "character 1: colour: is no field", d.as("reviewer", "search", "colour:red", "--purpose", "x")...)
	if out := d.says(0, "web.whatsapp.com", d.as("reviewer", "search", "whatsapp", "--purpose", "x")...); strings.Contains(out, "\x1b") {
		t.Error("what a stranger wrote reached the terminal as it was")
	}
	lines := strings.Split(strings.TrimSpace(d.says(0, "", d.as("reviewer", "search", "whatsapp", "--purpose", "x", "--json")...)), "\n")
	var first search.Hit
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 2 || first.Type != "message" || first.App != "whatsapp" || first.Rule != "no-messengers" {
		t.Errorf("%d lines, the first %+v (%v)", len(lines), first, err)
	}
	if out := d.says(0, "", d.as("reviewer", "search", "--purpose", "x", "--count")...); out != "3\n" {
		t.Errorf("count of everything says %q", out)
	}
	if out := d.says(0, "", d.as("reviewer", "search", "--purpose", "x", "--json", "--limit", "1")...); strings.Count(out, "\n") != 1 {
		t.Errorf("one of all is %q", out)
	}
	line := d.says(0, "let's move this", d.as("reviewer", "person", "alice", "--purpose", "x")...)
	if strings.Contains(line, "unrelated") || !strings.Contains(line, "web.whatsapp.com") {
		t.Errorf("her time line is\n%s", line)
	}
	d.says(2, "not in the archive", d.as("reviewer", "person", "nobody", "--purpose", "x")...)
	d.says(0, "content.read search whatsapp", d.as("reviewer", "search", "kind:act content.read", "--purpose", "audit")...) // every look is on record
	before := d.says(0, "", d.as("reviewer", "search", "--purpose", "x", "--json")...)
	d.says(0, "rebuilt", "rebuild", "--config", filepath.Join(d.dir, "chaperone.yaml"))
	if after := d.says(0, "", d.as("reviewer", "search", "--purpose", "x", "--json")...); after != before {
		t.Errorf("search differs after a rebuild:\n%s\n%s", before, after)
	}
}

func TestHoldEraseAndDisposeOnTheCommandLine(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	young, kept, old := wrote(now, "alice", "number one"), wrote(now.AddDate(0, 0, -40), "alice", "number two"), wrote(now.AddDate(0, 0, -40), "bob", "number three")
	d.record(young, kept, old)
	erase := func(who string) []string { return d.as(who, "erase", string(young.ID), "--reason", "GDPR, article 17") }
	d.says(2, "role counsel", d.as("reviewer", "hold", "place", "case-7", "--person", "alice", "--reason", "litigation")...)
	d.says(0, "", d.as("counsel", "hold", "place", "case-7", "--person", "alice", "--reason", "litigation")...)
	d.says(0, "case-7", d.as("counsel", "hold", "list")...)
	d.says(2, `held for matter "case-7"`, erase("counsel")...)
	d.says(0, "number one", d.as("reviewer", "search", "matter:case-7", "--purpose", "x")...)
	d.says(2, "role counsel", d.as("reviewer", "dispose", "--reason", "schedule", "--do")...)
	d.says(0, "2 records are past their retention; 1 are held and stay; 1 would be disposed of", d.as("counsel", "dispose", "--reason", "schedule")...)
	d.says(0, "1 were disposed of", d.as("counsel", "dispose", "--reason", "schedule", "--do")...)
	d.says(0, "number two", d.as("reviewer", "search", "number", "--purpose", "x")...)
	if out := d.says(0, "", d.as("reviewer", "search", "three", "--purpose", "x", "--count")...); out != "0\n" {
		t.Errorf("what was disposed of is found: %s", out)
	}
	d.says(0, "", d.as("counsel", "hold", "release", "case-7", "--reason", "settled")...)
	d.says(0, "requested", erase("counsel")...)
	d.says(0, "requested", erase("counsel")...)
	d.says(0, "erased", erase("reviewer")...)
	d.says(2, "destroyed already", erase("counsel")...)
	d.says(0, "1 disposed", "verify", filepath.Join(d.dir, "data"))
}

// TestForgedActsAreNotRecorded sends acts that would release holds or destroy records, in the name of the machine's administrator.
func TestForgedActsAreNotRecorded(t *testing.T) {
	d := newDesk(t)
	store, rules := d.open()
	defer store.Close()
	ops := server.Operations(store, rules)
	for action, taken := range map[string]bool{"hold.release": false, "hold.place": false, "record.erase": false, "record.dispose": false, "content.read": false, "account.create": false,
		"quarantine.take": true, "program.remove": true} {
		w, err := server.ToWire(&event.Event{ID: event.NewID(), Kind: event.Act, Phase: action, Content: event.Content{Act: &event.ActDetail{Action: action, Object: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		err = ops.Run(context.WithoutCancel(t.Context()), "record", &control.Call{Caller: control.Caller{Account: "root", Roles: []control.Role{control.Administrator}}, Args: json.RawMessage("{}"),
			In: bytes.NewReader(line), Out: io.Discard})
		if (err == nil) != taken {
			t.Errorf("%s: %v", action, err)
		}
	}
}
