package inspection

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/printable"
)

// wanted says which flow is to be explained: its number in the order of the lines of --json, or its ends.
type wanted struct {
	number         int
	proto          string
	client, server netip.AddrPort
	capture, first string // of the flow that had the number
}

// flowForm says how a flow is named.
const flowForm = `chaperone inspect --explain 3 CAPTURE  or  --explain "tcp 10.0.0.7:40021 149.154.167.51:443"`

var errFlowForm = hint.New(errors.New("--explain takes the number of a flow, or its protocol and both ends"), flowForm)

func parseWanted(text string) (*wanted, error) {
	fields := strings.Fields(text)
	if len(fields) == 1 {
		n, err := strconv.Atoi(fields[0])
		if err != nil || n < 1 {
			return nil, errFlowForm
		}
		return &wanted{number: n}, nil
	}
	if len(fields) != 3 || !slices.Contains([]string{"tcp", "udp", "sctp", "icmp"}, fields[0]) {
		return nil, errFlowForm
	}
	client, err1 := netip.ParseAddrPort(fields[1])
	server, err2 := netip.ParseAddrPort(fields[2])
	if err1 != nil || err2 != nil {
		return nil, errFlowForm
	}
	return &wanted{proto: fields[0], client: client, server: server}, nil
}

// Explain writes all that is known of one flow of captures. It is asked for, and so neither recorded nor a finding. The flow is its number in
// the order of the lines of --json, or its protocol and ends.
func (r *Run) Explain(ctx context.Context, out io.Writer, json bool, flowName string, paths []string) error {
	want, err := parseWanted(flowName)
	if err != nil {
		return err
	}
	if want.number > 0 && slices.Contains(paths, "-") {
		return hint.New(errors.New("a number needs captures that can be read twice"), flowForm)
	}
	r.Recorder = nil
	if want.number > 0 {
		first := *r
		first.Out = &finder{want: want}
		if err := first.Captures(ctx, paths); err != nil && ctx.Err() != nil {
			return err
		}
	}
	r.explainer = &explainer{want: want, facts: map[*flow.Flow][]decode.Fact{}}
	r.Out = &explainWriter{out: out, json: json, explainer: r.explainer, decider: r.Decider}
	return errors.Join(r.Captures(ctx, paths), r.Out.Close())
}

// is reports whether a flow is the wanted one, whichever way round its ends are named.
func (w *wanted) is(f *flow.Flow) bool {
	ends := f.Ends()
	return f.ProtoName() == w.proto && (ends == [2]netip.AddrPort{w.client, w.server} || ends == [2]netip.AddrPort{w.server, w.client})
}

// finder is a Writer that looks for the flow with a number.
type finder struct {
	want *wanted
	seen int
}

func (n *finder) flow(f *classify.Finding, _ string) error {
	if n.seen++; n.seen == n.want.number {
		n.want.proto, n.want.capture, n.want.first = f.Flow.Proto, f.Flow.Capture, f.FirstSeen.String()
		var err1, err2 error
		n.want.client, err1 = netip.ParseAddrPort(f.Flow.Client)
		n.want.server, err2 = netip.ParseAddrPort(f.Flow.Server)
		return errors.Join(err1, err2)
	}
	return nil
}

func (*finder) failure(string, error) error { return nil }
func (*finder) read(*total)                 {}
func (*finder) Close() error                { return nil }

// explainer is a flow.Handler that keeps what was decoded of the wanted flows.
type explainer struct {
	flow.Handler
	classifier *classify.Classifier
	want       *wanted
	facts      map[*flow.Flow][]decode.Fact
	number     int         // flows that were reported
	current    *explaining // of the flow that ends
}

// explaining is what is known of a flow besides what is reported of it.
type explaining struct {
	facts      []decode.Fact
	considered []classify.Considered
}

// Opened implements flow.Handler.
func (x *explainer) Opened(f *flow.Flow) {
	if x.want.is(f) {
		x.facts[f] = nil
	}
	x.Handler.Opened(f)
}

// Learned implements flow.Handler.
func (x *explainer) Learned(f *flow.Flow, facts []decode.Fact) {
	if known, ok := x.facts[f]; ok {
		for _, fact := range facts {
			known = append(known, decode.Fact{Decoder: fact.Decoder, Attrs: slices.Clone(fact.Attrs)})
		}
		x.facts[f] = known
	}
	x.Handler.Learned(f, facts)
}

// Closed implements flow.Handler.
func (x *explainer) Closed(f *flow.Flow, evicted bool) {
	if facts, ok := x.facts[f]; ok {
		x.current = &explaining{facts, x.classifier.Consider(f, facts)}
	}
	x.Handler.Closed(f, evicted)
	delete(x.facts, f)
	x.current = nil
}

// explainLine is what --explain --json writes of a flow.
type explainLine struct {
	Type       string           `json:"type"` // always "explanation"
	Number     int              `json:"number"`
	Flow       flowLine         `json:"flow"`
	Decoded    []decodedLine    `json:"decoded"`
	Considered []consideredLine `json:"considered"`
	Policy     string           `json:"policy"` // version
	Rules      []policy.Step    `json:"rules"`

	watched bool
}

type decodedLine struct {
	Decoder string              `json:"decoder"`
	Values  map[string][]string `json:"values,omitempty"`
}

