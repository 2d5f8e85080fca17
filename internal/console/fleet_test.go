package console_test

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/console"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/client"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/spool"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
	"github.com/chaperone-im/chaperone/internal/server/fleet"
)

// inForce is what the fleet has in force.
type inForce struct{ text string }

func (s inForce) Version() string                           { return "0123456789abcdef" }
func (s inForce) Policy() []byte                            { return []byte(s.text) }
func (s inForce) Catalog() ([]byte, error)                  { return nil, nil }
func (s inForce) Groups(event.Host) []string                { return nil }
func (s inForce) Check(fleet.Approval) error                { return nil }
func (*machine) Apply(context.Context, client.Bundle) error { return nil }

// Execute takes everything into quarantine, in words.
func (m *machine) Execute(_ context.Context, o protocol.Order) protocol.Report {
	var r protocol.Report
	for _, i := range o.Items {
		done := protocol.Outcome{Path: i.Path, SHA256: i.SHA256, Action: "quarantined", ID: "q1"}
		if o.Action == protocol.RestoreOrder && m.occupied.Load() {
			done.Error = "something else is there now"
		}
		r.Outcomes = append(r.Outcomes, done)
	}
	return r
}

// machine is one with an agent.
type machine struct {
	*client.Client
	spool    *spool.Spool
	occupied atomic.Bool // the paths of what it took away
}

// fleet gives the console a running fleet server with one machine that waits and one that has Telegram and asks for an exception.
func (r *rig) fleet() (*fleet.Server, *machine) {
	r.t.Helper()
	people := must[*identity.People](r.t)(identity.ParsePeople(strings.NewReader("person,host\nalice,laptop-17\n")))
	s := must[*fleet.Server](r.t)(fleet.New(fleet.Config{Listen: "127.0.0.1:0", Data: r.dir, Keys: filepath.Join(r.dir, "keys")},
		fleet.Deps{Source: inForce{"version: 1\n"}, Directory: people, Recorder: r.recorder, Acts: r.acts, Holds: r.holds, Board: r.board, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}))
	r.running(s.Run)
	r.web.Fleet = fleet.Pages{Server: s}
	code := must[protocol.Code](r.t)(protocol.ParseCode(must[string](r.t)(s.NewCode(r.t.Context(), "adam", "the third floor", time.Hour, 9))))
	dir := r.t.TempDir()
	enrol := func(dir, name string, waiting func(print string)) error {
		ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
		defer cancel()
		return client.Enrol(ctx, client.EnrolOptions{Dir: dir, Server: s.Addr().String(), Code: code, Machine: client.Machine{Name: name, Addresses: []string{"10.0.0.17"}, Version: "1.2.3"}, Every: 10 * time.Millisecond,
			Waiting: func(print string) { waiting(print); cancel() }})
	}
	enrol(r.t.TempDir(), "laptop-<b>18</b>", func(string) {})
	for range 2 { // asks, is approved, and asks again
		enrol(dir, "laptop-17", func(print string) { must[fleet.Host](r.t)(s.Approve(r.t.Context(), "adam", print)) })
	}
	m := &machine{spool: must[*spool.Spool](r.t)(spool.Open(filepath.Join(dir, "spool"), 0))}
	m.Client = must[*client.Client](r.t)(client.New(r.t.Context(), client.Options{Dir: dir, Machine: client.Machine{Name: "laptop-17", Version: "1.2.3", Mode: "deny-list"}, Apply: m, Execute: m, Spool: m.spool}))
	r.running(m.Run)
	for kind, v := range map[protocol.ItemKind]any{
		protocol.InventoryItem: protocol.Inventory{Scanned: time.Now().UTC(), Programs: []protocol.Program{{App: "telegram", Version: "5.1.7", Form: "client", Path: "/home/alice/<script>/Telegram", SHA256: strings.Repeat("ab", 32), Verdict: "block", Rule: "no-messengers", Certain: true, Identity: true}}},
		protocol.RequestItem:   protocol.Request{ID: "1", App: "telegram", Path: "/home/alice/Telegram", User: "alice", Reason: "the press asks there"},
	} {
		if err := m.Report(kind, v); err != nil {
			r.t.Fatal(err)
		}
	}
	r.until("the server has it", func() bool { return m.spool.Waiting() == 0 })
	return s, m
}

