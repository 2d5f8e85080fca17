package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
)

// flowOf makes a pair of a label and what was said; an empty verdict is a flow that nobody named.
func flowOf(is, said string) pair {
	return pair{&label{app: is, kind: "tls", source: "a", capture: "a__1"}, &verdict{app: said, proto: "tcp"}}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// TestScoresByHand: ten flows, counted on paper.
func TestScoresByHand(t *testing.T) {
	excusedFlow := flowOf("none", "zoom")
	excusedFlow.label.accept = []string{"zoom"}
	question := flowOf("zoom", "zoom")
	question.label.kind = "dns"
	pairs := []pair{
		flowOf("zoom", "zoom"), flowOf("zoom", "zoom"), flowOf("zoom", ""), flowOf("zoom", "teams"),
		flowOf("teams", "teams"), flowOf("skype", ""),
		flowOf("none", ""), flowOf("none", "telegram"), excusedFlow, question,
	}
	s := score(pairs, plain)
	if want := (tally{right: 3, wrong: 1, missed: 2, falsely: 1, none: 1, excused: 1}); s.all != want {
		t.Errorf("counted %+v, want %+v", s.all, want)
	}
	// Of five claims three are right; of six flows of messengers three were found; 2·0.6·0.5 / 1.1.
	if !near(s.all.precision(), 3./5) || !near(s.all.recall(), 3./6) || !near(s.all.f1(), 6./11) {
		t.Errorf("micro: %f %f %f", s.all.precision(), s.all.recall(), s.all.f1())
	}
	// zoom: 1 and 1/2; teams: 1/2 and 1, for it was said of a flow of zoom; skype: nothing found. Telegram has no flow, and no part.
	for app, want := range map[string]float64{"zoom": 2. / 3, "teams": 2. / 3, "skype": 0} {
		if got := s.apps[app].f1(); !near(got, want) {
			t.Errorf("%s: F1 %f, want %f", app, got, want)
		}
	}
	if macro, apps := s.macro(); apps != 3 || !near(macro, 4./9) {
		t.Errorf("macro F1 %f of %d apps, want %f of 3", macro, apps, 4./9)
	}
	if d := score(pairs, dns); d.all != (tally{right: 1}) || d.all.f1() != 1 {
		t.Errorf("questions: %+v", d.all)
	}
}

// TestScoresOfNothing: where nothing was asked nothing is wrong, and nothing is divided by zero.
func TestScoresOfNothing(t *testing.T) {
	s := score(nil, plain)
	if macro, apps := s.macro(); macro != 1 || apps != 0 || s.all.f1() != 1 {
		t.Errorf("macro %f of %d, F1 %f", macro, apps, s.all.f1())
	}
	all := score([]pair{flowOf("zoom", "teams")}, plain)
	if f1 := all.all.f1(); f1 != 0 {
		t.Errorf("all wrong gives F1 %f", f1)
	}
	if c := calibrate(nil); len(c.byStated) != 0 || c.stated != (deviation{}) || !strings.HasSuffix(c.plot(), "</svg>\n") {
		t.Errorf("calibration of nothing: %+v", c)
	}
	if low, high := (bin{}).interval(); low != 0 || high != 1 {
		t.Errorf("interval of nothing is %f to %f", low, high)
	}
}

// TestCallsCountAgainstTheirApp: a wrong claim of zoom lowers the precision of zoom_call, when only calls are labelled, and not otherwise.
func TestCallsCountAgainstTheirApp(t *testing.T) {
	call := flowOf("zoom_call", "zoom")
	call.verdict.service = "call"
	pairs := []pair{call, flowOf("none", "zoom")}
	if got := precisionOf(score(pairs, plain), "zoom_call"); !near(got, 0.5) {
		t.Errorf("precision %f, want 0.5", got)
	}
	if got := precisionOf(score(append(pairs, flowOf("zoom", "zoom")), plain), "zoom_call"); got != 1 {
		t.Errorf("precision %f where zoom has a line of its own", got)
	}
}

// TestReportByHand: the whole way from captures and labels to the table. Of the first capture three labels say other than the recogniser.
func TestReportByHand(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "labels.csv")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for from, to := range map[string]string{
		"one__demo.pcapng,tcp,10.0.0.7,40011,192.0.2.60,443,1764061200.0,whatsapp,,tls,high,author":     "one__demo.pcapng,tcp,10.0.0.7,40011,192.0.2.60,443,1764061200.0,signal,,tls,high,an engine; and more",
		"one__demo.pcapng,tcp,10.0.0.7,40021,149.154.167.51,443,1764061200.0,telegram,,tls,high,author": "one__demo.pcapng,tcp,10.0.0.7,40021,149.154.167.51,443,1764061200.0,none,,tls,medium,engine",
		"one__demo.pcapng,tcp,10.0.0.7,40012,192.0.2.80,443,1764061200.0,none,,tls,high,author":         "one__demo.pcapng,tcp,10.0.0.7,40012,192.0.2.80,443,1764061200.0,line,,tls,high,engine",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("no label %q in:\n%s", from, text)
		}
		text = strings.Replace(text, from, to, 1)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(&out, dir, options{errors: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		// Right 2, wrong 1, missed 1, false 1; whatsapp and telegram have F1 2/3, signal and line none.
		"| in-sample | 4 | 2 | 0.500 | 0.500 | 0.500 | 0.333 (4 apps) | 1 | 1 |",
		"| in-sample, labels that rest on no engine | 2 | 1 | 1.000 | 1.000 | 1.000 | 1.000 (2 apps) | 0 | 0 |",
		// Telegram's right flow has no other source that shows its fact; the name of WhatsApp was asked for in both.
		"| lower bound: facts that another source confirms | 4 | 2 | 0.333 | 0.250 | 0.286 | 0.167 (4 apps) | 1 | 1 |",
		"| TCP | 2 | 1 | 1 | 4, 6 |",
		"| whatsapp | 1 | 1 | 1 | 0.50 | 1.00 |",
		"| signal | 1 | 1 | 1 | 1.00 | 0.00 |",
		"wrong  signal                 got whatsapp",
		"missed line ",
		"false  none                   got telegram",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// TestTheLeftOutSourceTeachesNothing: thresholds are chosen by the other sources alone, and the strictest of those that do as well.
func TestTheLeftOutSourceTeachesNothing(t *testing.T) {
	labels := []label{{app: "skype", source: "found", kind: "native"}, {app: "none", source: "loose", kind: "native"}, {app: "none", source: "loose", kind: "native"}}
	f := fitter{labels: labels, done: map[classify.Thresholds][]pair{}}
	var all func(t classify.Thresholds, rest [][]setting)
	all = func(th classify.Thresholds, rest [][]setting) {
		if len(rest) > 0 {
			for _, set := range rest[0] {
				next := th
				set(&next)
				all(next, rest[1:])
			}
			return
		}
		said := func(when bool) *verdict {
			if when {
				return &verdict{app: "skype"}
			}
			return &verdict{}
		}
		loose := th.SkypePeers <= 6
		f.done[th] = []pair{{&labels[0], said(th.SkypePeers <= 8)}, {&labels[1], said(loose)}, {&labels[2], said(loose)}}
	}
	all(classify.DefaultThresholds(), settings())
	for without, want := range map[string]int{"found": 16, "loose": 8, "another": 8} {
		got, err := f.fit(without)
		if err != nil || got.SkypePeers != want || got.SkypeStep != 16 || got.SkypeShare != 0.95 || got.SkypeMisfit != 0.05 {
			t.Errorf("without %s: %+v, %v; want %d peers and the strictest else", without, got, err, want)
		}
	}
}

// TestEvidenceIsOfTheSameFact: whoever saw a name, and whichever socket passed it on.
func TestEvidenceIsOfTheSameFact(t *testing.T) {
	for fact, want := range map[string]string{
		"tls name:zoom.us": "name:zoom.us", "answer dns name:zoom.us": "name:zoom.us", "socket:traffic:skype-peers": "traffic:skype-peers", "address:1": "address:1", "": "",
	} {
		if got := factOf(fact); got != want {
			t.Errorf("%q is %q, want %q", fact, got, want)
		}
	}
}

// TestCalibrationByHand: two bins, with Brier score and expected error worked out on paper.
func TestCalibrationByHand(t *testing.T) {
	var pairs []pair
	add := func(capture, app string, sure event.Confidence, fact string) {
		p := flowOf("zoom", app)
		p.label.capture, p.verdict.confidence = capture, sure
		p.verdict.evidence = []evidence{{Fact: fact, Strength: sure}, {Fact: "weaker", Strength: 1}}
		pairs = append(pairs, p)
	}
	for range 3 {
		add("x", "zoom", event.Medium, "tls name:zoom.us")
	}
	add("y", "teams", event.Medium, "traffic:teams-call")
	add("y", "zoom", event.Exact, "socket:tls name:zoom.us")
	add("y", "zoom", event.Exact, "traffic:skype-peers")
	add("y", "", event.Exact, "says nothing, and counts for nothing")
	c := calibrate(pairs)
	if len(c.byStated) != 2 {
		t.Fatalf("%d bins: %+v", len(c.byStated), c.byStated)
	}
	if b := c.byStated[0]; !near(b.stated, 0.8) || b.claims != 4 || b.right != 3 || b.captures != 2 || b.flawless != 1 {
		t.Errorf("%+v", b)
	}
	if b := c.byStated[1]; !near(b.stated, 0.99) || b.claims != 2 || b.share() != 1 || b.captures != 1 || b.flawless != 1 {
		t.Errorf("%+v", b)
	}
	// Brier: (3·0.2² + 0.8² + 2·0.01²) / 6. Expected: (4·|0.8-0.75| + 2·0.01) / 6.
	if !near(c.stated.brier, (3*0.04+0.64+2*0.0001)/6) || !near(c.stated.expected, (4*0.05+2*0.01)/6) {
		t.Errorf("%+v", c.stated)
	}
	if got := strings.Join(c.sortedClasses(), " "); got != "tls behaviour grammar socket" {
		t.Errorf("classes: %s", got)
	}
	// Nothing of another fold: the fitted confidence is 1/2 for the classes that one capture has.
	if got := c.byFitted[0]; !near(got.stated, 0.5) || got.claims != 6 {
		t.Errorf("fitted: %+v", c.byFitted)
	}
}

// TestIntervalIsWilsons: against figures of the published formula, to three digits.
func TestIntervalIsWilsons(t *testing.T) {
	for _, c := range []struct {
		flawless, captures int
		low, high          float64
	}{{0, 10, 0, 0.278}, {10, 10, 0.722, 1}, {5, 10, 0.237, 0.763}, {1, 1, 0.207, 1}} {
		low, high := bin{captures: c.captures, flawless: c.flawless}.interval()
		if math.Abs(low-c.low) > 0.0006 || math.Abs(high-c.high) > 0.0006 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.3f to %.3f", c.flawless, c.captures, low, high, c.low, c.high)
		}
	}
}

// TestPlotPutsPointsWhereTheyBelong: the drawing spans 0.4 to 1 in both directions, 400 wide, 50 from the edge; what lies below is drawn at its edge.
func TestPlotPutsPointsWhereTheyBelong(t *testing.T) {
	c := calibration{
		byStated: []bin{{stated: 0.8, claims: 4, right: 3, captures: 2, flawless: 1}, {stated: 1, claims: 2, right: 2, captures: 1, flawless: 1}},
		byFitted: []bin{{stated: 0.1, claims: 5, right: 0, captures: 1}},
	}
	plot := c.plot()
	for _, want := range []string{
		`cx="313.7" cy="216.7" r="5" fill="#0b6"`, // 50 + 400·(0.8-0.4)/0.6 - 3; 50 + 400·(1-0.75)/0.6
		`cx="447.0" cy="50.0" r="5" fill="#0b6"`,
		`cx="53.0" cy="450.0" r="5" fill="#06c"`,
		"called 0.80, right 3 of 4", "called 0.10, right 0 of 5",
	} {
		if !strings.Contains(plot, want) {
			t.Errorf("no %q in:\n%s", want, plot)
		}
	}
}

// TestQuantiles: the smallest value that at least the share of the list does not exceed.
func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		list  []int64
		share float64
		want  int64
	}{
		{nil, 0.9, 0}, {[]int64{7}, 0.5, 7}, {[]int64{7}, 0.9, 7}, {[]int64{1, 2, 3}, 0.5, 2}, {[]int64{1, 2, 3, 4}, 0.5, 2},
		{[]int64{1, 100}, 0.9, 100}, {[]int64{1, 2, 3, 4, 50}, 0.9, 50}, {[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 50}, 0.9, 9},
	} {
		if got := quantile(c.list, c.share); got != c.want {
			t.Errorf("%v at %g: %d, want %d", c.list, c.share, got, c.want)
		}
	}
}