type consideredLine struct {
	App      string  `json:"app"`
	Service  string  `json:"service,omitempty"`
	Fact     string  `json:"fact"`
	Strength float64 `json:"strength"`
	Holds    bool    `json:"holds"`
	Why      string  `json:"why"`
}

// explainWriter is the Writer of --explain.
type explainWriter struct {
	out       io.Writer
	json      bool
	explainer *explainer
	decider   policy.Decider
	explained int
	errs      []errorLine
}

func (w *explainWriter) flow(f *classify.Finding, host string) error {
	x := w.explainer
	x.number++
	if x.current == nil || x.want.number > 0 && (f.Flow.Capture != x.want.capture || f.FirstSeen.String() != x.want.first) {
		return nil
	}
	w.explained++
	line := explainLine{Type: "explanation", Number: x.number, Flow: newFlowLine(f, host, []event.EvidenceLine{}), Policy: f.Verdict.Policy,
		Decoded: []decodedLine{}, Considered: []consideredLine{}, Rules: []policy.Step{}, watched: f.Verdict.Action != event.Allow && watched(w.decider, f)}
	for _, fact := range x.current.facts {
		d := decodedLine{Decoder: fact.Decoder, Values: map[string][]string{}}
		for _, a := range fact.Attrs {
			d.Values[a.Key] = append(d.Values[a.Key], a.Value)
		}
		line.Decoded = append(line.Decoded, d)
	}
	for _, c := range x.current.considered {
		line.Considered = append(line.Considered, consideredLine{c.App, c.Service, c.Fact, c.Strength.Float(), c.Holds, c.Why})
	}
	if p, ok := w.decider.(*policy.Policy); ok {
		line.Rules = p.Explain(&policy.Input{Event: f.Event(), Now: f.LastSeen, Final: true}).Steps
	}
	if w.json {
		enc := json.NewEncoder(w.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(line)
	}
	return w.write(&line, x.current.facts)
}

func (w *explainWriter) failure(capture string, err error) error {
	w.errs = append(w.errs, errorLine{"error", capture, err.Error()})
	return nil
}

func (w *explainWriter) read(*total) {}

func (w *explainWriter) Close() error {
	for _, e := range w.errs {
		var err error
		if w.json {
			err = json.NewEncoder(w.out).Encode(e)
		} else {
			_, err = fmt.Fprintln(w.out, "not read to the end:", printable.Line(e.Capture+": "+e.Reason))
		}
		if err != nil {
			return err
		}
	}
	if w.explained == 0 {
		return hint.New(errors.New("no capture holds that flow"), "chaperone inspect --json CAPTURE lists all flows, in the order of their numbers")
	}
	return nil
}

// write tells people why a flow is called what it is called.
func (w *explainWriter) write(l *explainLine, facts []decode.Fact) error {
	var b strings.Builder
	say := func(format string, args ...any) {
		b.WriteString(printable.Line(fmt.Sprintf(format, args...)))
		b.WriteByte('\n')
	}
	f := &l.Flow
	say("flow %d: %s %s → %s, in %s", l.Number, f.Proto, f.Client, f.Server, f.Capture)
	say("  first seen %s, %d packets, %d bytes", f.FirstSeen, f.Packets, f.Bytes)
	switch {
	case f.App == "":
		say("  no messenger that is known: nothing of what was considered names one")
	default:
		say("  %s, confidence %.2f, after %d packets%s", strings.TrimSpace(f.App+" "+f.Service), f.Confidence, f.ToVerdict, map[bool]string{true: "; a later flow taught it"}[f.Revised])
	}
	say("evidence:")
	for _, e := range f.Evidence {
		say("  %.2f  %s: %s%s", e.Strength, e.Fact, e.Value, sourced(e.Source))
	}
	say("decoded:")
	for _, fact := range facts {
		text := "  " + fact.Decoder
		for _, a := range fact.Attrs {
			text += " " + a.Key + "=" + strconv.Quote(a.Value)
		}
		say("%s", text)
	}
	say("considered:")
	for _, c := range l.Considered {
		say("  %s  %s %s (%.2f): %s", map[bool]string{true: "yes", false: "no "}[c.Holds], cmp.Or(strings.TrimSpace(c.App+" "+c.Service), "-"), c.Fact, c.Strength, c.Why)
	}
	say("memory of other flows:")
	for _, e := range f.Evidence {
		if classify.FromMemory(e.Fact) {
			say("  used: %s: %s", e.Fact, e.Value)
		}
	}
	say("policy %s: %s by %s%s", l.Policy, f.Verdict, f.Rule, map[bool]string{true: " (only watched)"}[l.watched])
	for _, s := range l.Rules {
		if s.Result == "other plane" {
			continue
		}
		text := fmt.Sprintf("  %s: %s", s.Rule, s.Result)
		if s.Matcher != "" {
			text += ", because of " + s.Matcher
		}
		if s.Decides {
			text += "; it decides"
		}
		say("%s", text)
	}
	return w.done(b.String())
}

// done writes a text; a section that nothing was said in says so.
func (w *explainWriter) done(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var out strings.Builder
	for i, line := range lines {
		if strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " ") && (i+1 == len(lines) || !strings.HasPrefix(lines[i+1], " ")) {
			line += " nothing"
		}
		out.WriteString(line + "\n")
	}
	_, err := io.WriteString(w.out, out.String())
	return err
}

func sourced(source string) string {
	if source == "" {
		return ""
	}
	return " (" + source + ")"
}
