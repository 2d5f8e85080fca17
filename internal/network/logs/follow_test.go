package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/logs"
)

// tail follows a log of dnsmasq in a folder of its own.
type tail struct {
	t     *testing.T
	dir   string
	f     *logs.Follower
	names []string // taken, in order
	ids   map[string]string
	lost  []string
	bad   int
	fail  error
}

func newTail(t *testing.T) *tail {
	x := &tail{t: t, dir: t.TempDir(), ids: map[string]string{}}
	x.open()
	return x
}

// open begins anew, as after a restart.
func (x *tail) open() {
	x.t.Helper()
	if x.f != nil {
		if err := x.f.Close(); err != nil {
			x.t.Fatal(err)
		}
	}
	var err error
	x.f, err = logs.NewFollower(x.path(""), "dnsmasq", filepath.Join(x.dir, "state"), now, func(_ context.Context, b logs.Batch) error {
		if x.fail != nil {
			return x.fail
		}
		for _, i := range b.Items {
			if before, ok := x.ids[i.Source]; ok && before != i.Entry.Name {
				x.t.Errorf("%s is %s and %s", i.Source, before, i.Entry.Name)
			}
			x.ids[i.Source] = i.Entry.Name
			x.names = append(x.names, strings.TrimSuffix(i.Entry.Name, ".example"))
		}
		x.bad += b.Trouble.Lines
		if b.Lost != "" {
			x.lost = append(x.lost, b.Lost)
		}
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *tail) path(suffix string) string { return filepath.Join(x.dir, "queries.log") + suffix }

func question(name string) string {
	return "Nov 25 17:48:43 dnsmasq[1]: query[A] " + name + ".example from 10.0.0.7\n"
}

// write appends to a file; a text in brackets is written as it is.
func (x *tail) write(suffix string, names ...string) {
	x.t.Helper()
	f, err := os.OpenFile(x.path(suffix), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		x.t.Fatal(err)
	}
	defer f.Close()
	for _, n := range names {
		text, raw := strings.CutPrefix(n, "raw:")
		if !raw {
			text = question(n)
		}
		if _, err := f.WriteString(text); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *tail) rename(from, to string) {
	x.t.Helper()
	if err := os.Rename(x.path(from), x.path(to)); err != nil {
		x.t.Fatal(err)
	}
}

// steps reads until there is nothing more for a while.
func (x *tail) steps() {
	x.t.Helper()
	for idle := 0; idle < 10; {
		more, err := x.f.Step(x.t.Context())
		if err != nil {
			x.t.Fatal(err)
		}
		idle++
		if more {
			idle = 0
		}
	}
}

func (x *tail) want(names string) {
	x.t.Helper()
	if got := strings.Join(x.names, " "); got != names {
		x.t.Errorf("taken: %s; want: %s", got, names)
	}
}

func TestFollow(t *testing.T) {
	x := newTail(t)
	if _, err := x.f.Step(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a log that is not there gives %v", err)
	}
	x.write("", "a", "b")
	x.steps()
	x.write("", "raw:"+question("c")[:20]) // a torn line waits
	x.steps()
	x.want("a b")
	x.write("", "raw:"+question("c")[20:])
	x.steps()
	x.want("a b c")
	x.open()
	x.steps()
	x.want("a b c")

	x.rename("", ".1") // rotation: the writer still has the old file for a moment
	x.write(".1", "d", "raw:"+strings.TrimSuffix(question("e"), "\n"))
	x.write("", "f")
	x.steps()
	x.want("a b c d e f")
	if len(x.lost) > 0 || x.bad > 0 {
		t.Errorf("lost %v, %d bad", x.lost, x.bad)
	}
}

// TestRotatedTwiceWhileNobodyRead: all that still lies beside it is read, in order, and once.
func TestRotatedTwiceWhileNobodyRead(t *testing.T) {
	x := newTail(t)
	x.write("", "a")
	x.steps()
	x.f.Close()
	x.write("", "b")
	x.rename("", ".1")
	x.write("", "c")
	older(t, x.path(".1"), 2)
	x.rename(".1", ".2")
	x.rename("", ".1")
	older(t, x.path(".1"), 1)
	x.write("", "d")
	x.write(".0.gz", "not read")
	x.open()
	x.steps()
	x.want("a b c d")
	if len(x.lost) > 0 {
		t.Error(x.lost)
	}
}

// older sets a file's time back by hours.
func older(t *testing.T, path string, hours int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := info.ModTime().Add(-1e9 * 3600 * 1)
	for range hours - 1 {
		at = at.Add(-1e9 * 3600)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestCutInItsPlaceAndGone(t *testing.T) {
	x := newTail(t)
	x.write("", "a", "b", "c")
	x.steps()
	if err := os.Truncate(x.path(""), 0); err != nil {
		t.Fatal(err)
	}
	x.steps()
	x.write("", "d")
	x.steps()
	x.want("a b c d")
	if err := os.WriteFile(x.path(""), []byte(question("e")+question("f")+question("g")), 0o600); err != nil { // cut, and longer than before at once
		t.Fatal(err)
	}
	x.steps()
	x.want("a b c d e f g")
	if len(x.lost) != 2 {
		t.Errorf("lost: %q", x.lost)
	}
	x.f.Close()
	if err := os.Remove(x.path("")); err != nil {
		t.Fatal(err)
	}
	x.write("", "h")
	x.open()
	x.steps()
	x.want("a b c d e f g h")
	if len(x.lost) != 3 {
		t.Errorf("lost: %q", x.lost)
	}
}

// TestNothingIsLeftOutWhenItCannotBeTaken: the same lines come again, under the same names.
func TestNothingIsLeftOutWhenItCannotBeTaken(t *testing.T) {
	x := newTail(t)
	x.write("", "a", "b")
	x.fail = errors.New("disk full")
	for range 3 {
		if _, err := x.f.Step(t.Context()); !errors.Is(err, x.fail) {
			t.Fatal(err)
		}
	}
	x.fail = nil
	x.steps()
	x.want("a b")
	state, err := filepath.Glob(filepath.Join(x.dir, "state", "*.json"))
	if err != nil || len(state) != 1 {
		t.Fatal(state, err)
	}
	before, err := os.ReadFile(state[0])
	if err != nil {
		t.Fatal(err)
	}
	x.write("", "c")
	x.steps()
	if err := os.WriteFile(state[0], before, 0o600); err != nil { // power was lost before the position was kept
		t.Fatal(err)
	}
	x.open()
	x.steps()
	x.want("a b c c")
	if len(x.ids) != 3 {
		t.Errorf("three lines have %d names: %v", len(x.ids), x.ids)
	}
	if err := os.WriteFile(state[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := logs.NewFollower(x.path(""), "dnsmasq", filepath.Join(x.dir, "state"), now, nil); err == nil {
		t.Error("a position that is none is taken")
	}
}

func TestManyLinesAndLongOnes(t *testing.T) {
	x := newTail(t)
	var want []string
	for i := range 2000 {
		n := fmt.Sprintf("n%d", i)
		x.write("", n)
		want = append(want, n)
	}
	x.write("", "raw:"+strings.Repeat("x", logs.MaxLine+10))
	x.steps()
	x.write("", "raw:"+strings.Repeat("y", logs.MaxLine+10))
	x.steps()
	x.open()
	x.write("", "raw:the end of it\n", "last")
	x.steps()
	if want = append(want, "last"); !slices.Equal(x.names, want) {
		t.Errorf("%d taken, the last %q", len(x.names), x.names[len(x.names)-1])
	}
	if x.bad != 1 {
		t.Errorf("%d bad lines", x.bad)
	}
}

// TestHeaderIsKept: lines of Zeek after a restart are read by the header above them.
func TestHeaderIsKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ssl.log")
	raw, err := os.ReadFile("testdata/zeek-ssl.log")
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.LastIndex(strings.TrimSuffix(string(raw), "\n"), "\n") + 1
	var names []string
	take := func(_ context.Context, b logs.Batch) error {
		for _, i := range b.Items {
			names = append(names, i.Entry.Name)
		}
		return nil
	}
	for _, part := range []string{string(raw[:cut]), string(raw)} {
		if err := os.WriteFile(path, []byte(part), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := logs.NewFollower(path, "zeek", filepath.Join(dir, "state"), now, take)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := f.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	if strings.Join(names, " ") != "web.whatsapp.com www.example.org" {
		t.Error(names)
	}
}
