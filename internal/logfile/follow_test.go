package logfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/logfile"
)

// tail is a follower of a log that tests write, and what it took.
type tail struct {
	t       *testing.T
	dir     string
	path    string
	f       *logfile.Follower[string]
	taken   []string
	sources []string
	trouble []string
	lost    []string
	refuse  error
}

func newTail(t *testing.T) *tail {
	dir := t.TempDir()
	x := &tail{t: t, dir: dir, path: filepath.Join(dir, "log")}
	x.open()
	return x
}

// open begins as after a start of the program.
func (x *tail) open() {
	x.t.Helper()
	f, err := logfile.NewFollower(x.path, filepath.Join(x.dir, "state"), &numbered{}, x.take)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { f.Close() })
	x.f = f
}

func (x *tail) restart() {
	x.t.Helper()
	if err := x.f.Close(); err != nil {
		x.t.Fatal(err)
	}
	x.open()
}

func (x *tail) take(_ context.Context, b logfile.Batch[string]) error {
	if x.refuse != nil {
		return x.refuse
	}
	for _, i := range b.Items {
		x.taken = append(x.taken, *i.Entry)
		x.sources = append(x.sources, i.Source)
	}
	if b.Trouble.Lines > 0 {
		x.trouble = append(x.trouble, fmt.Sprintf("%d: %v", b.Trouble.Lines, b.Trouble.First))
	}
	if b.Lost != "" {
		x.lost = append(x.lost, b.Lost)
	}
	return nil
}

// write appends to the log.
func (x *tail) write(text string) { x.t.Helper(); x.writeTo(x.path, text) }

func (x *tail) writeTo(path, text string) {
	x.t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *tail) rename(to string) {
	x.t.Helper()
	if err := os.Rename(x.path, filepath.Join(x.dir, to)); err != nil {
		x.t.Fatal(err)
	}
}

// steps reads so often; a rotated file is left after a few reads at its end.
func (x *tail) steps(n int) {
	x.t.Helper()
	for range n {
		if _, err := x.f.Step(x.t.Context()); err != nil {
			x.t.Fatal(err)
		}
	}
}

func (x *tail) want(lost int, taken ...string) {
	x.t.Helper()
	if !slices.Equal(x.taken, taken) || len(x.lost) != lost {
		x.t.Errorf("taken %q, want %q; lost %q, want %d", x.taken, taken, x.lost, lost)
	}
}

// settled is more reads than the end of a rotated file is met before the next is begun.
const settled = 10

// TestHalfLineWaits: bytes without an end are no line yet, also across a restart; they are one once it comes.
func TestHalfLineWaits(t *testing.T) {
	x := newTail(t)
	x.write("one\ntw")
	x.steps(3)
	x.want(0, "one#1")
	x.restart()
	x.steps(2)
	x.want(0, "one#1")
	x.write("o\nthree\r\n")
	x.steps(1)
	x.want(0, "one#1", "two#2", "three#3")
}

// TestRotation: the rest of the file that was moved away is read before the new one, a last line without an end too, and nothing twice.
func TestRotation(t *testing.T) {
	for _, to := range []string{"log.1", "log-20261126"} {
		x := newTail(t)
		x.write("one\n")
		x.steps(1)
		x.writeTo(x.path, "two\n")
		x.rename(to)
		x.steps(2) // nothing at the path: it will come
		x.want(0, "one#1", "two#2")
		x.writeTo(filepath.Join(x.dir, to), "late\nhalf")
		x.write("new\n")
		x.steps(settled)
		if got := strings.Join(x.taken, " "); got != "one#1 two#2 late#3 half#4 new#5" && got != "one#1 two#2 late#3 half#4 new#1" || len(x.lost) != 0 {
			t.Errorf("%s: %s; lost %q", to, got, x.lost)
		}
	}
}

// TestRotatedWhileNobodyRead: after a restart reading goes on in the file that was moved away, and then in the new one.
func TestRotatedWhileNobodyRead(t *testing.T) {
	x := newTail(t)
	x.write("one\n")
	x.steps(1)
	x.write("two\n")
	x.rename("log.1")
	x.write("three\n")
	x.restart()
	x.steps(settled)
	if len(x.taken) != 3 || x.taken[1] != "two#2" || !strings.HasPrefix(x.taken[2], "three#") || len(x.lost) != 0 {
		t.Errorf("%q, lost %q", x.taken, x.lost)
	}
}

// TestLost: what may be missing is said once: a log that was cut in its place, one that is gone, one that was written to too late.
func TestLost(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(x *tail)
		says string
	}{
		"cut in its place": {func(x *tail) {
			if err := os.Truncate(x.path, 0); err != nil {
				x.t.Fatal(err)
			}
			x.write("new\n")
			x.steps(2)
		}, "cut in its place"},
		"written anew in its place, as long as before": {func(x *tail) {
			if err := os.WriteFile(x.path, []byte("new\nnex\nney\nnez\n"), 0o600); err != nil {
				x.t.Fatal(err)
			}
			x.steps(2)
		}, "cut in its place"},
		"gone while nobody read": {func(x *tail) {
			x.rename("../" + filepath.Base(x.dir) + "-gone")
			x.write("new\n")
			x.restart()
			x.steps(2)
		}, "is gone"},
		"written to after it was left": {func(x *tail) {
			x.rename("log.1")
			x.write("new\n")
			x.steps(settled)
			x.writeTo(filepath.Join(x.dir, "log.1"), "late\n")
			x.steps(3)
		}, "still written to"},
	} {
		x := newTail(t)
		x.write("one\n")
		x.steps(1)
		if name == "gone while nobody read" {
			t.Cleanup(func() { os.Remove(x.dir + "-gone") })
		}
		c.do(x)
		if len(x.lost) != 1 || !strings.Contains(x.lost[0], c.says) {
			t.Errorf("%s: lost %q", name, x.lost)
		}
		if len(x.taken) < 2 || !strings.HasPrefix(x.taken[1], "new#") {
			t.Errorf("%s: taken %q", name, x.taken)
		}
	}
}

