package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// frame is an Ethernet frame with IPv4 and the ports.
func frame(proto byte, from, to byte, fromPort, toPort uint16, size int) []byte {
	b := make([]byte, 14+20+size)
	b[12], b[14], b[23], b[29], b[33] = 8, 0x45, proto, from, to
	binary.BigEndian.PutUint16(b[34:], fromPort)
	binary.BigEndian.PutUint16(b[36:], toPort)
	return b
}

func capture(t *testing.T, frames ...[]byte) string {
	t.Helper()
	b := make([]byte, 24)
	binary.LittleEndian.PutUint32(b, 0xa1b2c3d4)
	for _, f := range frames {
		head := make([]byte, 16)
		binary.LittleEndian.PutUint32(head[8:], uint32(len(f)))
		b = append(append(b, head...), f...)
	}
	path := filepath.Join(t.TempDir(), "all.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTrim keeps the first packets of each flow, both directions together, and nothing but TCP and UDP.
func TestTrim(t *testing.T) {
	there, back, other := frame(6, 1, 2, 10, 20, 30), frame(6, 2, 1, 20, 10, 30), frame(17, 1, 2, 10, 20, 30)
	from := capture(t, there, back, there, back, other, frame(1, 1, 2, 0, 0, 30), make([]byte, 20))
	to := filepath.Join(t.TempDir(), "out.pcap")
	for _, c := range []struct{ packets, size, want int }{
		{2, 1 << 20, 24 + 3*(16+64)}, {9, 1 << 20, 24 + 5*(16+64)}, {9, 24 + 2*(16+64), 24 + 2*(16+64)},
	} {
		n, err := trim(from, to, c.packets, c.size)
		if err != nil || n != 2 {
			t.Fatalf("%d flows, %v", n, err)
		}
		if b, _ := os.ReadFile(to); len(b) != c.want {
			t.Errorf("%+v: %d bytes", c, len(b))
		}
	}
	if _, err := trim(capture(t), to, 1, 1); err == nil {
		t.Error("an empty capture is a sample")
	}
	if err := os.WriteFile(from, []byte("no capture, and longer than a header is"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := trim(from, to, 1, 1); err == nil {
		t.Error("a text is a capture")
	}
}

// TestLabel replaces a capture's line, leaves others, and begins what is not there.
func TestLabel(t *testing.T) {
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "labels.yaml")
	write := func(file, flows string) string {
		if err := label(path, &scenario{file: file, flows: flows}, "peer 1", now); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(path)
		return string(b)
	}
	if got := write("a.pcap", ""); got != "captures:\n  - {file: a.pcap, made: \"on a wire of two namespaces by peer 1, 2026-11\"}\n" {
		t.Errorf("%q", got)
	}
	write("b.pcap", "")
	got := write("a.pcap", "flows: [{count: 2}]")
	if strings.Count(got, "a.pcap") != 1 || strings.Count(got, "b.pcap") != 1 || !strings.Contains(got, "2026-11\", flows: [{count: 2}]}\n") {
		t.Errorf("%q", got)
	}
}

// TestScenarios: each sample has a place of its own, programs, and somebody who speaks.
func TestScenarios(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios() {
		name := s.app + "/" + s.file
		if seen[name] || len(s.spoken) == 0 || s.run == nil {
			t.Errorf("%s: twice, by nobody, or of nothing", name)
		}
		seen[name] = true
	}
	for _, c := range classes() {
		if seen[c.name] || c.by == "" || c.run == nil {
			t.Errorf("%s: twice, by nobody, or of nothing", c.name)
		}
		seen[c.name] = true
	}
}

// TestMany does all, and complains only when nothing went well.
func TestMany(t *testing.T) {
	done := make([]bool, 50)
	if err := many([]string{"50"}, func(i int) error { done[i] = true; return map[bool]error{true: os.ErrInvalid}[i%2 == 0] }); err != nil {
		t.Error(err)
	}
	for i, d := range done {
		if !d {
			t.Errorf("%d was left out", i)
		}
	}
	if many([]string{"3"}, func(int) error { return os.ErrInvalid }) == nil || many([]string{"x"}, nil) == nil {
		t.Error("no complaint")
	}
}

// TestQuestions are names of nobody's.
func TestQuestions(t *testing.T) {
	for line := range strings.Lines(manyQuestions()) {
		name, _, ok := strings.Cut(line, " ")
		if !ok || !strings.HasSuffix(name, ".example") && !strings.HasSuffix(name, ".test") && !strings.HasSuffix(name, ".invalid") && !strings.Contains(name, ".example.") {
			t.Fatalf("%q", line)
		}
	}
}

// TestFetched: what comes from a registry says its version in its name; what is in this program or installed does not.
func TestFetched(t *testing.T) {
	for name, want := range map[string]string{
		"go:example.org/talk/cmd/server@v1.2.3": "example.org/talk/cmd/server v1.2.3", "npm:@talk/client@0.4.0": "@talk/client 0.4.0",
		"npm:@talk/client": "", "npm:talk": "", "go:": "", "prosody": "", "github.com/gotd/td": "",
	} {
		if got, ok := fetched(name); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, s := range scenarios() {
		for _, name := range s.spoken {
			if _, ok := fetched(name); !ok && (strings.HasPrefix(name, fromGo) || strings.HasPrefix(name, fromNPM)) {
				t.Errorf("%s/%s: %s has no version", s.app, s.file, name)
			}
		}
	}
	if err := fetch(t.Context(), t.TempDir(), []string{"prosody", "github.com/gotd/td"}); err != nil {
		t.Error(err)
	}
}
