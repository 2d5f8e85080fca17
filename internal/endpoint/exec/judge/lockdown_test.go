package judge_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/judge"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
)

// words are the first words of files that a package brought.
type words []string

func (w words) Trusted(f *os.File) bool {
	b := make([]byte, 64)
	n, _ := f.ReadAt(b, 0)
	word, _, _ := strings.Cut(string(b[:n]), " ")
	return slices.Contains(w, word)
}

// scriptSum is the SHA-256 of "script ".
const scriptSum = "a7b444969faf480758acdbaeeb9d8fb53296b3b682950871e884cd1930685490"

// TestLockdownBeside starts a runtime in lockdown where both it and what it runs were approved or come from a package.
func TestLockdownBeside(t *testing.T) {
	const runtime, app = "sum of runtime", "sum of program"
	for name, test := range map[string]struct {
		app      string
		approved exceptions
		trusted  words
		allowed  bool
	}{
		"nothing approved":           {"program ", exceptions{}, nil, false},
		"the runtime":                {"program ", exceptions{runtime: true}, nil, false},
		"the app":                    {"program ", exceptions{app: true}, nil, false},
		"both":                       {"program ", exceptions{runtime: true, app: true}, nil, true},
		"both from packages":         {"program ", nil, words{"runtime", "program"}, true},
		"the runtime from a package": {"program ", nil, words{"runtime"}, false},
		"and the app approved":       {"program ", exceptions{app: true}, words{"runtime"}, true},
		"the runtime approved, the app's package": {"program ", exceptions{runtime: true}, words{"program"}, true},
		"the runtime, and a script":               {"script ", exceptions{runtime: true}, nil, false},
		"both, and a script":                      {"script ", exceptions{runtime: true, scriptSum: true}, nil, true},
		"what cannot be looked into":              {"crash ", exceptions{runtime: true}, nil, false},
		"what carries another":                    {"carrier ", exceptions{runtime: true}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, judge.Options{Mode: judge.Lockdown, Exceptions: test.approved, Trust: test.trusted, Timeout: time.Minute})
			b.lay(map[string]string{"electron": "runtime ", "resources/app.asar": test.app})
			path := filepath.Join(b.dir, "electron")
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time it is known
				m := b.askPath(path, wire.Quiet)
				if m.Has(wire.Allow) != test.allowed || m.Has(wire.Remember) || m.Has(wire.Ignore) {
					t.Fatalf("%b", m.Flags)
				}
			}
		})
	}
}

// TestLockdownBesideRecord says what is refused, and in learn what would be.
func TestLockdownBesideRecord(t *testing.T) {
	for _, mode := range []judge.Mode{judge.Lockdown, judge.Learn} {
		b := newBench(t, judge.Options{Mode: mode, Trust: words{"runtime"}, Timeout: time.Minute})
		b.lay(map[string]string{"electron": "runtime ", "resources/app.asar": "program "})
		path := filepath.Join(b.dir, "electron")
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if b.askPath(path, wire.Quiet).Has(wire.Allow) != (mode == judge.Learn) {
			t.Fatal(mode)
		}
		var s judge.Stop
		select {
		case s = <-b.stops:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: nothing is on record", mode)
		}
		if v := s.Event.Verdict; v.Rule != judge.RuleLockdown || v.Reason != "it runs resources/app.asar" || s.Event.Program.SHA256 != "sum of program" || s.Event.Program.Path != path {
			t.Errorf("%s: %+v, %+v", mode, v, s.Event.Program)
		}
	}
}

// TestLockdownBesideOfRoot lets root start what only root can change, once: others are asked about.
func TestLockdownBesideOfRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for files of root")
	}
	b := newBench(t, judge.Options{Mode: judge.Lockdown, Trust: words{"program", "script"}, Timeout: time.Minute})
	b.lay(map[string]string{"x": "program …", "resources/app.asar": "folder "})
	if m := b.askPath(filepath.Join(b.dir, "x"), wire.Quiet); !m.Has(wire.Allow) || m.Has(wire.Remember) || m.Has(wire.Ignore) {
		t.Errorf("%b", m.Flags)
	}
}

// TestLockdownBesideAFolder trusts the folder of an app when its manifest comes from a package and only root can change it.
func TestLockdownBesideAFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for files of root")
	}
	b := newBench(t, judge.Options{Mode: judge.Lockdown, Trust: words{"runtime", "manifest"}, Timeout: time.Minute})
	b.lay(map[string]string{"electron": "runtime ", "resources/app/package.json": "manifest ", "resources/app/main.js": "code"})
	path, folder := filepath.Join(b.dir, "electron"), filepath.Join(b.dir, "resources/app")
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	ask := func(want bool, what string) {
		t.Helper()
		if b.askPath(path, wire.Quiet).Has(wire.Allow) != want {
			t.Error(what)
		}
	}
	ask(true, "the app of a package is refused")
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	ask(false, "an app that others can change starts")
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	ask(true, "the app of a package is refused")
	b.lay(map[string]string{"resources/app/package.json": "another "})
	ask(false, "an app of no package starts")
}
