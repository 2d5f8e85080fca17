package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// inspectCmd names the messengers in captures and on interfaces.
type inspectCmd struct {
	JSON      bool          `name:"json" help:"One JSON object per line."`
	Policy    string        `name:"policy" type:"path" placeholder:"FILE" help:"Policy to decide by; else that of the configuration, else the embedded quickstart policy."`
	Host      string        `name:"host" placeholder:"NAME" help:"The machine that is the client of every flow."`
	Interface string        `name:"interface" short:"i" placeholder:"IFACE" help:"Listen to an interface instead of reading captures."`
	For       time.Duration `name:"for" help:"How long to listen; until Ctrl-C without it."`
	Evidence  bool          `name:"evidence" help:"For people: all evidence below each line of the table."`
	Explain   string        `name:"explain" placeholder:"FLOW" help:"Say everything of one flow: its number, or \"tcp CLIENT SERVER\"."`
	One       bool          `name:"one-network" help:"The captures are of one network: what was learned and flows go on from one to the next, in the order of time."`
	Log       []string      `name:"log" placeholder:"FORMAT:PATH" sep:"none" help:"Read a log of another program instead: zeek, suricata, squid or dnsmasq; - is standard input."`
	dataFlags
	Captures []string `arg:"" optional:"" name:"capture" type:"path" help:"Captures, pcap or pcapng; - is standard input."`

	recorder event.Recorder // takes findings; nil records nothing
}

// Run inspects.
func (c *inspectCmd) Run(e *env) error {
	if given := [3]bool{c.Interface != "", len(c.Captures) > 0, len(c.Log) > 0}; given != [3]bool{true} && given != [3]bool{1: true} && given != [3]bool{2: true} {
		return hinted{errors.New("inspect needs captures, or an interface, or logs"), "chaperone inspect CAPTURE...  or  chaperone inspect -i eth0 --for 10m  or  chaperone inspect --log zeek:ssl.log"}
	}
	if len(c.Log) > 0 && (c.Explain != "" || c.One) {
		return hinted{errors.New("--explain and --one-network are of captures"), "a log's line says all there is: --log FORMAT:PATH --json"}
	}
	if c.recorder == nil {
		c.recorder = c.recording(e)
	}
	set, err := c.rules(e, c.Policy)
	if err != nil {
		return err
	}
	r := &inspection{catalog: set.Catalog, decider: set.Policy, host: c.Host, recorder: c.recorder, progress: progressOn(e.errOut), one: c.One}
	if c.Explain != "" {
		return c.explain(e, r)
	}
	r.out = newFlowTable(e.out, c.Evidence)
	if c.JSON {
		r.out = newFlowLines(e.out, c.Interface != "")
	}
	ballast := keepSmall()
	defer runtime.KeepAlive(ballast)
	switch {
	case c.Interface != "":
		err = r.live(e.ctx, c.Interface, c.For)
	case len(c.Log) > 0:
		err = r.logs(e, c.Log)
	default:
		err = r.captures(e, c.Captures)
	}
	if err := errors.Join(err, r.out.close()); err != nil {
		return err
	}
	if r.forbidden > 0 {
		return errFindings
	}
	return nil
}

// explain says everything of one flow. What it explains is asked for, and so neither recorded nor a finding.
func (c *inspectCmd) explain(e *env, r *inspection) error {
	want, err := parseWanted(c.Explain)
	switch {
	case err != nil:
		return err
	case c.Interface != "":
		return errors.New("--explain is for captures")
	case want.number > 0 && slices.Contains(c.Captures, "-"):
		return hinted{errors.New("a number needs captures that can be read twice"), errFlowForm.hint}
	}
	r.recorder = nil
	if want.number > 0 {
		first := *r
		first.out = &finder{want: want}
		if err := first.captures(e, c.Captures); err != nil && e.ctx.Err() != nil {
			return err
		}
	}
	r.explainer = &explainer{want: want, facts: map[*flow.Flow][]decode.Fact{}}
	r.out = &explainWriter{out: e.out, json: c.JSON, explainer: r.explainer, decider: r.decider}
	return errors.Join(r.captures(e, c.Captures), r.out.close())
}

// inspection is one run of inspect or survey.
type inspection struct {
	catalog    *catalog.Catalog
	decider    policy.Decider
	out        flowWriter
	host       string
	recorder   event.Recorder
	progress   io.Writer     // nil is quiet
	tracker    *flow.Tracker // used for one capture after the other
	classifier *classify.Classifier
	one        bool // the captures are of one network
	network    *oneNetwork
	explainer  *explainer
	forbidden  int
	failed     error              // of recorder or output
	stop       context.CancelFunc // ends reading when that failed
}

