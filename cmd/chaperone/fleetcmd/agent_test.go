package fleetcmd_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/fleetcmd"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/event"
)

// TestAgent: what the agent that decides records goes up, what the fleet decides comes down, and the two know each other by files and one socket.
func TestAgent(t *testing.T) {
	h := newHouse(t)
	h.serve()
	data, files := t.TempDir(), t.TempDir()
	conf := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(conf, []byte("data_dir: "+data+"\nagent: {server: \"https://"+h.address+"\", logs: [{format: fapolicyd, path: "+files+"/fapolicyd.log}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if set, err := fleetcmd.InForce(t.Context(), data); set != nil || err != nil {
		t.Fatalf("before it is enrolled: %v, %v", set, err)
	}
	h.has(h.fleet(2, "agent", "--config", conf), "not enrolled", "--state "+filepath.Join(data, "fleet"))
	code := strings.TrimSpace(h.admin(0, "enroll-code"))
	state := fleetcmd.State(data)
	h.fleet(2, "enroll", "--state", state, "--server", h.address, "--wait", "1s", code)
	h.admin(0, "approve", "--all")
	h.fleet(0, "enroll", "--state", state, "--server", h.address, code)
	if _, err := scantest.WriteRenamedInstaller(files); err != nil {
		t.Fatal(err)
	}

	reload := make(chan os.Signal, 1)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { fleetcmd.Watch(ctx, data, reload) })
	t.Cleanup(func() { stop(); running.Wait() })
	var said bytes.Buffer
	running.Go(func() {
		var cli struct {
			Fleet fleetcmd.Command `cmd:""`
		}
		if code := command.Run(&cli, []string{"fleet", "agent", "--config", conf, "--scan", files, "--every", "100ms"}, &command.Env{Ctx: ctx, In: strings.NewReader(""), Out: &said, ErrOut: &said, Version: "1.2.3"}); code != 0 {
			t.Errorf("exit %d: %s", code, said.String())
		}
	})
	told := func(what string) {
		t.Helper()
		select {
		case <-reload:
		case <-time.After(2 * time.Minute):
			t.Fatalf("%s: the agent is not told", what)
		}
	}
	told("the first policy")
	first, err := fleetcmd.InForce(t.Context(), data)
	if err != nil || first == nil {
		t.Fatal(err)
	}
	e := &command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: &bytes.Buffer{}, ErrOut: &bytes.Buffer{}}
	remote := (&command.DataFlags{Config: conf}).Remote(e)
	sum := strings.Repeat("ab", 32)
	request := &event.Event{Kind: event.Act, Phase: "program.request", Connector: "agent", From: event.Party{Handle: "alice"},
		Content: event.Content{Act: &event.ActDetail{Action: "program.request", Object: sum, Purpose: "the press asks there", Details: []event.Fact{{Name: "path", Value: "/home/alice/Telegram"}}}}}
	if err := remote.Record(t.Context(), request, &event.Event{Kind: event.ProgramRun, Verdict: event.Verdict{Action: event.Block}, Content: event.Content{Program: &event.Program{Path: "/home/alice/Telegram", App: "telegram"}}}); err != nil {
		t.Fatal(err)
	}
	if _, held, err := remote.HostHeld(t.Context(), event.Host{}); held || err != nil {
		t.Errorf("held: %v, %v", held, err)
	}
	h.has(h.fleet(2, "agent", "--config", conf), "another process serves")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		asked := h.admin(0, "approvals")
		if id := regexp.MustCompile(`(?m)^([0-9a-f]{8}-[0-9a-f-]+) `).FindStringSubmatch(asked); id != nil {
			h.has(asked, "alice", sum, "the press asks there")
			h.admin(0, "allow", "--request", id[1], "--for", "1h")
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody asks")
		}
	}
	for {
		told("the exception")
		set, err := fleetcmd.InForce(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if v := decide(set, sum, ""); set.Policy.Version() != first.Policy.Version() && v.Action == event.Allow && strings.HasPrefix(v.Rule, "approval-") {
			break // asked, approved, and it runs
		}
	}
	h.learned(remote, data)
	h.firedOf(filepath.Join(files, "fapolicyd.log"))
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(h.admin(0, "hosts", "--programs", "--json"), `"app":"telegram"`); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no inventory")
		}
	}
}
