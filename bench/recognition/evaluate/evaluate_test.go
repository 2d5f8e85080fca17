package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// folder writes a corpus of two sources with one capture each, the demonstration's, and labels for some of its flows.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	var labels strings.Builder
	labels.WriteString("capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\n")
	for _, name := range []string{"one__demo.pcapng", "two__demo.pcapng"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(flowtest.WriteDemo(f, netip.MustParseAddr("10.0.0.7"), at), f.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := newRunner(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.names = []string{filepath.Join(dir, name)}
		for _, v := range flowsOf(t, r) {
			app := v.app
			if app == "" {
				app = "none"
			}
			kind := "tls"
			if v.proto == "udp" {
				kind = "dns"
			}
			fields := strings.Fields(v.key)
			a, b := netip.MustParseAddrPort(fields[2]), netip.MustParseAddrPort(fields[3])
			labels.WriteString(strings.Join([]string{name, v.proto, a.Addr().String(), strconv.Itoa(int(a.Port())), b.Addr().String(), strconv.Itoa(int(b.Port())), "1764061200.0", app, "", kind, "high", "author"}, ",") + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "labels.csv"), []byte(labels.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

type keyed struct {
	key string
	verdict
}

func flowsOf(t *testing.T, r *runner) (out []keyed) {
	t.Helper()
	found, err := r.run(classify.DefaultThresholds())
	if err != nil {
		t.Fatal(err)
	}
	for key, list := range found {
		for _, v := range list {
			out = append(out, keyed{key, v})
		}
	}
	return out
}

func TestEvaluateWritesTablesAndPlot(t *testing.T) {
	dir, out := folder(t), t.TempDir()
	if err := run(io.Discard, dir, options{write: out}); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(out, "recognition-scores.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| in-sample | ", " | 1.000 | 1.000 | 1.000 |", "left out: thresholds", "| telegram | 2 | 2 |", "known endpoint", "| one, two |", "| 0.99 |", "## Behaviour alone"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
	plot, err := os.ReadFile(filepath.Join(out, "recognition-reliability.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(plot)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
}

func TestEvaluateSaysWhatIsMissing(t *testing.T) {
	if err := run(io.Discard, t.TempDir(), options{}); err == nil {
		t.Error("no labels, no error")
	}
	dir := folder(t)
	for _, name := range []string{"one__demo.pcapng", "two__demo.pcapng"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(io.Discard, dir, options{}); err == nil {
		t.Error("no captures, no error")
	}
}

// TestOutcomes is the corpus's rule: what counts as right, wrong, missed and false.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		label, accept, app, service string
		want                        outcome
	}{
		{"none", "", "", "", trueNone},
		{"none", "", "zoom", "", falsely},
		{"none", "zoom", "zoom", "", excused},
		{"zoom", "", "", "", missed},
		{"zoom", "none", "", "", excused},
		{"zoom", "", "zoom", "call", right},
		{"zoom_call", "", "zoom", "call", right},
		{"zoom_call", "", "zoom", "chat", wrong},
		{"zoom", "teams", "teams", "", right},
		{"zoom", "", "teams", "", wrong},
	} {
		l := label{app: c.label}
		if c.accept != "" {
			l.accept = []string{c.accept}
		}
		p := pair{&l, &verdict{app: c.app, service: c.service}}
		if got := p.outcome(); got != c.want {
			t.Errorf("%+v is %v", c, got)
		}
	}
}

func TestMatchTakesTheNearestAndEveryFalseClaim(t *testing.T) {
	labels := []label{{key: "k", app: "zoom", time: 10}, {key: "k", app: "none", time: 10}, {key: "other", app: "zoom"}}
	pairs := match(labels, map[string][]verdict{"k": {{app: "teams", time: 1}, {app: "", time: 9}}})
	if pairs[0].verdict.time != 9 || pairs[1].verdict.app != "teams" || pairs[2].verdict != nil {
		t.Errorf("%+v %+v %+v", pairs[0].verdict, pairs[1].verdict, pairs[2].verdict)
	}
}

// TestConfirmedElsewhere: a fact that only one source shows does not count for it, one that another shows does.
func TestConfirmedElsewhere(t *testing.T) {
	of := func(source, fact string) pair {
		return pair{&label{app: "zoom", source: source}, &verdict{app: "zoom", evidence: []evidence{{Fact: fact}}}}
	}
	got := confirmedElsewhere([]pair{of("a", "tls name:zoom.us"), of("b", "dns name:zoom.us"), of("b", "traffic:own")})
	for i, want := range []outcome{right, right, missed} {
		if o := got[i].outcome(); o != want {
			t.Errorf("%d is %v, want %v", i, o, want)
		}
	}
}

func TestCalibrationIsCrossValidated(t *testing.T) {
	var pairs []pair
	add := func(n int, app string, sure event.Confidence) {
		for i := range n {
			l := &label{app: "zoom", capture: string(rune('a'+i%20)) + "__x", kind: "tls"}
			pairs = append(pairs, pair{l, &verdict{app: app, confidence: sure, evidence: []evidence{{Fact: "tls name:x", Strength: sure}}}})
		}
	}
	add(90, "zoom", event.High)
	add(10, "teams", event.High)
	c := calibrate(pairs)
	if len(c.byStated) != 1 || c.byStated[0].claims != 100 || math.Abs(c.byStated[0].share()-0.9) > 1e-9 {
		t.Fatalf("%+v", c.byStated)
	}
	if b := c.byStated[0]; b.captures != 20 || b.flawless != 10 {
		t.Errorf("of %d captures %d are without a mistake", b.captures, b.flawless)
	}
	if low, high := c.byStated[0].interval(); low > 0.5 || high < 0.5 || low < 0.25 || high > 0.75 {
		t.Errorf("interval %f to %f", low, high)
	}
	if c.fitted.brier >= c.stated.brier+0.01 || math.Abs(c.byFitted[0].stated-0.9) > 0.05 {
		t.Errorf("stated %+v, fitted %+v, %+v", c.stated, c.fitted, c.byFitted)
	}
}

func TestLabelsThatAreNotOnesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "labels.csv")
	for text, ok := range map[string]bool{
		"capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\n":                                                true,
		"capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\nx,tcp,1.2.3.4,1,::1,2,now,zoom,,tls,high,e\n":    false,
		"capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\nx,tcp,1.2.3.x,1,::1,2,1.5,zoom,,tls,high,e\n":    false,
		"capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\nx,tcp,1.2.3.4,1,::1,2,1.5,zoom,,tls,low,e\n":     true,
		"capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\nx,tcp,1.2.3.4,1,::1,2,1.5,zoom,,tls\n":           false,
		"capture,proto,client_ip,client_port,server_ip,server_port,first_packet_time,label,accept,kind,confidence,evidence\nx,tcp,1.2.3.4,1,::1,2,1.5,unknown,,tls,high,e\n": true,
		"": false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readLabels(path); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestBehaviourIsAskedOfOtherSources: a flow never votes for itself or its own source's.
func TestBehaviourIsAskedOfOtherSources(t *testing.T) {
	shapes := map[string]shape{}
	var known []pair
	for i, source := range []string{"a", "a", "a", "a", "a", "a", "b"} {
		key := strconv.Itoa(i)
		shapes[key] = shape{float64(i)}
		app := "zoom"
		if source == "b" {
			app = "none"
		}
		known = append(known, pair{&label{key: key, source: source, app: app, proto: "tcp"}, nil})
	}
	if n := nearest(known[0], known, shapes); n != 0 {
		t.Errorf("%d votes from its own source", n)
	}
	if n := nearest(known[6], known, shapes); n != neighbours {
		t.Errorf("%d votes from the other", n)
	}
}

func TestShapesAreRead(t *testing.T) {
	dir := folder(t)
	r, err := newRunner(dir)
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string]shape{}
	for _, name := range append(r.names, filepath.Join(dir, "labels.csv")) {
		if err := readShapes(name, shapes); err != nil {
			t.Fatal(err)
		}
	}
	if len(shapes) == 0 {
		t.Fatal("no flow has four packets with payload")
	}
	for key, s := range shapes {
		if s[0] <= 0 {
			t.Errorf("%s: the client's first packet is %v", key, s)
		}
	}
	if readShapes(filepath.Join(dir, "missing"), shapes) == nil {
		t.Error("a missing capture is no error")
	}
}

func TestListsOfErrorsAndLateOnes(t *testing.T) {
	pairs := []pair{
		{&label{app: "zoom", key: "missed-one"}, &verdict{}},
		{&label{app: "zoom", key: "late-one", proto: "tcp"}, &verdict{app: "zoom", proto: "tcp", packets: 40, evidence: []evidence{{Fact: "tls name:zoom.us", Strength: 950}}}},
		{&label{app: "zoom", key: "revised-one", proto: "tcp"}, &verdict{app: "zoom", proto: "tcp", packets: 40, revised: true}},
	}
	var b strings.Builder
	listErrors(&b, pairs)
	listSlow(&b, pairs)
	if got := b.String(); !strings.Contains(got, "missed-one") || !strings.Contains(got, "late-one") || strings.Contains(got, "revised-one") {
		t.Error(got)
	}
}
