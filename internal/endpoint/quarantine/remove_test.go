package quarantine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/quarantine"
	"github.com/chaperone-im/chaperone/internal/event"
)

// manager puts a program of that name before all others, which writes its words into a file and then does what the script says.
func manager(t *testing.T, name, script string) (calls string) {
	t.Helper()
	dir := realTemp(t)
	calls = filepath.Join(dir, "calls")
	text := "#!/bin/sh\nfor word in \"$@\"; do printf '[%s]' \"$word\"; done >>" + calls + "\necho >>" + calls + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return calls
}

func called(t *testing.T, calls string) string {
	t.Helper()
	b, err := os.ReadFile(calls)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// teller keeps whole events, and says whether the package manager had been called when each came.
type teller struct {
	events []*event.Event
	calls  string
	early  bool
	err    error
}

func (r *teller) Record(_ context.Context, events ...*event.Event) error {
	if _, err := os.Stat(r.calls); err == nil {
		r.early = true
	}
	r.events = append(r.events, events...)
	return r.err
}

// TestRemove calls the package manager with the words that are on record, after they are, and never when they are not.
func TestRemove(t *testing.T) {
	for _, c := range []struct{ manager, words, undo string }{
		{"dpkg", "[--remove][telegram-desktop]", "dpkg --install DIR/packages/telegram-desktop_4.1-1.deb"},
		{"rpm", "[--erase][telegram-desktop]", "dnf install telegram-desktop-4.1-1"},
		{"snap", "[remove][telegram-desktop]", "snap install telegram-desktop"},
		{"flatpak", "[uninstall][--system][--assumeyes][telegram-desktop]", "flatpak install telegram-desktop"},
	} {
		t.Run(c.manager, func(t *testing.T) {
			manager(t, "dpkg-query", `case "$1" in --listfiles) echo /.;; esac`)
			manager(t, "dpkg-deb", `for last; do :; done; : >"$last"`)
			calls := manager(t, c.manager, "exit 0")
			rec := &teller{calls: calls}
			s := open(t, realTemp(t), quarantine.Options{Recorder: rec, Host: event.Host{Name: "laptop-17"}, Account: event.Party{Handle: "root"}})
			o := quarantine.Owner{Manager: c.manager, Package: "telegram-desktop", Version: "4.1-1"}
			if err := s.Remove(t.Context(), o, quarantine.Target{Path: "/usr/bin/telegram", App: "telegram", SHA256: "aa", Size: 7, Reason: "no-messengers"}); err != nil {
				t.Fatal(err)
			}
			if got := called(t, calls); got != c.words || rec.early || len(rec.events) != 1 {
				t.Fatalf("called with %q, before it was on record: %v, %d acts", got, rec.early, len(rec.events))
			}
			e := rec.events[0]
			if e.Kind != event.Act || e.Phase != "program.remove" || e.Host.Name != "laptop-17" || e.From.Handle != "root" || e.Act.Object != c.manager+":telegram-desktop" ||
				e.Program.Path != "/usr/bin/telegram" || e.Program.App != "telegram" || e.Time.IsZero() {
				t.Errorf("on record: %+v %+v", e, e.Act)
			}
			if e.Act.Details[1].Value != strings.Replace(c.undo, "DIR", s.Dir(), 1) || e.Act.Details[2].Value != "no-messengers" {
				t.Errorf("undo %q, reason %q", e.Act.Details[1].Value, e.Act.Details[2].Value)
			}
			rec.err = errors.New("disk full")
			if err := s.Remove(t.Context(), o, quarantine.Target{}); !errors.Is(err, rec.err) || called(t, calls) != c.words {
				t.Errorf("what could not be recorded gave %v, and was done: %q", err, called(t, calls))
			}
		})
	}
}

// TestRemoveFails says what the package manager said, its end when that is long, and whether it is missing or was told to stop.
func TestRemoveFails(t *testing.T) {
	o := quarantine.Owner{Manager: "flatpak", Package: "org.telegram.desktop"}
	manager(t, "flatpak", `i=0; while [ $i -lt 2000 ]; do echo "noise number $i"; i=$((i+1)); done; echo "error: it is needed by others" >&2; exit 3`)
	s := open(t, realTemp(t), quarantine.Options{})
	err := s.Remove(t.Context(), o, quarantine.Target{})
	if err == nil || !strings.Contains(err.Error(), "needed by others") || len(err.Error()) > 10_000 {
		t.Errorf("got %.300v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := manager(t, "flatpak", "exit 0")
	if err := s.Remove(ctx, o, quarantine.Target{}); err == nil || called(t, calls) != "" {
		t.Errorf("under a context that ended: %v, called %q", err, called(t, calls))
	}
	t.Setenv("PATH", realTemp(t))
	if err := s.Remove(t.Context(), o, quarantine.Target{}); err == nil {
		t.Error("a package manager that is not there removed something")
	}
}

// TestRemoveRefusesNames that a package manager could take for options, or for more than one.
func TestRemoveRefusesNames(t *testing.T) {
	calls := manager(t, "rpm", "exit 0")
	rec := &teller{calls: calls}
	s := open(t, realTemp(t), quarantine.Options{Recorder: rec})
	for _, name := range []string{"", "-a", "--allmatches", "a b", "a\nb", "a;reboot", "$(reboot)", "../x", "a/b", ".x", "a\x00b", "é", strings.Repeat("a", 129)} {
		if err := s.Remove(t.Context(), quarantine.Owner{Manager: "rpm", Package: name}, quarantine.Target{}); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
	if got := called(t, calls); got != "" || len(rec.events) != 0 {
		t.Errorf("called with %q, %d acts", got, len(rec.events))
	}
}

// TestOwnerByFolder: a snap or flatpak is known by the folders that only they write to, where it has a name that can be given to a command.
func TestOwnerByFolder(t *testing.T) {
	manager(t, "dpkg-query", "exit 1")
	manager(t, "rpm", "exit 1")
	for path, want := range map[string]quarantine.Owner{
		"/snap/telegram-desktop/1/bin/x":                  {Manager: "snap", Package: "telegram-desktop"},
		"/var/lib/snapd/snaps/signal-desktop_7.snap":      {Manager: "snap", Package: "signal-desktop"},
		"/var/lib/flatpak/app/org.signal.Signal/x86_64/x": {Manager: "flatpak", Package: "org.signal.Signal"},
		"/snap/x":                             {},
		"/snap/--purge/x":                     {},
		"/snap/a b/x":                         {},
		"/var/lib/flatpak/app//x":             {},
		"/home/alice/snap/telegram-desktop/x": {},
		"/home/alice/.local/share/flatpak/app/org.x.Y/files": {},
	} {
		if got, ok := quarantine.OwnerOf(t.Context(), path); got != want || ok != (want != quarantine.Owner{}) {
			t.Errorf("%s is owned by %+v, %v", path, got, ok)
		}
	}
}

// TestOwnerByQuestion reads the answers of package managers, and none that names another file or several packages.
func TestOwnerByQuestion(t *testing.T) {
	const path = "/usr/bin/tele*gram"
	for name, c := range map[string]struct {
		manager, script string
		want            quarantine.Owner
	}{
		"dpkg":                    {"dpkg-query", `case "$1" in --search) echo 'tg: /usr/bin/tele*gram';; *) printf 4.1-1;; esac`, quarantine.Owner{Manager: "dpkg", Package: "tg", Version: "4.1-1"}},
		"dpkg, before usr":        {"dpkg-query", `case "$1$2" in --search/bin*) echo 'tg:amd64: /bin/tele*gram';; --search*) exit 1;; *) printf '4.1 \n';; esac`, quarantine.Owner{Manager: "dpkg", Package: "tg:amd64", Version: "4.1"}},
		"dpkg, another file":      {"dpkg-query", `echo 'tg: /usr/bin/telegram'`, quarantine.Owner{}},
		"dpkg, two packages":      {"dpkg-query", `echo 'a, b: /usr/bin/tele*gram'`, quarantine.Owner{}},
		"dpkg, a diversion":       {"dpkg-query", `echo 'diversion by a from: /usr/bin/tele*gram'`, quarantine.Owner{}},
		"dpkg, an option":         {"dpkg-query", `case "$1" in --search) echo '--purge: /usr/bin/tele*gram';; *) printf 1;; esac`, quarantine.Owner{}},
		"dpkg, not installed":     {"dpkg-query", `case "$1" in --search) echo 'tg: /usr/bin/tele*gram';; *) exit 1;; esac`, quarantine.Owner{}},
		"dpkg, nothing":           {"dpkg-query", `:`, quarantine.Owner{}},
		"rpm":                     {"rpm", `printf 'tg\t4.1-1\n'`, quarantine.Owner{Manager: "rpm", Package: "tg", Version: "4.1-1"}},
		"rpm, two packages":       {"rpm", `printf 'tg\t4.1-1\nother\t1\n'`, quarantine.Owner{}},
		"rpm, an option":          {"rpm", `printf -- '--all\t4.1-1\n'`, quarantine.Owner{}},
		"rpm, words":              {"rpm", `echo 'file is not owned by any package'`, quarantine.Owner{}},
		"rpm, that says an error": {"rpm", `printf 'tg\t4.1-1\n'; exit 1`, quarantine.Owner{}},
	} {
		t.Run(name, func(t *testing.T) {
			manager(t, "dpkg-query", "exit 1")
			manager(t, "rpm", "exit 1")
			calls := manager(t, c.manager, c.script)
			if got, ok := quarantine.OwnerOf(t.Context(), path); got != c.want || ok != (c.want != quarantine.Owner{}) {
				t.Errorf("owned by %+v, %v", got, ok)
			}
			if got := called(t, calls); c.manager == "dpkg-query" && !strings.Contains(got, `[/usr/bin/tele\*gram]`) || c.manager == "rpm" && !strings.Contains(got, "[--]["+path+"]") {
				t.Errorf("asked with %s", got)
			}
		})
	}
}
