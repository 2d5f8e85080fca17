package scan

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/chaperone-im/chaperone/internal/event"
)

// FindingLine is a finding as the command line shows it. Field names are API.
type FindingLine struct {
	Type         string               `json:"type"`
	Path         string               `json:"path"`
	PathBase64   string               `json:"path_base64,omitempty"`
	Inside       string               `json:"inside"`
	InsideBase64 string               `json:"inside_base64,omitempty"`
	App          string               `json:"app"`
	Kind         string               `json:"kind"`
	Format       string               `json:"format"`
	Version      string               `json:"version"`
	Publisher    string               `json:"publisher"`
	SHA256       string               `json:"sha256"`
	Confidence   float64              `json:"confidence"`
	Evidence     []event.EvidenceLine `json:"evidence"`
	Verdict      event.Action         `json:"verdict"`
	Rule         string               `json:"rule"`

	// Of a store in which a messenger keeps what was said.
	Owner         string `json:"owner,omitempty"`
	Files         int64  `json:"files,omitempty"`
	Size          int64  `json:"size,omitempty"`
	ModifiedFirst string `json:"modified_first,omitempty"`
	ModifiedLast  string `json:"modified_last,omitempty"`
	Note          string `json:"note,omitempty"`
}

// ProblemLine is something that could not be looked into.
type ProblemLine struct {
	Type         string `json:"type"`
	Path         string `json:"path"`
	PathBase64   string `json:"path_base64,omitempty"`
	Inside       string `json:"inside"`
	InsideBase64 string `json:"inside_base64,omitempty"`
	Reason       string `json:"reason"`
	Detail       string `json:"detail,omitempty"`
}

// SummaryLine is the last line.
type SummaryLine struct {
	Type     string  `json:"type"`
	Files    int64   `json:"files"`
	Known    int64   `json:"known,omitempty"` // not looked into: nothing was found before, and they have not changed since
	Bytes    int64   `json:"bytes"`
	Findings int64   `json:"findings"`
	Errors   int64   `json:"errors"`
	Seconds  float64 `json:"seconds"`
}

// Line returns the line of a finding.
func (f *Finding) Line() FindingLine {
	p := f.Event.Program
	l := FindingLine{Type: "finding", App: p.App, Kind: p.Form, Format: p.Format, Version: p.Version, Publisher: p.Publisher,
		SHA256: p.SHA256, Confidence: p.Confidence.Float(), Evidence: event.AppendEvidenceLines([]event.EvidenceLine{}, f.Event.Evidence), Verdict: f.Event.Verdict.Action, Rule: f.Event.Verdict.Rule}
	l.Path, l.PathBase64 = Name(f.Path)
	l.Inside, l.InsideBase64 = Name(f.Inside)
	if p.Form == History {
		l.Owner, l.Size = p.Owner, p.Size
		l.store(f.Event.Facts)
	}
	return l
}

// store copies what is known of a store.
func (l *FindingLine) store(facts []event.Fact) {
	for _, x := range facts {
		switch x.Name {
		case factFiles:
			l.Files, _ = strconv.ParseInt(x.Value, 10, 64) // it is a number: we wrote it
		case factFirst:
			l.ModifiedFirst = x.Value
		case factLast:
			l.ModifiedLast = x.Value
		case factUnread:
			l.Note = x.Value + " files could not be read"
		case factDigest:
			l.Note = "the digest is " + x.Value
		}
	}
}

// Line returns the line of a problem.
func (p *Problem) Line() ProblemLine {
	l := ProblemLine{Type: "error", Reason: p.Reason, Detail: p.Detail}
	l.Path, l.PathBase64 = Name(p.Path)
	l.Inside, l.InsideBase64 = Name(p.Inside)
	return l
}

// Line returns the last line.
func (s Summary) Line() SummaryLine {
	return SummaryLine{"summary", s.Files, s.Known, s.Bytes, s.Findings, s.Errors, s.Took.Seconds()}
}

// Name returns a name as valid text, and in base64 what it really is when that is not UTF-8.
func Name(s string) (text, base string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return strings.ToValidUTF8(s, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(s))
}
