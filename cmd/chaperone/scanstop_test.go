package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
)

// stopAt interrupts a run when so many lines of a kind were written.
type stopAt struct {
	bytes.Buffer
	what string
	left int
	stop func()
}

func (w *stopAt) Write(p []byte) (int, error) {
	if w.left -= bytes.Count(p, []byte(w.what)); w.left <= 0 {
		w.stop()
	}
	return w.Buffer.Write(p)
}

// TestInterruptedScan: Ctrl-C in the middle says how many findings are on record, and so many are.
func TestInterruptedScan(t *testing.T) {
	d := newDesk(t)
	tree := t.TempDir()
	const most = 400
	for i := range most {
		text := fmt.Sprintf("<?xml version=\"1.0\"?><plist><dict><key>CFBundleIdentifier</key><string>ru.keepcoder.Telegram</string><key>CFBundlePackageType</key><string>APPL</string></dict></plist><!-- %d -->", i)
		if err := os.WriteFile(filepath.Join(tree, fmt.Sprintf("f%03d.plist", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	out, errOut := &stopAt{what: `"type":"finding"`, left: 3, stop: stop}, &bytes.Buffer{}
	status := run([]string{"scan", "--json", "--config", filepath.Join(d.dir, "chaperone.yaml"), tree}, &command.Env{Ctx: ctx, In: strings.NewReader(""), Out: out, ErrOut: errOut})
	printed := strings.Count(out.String(), `"type":"finding"`)
	var recorded int
	if _, err := fmt.Sscanf(errOut.String(), "chaperone: error: interrupted before the end; %d findings of this run are on record", &recorded); err != nil || status != 2 {
		t.Fatalf("status %d, %s", status, errOut)
	}
	if recorded < printed || recorded >= most {
		t.Errorf("%d printed, %d recorded", printed, recorded)
	}
	if n := d.says(0, "", d.as("reviewer", "search", "kind:finding", "--purpose", "x", "--count")...); n != fmt.Sprintln(recorded) {
		t.Errorf("%d are said to be on record, and there are %s", recorded, n)
	}
}
