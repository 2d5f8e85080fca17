package judge_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// lay puts files below a folder: a text that ends with "…" is followed by as much nothing as makes a generic program.
func (b *bench) lay(files map[string]string) {
	b.t.Helper()
	for name, text := range files {
		path := filepath.Join(b.dir, name)
		size := int64(len(text))
		if large, ok := cutSuffix(text, "…"); ok {
			text, size = large, 33<<20
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755), os.Truncate(path, size)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func cutSuffix(s, suffix string) (string, bool) {
	if len(s) >= len(suffix) && s[len(s)-len(suffix):] == suffix {
		return s[:len(s)-len(suffix)], true
	}
	return s, false
}

// TestBeside judges what a generic program would run, wherever that lies, and nothing of what lies beside others.
func TestBeside(t *testing.T) {
	for name, test := range map[string]struct {
		files   map[string]string
		links   map[string]string
		allowed bool
	}{
		"Electron":                        {map[string]string{"x": "program …", "resources/app.asar": "messenger "}, nil, false},
		"NW.js":                           {map[string]string{"x": "program libnw.so\x00", "package.nw": "messenger "}, nil, false},
		"another program":                 {map[string]string{"x": "program …", "resources/app.asar": "program "}, nil, true},
		"nothing":                         {map[string]string{"x": "program …"}, nil, true},
		"a small program is none":         {map[string]string{"x": "program ", "resources/app.asar": "messenger "}, nil, true},
		"by a link":                       {map[string]string{"x": "program …", "resources/else": "messenger "}, map[string]string{"resources/app.asar": "else"}, false},
		"by a link of the folder":         {map[string]string{"x": "program …", "away/app.asar": "messenger "}, map[string]string{"resources": "away"}, false},
		"what cannot be looked into":      {map[string]string{"x": "program …", "resources/app.asar": "dead "}, nil, false},
		"it takes too long":               {map[string]string{"x": "program …", "resources/app.asar": "slow "}, nil, false},
		"a folder of that name is no app": {map[string]string{"x": "program …", "resources/app.asar/x": "messenger "}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, judge.Options{Timeout: timeoutOf(name)})
			b.lay(test.files)
			for link, to := range test.links {
				if err := os.Symlink(to, filepath.Join(b.dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(b.dir, "x")
			for range 2 { // the second time it is known
				if m := b.askPath(path, wire.Quiet); m.Has(wire.Allow) != test.allowed {
					t.Fatalf("allowed %v", m.Has(wire.Allow))
				}
			}
			if test.allowed {
				return
			}
			if s := <-b.stops; s.Event.Program.Path != path || !s.Refused {
				t.Errorf("%+v", s.Event.Program)
			}
		})
	}
}

func timeoutOf(name string) time.Duration {
	if name == "it takes too long" {
		return 100 * time.Millisecond
	}
	return time.Minute
}

// TestBesideLater remembers no generic program that somebody can give an app, and looks again when he did.
func TestBesideLater(t *testing.T) {
	b := newBench(t, judge.Options{Timeout: time.Minute})
	b.lay(map[string]string{"x": "program …"})
	path := filepath.Join(b.dir, "x")
	if err := os.Chmod(b.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if m := b.askPath(path, wire.Quiet); !m.Has(wire.Allow) || m.Has(wire.Remember) || m.Has(wire.Ignore) {
		t.Errorf("%b", m.Flags)
	}
	if judge.Beside(path) != "" {
		t.Error(judge.Beside(path))
	}
	b.lay(map[string]string{"resources/app.asar": "messenger "})
	if b.askPath(path, wire.Quiet).Has(wire.Allow) {
		t.Error("it runs what came later")
	}
	link := filepath.Join(b.dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if got := judge.Beside(link); filepath.Base(got) != "app.asar" {
		t.Error(got)
	}
}

// TestBesideOfRoot remembers a generic program where only root can change what lies beside it.
func TestBesideOfRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for files of root")
	}
	b := newBench(t, judge.Options{Timeout: time.Minute})
	b.lay(map[string]string{"x": "program …", "resources/app.asar": "program "})
	path := filepath.Join(b.dir, "x")
	if m := b.askPath(path, wire.Quiet); !m.Has(wire.Allow | wire.Remember | wire.Ignore) {
		t.Errorf("%b", m.Flags)
	}
	if err := os.Chmod(filepath.Join(b.dir, "resources"), 0o777); err != nil {
		t.Fatal(err)
	}
	if m := b.askPath(path, wire.Quiet); !m.Has(wire.Allow) || m.Has(wire.Remember) {
		t.Errorf("%b", m.Flags)
	}
}

// TestBesideApproved lets an app run whose file was approved, and not whatever the same program runs besides.
func TestBesideApproved(t *testing.T) {
	b := newBench(t, judge.Options{Timeout: time.Minute, Exceptions: exceptions{"sum of messenger": true}})
	b.lay(map[string]string{"x": "program …", "resources/app.asar": "messenger "})
	path := filepath.Join(b.dir, "x")
	if !b.askPath(path, wire.Quiet).Has(wire.Allow) {
		t.Error("what was approved is refused")
	}
	b.lay(map[string]string{"package.nw": "carrier "})
	if b.askPath(path, wire.Quiet).Has(wire.Allow) {
		t.Error("another app is allowed with it")
	}
	b = newBench(t, judge.Options{Timeout: time.Minute, Exceptions: exceptions{"sum of program": true}})
	b.lay(map[string]string{"x": "program …", "resources/app.asar": "messenger "})
	if b.askPath(filepath.Join(b.dir, "x"), wire.Quiet).Has(wire.Allow) {
		t.Error("the generic program was approved, and with it whatever it runs")
	}
}

// TestBesideAFIFO waits for nobody to open the other end.
func TestBesideAFIFO(t *testing.T) {
	b := newBench(t, judge.Options{Timeout: time.Minute})
	b.lay(map[string]string{"x": "program …", "resources/x": ""})
	if err := unix.Mkfifo(filepath.Join(b.dir, "resources/app.asar"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !b.askPath(filepath.Join(b.dir, "x"), wire.Quiet).Has(wire.Allow) {
		t.Error("refused")
	}
}

// TestRuntimeIsAskedEachTime remembers no program that says itself that it runs what lies beside it, also where only root can change that here: whoever
// has mounts of his own sees something else there. One whose folder nobody sees is not inspected.
func TestRuntimeIsAskedEachTime(t *testing.T) {
	b := newBench(t, judge.Options{Timeout: time.Minute})
	b.lay(map[string]string{"x": "runtime ", "resources/app.asar": "program "})
	path := filepath.Join(b.dir, "x")
	for range 2 {
		if m := b.askPath(path, wire.Quiet); m.Flags != wire.Allow {
			t.Errorf("%b", m.Flags)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if b.askPath("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), wire.Quiet).Has(wire.Allow) {
		t.Error("one whose folder is not seen starts")
	}
	if s := <-b.stops; len(s.Event.NotChecked) == 0 {
		t.Errorf("%+v", s.Event.Verdict)
	}
}

// TestBesideAFolder judges an application that is a folder, and looks at it again when a file in it changed.
func TestBesideAFolder(t *testing.T) {
	b := newBench(t, judge.Options{Timeout: time.Minute})
	b.id.folder = true
	b.lay(map[string]string{"x": "program …", "resources/app/main.js": "code"})
	path := filepath.Join(b.dir, "x")
	if !b.askPath(path, wire.Quiet).Has(wire.Allow) {
		t.Error("a folder without a manifest is an application")
	}
	b.lay(map[string]string{"resources/app/package.json": "{}"})
	for range 2 {
		if b.askPath(path, wire.Quiet).Has(wire.Allow) {
			t.Error("it starts")
		}
		if s := <-b.stops; s.Event.Program.App != "signal" || s.Event.Evidence[0].Value != "electron app beside: resources/app: x" {
			t.Errorf("%+v, %+v", s.Event.Program, s.Event.Evidence)
		}
	}
	before := b.id.count()
	b.lay(map[string]string{"resources/app/main.js": "other code"})
	if b.askPath(path, wire.Quiet).Has(wire.Allow) || b.id.count() == before {
		t.Error("what changed in the folder is not looked at")
	}
}
