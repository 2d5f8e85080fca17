package protocol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
)

// outcomes are n of them, with paths and words of a size that JSON makes six times as long.
func outcomes(n, size int) []protocol.Outcome {
	var out []protocol.Outcome
	for i := range n {
		out = append(out, protocol.Outcome{Path: fmt.Sprintf("/%d/%s", i, strings.Repeat("<", size)), SHA256: strings.Repeat("a", 64), Action: "quarantined", ID: fmt.Sprint(i),
			Undo: strings.Repeat("\x01", size), Error: strings.Repeat("&", size)})
	}
	return out
}

// TestPartsOfAReport: however long its paths, a report goes in items that the spool takes, which give the whole again.
func TestPartsOfAReport(t *testing.T) {
	for _, c := range []struct{ outcomes, size, most int }{{0, 0, 1}, {1, 4000, 1}, {1000, 0, 1}, {protocol.MaxOutcomes, 1000, 150}, {300, 4000, 300}} {
		r := protocol.Report{Order: "a-do", Plan: strings.Repeat("b", 64), Outcomes: outcomes(c.outcomes, c.size)}
		if c.outcomes == 0 {
			r.Refused = strings.Repeat("\x01", 4000)
		}
		parts, err := r.Parts()
		if err != nil || len(parts) > c.most {
			t.Fatalf("%d of %d: %d parts, %v", c.outcomes, c.size, len(parts), err)
		}
		var whole protocol.Report
		for i, p := range parts {
			if len(p.Body) > protocol.MaxItem || p.Kind != protocol.ReportItem {
				t.Fatalf("%d of %d: part %d of %d bytes", c.outcomes, c.size, i, len(p.Body))
			}
			part, err := protocol.Decode[protocol.Report](p.Body)
			if err != nil || part.More != (i < len(parts)-1) || part.Order != r.Order || part.Plan != r.Plan {
				t.Fatalf("part %d: %v, more %v", i, err, part.More)
			}
			whole = whole.With(part)
		}
		if fmt.Sprint(whole) != fmt.Sprint(r) {
			t.Errorf("%d of %d: the parts are not the whole", c.outcomes, c.size)
		}
	}
}

// TestWithBoundsAndReplaces: parts that come twice add nothing, and no machine makes a report grow without end.
func TestWithBoundsAndReplaces(t *testing.T) {
	r := protocol.Report{Outcomes: outcomes(3, 1)}
	again := protocol.Report{Outcomes: outcomes(2, 1)}
	again.Outcomes[1].Action = "none"
	got := r.With(again)
	if len(got.Outcomes) != 3 || got.Outcomes[1].Action != "none" || r.Outcomes[1].Action != "quarantined" {
		t.Errorf("%+v", got)
	}
	for i := range 3 {
		more := protocol.Report{}
		for j := range protocol.MaxOutcomes {
			more.Outcomes = append(more.Outcomes, protocol.Outcome{Path: fmt.Sprint(i, j)})
		}
		got = got.With(more)
	}
	if len(got.Outcomes) != protocol.MaxOutcomes {
		t.Errorf("%d outcomes", len(got.Outcomes))
	}
	if got = (protocol.Report{Outcomes: outcomes(500, 4000)}).With(protocol.Report{Outcomes: outcomes(1000, 4000)}); len(got.Outcomes) != 500 {
		t.Errorf("%d outcomes of 12,000 bytes each are kept", len(got.Outcomes))
	}
}