// TestLongLines: one that is too long is counted once, whole, half written, and across a restart; the lines about it are read.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", logfile.MaxLine+1)
	x := newTail(t)
	x.write("one\n" + long + "\ntwo\n")
	x.steps(1)
	x.want(0, "one#1", "two#2")
	if len(x.trouble) != 1 || !strings.HasPrefix(x.trouble[0], "1: byte 4:") {
		t.Errorf("trouble %q", x.trouble)
	}
	x.trouble = nil
	x.write(long) // and its end is not there yet
	x.steps(2)
	x.restart()
	x.write(long)
	x.steps(2)
	x.write("\nthree\nbad\n")
	x.steps(2)
	x.want(0, "one#1", "two#2", "three#3")
	if len(x.trouble) != 2 || !strings.Contains(x.trouble[0], "longer than") || !strings.HasPrefix(x.trouble[1], "1: ") || !strings.HasSuffix(x.trouble[1], "bad") {
		t.Errorf("trouble %q", x.trouble)
	}
	if x.f.Lines() != 3 { // the end of the long one, three, bad
		t.Errorf("%d lines since the restart", x.f.Lines())
	}
}

// TestNothingIsTakenTwice: what was refused comes again under the same source, also after a restart; what was taken does not.
func TestNothingIsTakenTwice(t *testing.T) {
	x := newTail(t)
	x.write("one\n")
	x.steps(1)
	x.write("two\nbad\n")
	for range 3 {
		x.refuse = errors.New("not now")
		if _, err := x.f.Step(t.Context()); !errors.Is(err, x.refuse) {
			t.Fatal(err)
		}
		if x.f.Lines() > 1 {
			t.Errorf("%d lines count as read", x.f.Lines())
		}
		x.restart()
	}
	x.refuse = nil
	x.steps(3)
	x.restart()
	x.steps(3)
	x.want(0, "one#1", "two#2")
	if len(x.trouble) != 1 || x.sources[0] == x.sources[1] {
		t.Errorf("trouble %q, sources %q", x.trouble, x.sources)
	}
}

// TestSourceIsStable: a batch that was taken, and whose position could not be kept, is read again under the same source.
func TestSourceIsStable(t *testing.T) {
	x := newTail(t)
	x.write("one\ntwo\n")
	x.steps(1)
	first := slices.Clone(x.sources)
	if err := os.RemoveAll(filepath.Join(x.dir, "state")); err != nil { // as after a crash between the two
		t.Fatal(err)
	}
	x.restart()
	x.steps(1)
	if len(x.sources) != 4 || !slices.Equal(first, x.sources[2:]) || first[0] == first[1] {
		t.Errorf("%q", x.sources)
	}
}

// TestManyLines come in bounded batches, all and in order.
func TestManyLines(t *testing.T) {
	x := newTail(t)
	const n = 2000
	x.write(strings.Repeat("line\n", n))
	batches := 0
	for more := true; more; batches++ {
		var err error
		before := len(x.taken)
		if more, err = x.f.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(x.taken)-before > 512 {
			t.Errorf("%d lines at once", len(x.taken)-before)
		}
	}
	if len(x.taken) != n || x.f.Lines() != n || batches < 4 {
		t.Errorf("%d lines in %d batches", len(x.taken), batches)
	}
}

// TestDamagedState: a position that cannot be read is said, and not guessed.
func TestDamagedState(t *testing.T) {
	for name, damage := range map[string]string{"empty": "", "cut off": `{"device":1,"ino`, "no JSON": "\x00\x00\x00", "another type": `{"offset":"x"}`} {
		x := newTail(t)
		x.write("one\n")
		x.steps(1)
		kept, err := filepath.Glob(filepath.Join(x.dir, "state", "*.json"))
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		if err := os.WriteFile(kept[0], []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := logfile.NewFollower(x.path, filepath.Join(x.dir, "state"), &numbered{}, x.take); err == nil || !strings.Contains(err.Error(), x.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostilePosition: a position that no log can have reads no memory that there is not, and goes back to the beginning with a word.
func TestHostilePosition(t *testing.T) {
	for name, change := range map[string][2]string{
		"beyond the end":        {`"offset":4`, `"offset":4000000000`},
		"before the beginning":  {`"offset":4`, `"offset":-4`},
		"a head of nothing":     {`"bytes":4`, `"bytes":-1`},
		"a head of many bytes":  {`"bytes":4`, `"bytes":1152921504606846976`},
		"another head":          {`"head":"`, `"head":"00`},
		"a head beyond its end": {`"bytes":4`, `"bytes":200`},
	} {
		x := newTail(t)
		x.write("one\n")
		x.steps(1)
		kept, _ := filepath.Glob(filepath.Join(x.dir, "state", "*.json"))
		raw, err := os.ReadFile(kept[0])
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(raw), change[0], change[1], 1)
		if changed == string(raw) {
			t.Fatalf("%s: nothing to change in %s", name, raw)
		}
		if err := os.WriteFile(kept[0], []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := logfile.NewFollower(x.path, filepath.Join(x.dir, "state"), &numbered{}, x.take)
		if err != nil {
			continue // it is said at once
		}
		if _, err := f.Step(t.Context()); err != nil || len(x.lost) != 1 || len(x.taken) != 2 {
			t.Errorf("%s: %v, lost %q, taken %q", name, err, x.lost, x.taken)
		}
		f.Close()
	}
}
