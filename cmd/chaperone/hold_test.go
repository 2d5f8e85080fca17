package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/control"
)

// TestPrintPlaced: what was placed is said, and what holds nothing is warned of.
func TestPrintPlaced(t *testing.T) {
	var out, warnings bytes.Buffer
	lines := `{"type":"hold","matter":"case-7","scope":{"kind":"person","name":"alice"},"placed":true,"total":3,"records":{"message":2,"flow":1},"files":1,"first":"2026-03-01T12:00:00Z","last":"2026-03-02T12:00:00Z","partly":true}
{"type":"hold","matter":"case-7","scope":{"kind":"person","name":"nosuchguy"},"placed":false,"total":0,"records":{},"files":0,"partly":false}
`
	if err := printPlaced(&out, &warnings, strings.NewReader(lines)); err != nil {
		t.Fatal(err)
	}
	const want = "case-7 holds person alice: at least 3 records now (1 flow, 2 message), 1 files, from 2026-03-01T12:00:00Z to 2026-03-02T12:00:00Z\n" +
		"case-7 would hold person nosuchguy: 0 records now\n"
	if out.String() != want {
		t.Errorf("said is %q", &out)
	}
	if w := warnings.String(); !strings.Contains(w, "person nosuchguy: a name typed wrongly holds nothing") || strings.Contains(w, "alice") {
		t.Errorf("warned is %q", w)
	}
}

// TestWordsOfMistakes: what was written wrongly is named, with the help that fits.
func TestWordsOfMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"inspect --nosuch x":                 "chaperone inspect --help",
		"nosuch":                             "chaperone --help lists the commands",
		"policy explain --app nosuch":        `no messenger has the id "nosuch"`,
		"policy explain --address 999.1.1.1": `"999.1.1.1" is no address`,
		"inspect -i lo x.pcap":               "one of these",
		"hold place --reason r case-7":       "nothing is named that is to be held",
	} {
		var out, errOut bytes.Buffer
		e := &command.Env{Ctx: t.Context(), In: strings.NewReader(""), Out: &out, ErrOut: &errOut}
		if status := run(strings.Fields(args), e); status != 2 || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: %d, %s", args, status, &errOut)
		}
	}
}

// TestHoldHint: only counsel may, and that is what the hint says.
func TestHoldHint(t *testing.T) {
	if h := hint.Of(holdHint(control.ErrForbidden)); !strings.Contains(h, "of counsel") || strings.Contains(h, "of a reviewer") {
		t.Errorf("the hint is %q", h)
	}
}
