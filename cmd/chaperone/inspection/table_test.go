package inspection

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
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
	table := NewTable(&b, nil, false)
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
	if err := table.failure("bad.pcap", errors.New("no capture")); err != nil {
		t.Fatal(err)
	}
	table.read(&total{captures: 2, opened: 2, counts: flow.Counts{Packets: 60, Cut: 3, Evicted: 1}})
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"MESSENGER HOST FLOWS BYTES PHASES CONFIDENCE VERDICT RULE FLOW EVIDENCE",
		"(unknown) 10.0.0.8 1 100 - 0.00 block hard 6",
		"whatsapp 10.0.0.7 2 200 - 0.95 block (monitor) no 2 tls name:whatsapp: www.whatsapp",
		"whatsapp 2001:db8::7 1 100 - 0.95 block (monitor) no 3 tls name:whatsapp: www.whatsapp",
		"xmpp 10.0.0.7 1 100 - 0.99 allow yes 4 tls name:xmpp: www.xmpp",
		"6 flows: 4 of messengers, 4 that policy forbids",
		"2 messengers, 2 flows unknown; 60 packets, 3 cut short; 2 captures, 1 with errors; 1 flows left early for lack of room",
		"not read to the end: bad.pcap: no capture",
	}
	got := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(got) || i >= len(want) || strings.Join(strings.Fields(got[i]), " ") != want[i] {
			t.Fatalf("line %d of:\n%s\nwant:\n%s", i+1, b.String(), strings.Join(want, "\n"))
		}
	}
}

// TestTableEvidence: with --evidence every fact stands below, the strongest first, with how often and where it was first seen.
func TestTableEvidence(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b, nil, true)
	for i, service := range []string{"call", "call", ""} {
		f := found("signal", "10.0.0.7:1", event.High, event.Verdict{Action: event.Allow})
		f.Flow.Service = service
		if i == 2 {
			f.Evidence = append(f.Evidence, event.Evidence{Fact: "traffic:x", Value: "stun", Strength: event.Exact, Source: "RFC"})
		}
		if err := table.flow(f, "pc\x1b[31m7"); err != nil {
			t.Fatal(err)
		}
	}
	table.read(&total{counts: flow.Counts{Packets: 9}, kernel: flow.Stats{Packets: 10, Dropped: 1}})
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"call 2", "  0.99  traffic:x: stun; 1 flows, first 3; RFC\n  0.95  tls name:signal: www.signal; 3 flows, first 1", "9 packets, 1 of 10 dropped by the kernel"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("a host name speaks to the terminal")
	}
}

func TestTableNamesTheHost(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b, nil, false)
	if err := errors.Join(table.flow(found("signal", "10.0.0.7:1", event.High, event.Verdict{Action: event.Allow}), "pc-7"), table.Close()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "pc-7") || strings.Contains(b.String(), "10.0.0.7") {
		t.Errorf("table:\n%s", b.String())
	}
}

// TestProgress: each per cent is said once, and the line is cleared at the end.
func TestProgress(t *testing.T) {
	var said bytes.Buffer
	p := newProgress(&said, "big.pcap", 1000, strings.NewReader(strings.Repeat("x", 1000)))
	if _, err := io.Copy(io.Discard, io.MultiReader(io.LimitReader(p, 10), io.LimitReader(p, 3), p)); err != nil {
		t.Fatal(err)
	}
	p.read, p.from, p.now = 250, time.Unix(0, 0), func() time.Time { return time.Unix(10, 0) }
	if left := p.left(); left != ", 0 MB/s, 30s left" {
		t.Errorf("left %q", left)
	}
	p.clear()
	text := said.String()
	if strings.Count(text, "big.pcap: 1 %") != 1 || !strings.Contains(text, "100 %") || !strings.HasSuffix(text, "\x1b[K") {
		t.Errorf("said %q", text)
	}
}

// failingRecorder is an event.Recorder that cannot keep anything.
type failingRecorder struct{}

func (failingRecorder) Record(context.Context, ...*event.Event) error { return errors.New("disk full") }

func TestRecorderThatFails(t *testing.T) {
	r := &Run{Recorder: failingRecorder{}, Out: NewLines(io.Discard, false)}
	r.take(t.Context(), found("signal", "10.0.0.7:1", event.High, event.Verdict{Action: event.Block}))
	if r.failed == nil || r.Forbidden != 1 {
		t.Errorf("failed %v, forbidden %d", r.failed, r.Forbidden)
	}
}
