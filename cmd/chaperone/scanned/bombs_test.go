package scanned

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

func TestABombIsSaidOnce(t *testing.T) {
	var out strings.Builder
	w := Gather(NewLines(&out))
	for i := range 1000 {
		for _, p := range []scan.Problem{{Path: "/a.zip", Inside: fmt.Sprint("m", i), Reason: event.ReasonBomb, Detail: "too much"},
			{Path: "/a.zip", Inside: fmt.Sprint("in.zip!/m", i), Reason: event.ReasonBomb, Detail: "too much"}} {
			if err := w.Problem(&p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range []scan.Problem{{Path: "/b.zip", Inside: "one", Reason: event.ReasonBomb, Detail: "too much"}, {Path: "/a.zip", Inside: "x", Reason: event.ReasonEncrypted}} {
		if err := w.Problem(&p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines: %s", len(lines), &out)
	}
	for i, want := range []string{`"reason":"encrypted"`, `"inside":"","reason":"bomb","detail":"too much; 1000 members"`, `"inside":"in.zip","reason":"bomb","detail":"too much; 1000 members"`, `"inside":"one","reason":"bomb","detail":"too much"`} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %s, want %s", i, lines[i], want)
		}
	}
}