// running runs something until the test ends.
func (r *rig) running(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { run(ctx) })
	r.t.Cleanup(func() { stop(); done.Wait() })
}

func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not after half a minute", what)
		}
	}
}

var fleetPages = []string{"/fleet", "/fleet/host?id=x", "/approvals", "/campaigns"}

// TestFleetIsTheAdministrators: nobody else sees or changes it, and it is said where none is served.
func TestFleetIsTheAdministrators(t *testing.T) {
	r := newRig(t, noon)
	adam, rita := r.as("adam"), r.reading("rita")
	for _, p := range fleetPages {
		want(t, adam.get(p), http.StatusBadRequest, "serves no fleet")
		want(t, rita.get(p), http.StatusForbidden)
	}
	want(t, adam.post("/fleet", "what", "code"), http.StatusBadRequest)
	r.fleet()
	for _, p := range []string{"/fleet", "/approvals", "/campaigns"} {
		want(t, rita.post(p, "what", "code", "uses", "1", "hours", "1"), http.StatusForbidden)
		want(t, adam.get(p), http.StatusOK)
	}
	if strings.Contains(rita.get("/").body, `href="/fleet"`) || !strings.Contains(adam.get("/").body, `href="/fleet"`) {
		t.Error("the menu shows the fleet to the wrong people")
	}
}

