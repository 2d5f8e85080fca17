package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// demoCapture writes the demonstration's capture to a file.
func demoCapture(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "demo.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := flowtest.WriteDemo(f, netip.MustParseAddr("10.0.0.7"), time.Date(2026, 11, 25, 9, 0, 0, 123456000, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// runCommand runs a command line and returns its status and what it said.
func runCommand(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(args, &command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: &o, ErrOut: &e})
	return status, o.String(), e.String()
}

// lines decodes JSON lines.
func lines(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, m)
	}
	return list
}

func TestInspectJSON(t *testing.T) {
	status, out, errOut := runCommand(t, "inspect", "--json", "--host", "pc-7", demoCapture(t))
	if status != 1 || errOut != "" {
		t.Fatalf("status %d, %s", status, errOut)
	}
	list := lines(t, out)
	if len(list) != 7 {
		t.Fatalf("%d lines, want 7: %s", len(list), out)
	}
	for _, key := range []string{
		"type", "capture", "proto", "client", "server", "first_seen", "app", "service", "confidence", "evidence", "verdict", "rule", "packets", "bytes",
		"packets_to_verdict", "enforced",
	} {
		for _, l := range list {
			if _, ok := l[key]; !ok {
				t.Errorf("a line without %s: %v", key, l)
			}
		}
	}
	first := list[0]
	if first["capture"] != "demo.pcapng" || first["first_seen"] != "2026-11-25T09:00:00.123456Z" || first["host"] != "pc-7" {
		t.Errorf("first line: %v", first)
	}
	apps := map[any]int{}
	for _, l := range list {
		apps[l["app"]]++
		if stops := l["verdict"] == "block"; stops != (l["app"] != "") {
			t.Errorf("%v is %v by %v", l["app"], l["verdict"], l["rule"])
		}
	}
	if apps["whatsapp"] != 4 || apps["telegram"] != 1 || apps[""] != 2 {
		t.Errorf("apps %v", apps)
	}
}

func TestInspectForPeople(t *testing.T) {
	status, out, _ := runCommand(t, "inspect", demoCapture(t))
	if status != 1 || !strings.Contains(out, "MESSENGER") || !strings.Contains(out, "telegram") || !strings.Contains(out, "7 flows: 5 of messengers, 5 that policy forbids") {
		t.Errorf("status %d:\n%s", status, out)
	}
}

func TestInspectWithAnotherPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	text := "version: 1\nrules:\n  - {id: all, apps: [\"*\"], verdict: allow}\notherwise: {network: allow}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errOut := runCommand(t, "inspect", "--json", "--policy", path, demoCapture(t)); status != 0 || strings.Contains(out, `"block"`) {
		t.Errorf("status %d: %s %s", status, out, errOut)
	}
	if status, _, errOut := runCommand(t, "inspect", "--policy", path+"x", demoCapture(t)); status != 2 || errOut == "" {
		t.Errorf("a missing policy: status %d, %q", status, errOut)
	}
}

