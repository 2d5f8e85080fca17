package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/filetype"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// ReplayArgs are those of policy.replay and policy.dry-run. The new policy of a dry run is what the call sends.
type ReplayArgs struct {
	Sign
	Query string `json:"query"`
}

// Answer is a verdict in short.
type Answer struct {
	Verdict event.Action `json:"verdict"`
	Rule    string       `json:"rule"`
	Policy  string       `json:"policy"` // version
}

// What became of a record that was decided anew.
const (
	Differs = "differs"
	Erased  = "erased" // the content was destroyed: it cannot be decided anew
)

// Redecided is a line about one record that differs, or that cannot be decided anew.
type Redecided struct {
	Type     string     `json:"type"` // always "record"
	ID       event.ID   `json:"id"`
	Kind     event.Kind `json:"kind"`
	Result   string     `json:"result"`
	Recorded Answer     `json:"recorded"`
	Now      *Answer    `json:"now,omitempty"`     // absent when erased
	Differs  []string   `json:"differs,omitempty"` // the fields of the verdict that differ, as obligations
}

// Replayed is the last line: what became of all records.
type Replayed struct {
	Type         string         `json:"type"`          // always "summary"
	Policy       string         `json:"policy"`        // version that decided anew
	Records      int            `json:"records"`       // decided records that were looked at
	Same         int            `json:"same"`          // the verdict came again: within one version bit for bit
	Differ       int            `json:"differ"`        //
	Broken       int            `json:"broken"`        // of those that differ, the ones that the same version had decided
	OtherVersion int            `json:"other_version"` // decided by another version of the policy, differing or not
	Erased       int            `json:"erased"`        //
	Changes      map[string]int `json:"changes"`       // of those that differ: "block to allow" and so on
}

// replay is one pass over the record.
type replay struct {
	version string
	again   func(ctx context.Context, e *event.Event) event.Verdict
	out     *json.Encoder
	sum     Replayed
}

// policyReplay decides every record anew by the policy in force, from what is stored (law 2).
func (o *operations) policyReplay(ctx context.Context, call *control.Call, a ReplayArgs) error {
	p := o.rules.Policy()
	again := func(_ context.Context, e *event.Event) event.Verdict { return p.Redecide(e) }
	return o.decideAnew(ctx, call, a, "policy.replay", &replay{version: p.Version(), again: again})
}

// policyDryRun inspects every record again by the policy that the call sends, and says what that policy would have changed.
func (o *operations) policyDryRun(ctx context.Context, call *control.Call, a ReplayArgs) error {
	text, err := io.ReadAll(io.LimitReader(call.In, policy.MaxFileSize+1))
	if err != nil {
		return fmt.Errorf("read the new policy: %w", err)
	}
	f, err := policy.Parse("new policy", text)
	if err != nil {
		return err
	}
	set, err := rules.Build(f, o.rules.Catalog())
	if err != nil {
		return err
	}
	t := &textInspection{runner: set.Runner(o.rules.deadline), names: map[string]bool{}}
	for _, i := range set.Inspectors {
		t.names[i.Name()] = i.Name() != filetype.New().Name()
	}
	again := func(ctx context.Context, e *event.Event) event.Verdict {
		t.inspect(ctx, e)
		return set.Policy.Redecide(e)
	}
	return o.decideAnew(ctx, call, a, "policy.dry-run", &replay{version: set.Policy.Version(), again: again})
}

// decideAnew is for those who may read, and is on record before the first line.
func (o *operations) decideAnew(ctx context.Context, call *control.Call, a ReplayArgs, what string, r *replay) error {
	v, err := o.view(ctx, call, a.Sign)
	if err != nil {
		return err
	}
	if err := v.Look(ctx, what+" "+r.version+" "+a.Query); err != nil {
		return err
	}
	r.out = json.NewEncoder(call.Out)
	r.sum = Replayed{Type: "summary", Policy: r.version, Changes: map[string]int{}}
	for rec, err := range o.store.Searcher.Stored(ctx, v, a.Query) {
		if err != nil {
			return err
		}
		if err := r.take(ctx, rec.Record); err != nil {
			return err
		}
	}
	return r.out.Encode(r.sum)
}

