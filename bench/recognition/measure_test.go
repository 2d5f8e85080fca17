package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTakeMeasuresARun(t *testing.T) {
	var out bytes.Buffer
	u, err := take(strings.NewReader("word"), &out, "sh", "-c", "cat; exit 1")
	if err != nil || out.String() != "word" || u.peak <= 0 {
		t.Errorf("%q, %+v, %v: status 1 says that something was found", out.String(), u, err)
	}
	if _, err := take(nil, nil, "/no/such/program"); err == nil {
		t.Error("a program that is not there was measured")
	}
	if _, err := take(nil, nil, "sh", "-c", "kill -9 $$"); err == nil {
		t.Error("a program that was killed was measured")
	}
}

// TestTable: start-up is taken off, and ratios are of pairs.
func TestTable(t *testing.T) {
	runs := func(ours, theirs time.Duration) (r result) {
		for range pairs {
			r.ours = append(r.ours, usage{cpu: ours, peak: 2048})
			r.theirs = append(r.theirs, usage{cpu: theirs, peak: 4096})
		}
		return r
	}
	var out bytes.Buffer
	ms := time.Millisecond
	tabulate(&out, []work{{"start-up", 0, nil, nil}, {"captures", 1000, nil, nil}, {"bulk", 10_000, nil, nil}},
		[]result{runs(30*ms, 40*ms), runs(40*ms, 60*ms), runs(50*ms, 80*ms)})
	for _, want := range []string{"start-up: 30 ms (goal <= 60), ndpiReader 40 ms", "10.000 µs    20.000 µs    0.50      2.0 MiB", "costs 0.20 of"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestPrepare writes what both programs read.
func TestPrepare(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	if _, err := prepare(folder, dir); err == nil {
		t.Error("a folder without captures was taken")
	}
	if err := writeTo(filepath.Join(folder, "a.pcap"), func(c *capture) { floodUDP(c, 7) }); err != nil {
		t.Fatal(err)
	}
	works, err := prepare(folder, dir)
	if err != nil || len(works) != 4 || works[1].packets != 7 || works[2].packets != 7*rounds || works[3].packets != bulkPackets {
		t.Errorf("%+v, %v", works, err)
	}
	if n, err := count(filepath.Join(folder, "a.pcap")); n != 7 || err != nil {
		t.Errorf("%d packets, %v", n, err)
	}
}

// TestKeep gives a profile to a program that reads it all and says what it found.
func TestKeep(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	script := "#!/bin/sh\ncat >/dev/null\necho '{\"type\":\"flow\",\"evicted\":true}'\necho '{\"type\":\"error\",\"reason\":\"no room\"}'\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := keep(&out, program, profiles()[0], 50); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"live-silent", "150", "MiB", "no room"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, &out)
		}
	}
}
