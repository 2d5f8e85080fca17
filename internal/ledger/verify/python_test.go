package verify_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

// independent runs the verifier that was written from the page alone.
func independent(t testing.TB, dir, checkpoint string) verify.Result {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CHAPERONE_CI") == "1" {
		t.Fatal("python3 is missing")
	}
	if err != nil {
		t.Skip("python3 is missing")
	}
	args := []string{filepath.Join("..", "..", "..", "docs", "reference", "verify.py"), "--json", dir}
	if checkpoint != "" {
		args = append(args, "--checkpoint", checkpoint)
	}
	cmd := exec.Command(python, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run()
	var r verify.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &errOut)
	}
	if want := map[string]int{verify.Proven: 0, verify.Consistent: 0, verify.Broken: 1}[r.Verdict]; cmd.ProcessState.ExitCode() != want {
		t.Errorf("verify.py: %s with exit status %d", r.Verdict, cmd.ProcessState.ExitCode())
	}
	return r
}

// agree holds the two verifiers against each other: the same answer, and the same records named.
func agree(t testing.TB, s *store, checkpoint string) {
	t.Helper()
	mine, other := s.verify(t, checkpoint), independent(t, s.dir, checkpoint)
	if mine.Words != other.Words || mine.Verdict != verify.Broken && mine.Records != other.Records {
		t.Errorf("with %q: %s of %d records, verify.py says %s of %d\n%v\n%v", filepath.Base(checkpoint), mine.Words, mine.Records, other.Words, other.Records, mine.Findings, other.Findings)
	}
	if mine.More > 0 {
		return
	}
	if a, b := named(mine, verify.RecordRemoved, verify.RecordChanged, verify.RecordAdded), named(&other, verify.RecordRemoved, verify.RecordChanged, verify.RecordAdded); !sameKeys(a, b) {
		t.Errorf("with %q: named %v, verify.py %v", filepath.Base(checkpoint), a, b)
	}
}

// named returns the records that the findings of these kinds name.
func named(r *verify.Result, kinds ...string) map[string]bool {
	out := map[string]bool{}
	for _, f := range r.Findings {
		for _, k := range kinds {
			if f.Kind == k && f.Record != "" {
				out[f.Record] = true
			}
		}
	}
	return out
}

func sameKeys(a, b map[string]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return len(a) == len(b)
}

func TestPythonAgrees(t *testing.T) {
	for _, c := range []struct{ frames, records, streams int }{{0, 0, 1}, {1, 2, 1}, {300, 2, 3}} {
		s := newStore(t, c.frames, c.records, c.streams)
		for _, outside := range []string{"", s.note, s.bundle} {
			agree(t, s, outside)
		}
	}
}

func TestPythonIsShort(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "reference", "verify.py"))
	check(t, err)
	if n := bytes.Count(b, []byte("\n")); n > 400 {
		t.Errorf("verify.py has %d lines, 400 are enough", n)
	}
}
