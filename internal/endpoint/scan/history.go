package scan

import (
	"context"
	"strconv"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/history"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/program"
)

// History is the form of a finding that is no program, but where a messenger keeps what was said. Its confidence is low, since a path proves
// nothing; it is never taken away, as it may be evidence.
const History = "history"

// Facts of a store's event.
const (
	factFiles  = "files"
	factFirst  = "modified_first"
	factLast   = "modified_last"
	factUnread = "unread"
	factDigest = "digest"
)

// describe fills in the finding of a store.
func (s *Scanner) describe(ctx context.Context, j *job) {
	d, err := history.Describe(ctx, j.real)
	if ctx.Err() != nil {
		j.err = ctx.Err()
		return
	}
	if err != nil {
		j.results = []Result{{Problem: &Problem{Path: j.path, Reason: event.ReasonUnreadable, Detail: errno(err)}}}
		return
	}
	now := s.opts.Now()
	format := "file"
	if d.Folder {
		format = "folder"
	}
	j.stat.SHA256 = d.SHA256
	e := &event.Event{
		ID: event.NewID(), Kind: event.FindingHit, Time: now, Received: now,
		Connector: s.opts.Connector, Source: event.SourceCapture, Host: s.opts.Host,
		Content: event.Content{
			Program: &event.Program{Path: j.recorded(), App: j.store.App, Form: History, Format: format, SHA256: d.SHA256, Size: d.Size,
				Owner: s.places.ownerOf(d.Owner), Media: s.places.medium(d.Dev), Confidence: j.store.Evidence.Strength},
			Evidence: []event.Evidence{j.store.Evidence},
			Facts:    historyFacts(&d),
		},
	}
	e.Evidence[0].Value = program.Text(j.recorded())
	e.Verdict = s.opts.Policy.Decide(&policy.Input{Event: e, Now: e.Received, Final: true})
	j.results = []Result{{Finding: &Finding{Path: j.path, Real: j.real, File: j.stat, Event: e}}}
}

// historyFacts says what a store is like, in facts of its event.
func historyFacts(d *history.Description) []event.Fact {
	facts := []event.Fact{{Name: factFiles, Value: strconv.FormatInt(d.Files, 10)}}
	add := func(name, value string) { facts = append(facts, event.Fact{Name: name, Value: value}) }
	if !d.First.IsZero() {
		add(factFirst, d.First.Format(time.RFC3339))
		add(factLast, d.Last.Format(time.RFC3339))
	}
	if d.Unread > 0 {
		add(factUnread, strconv.FormatInt(d.Unread, 10))
	}
	if !d.Whole {
		add(factDigest, "of names, sizes and times; not of all contents")
	}
	return facts
}