// captures inspects one capture after the other. An error in one is said, and the next is read.
func (r *inspection) captures(e *env, paths []string) error {
	failed := 0
	if r.one {
		if slices.Contains(paths, "-") && len(paths) > 1 {
			return errors.New("standard input has no place in the order of several captures")
		}
		if len(paths) > 1 {
			paths = inTimeOrder(paths)
		}
	}
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	r.stop = stop
	r.begin(ctx)
	for _, path := range paths {
		err := r.capture(ctx, e.in, path)
		if r.failed != nil {
			return r.failed
		}
		if err != nil {
			if e.ctx.Err() != nil {
				return e.ctx.Err()
			}
			if err := r.out.failure(path, err); err != nil {
				return err
			}
			if !errors.Is(err, flow.ErrCut) {
				failed++
			}
		}
	}
	if r.one {
		r.tracker.Flush()
		if r.failed != nil {
			return r.failed
		}
	}
	r.out.read(&reading{captures: len(paths), counts: r.tracker.Counts()})
	if failed > 0 {
		return fmt.Errorf("%d of %d captures could not be read to the end", failed, len(paths))
	}
	return nil
}

func (r *inspection) capture(ctx context.Context, in io.Reader, path string) error {
	if path != "-" {
		f, err := outside.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
		if info, err := f.Stat(); err == nil && r.progress != nil && info.Size() > 64<<20 {
			p := newProgress(r.progress, filepath.Base(path), info.Size(), f)
			defer p.clear()
			in = p
		}
	}
	if r.one {
		r.network.begin(path)
	} else {
		r.classifier.Reset(filepath.Base(path))
	}
	read := flow.ReadCapture
	if r.one {
		read = flow.ReadPart
	}
	before := r.tracker.Counts()
	_, err := read(ctx, in, r.tracker)
	return errors.Join(err, r.short(path, before, r.tracker.Counts()))
}

// short says how many flows were not seen to their end for lack of room.
func (r *inspection) short(name string, before, after flow.Counts) error {
	evicted, unread := after.Evicted-before.Evicted, after.Unread-before.Unread
	if evicted == 0 && unread == 0 {
		return nil
	}
	return r.out.failure(name, fmt.Errorf("for lack of room %d flows were reported before their end, and %d are not known by all that they said", evicted, unread))
}

// begin makes what all captures are read with.
func (r *inspection) begin(ctx context.Context) {
	r.classifier = classify.New(r.catalog, r.options(ctx, ""))
	var h flow.Handler = r.classifier
	if r.one {
		r.network = &oneNetwork{Classifier: r.classifier, began: map[*flow.Flow]string{}}
		h = r.network
	}
	if r.explainer != nil {
		r.explainer.Handler, r.explainer.classifier = h, r.classifier
		h = r.explainer
	}
	r.tracker = flow.NewTracker(h, flow.Limits{})
}

// live inspects what passes an interface.
func (r *inspection) live(ctx context.Context, name string, limit time.Duration) error {
	ctx, r.stop = context.WithCancel(ctx)
	defer r.stop()
	if limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, limit)
		defer stop()
	}
	k := classify.New(r.catalog, r.options(ctx, name))
	tracker := flow.NewTracker(k, flow.Limits{Idle: 2 * time.Minute})
	stats, err := flow.Live(ctx, name, tracker)
	if r.failed != nil {
		return r.failed
	}
	if err != nil {
		return hinted{err, "listening needs root, or the capability CAP_NET_RAW"}
	}
	r.out.read(&reading{counts: tracker.Counts(), kernel: stats})
	if err := r.short(name, flow.Counts{}, tracker.Counts()); err != nil {
		return err
	}
	if stats.Gaps > 0 {
		if err := r.out.failure(name, fmt.Errorf("it was down or away %d times, %s in all", stats.Gaps, stats.Missed.Round(time.Millisecond))); err != nil {
			return err
		}
	}
	if stats.Dropped > 0 {
		return r.out.failure(name, fmt.Errorf("%d of %d packets were dropped by the kernel: this machine is too slow for them", stats.Dropped, stats.Packets))
	}
	return nil
}

func (r *inspection) options(ctx context.Context, capture string) classify.Options {
	return classify.Options{
		Capture: capture, Policy: r.decider,
		Host: func(a netip.Addr) event.Host {
			return event.Host{Name: r.host, Address: a.String()}
		},
		Report: func(f *classify.Finding) { r.take(ctx, f) },
	}
}