// TestWaitsAreGrouped: by what was needed of the flow; only right flows that are no questions have waited.
func TestWaitsAreGrouped(t *testing.T) {
	of := func(proto, kind, fact string, packets int64, revised bool) pair {
		p := flowOf("zoom", "zoom")
		p.label.kind = kind
		*p.verdict = verdict{app: "zoom", proto: proto, packets: packets, revised: revised, evidence: []evidence{{Fact: fact, Strength: 900}}}
		return p
	}
	wrongOne := of("tcp", "tls", "x", 99, false)
	wrongOne.label.app = "teams"
	got := fmt.Sprint(waits([]pair{
		of("tcp", "tls", "tls name:zoom.us", 5, false), of("tcp", "tls", "tls name:zoom.us", 4, false), of("udp", "media", "traffic:zoom", 1, false),
		of("udp", "quic", "quic name:zoom.us", 2, false), of("udp", "quic", "answer dns name:zoom.us", 1, false), of("tcp", "tls", "address:192.0.2.0/24", 1, false),
		of("udp", "media", "traffic:zoom", 30, true), of("udp", "dns", "dns name:zoom.us", 1, false), wrongOne,
	}))
	if got != "[[4 5] [1] [2] [1 1] [30]]" {
		t.Error(got)
	}
}

// TestLabelsKnowTheirFlowEitherWayRound, and say whether they rest on an engine.
func TestLabelsKnowTheirFlowEitherWayRound(t *testing.T) {
	row := func(client, clientPort, server, serverPort, evidence string) label {
		values := map[string]string{"capture": "lab__x.pcap", "proto": "udp", "client_ip": client, "client_port": clientPort, "server_ip": server, "server_port": serverPort,
			"first_packet_time": "1.5", "label": "zoom", "accept": "|teams||none", "kind": "quic", "confidence": "medium", "evidence": evidence}
		l, scored, err := parseLabel(func(name string) string { return values[name] })
		if err != nil || !scored {
			t.Fatal(scored, err)
		}
		return l
	}
	a := row("10.0.0.7", "5", "fe80::1%eth0", "443", "author; an engine agrees")
	b := row("fe80::1", "443", "10.0.0.7", "5", "two engines")
	if a.key != b.key || a.source != "lab" || strings.Join(a.accept, " ") != "teams none" {
		t.Errorf("%+v\n%+v", a, b)
	}
	if !a.independent || b.independent {
		t.Errorf("independent: %v, and what two engines said: %v", a.independent, b.independent)
	}
}
