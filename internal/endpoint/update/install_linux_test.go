package update_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/updatetest"
)

// TestDpkg installs releases with the real dpkg, on a machine to throw away.
func TestDpkg(t *testing.T) {
	if !inside {
		updatetest.Run(t, "TestDpkg")
		return
	}
	b := newBench(t)
	b.dpkg("--install", b.deb("1.0", "amd64", "echo chaperone 1.0\n"))
	manager, err := update.ManagerOf(t.Context(), update.Binary)
	if err != nil {
		t.Fatal(err)
	}
	b.manager = manager
	good := b.deb("1.1", b.arch(), "echo chaperone 1.1\n")
	for _, step := range []struct {
		name, version, script string
		ready                 bool
		phase                 update.Phase
		why, installed        string
	}{
		{"a program that works", "1.1", "echo chaperone 1.1\n", true, update.Installed, "", "1.1"},
		{"one that does not start", "1.2", "exit 1\n", true, update.RolledBack, "does not start", "1.1"},
		{"one that never reaches the server", "1.3", "echo chaperone 1.3\n", false, update.RolledBack, "has not reached the server", "1.1"},
		{"the one that failed, again", "1.3", "echo chaperone 1.3\n", true, update.Failed, "this machine had before", "1.1"},
		{"an old one, replayed", "1.1", "echo chaperone 1.1\n", true, update.Failed, "is installed", "1.1"},
		{"one between", "1.2.5", "echo chaperone 1.2.5\n", true, update.Failed, "this machine had before", "1.1"},
		{"a higher one that works", "1.10", "echo chaperone 1.10\n", true, update.Installed, "", "1.10"},
	} {
		b.fetched(b.deb(step.version, b.arch(), step.script))
		b.install(step.ready)
		s := b.state()
		if s.Phase != step.phase || !strings.Contains(s.Error, step.why) || (step.why == "") != (s.Error == "") {
			t.Errorf("%s: %s, %q", step.name, s.Phase, s.Error)
		}
		if f, err := manager.Installed(t.Context()); err != nil || f.Version != step.installed {
			t.Errorf("%s: installed is %+v, %v", step.name, f, err)
		}
		out, err := exec.Command(update.Binary, "version").Output()
		if err != nil || strings.TrimSpace(string(out)) != "chaperone "+step.installed {
			t.Errorf("%s: the program says %q, %v", step.name, out, err)
		}
	}
	b.fetched(good)
	if err := os.WriteFile(b.whole(good), []byte("another package"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.key = b.other
	b.install(true)
	if s := b.state(); s.Phase != update.Failed || !strings.Contains(s.Error, release.ErrUntrusted.Error()) {
		t.Errorf("another key is pinned meanwhile: %s, %q", s.Phase, s.Error)
	}
}

// TestInterrupted: whoever finds an installation that nobody is at brings back what was there before.
func TestInterrupted(t *testing.T) {
	if !inside {
		updatetest.Run(t, "TestInterrupted")
		return
	}
	b := newBench(t)
	b.dpkg("--install", b.deb("1.0", b.arch(), "echo chaperone 1.0\n"))
	b.manager = update.Dpkg{}
	before, err := b.manager.Installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []update.Phase{update.Installing, update.Starting} {
		next := b.deb("2.0", b.arch(), "echo chaperone 2.0\n")
		if err := b.manager.Keep(t.Context(), before, filepath.Join(b.dir, "before.deb")); err != nil {
			t.Fatal(err)
		}
		b.fetched(next)
		s := b.state()
		s.Phase, s.From, s.Highest = phase, "1.0", "2.0"
		b.write(s)
		b.dpkg("--install", next)
		b.install(true)
		if s := b.state(); s.Phase != update.RolledBack || !strings.Contains(s.Error, "interrupted") {
			t.Errorf("%s: %s, %q", phase, s.Phase, s.Error)
		}
		if f, err := b.manager.Installed(t.Context()); err != nil || f != before {
			t.Errorf("%s: installed is %+v, %v", phase, f, err)
		}
	}
	b.install(true) // nothing is left to be done
	if s := b.state(); s.Phase != update.RolledBack {
		t.Errorf("%+v", s)
	}
}

// deciding is dpkg on a machine whose agent decides: once a release is installed no worker comes for a while, and nothing is installed until one did.
type deciding struct {
	update.Manager
	looks, refused int // of the worker, since there was none; packages that were refused
	broken         bool
}

func (d *deciding) Install(ctx context.Context, path string) error {
	if d.broken {
		d.refused++
		return errors.New("the scripts of the package do not start")
	}
	d.broken = filepath.Base(path) != "before.deb"
	return d.Manager.Install(ctx, path)
}

func (d *deciding) worker(context.Context) (int, error) {
	if !d.broken {
		return 1, nil
	}
	if d.looks++; d.looks < 20 {
		return 0, errors.New("the agent does not answer")
	}
	d.broken = false
	return 1, nil
}

// TestBackWaitsForTheAgent goes back from a program with which no agent decides: what is to be installed for that is let through by a worker only.
func TestBackWaitsForTheAgent(t *testing.T) {
	if !inside {
		updatetest.Run(t, "TestBackWaitsForTheAgent")
		return
	}
	b := newBench(t)
	b.dpkg("--install", b.deb("1.0", b.arch(), "echo chaperone 1.0\n"))
	d := &deciding{Manager: update.Dpkg{}}
	b.manager, b.worker = d, d.worker
	b.fetched(b.deb("2.0", b.arch(), "exit 1\n"))
	b.install(true)
	if s := b.state(); s.Phase != update.RolledBack || !strings.Contains(s.Error, "does not start") || d.refused == 0 {
		t.Errorf("%s, %q, %d refused", s.Phase, s.Error, d.refused)
	}
	if f, err := d.Installed(t.Context()); err != nil || f.Version != "1.0" {
		t.Errorf("%+v, %v", f, err)
	}
}

// bench is a machine with a folder of updates.
type bench struct {
	t          *testing.T
	dir        string
	secret     string
	key, other string
	manager    update.Manager
	worker     func(context.Context) (int, error) // of the agent
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), worker: func(context.Context) (int, error) { return 0, errors.New("no agent decides here") }}
	var err error
	if b.secret, b.key, err = note.GenerateKey(rand.Reader, "release.example.org"); err != nil {
		t.Fatal(err)
	}
	if _, b.other, err = note.GenerateKey(rand.Reader, "release.example.org"); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) dpkg(args ...string) {
	b.t.Helper()
	if out, err := exec.Command("dpkg", args...).CombinedOutput(); err != nil {
		b.t.Fatalf("dpkg %v: %v\n%s", args, err, out)
	}
}