// take writes a finding, and records it when it is one that must be kept: a messenger that no rule allows, or what was stopped.
func (r *inspection) take(ctx context.Context, f *classify.Finding) {
	if f.Verdict.Action.Stops() {
		r.forbidden++
	}
	if r.network != nil {
		f.Flow.Capture = r.network.ending
	}
	if r.failed == nil {
		r.failed = r.out.flow(f, r.host)
	}
	if r.recorder != nil && r.failed == nil && f.Record() {
		e := f.Event()
		e.ID, e.Connector = event.NewID(), "inspect"
		r.failed = r.recorder.Record(ctx, e)
	}
	if r.failed != nil && r.stop != nil {
		r.stop()
	}
}

// flowLine is a line of `inspect --json`. Its names are API.
type flowLine struct {
	Type       string         `json:"type"`
	Capture    string         `json:"capture"`
	Proto      string         `json:"proto"`
	Client     string         `json:"client"`
	Server     string         `json:"server"`
	FirstSeen  string         `json:"first_seen"`
	App        string         `json:"app"`
	Service    string         `json:"service"`
	Confidence float64        `json:"confidence"`
	Evidence   []evidenceLine `json:"evidence"`
	Verdict    event.Action   `json:"verdict"`
	Rule       string         `json:"rule"`
	Enforced   bool           `json:"enforced"`
	Packets    int64          `json:"packets"`
	Bytes      int64          `json:"bytes"`
	ToVerdict  int64          `json:"packets_to_verdict"`
	Revised    bool           `json:"revised,omitempty"`
	Name       string         `json:"name,omitempty"`
	JA4        string         `json:"ja4,omitempty"`
	ALPN       string         `json:"alpn,omitempty"`
	Host       string         `json:"host,omitempty"`
	Evicted    bool           `json:"evicted,omitempty"`
}

type evidenceLine struct {
	Fact     string  `json:"fact"`
	Value    string  `json:"value"`
	Strength float64 `json:"strength"`
	Source   string  `json:"source,omitempty"`
}

// errorLine says that a capture could not be read (to its end).
type errorLine struct {
	Type    string `json:"type"`
	Capture string `json:"capture"`
	Reason  string `json:"reason"`
}

// flowWriter writes what was found, for people or for programs.
type flowWriter interface {
	flow(f *classify.Finding, host string) error
	failure(capture string, err error) error
	read(r *reading) // once, after the last capture
	close() error
}

// reading is what was read in all.
type reading struct {
	captures int // 0 of an interface
	counts   flow.Counts
	kernel   flow.Stats // of an interface
}

// newFlowLine makes the line of a finding; its evidence is appended to the slice.
func newFlowLine(f *classify.Finding, host string, evidence []evidenceLine) flowLine {
	for _, e := range f.Evidence {
		evidence = append(evidence, evidenceLine{e.Fact, e.Value, e.Strength.Float(), e.Source})
	}
	return flowLine{
		Type: "flow", Capture: f.Flow.Capture, Proto: f.Flow.Proto, Client: f.Flow.Client, Server: f.Flow.Server,
		FirstSeen: f.FirstSeen.UTC().Format("2006-01-02T15:04:05.000000Z"),
		App:       f.Flow.App, Service: f.Flow.Service, Confidence: f.Flow.Confidence.Float(), Evidence: evidence,
		Verdict: f.Verdict.Action, Rule: f.Verdict.Rule, Enforced: f.Verdict.Enforced, Packets: f.Flow.Packets, Bytes: f.Flow.Bytes,
		ToVerdict: f.Flow.PacketsToVerdict, Revised: f.Flow.Revised, Name: f.Flow.Name, JA4: f.Flow.JA4, ALPN: f.Flow.ALPN,
		Host: host, Evicted: f.Evicted,
	}
}

// jsonLines is the flowWriter of --json.
type jsonLines struct {
	encoder *json.Encoder
	buf     *bufio.Writer
	live    bool // somebody waits for each line
	line    flowLine
}

func newFlowLines(w io.Writer, live bool) *jsonLines {
	buf := bufio.NewWriterSize(w, 1<<16)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return &jsonLines{encoder: enc, buf: buf, live: live, line: flowLine{Evidence: []evidenceLine{}}}
}

func (j *jsonLines) write(line any) error {
	if err := j.encoder.Encode(line); err != nil || !j.live {
		return err
	}
	return j.buf.Flush()
}

func (j *jsonLines) flow(f *classify.Finding, host string) error {
	j.line = newFlowLine(f, host, j.line.Evidence[:0]) // one line's memory for all of them
	return j.write(&j.line)
}

func (j *jsonLines) failure(capture string, err error) error {
	return j.write(errorLine{"error", filepath.Base(capture), err.Error()})
}

func (j *jsonLines) read(*reading) {}

func (j *jsonLines) close() error { return j.buf.Flush() }