func TestInspectGoesOnAfterABadCapture(t *testing.T) {
	good := demoCapture(t)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text, cut, missing := filepath.Join(dir, "text.pcap"), filepath.Join(dir, "cut.pcapng"), filepath.Join(dir, "missing.pcap")
	if err := os.WriteFile(text, []byte("no capture at all, but a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, whole[:len(whole)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, errOut := runCommand(t, "inspect", "--json", text, missing, cut, good)
	if status != 2 || !strings.Contains(errOut, "2 of 4 captures") {
		t.Errorf("status %d, %s", status, errOut)
	}
	var reasons []string
	flows := 0
	for _, l := range lines(t, out) {
		if l["type"] == "error" {
			reasons = append(reasons, l["capture"].(string)+": "+l["reason"].(string))
		} else {
			flows++
		}
	}
	want := []string{"neither pcap nor pcapng", "no such file", "in the middle of a packet"}
	if len(reasons) != 3 || flows != 14 {
		t.Fatalf("%d flows, reasons %q", flows, reasons)
	}
	for i, w := range want {
		if !strings.Contains(reasons[i], w) {
			t.Errorf("reason %q, want %q", reasons[i], w)
		}
	}
}

func TestInspectUsage(t *testing.T) {
	for _, args := range [][]string{{"inspect"}, {"inspect", "-i", "lo", "x.pcap"}, {"inspect", "-i", "no-such-interface", "--for", "1s"}} {
		if status, _, errOut := runCommand(t, args...); status != 2 || !strings.Contains(errOut, "hint:") {
			t.Errorf("%v: status %d, %s", args, status, errOut)
		}
	}
}

// TestSurvey listens to loopback in a network namespace of its own, where a messenger's name is asked for until it is found.
func TestSurvey(t *testing.T) {
	namespace(t)
	from, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for ctx.Err() == nil {
			from.WriteTo(flowtest.Question("web.telegram.org"), to.LocalAddr())
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	status, out, errOut := runCommand(t, "survey", "lo", "--for", "1s", "--json")
	stop()
	<-asked
	if status != 0 || !strings.Contains(out, `"app":"telegram"`) || !strings.Contains(out, `"verdict":"block"`) {
		t.Errorf("status %d: %s %s", status, out, errOut)
	}
}

// namespace puts the test into a network namespace of its own, with loopback up. The thread ends with the test.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = exec.Command("ip", "link", "set", "lo", "up").Run()
	}
	if err != nil && os.Getenv("CHAPERONE_CI") == "1" {
		t.Fatalf("network namespace: %v", err)
	}
	if err != nil {
		t.Skipf("a network namespace needs root and iproute2: %v", err)
	}
}

// recorder is an event.Recorder that keeps what it is given.
type recorder struct{ events []*event.Event }

func (r *recorder) Record(_ context.Context, events ...*event.Event) error {
	r.events = append(r.events, events...)
	return nil
}

func TestInspectRecordsFindings(t *testing.T) {
	r := &recorder{}
	c := inspectCmd{JSON: true, Host: "pc-7", Captures: []string{demoCapture(t)}, recorder: r}
	if err := c.Run(&command.Env{Ctx: t.Context(), Out: io.Discard, ErrOut: io.Discard}); !errors.Is(err, command.ErrFindings) {
		t.Fatal(err)
	}
	if len(r.events) != 5 {
		t.Fatalf("%d events, want the 5 flows of messengers", len(r.events))
	}
	for _, e := range r.events {
		if e.Kind != event.FlowSeen || e.Flow.App == "" || e.Host.Name != "pc-7" || e.Source != event.SourceCapture || len(e.Evidence) == 0 || e.ID == "" {
			t.Errorf("event %+v", e)
		}
	}
}

// TestExplainChangesNothing: what is explained is neither recorded nor a finding.
func TestExplainChangesNothing(t *testing.T) {
	r := &recorder{}
	var out bytes.Buffer
	c := inspectCmd{Explain: "tcp 10.0.0.7:40021 149.154.167.51:443", Captures: []string{demoCapture(t)}, recorder: r}
	if err := c.Run(&command.Env{Ctx: t.Context(), Out: &out, ErrOut: &out}); err != nil {
		t.Fatal(err)
	}
	if len(r.events) > 0 || out.Len() == 0 {
		t.Errorf("%d events, %q", len(r.events), out.String())
	}
	c.Interface, c.Captures = "lo", nil
	if err := c.Run(&command.Env{Ctx: t.Context(), Out: &out, ErrOut: &out}); err == nil || hint.Of(err) != "" {
		t.Errorf("an interface was explained: %v", err)
	}
}

// TestExplainEveryFlow: each flow of the capture can be asked for by its number.
func TestExplainEveryFlow(t *testing.T) {
	capture := demoCapture(t)
	for n := range 7 {
		status, out, errOut := runCommand(t, "inspect", "--json", "--explain", string(rune('1'+n)), capture)
		list := lines(t, out)
		if status != 0 || len(list) != 1 || list[0]["number"] != float64(n+1) {
			t.Errorf("%d: status %d, %s %s", n+1, status, out, errOut)
		}
	}
}

// full is a writer that has no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestOutputThatFails(t *testing.T) {
	capture := demoCapture(t)
	for _, args := range [][]string{{"inspect", capture}, {"inspect", "--json", capture}} {
		var errOut bytes.Buffer
		status := run(args, &command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: full{}, ErrOut: &errOut})
		if status != 2 || !strings.Contains(errOut.String(), "no room") {
			t.Errorf("%v: status %d, %s", args, status, errOut.String())
		}
	}
}

func TestInspectStandardInput(t *testing.T) {
	f, err := os.Open(demoCapture(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	status := run([]string{"inspect", "--json", "-"}, &command.Env{Ctx: t.Context(), In: f, Out: &out, ErrOut: io.Discard})
	if list := lines(t, out.String()); status != 1 || len(list) != 7 || list[0]["capture"] != "-" {
		t.Errorf("status %d: %s", status, out.String())
	}
}
