package inspection

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// flowLine is a line of `inspect --json`. Its names are API.
type flowLine struct {
	Type       string               `json:"type"`
	Capture    string               `json:"capture"`
	Proto      string               `json:"proto"`
	Client     string               `json:"client"`
	Server     string               `json:"server"`
	FirstSeen  string               `json:"first_seen"`
	App        string               `json:"app"`
	Service    string               `json:"service"`
	Confidence float64              `json:"confidence"`
	Evidence   []event.EvidenceLine `json:"evidence"`
	Verdict    event.Action         `json:"verdict"`
	Rule       string               `json:"rule"`
	Enforced   bool                 `json:"enforced"`
	Packets    int64                `json:"packets"`
	Bytes      int64                `json:"bytes"`
	ToVerdict  int64                `json:"packets_to_verdict"`
	Revised    bool                 `json:"revised,omitempty"`
	Name       string               `json:"name,omitempty"`
	JA4        string               `json:"ja4,omitempty"`
	ALPN       string               `json:"alpn,omitempty"`
	Host       string               `json:"host,omitempty"`
	Evicted    bool                 `json:"evicted,omitempty"`
}

// errorLine says that a capture could not be read (to its end).
type errorLine struct {
	Type    string `json:"type"`
	Capture string `json:"capture"`
	Reason  string `json:"reason"`
}

// Writer writes what was found, for people or for programs.
type Writer interface {
	flow(f *classify.Finding, host string) error
	failure(capture string, err error) error
	read(r *total) // once, after the last capture
	Close() error
}

// total is what was read in all.
type total struct {
	captures int // 0 of an interface
	opened   int // of these
	counts   flow.Counts
	kernel   flow.Stats // of an interface
}

// newFlowLine makes the line of a finding; its evidence is appended to the slice.
func newFlowLine(f *classify.Finding, host string, evidence []event.EvidenceLine) flowLine {
	return flowLine{
		Type: "flow", Capture: f.Flow.Capture, Proto: f.Flow.Proto, Client: f.Flow.Client, Server: f.Flow.Server,
		FirstSeen: f.FirstSeen.UTC().Format("2006-01-02T15:04:05.000000Z"),
		App:       f.Flow.App, Service: f.Flow.Service, Confidence: f.Flow.Confidence.Float(), Evidence: event.AppendEvidenceLines(evidence, f.Evidence),
		Verdict: f.Verdict.Action, Rule: f.Verdict.Rule, Enforced: f.Verdict.Enforced, Packets: f.Flow.Packets, Bytes: f.Flow.Bytes,
		ToVerdict: f.Flow.PacketsToVerdict, Revised: f.Flow.Revised, Name: f.Flow.Name, JA4: f.Flow.JA4, ALPN: f.Flow.ALPN,
		Host: host, Evicted: f.Evicted,
	}
}

// jsonLines is the Writer of --json.
type jsonLines struct {
	encoder *json.Encoder
	buf     *bufio.Writer
	live    bool // somebody waits for each line
	line    flowLine
}

// NewLines returns the Writer of --json. Live, each line is written at once.
func NewLines(w io.Writer, live bool) Writer {
	buf := bufio.NewWriterSize(w, 1<<16)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return &jsonLines{encoder: enc, buf: buf, live: live, line: flowLine{Evidence: []event.EvidenceLine{}}}
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
	return j.write(errorLine{"error", capture, err.Error()})
}

func (j *jsonLines) read(*total) {}

func (j *jsonLines) Close() error { return j.buf.Flush() }
