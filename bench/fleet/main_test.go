package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes this test binary the server that the bench starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		if run(context.Background(), os.Args[1:], os.Stdout) != nil {
			os.Exit(2)
		}
		return
	}
	os.Exit(m.Run())
}

// TestBench plays a small fleet through, so that the bench keeps working.
func TestBench(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the user of the tests has no account")
	}
	var out bytes.Buffer
	b := &bench{dir: t.TempDir(), out: &out, n: 5, settle: 10 * time.Millisecond, watch: 100 * time.Millisecond, pushes: 2}
	if err := b.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"enrolment: 5 machines", "connect: 5 streams", "idle: ", "push of a changed rule (4", "delta: the first large policy (20", "MEASURE", "<= 60 KB", "<= 2000 bytes", "the last of 5", "findings: one of each", "all 5 agents were back"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	if err := run(t.Context(), []string{"none"}, &out); err == nil {
		t.Error("none agents")
	}
}