// arch is what dpkg calls this machine.
func (b *bench) arch() string {
	b.t.Helper()
	out, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// deb makes a package whose program is a script.
func (b *bench) deb(version, arch, script string) string {
	b.t.Helper()
	program := filepath.Join(b.t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		b.t.Fatal(err)
	}
	path, err := updatetest.Deb(b.t.Context(), b.t.TempDir(), "chaperone", version, arch, map[string]string{update.Binary: program})
	if err != nil {
		b.t.Fatal(err)
	}
	return path
}

// manifest is that of a package.
func (b *bench) manifest(path string) release.Manifest {
	b.t.Helper()
	f, err := update.Dpkg{}.Describe(b.t.Context(), path)
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := release.Of(path, f.Format, f.Package, f.Version, f.Architecture, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func (b *bench) sign(m release.Manifest) []byte {
	b.t.Helper()
	signed, err := release.Sign(m, b.secret)
	if err != nil {
		b.t.Fatal(err)
	}
	return signed
}

// whole is where a fetched package lies.
func (b *bench) whole(path string) string {
	return filepath.Join(b.dir, b.manifest(path).SHA256+".deb")
}

// fetched leaves a release as an Updater does.
func (b *bench) fetched(path string) {
	b.t.Helper()
	m := b.manifest(path)
	raw, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, m.SHA256+".deb"), raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
	s := b.state()
	signed := b.sign(m)
	b.write(update.State{Highest: s.Highest, Phase: update.Fetched, Release: release.ID(signed), Note: signed})
}

func (b *bench) state() (s update.State) {
	b.t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s
	}
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) write(s update.State) {
	b.t.Helper()
	raw, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "state.json"), raw, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// install runs an Installer; the fleet's client that it waits for says that it works, or not.
func (b *bench) install(ready bool) {
	b.t.Helper()
	within := time.Minute
	if !ready {
		within = 300 * time.Millisecond
	}
	ctx, stop := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ready && ctx.Err() == nil {
			if raw, err := os.ReadFile(filepath.Join(b.dir, "state.json")); err == nil {
				var s update.State
				if json.Unmarshal(raw, &s) == nil && s.Phase == update.Starting {
					os.WriteFile(filepath.Join(b.dir, "ready"), []byte(s.Attempt), 0o600)
					return
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	i := update.Installer{Dir: b.dir, Key: b.key, Manager: b.manager, Binary: update.Binary, Within: within, Every: 10 * time.Millisecond, Now: time.Now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Worker: b.worker}
	err := i.Run(ctx)
	stop()
	<-done
	if err != nil {
		b.t.Error(err)
	}
}