// TestFleetStory: an administrator lets a machine in, sees what is on it, allows what somebody asks for, removes it everywhere and undoes that,
// by forms alone.
func TestFleetStory(t *testing.T) {
	r := newRig(t, noon)
	s, m := r.fleet()
	adam := r.as("adam")
	page := adam.get("/fleet")
	want(t, page, http.StatusOK, "laptop-17", "laptop-&lt;b&gt;18", "Waiting for approval", "the third floor", "Telegram", "5.1.7", "connected")
	waiting := s.Hosts(fleet.Pending)[0]
	want(t, adam.post("/fleet", "what", "approve", "id", waiting.ID), http.StatusSeeOther)
	if h, err := s.Host(waiting.ID); err != nil || h.State != fleet.Approved || h.By != "adam" {
		t.Errorf("%+v, %v", h, err)
	}
	want(t, adam.post("/fleet", "what", "approve", "id", waiting.ID), http.StatusOK, "Nothing was changed")
	want(t, adam.get("/fleet/host?id="+m.ID()), http.StatusOK, "/home/alice/&lt;script&gt;/Telegram", "no-messengers")
	want(t, adam.get("/fleet/host?id=nobody"), http.StatusBadRequest)
	want(t, adam.get("/fleet?q=telegram"), http.StatusOK, "laptop-17")
	if strings.Contains(adam.get("/fleet?q=nothing-of-the-kind").text(), "10.0.0.17") {
		t.Error("a search for nothing finds something")
	}
	code := adam.post("/fleet", "what", "code", "uses", "3", "hours", "24", "reason", "floor 4")
	want(t, code, http.StatusOK, "CF1-", "floor 4")
	want(t, adam.post("/fleet", "what", "code", "uses", "0", "hours", "24"), http.StatusOK, "Nothing was changed")

	want(t, adam.get("/approvals"), http.StatusOK, "the press asks there", "Telegram", "alice")
	_, asked := s.Approvals()
	want(t, adam.post("/approvals", "what", "allow", "id", asked[0].ID, "hours", "2"), http.StatusSeeOther)
	r.until("the machine has it", func() bool { return len(m.Current().Approvals) == 1 })
	granted, _ := s.Approvals()
	want(t, adam.get("/approvals"), http.StatusOK, "host laptop-17", "the press asks there")
	want(t, adam.post("/approvals", "what", "withdraw", "id", granted[0].ID), http.StatusSeeOther)
	r.until("the machine has it no more", func() bool { return len(m.Current().Approvals) == 0 })
	want(t, adam.post("/approvals", "what", "allow", "kind", "host", "name", "laptop-17", "app", "telegram", "hours", "0", "reason", "x"), http.StatusOK, "Nothing was changed")

	planned := adam.post("/campaigns", "what", "plan", "app", "telegram", "kind", "quarantine", "reason", "clean up")
	want(t, planned, http.StatusSeeOther)
	one := planned.header.Get("Location")
	shown := adam.get(one)
	want(t, shown, http.StatusOK, "planned", "laptop-17", "/home/alice/&lt;script&gt;/Telegram", "Begin with the canary machines")
	id, digest := strings.TrimPrefix(one, "/campaigns?id="), regexp.MustCompile(`name="plan" value="([0-9a-f]{64})"`).FindStringSubmatch(shown.body)[1]
	want(t, adam.post("/campaigns", "what", "canary", "id", id, "plan", "another"), http.StatusOK, "not the plan")
	want(t, adam.post("/campaigns", "what", "all", "id", id, "plan", digest), http.StatusOK, "no canary machine has begun")
	if strings.Contains(shown.body, "Go on with all machines") {
		t.Error("all machines are offered before the canary machines")
	}
	want(t, adam.post("/campaigns", "what", "canary", "id", id, "plan", digest), http.StatusSeeOther)
	r.until("done", func() bool { return strings.Contains(adam.get(one).text(), "done: 1 of 1 files") })
	m.occupied.Store(true)
	want(t, adam.post("/campaigns", "what", "undoing", "id", id), http.StatusSeeOther)
	r.until("not undone", func() bool { return strings.Contains(adam.get(one).text(), "undone: 0 of 1 files") })
	want(t, adam.get("/campaigns"), http.StatusOK, "undone, 1 failed", ">Failed</th>")
	want(t, adam.get(one), http.StatusOK, "something else is there now", "1 could not do all or refused", "Undo what was not brought back")
	m.occupied.Store(false)
	want(t, adam.post("/campaigns", "what", "undoing", "id", id), http.StatusSeeOther)
	r.until("undone", func() bool { return strings.Contains(adam.get(one).text(), "undone: 1 of 1 files") })
	r.until("undone in the list", func() bool { return strings.Contains(adam.get("/campaigns").text(), "Telegram undone") })
	want(t, adam.get("/campaigns"), http.StatusOK, "clean up")
	want(t, adam.post("/campaigns", "what", "plan", "app", "signal", "kind", "remove", "reason", "x"), http.StatusOK, "no host has it")
	want(t, adam.post("/fleet", "what", "format the disks"), http.StatusOK, "Nothing was changed")
	want(t, adam.post("/approvals", "what", "format the disks"), http.StatusBadRequest)
	want(t, adam.post("/fleet", "what", "refuse", "id", m.ID(), "reason", "stolen"), http.StatusSeeOther)
	r.until("put out", func() bool { h, err := s.Host(m.ID()); return err == nil && h.State == fleet.Revoked && !h.Seen.Online })
	if strings.Contains(adam.get("/fleet").body, "Could be removed from") {
		t.Error("a machine that was put out counts among those that have the messenger")
	}
}

// TestMessengersOnce: a machine shows a messenger once per version, however many files it has.
func TestMessengersOnce(t *testing.T) {
	h := console.FleetHost{Programs: []console.FleetProgram{{App: "irc", Path: "/a"}, {App: "irc", Path: "/b"}, {App: "irc", Version: "2", Path: "/c"}, {App: "telegram", Path: "/d"}}}
	if got := h.Messengers(); len(got) != 3 || got[0].Path != "/a" || got[1].Version != "2" || got[2].App != "telegram" {
		t.Errorf("%+v", got)
	}
}

// TestFleetUnrecorded: where an act cannot be recorded, nothing is done.
func TestFleetUnrecorded(t *testing.T) {
	r := newRig(t, noon)
	s, m := r.fleet()
	adam := r.as("adam")
	before := len(s.Codes())
	r.acts.set(context.DeadlineExceeded)
	want(t, adam.post("/fleet", "what", "code", "uses", "3", "hours", "24"), http.StatusOK, "could not be recorded")
	want(t, adam.post("/fleet", "what", "refuse", "id", m.ID(), "reason", "x"), http.StatusOK, "could not be recorded")
	r.acts.set(nil)
	if h, err := s.Host(m.ID()); err != nil || h.State != fleet.Approved || len(s.Codes()) != before {
		t.Error("it was done, and is not on record")
	}
}