// take decides one record anew. Records that no policy decided, such as acts and gaps, are passed over.
func (r *replay) take(ctx context.Context, rec archive.Record) error {
	e := rec.Event
	if !policy.Decides(e.Kind) || e.Verdict.Policy == "" {
		return nil
	}
	r.sum.Records++
	line := Redecided{Type: "record", ID: e.ID, Kind: e.Kind, Result: Erased, Recorded: answerOf(e.Verdict)}
	if rec.Erased || rec.KeyLost {
		r.sum.Erased++
		line.Recorded.Rule = rec.Rule
		return r.out.Encode(line)
	}
	stored := e.Verdict
	other := stored.Policy != r.version
	if other {
		r.sum.OtherVersion++
	}
	now := r.again(ctx, e)
	same, err := sameVerdict(stored, now, other)
	if err != nil {
		return err
	}
	if same {
		r.sum.Same++
		return nil
	}
	r.sum.Differ++
	if !other {
		r.sum.Broken++
	}
	r.sum.Changes[string(stored.Action)+" to "+string(now.Action)]++
	answer := answerOf(now)
	line.Result, line.Now = Differs, &answer
	if line.Differs, err = differing(stored, now); err != nil {
		return err
	}
	return r.out.Encode(line)
}

func answerOf(v event.Verdict) Answer { return Answer{v.Action, v.Rule, v.Policy} }

// sameVerdict compares two verdicts by their canonical bytes; of two versions, all but the version.
func sameVerdict(a, b event.Verdict, otherVersion bool) (bool, error) {
	if otherVersion {
		a.Policy, b.Policy = "", ""
	}
	first, err := event.Canonical(&a)
	if err != nil {
		return false, err
	}
	second, err := event.Canonical(&b)
	return bytes.Equal(first, second), err
}

// differing names the fields in which two verdicts differ, but for the version of the policy.
func differing(a, b event.Verdict) ([]string, error) {
	var fields [2]map[string]json.RawMessage
	for i, v := range []event.Verdict{a, b} {
		raw, err := event.Canonical(&v)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(raw, &fields[i]); err != nil {
			return nil, err
		}
	}
	var out []string
	both := maps.Clone(fields[0])
	maps.Copy(both, fields[1])
	for name := range both {
		if name != "policy" && !bytes.Equal(fields[0][name], fields[1][name]) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// textInspection looks into the texts of records again. Files are not opened again: what was found in them stands.
type textInspection struct {
	runner *inspect.Runner
	names  map[string]bool // inspectors of text
}

// inspect replaces what inspectors found in the texts of a message or file, as the gateway looks at them.
func (t *textInspection) inspect(ctx context.Context, e *event.Event) {
	unnamed := slices.ContainsFunc(e.Files, func(f event.File) bool { return f.Name == "" })
	parts := []string{e.Text, e.Subject}
	if e.Kind == event.FileUpload {
		for _, f := range e.Files {
			parts = append(parts, f.Name)
		}
	}
	if unnamed || e.Flow != nil || e.Program != nil || e.Question != nil || e.Web != nil {
		return
	}
	e.Hits = slices.DeleteFunc(slices.Clone(e.Hits), func(h event.Hit) bool { return h.File == "" && t.names[h.Inspector] })
	e.NotChecked = slices.DeleteFunc(slices.Clone(e.NotChecked), func(n event.NotInspected) bool { return n.File == "" && t.names[n.Inspector] })
	for i, part := range parts {
		if part == "" {
			continue
		}
		found := t.runner.Run(ctx, &inspect.Item{Text: part, Size: int64(len(part))})
		for _, h := range found.Hits {
			if i > 0 { // spans are places in the text
				h.Spans = nil
			}
			e.Hits = append(e.Hits, h)
		}
		e.NotChecked = append(e.NotChecked, found.NotInspected...)
	}
}
