package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
)

// found makes a finding.
func found(app, client string, confidence event.Confidence, verdict event.Verdict) *classify.Finding {
	f := &classify.Finding{Verdict: verdict, Flow: event.Flow{App: app, Client: client, Server: "192.0.2.1:443", Bytes: 100, Confidence: confidence}}
	if app != "" {
		f.Evidence = []event.Evidence{{Fact: "tls name:" + app, Value: "www." + app, Strength: confidence}}
	}
	return f
}

// TestTable: a line per messenger and machine, sorted, with the best evidence; what is no messenger and not forbidden is only counted.
func TestTable(t *testing.T) {
	var b bytes.Buffer
	table := newFlowTable(&b)
	block, allow := event.Verdict{Action: event.Block, Rule: "no"}, event.Verdict{Action: event.Allow, Rule: "yes"}
	enforced := event.Verdict{Action: event.Block, Rule: "hard", Enforced: true}
	for _, f := range []*classify.Finding{
		found("whatsapp", "10.0.0.7:1", event.Low, block), found("whatsapp", "10.0.0.7:2", event.High, block), found("whatsapp", "[2001:db8::7]:2", event.High, block),
		found("xmpp", "10.0.0.7:3", event.Exact, allow), found("", "10.0.0.7:4", 0, allow), found("", "10.0.0.8:5", 0, enforced),
	} {
		if err := table.flow(f, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.failure("/captures/bad.pcap", errors.New("no capture")); err != nil {
		t.Fatal(err)
	}
	if err := table.close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"MESSENGER HOST FLOWS BYTES CONFIDENCE VERDICT RULE EVIDENCE",
		"(unknown) 10.0.0.8 1 100 0.00 block hard",
		"whatsapp 10.0.0.7 2 200 0.95 block (monitor) no tls name:whatsapp: www.whatsapp",
		"whatsapp 2001:db8::7 1 100 0.95 block (monitor) no tls name:whatsapp: www.whatsapp",
		"xmpp 10.0.0.7 1 100 0.99 allow yes tls name:xmpp: www.xmpp",
		"6 flows: 4 of messengers, 4 that policy forbids",
		"not read to the end: bad.pcap: no capture",
	}
	got := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(got) || i >= len(want) || strings.Join(strings.Fields(got[i]), " ") != want[i] {
			t.Fatalf("line %d of:\n%s\nwant:\n%s", i+1, b.String(), strings.Join(want, "\n"))
		}
	}
}

func TestTableNamesTheHost(t *testing.T) {
	var b bytes.Buffer
	table := newFlowTable(&b)
	if err := errors.Join(table.flow(found("signal", "10.0.0.7:1", event.High, event.Verdict{Action: event.Allow}), "pc-7"), table.close()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "pc-7") || strings.Contains(b.String(), "10.0.0.7") {
		t.Errorf("table:\n%s", b.String())
	}
}

// full is a writer that has no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestOutputThatFails(t *testing.T) {
	capture := demoCapture(t)
	for _, args := range [][]string{{"inspect", capture}, {"inspect", "--json", capture}} {
		var errOut bytes.Buffer
		status := run(args, &env{ctx: t.Context(), in: strings.NewReader(""), out: full{}, errOut: &errOut})
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
	status := run([]string{"inspect", "--json", "-"}, &env{ctx: t.Context(), in: f, out: &out, errOut: io.Discard})
	if list := lines(t, out.String()); status != 1 || len(list) != 7 || list[0]["capture"] != "-" {
		t.Errorf("status %d: %s", status, out.String())
	}
}

// TestProgress: each per cent is said once, and the line is cleared at the end.
func TestProgress(t *testing.T) {
	var said bytes.Buffer
	p := &progress{out: &said, name: "big.pcap", size: 1000, in: strings.NewReader(strings.Repeat("x", 1000))}
	if _, err := io.Copy(io.Discard, io.MultiReader(io.LimitReader(p, 10), io.LimitReader(p, 3), p)); err != nil {
		t.Fatal(err)
	}
	p.clear()
	text := said.String()
	if strings.Count(text, "big.pcap: 1 %") != 1 || !strings.Contains(text, "100 %") || !strings.HasSuffix(text, "\x1b[K") {
		t.Errorf("said %q", text)
	}
	if progressOn(&said) != nil {
		t.Error("a buffer is no terminal")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if progressOn(f) != nil {
		t.Error("a file is no terminal")
	}
}

// failingRecorder is an event.Recorder that cannot keep anything.
type failingRecorder struct{}

func (failingRecorder) Record(context.Context, ...*event.Event) error { return errors.New("disk full") }

func TestRecorderThatFails(t *testing.T) {
	r := &inspection{recorder: failingRecorder{}, out: newFlowLines(io.Discard, false)}
	r.take(t.Context(), found("signal", "10.0.0.7:1", event.High, event.Verdict{Action: event.Block}))
	if r.failed == nil || r.forbidden != 1 {
		t.Errorf("failed %v, forbidden %d", r.failed, r.forbidden)
	}
}
