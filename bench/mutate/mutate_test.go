package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	if len(os.Args) == 8 && os.Args[1] == "worker" { // without limits of memory, in which the race detector has no room
		if err := work(os.Args[2:], os.Stdout, bad); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bad are parsers that do what none should.
func bad(name string) (parser, bool) {
	var kept [][]byte
	reads := map[string]func(b []byte) outcome{
		"good": func(b []byte) outcome { return outcome{clean: b[0]&1 == 0} },
		"panics": func(b []byte) outcome {
			if b[0]&1 == 1 {
				panic("on purpose")
			}
			return outcome{clean: true}
		},
		"catches": func(b []byte) outcome { return done(errors.New("x: runtime error: index out of range")) },
		"dies": func(b []byte) outcome {
			if b[0]&7 == 1 {
				os.Exit(3)
			}
			return outcome{}
		},
		"grows": func(b []byte) outcome {
			for range 5 {
				kept = append(kept, make([]byte, 60<<20))
			}
			kept = nil
			return outcome{}
		},
	}
	if read, ok := reads[name]; ok {
		return parser{name: name, read: read}, true
	}
	return parserNamed(name)
}

// prepare writes seeds for a parser and returns a supervisor whose workers are this test.
func prepare(t *testing.T, name string, count uint64, seeds ...[]byte) (*supervisor, *Result) {
	t.Helper()
	dir := t.TempDir()
	for i, b := range seeds {
		path := filepath.Join(dir, "seeds", name, fmt.Sprint(i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s := &supervisor{dir: dir, count: count, words: []string{os.Args[0]}, progress: func(*Result) {}}
	r, err := s.load(name, 7)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func kinds(r *Result) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.Kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestFindings sees each kind of fault, keeps its input, and goes on to the end.
func TestFindings(t *testing.T) {
	for name, want := range map[string][]string{"good": nil, "panics": {kindPanic}, "catches": {kindCaught}, "dies": {kindDied}} {
		s, r := prepare(t, name, 60, []byte("some words to begin with"))
		if err := s.run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := kinds(r); !slices.Equal(got, want) || r.Tally.Done != 60 || r.Next != 60 {
			t.Errorf("%s: %+v, %+v", name, r.Findings, r.Tally)
		}
		for _, f := range r.Findings {
			seeds, err := seedsOf(filepath.Join(s.dir, "seeds"), name)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(f.File); err != nil || !bytes.Equal(b, (&mutator{seeds: seeds, number: 7}).input(f.Index)) {
				t.Errorf("%s: input %d was not kept: %v", name, f.Index, err)
			}
		}
	}
}

func TestMemory(t *testing.T) {
	s, r := prepare(t, "grows", 2, []byte("some words to begin with"))
	if err := s.run(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := kinds(r); !slices.Equal(got, []string{kindMemory}) || r.Tally.Live < 256<<20 {
		t.Errorf("%+v, %+v", r.Findings, r.Tally)
	}
}

// TestGoesOn ends in the middle, and is taken up there.
func TestGoesOn(t *testing.T) {
	s, r := prepare(t, "good", 100, []byte("some words to begin with"))
	if err := s.run(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	again, err := s.load("good", 99)
	if err != nil || again.Next != 100 || again.Number != 7 || again.Tally.Clean != r.Tally.Clean {
		t.Fatalf("%+v, %v", again, err)
	}
	s.count = 150
	if err := s.run(t.Context(), again); err != nil || again.Tally.Done != 150 {
		t.Errorf("%+v, %v", again.Tally, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.count = 200
	if err := s.run(ended, again); err != nil || again.Next != 150 {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestWritten has a parser of each name read its own seeds, as they are, without a complaint: the mutations begin with what is right.
func TestWritten(t *testing.T) {
	all, err := written()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parsers() {
		for i, b := range all[p.name] {
			odd := slices.Contains([]string{"msix", "rar4", "sniff", "filetype", "self-extracting", "appimage", "tokens"}, p.name) // some are encrypted, unsigned or of nothing
			if out := p.read(b); !out.clean && !odd || out.caught != "" {
				t.Errorf("%s %d: %+v", p.name, i, out)
			}
			if got := parserOf(b); p.door && got != p.name && got == "" {
				t.Errorf("%s %d is no file that the scanner looks into", p.name, i)
			}
		}
	}
	for name := range all {
		if _, ok := parserNamed(name); !ok {
			t.Errorf("seeds for %s, which is no parser", name)
		}
	}
}

// TestEveryParser gives some mutations to each, without tools, and some of them to the scanner: it lives, and answers each.
func TestEveryParser(t *testing.T) {
	dir, count, knocks := t.TempDir(), uint64(120), uint64(6)
	if os.Getenv("CHAPERONE_SOAK") != "" {
		count, knocks = 20_000, 2000
	}
	all, err := written()
	if err != nil {
		t.Fatal(err)
	}
	d, err := openDoor(2 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	var said bytes.Buffer
	for _, p := range parsers() {
		var seeds []seed
		for i, b := range all[p.name] {
			seeds = append(seeds, newSeed(b))
			path := filepath.Join(dir, "seeds", p.name, fmt.Sprint(i))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if seeds == nil {
			continue // only tools make these
		}
		w, err := newWorker(p, seeds, 11, filepath.Join(dir, "current"), &said)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.run(0, count); err != nil {
			t.Fatal(err)
		}
		s := &supervisor{dir: dir, progress: func(*Result) {}}
		r := &Result{Parser: p.name, Number: 11}
		if p.door {
			if err := s.knock(t.Context(), d, r, knocks); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
		for _, f := range r.Findings {
			t.Errorf("%s through the scanner: %+v", p.name, f)
		}
	}
	for dec := json.NewDecoder(&said); ; {
		var l line
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if f := l.Finding; f != nil && f.Kind != kindCaught && f.Kind != kindSlow { // a machine that has other things to do is no fault
			t.Errorf("%+v", f)
		}
	}
}

// TestCommand runs the whole as a user does, but for the tools.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string]string{"complete": "", "desktop/0": desktopFile, "quarantine-seal/0": `{"path":"/a"}`} {
		path := filepath.Join(dir, "seeds", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(b), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	words := []string{"-n", "50", "-door", "5", "-seed", "3", "-parsers", "desktop,quarantine-seal,ole", "-dir", dir}
	var out, said bytes.Buffer
	if err := run(t.Context(), words, &out, &said); err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	for _, want := range []string{"desktop", "quarantine-seal", "ole", "  5: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !strings.Contains(said.String(), "seed 3, in ") || !strings.Contains(said.String(), "no seeds") {
		t.Errorf("said %s", said.String())
	}
	out.Reset()
	err := run(t.Context(), append(words, "-json"), &out, io.Discard)
	var r Result
	if err != nil || json.NewDecoder(&out).Decode(&r) != nil || r.Type != "parser" || r.Tally.Done != 50 || r.DoorDone != 5 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOptions(t *testing.T) {
	o, err := readOptions([]string{"-samples", "a,b", "-n", "5"}, io.Discard)
	if err != nil || o.count != 5 || o.number == 0 || len(o.parsers) != len(parsers()) || !slices.Equal(o.samples, []string{"a", "b"}) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, words := range [][]string{{"-parsers", "pe,nothing"}, {"-n", "x"}, {"-nothing"}} {
		if _, err := readOptions(words, io.Discard); err == nil {
			t.Errorf("%q was taken", words)
		}
	}
}

func TestReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte(desktopFile), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-replay", path, "-parsers", "desktop"}, &out, io.Discard); err != nil || !strings.HasPrefix(out.String(), "desktop: whole true") {
		t.Errorf("%s, %v", out.String(), err)
	}
}

func TestSamples(t *testing.T) {
	dir := t.TempDir()
	text := "begin 644 a\n+4&L#!#$R,S0U-C<X.3`Q,C,T-38W.#DP,3(S-#4V-S@Y,#$R,S0U-C<X.3``\n`\nend\n"
	for name, b := range map[string][]byte{"a.uu": []byte(text), "b.base64": []byte(base64.StdEncoding.EncodeToString(exe())), "c.desktop": []byte(desktopFile), "words": []byte(strings.Repeat("words ", 9)), "large": make([]byte, 3*maxSample)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := sampled([]string{dir})
	if err != nil || len(got["pe"]) != 1 || !bytes.Equal(got["pe"][0], exe()) || len(got["desktop"]) != 1 {
		t.Errorf("%d kinds, %v", len(got), err)
	}
	if b := uudecode([]byte("begin 644 x\n#86)C\n`\nend\n")); string(b) != "abc" {
		t.Errorf("%q", b)
	}
	if _, err := sampled([]string{filepath.Join(dir, "none")}); err == nil {
		t.Error("a folder that is not there was read")
	}
}

// TestRecipes: what the tools that are here make is what it is called.
func TestRecipes(t *testing.T) {
	dir := t.TempDir()
	if err := layOut(dir); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, r := range recipes() {
		if strings.Contains(r.words[0], "rpmbuild") || strings.Contains(r.words[0], "jar ") || strings.Contains(r.words[0], "openssl") {
			continue // these take long
		}
		b, err := r.cook(dir)
		if err != nil {
			continue // the tool is not here
		}
		made++
		b = r.trim(b)
		want, got := r.parser, parserOf(b)
		if p, _ := parserNamed(r.parser); p.door && got != want && (got != "pe" || want != "nsis" && want != "self-extracting") && !(want == "tar" && strings.Contains(r.words[0], "v7")) {
			t.Errorf("%s %q: it is %q", r.parser, r.words, got)
		}
	}
	t.Logf("%d of %d", made, len(recipes()))
}

func TestTable(t *testing.T) {
	r := &Result{Parser: "zip", Seeds: 2, Number: 5, Tally: Tally{Done: 200, Clean: 50, Largest: 3 << 20}, DoorDone: 3, Door: map[string]int{"unparseable": 1, "program": 2},
		Findings: []Finding{{Parser: "zip", Kind: kindSlow, Index: 9, Detail: "3 s"}, {Parser: "zip", Kind: kindCaught, Detail: "x"}}}
	var out bytes.Buffer
	if err := printResults(&out, []*Result{r}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"25.0 %", "3 MiB", "3: program 2, unparseable 1", "zip: slow, input 9 of seed 5"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if r.faults() != 1 {
		t.Errorf("%d faults", r.faults())
	}
}
