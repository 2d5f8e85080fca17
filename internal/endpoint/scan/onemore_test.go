package scan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// byPackage are the messengers whose programs for Linux the catalog knows by the names of their packages alone: nothing in their content is known from a
// public source. docs/guide/scan.md names them.
func byPackage() []string {
	return []string{"hipchat", "msn", "oscar", "qq", "viber", "webex", "wechat", "whatsapp", "zoom"}
}

// electronApps are the messengers that are Electron applications on Linux, so that the name in their package.json counts.
func electronApps() []string {
	return []string{"delta_chat", "discord", "element", "facebook_messenger", "mattermost", "rocket_chat", "session", "signal", "skype", "slack", "teams", "wire"}
}

// TestOneByteMore takes every messenger that the catalog knows on Linux, under another name and with one byte appended: a native program by its tokens,
// each entry of the catalog for itself, an Electron application by the archive beside the stock runtime.
func TestOneByteMore(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the test makes Linux programs")
	}
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(t, scan.Options{Workers: 1})
	known := map[string]bool{}
	for _, app := range c.Apps() {
		for i, p := range app.Programs.Linux {
			known[app.ID] = known[app.ID] || false
			dir := t.TempDir()
			text := bytes.Clone(plain)
			for _, token := range p.Tokens {
				text = append(append(text, token.Text...), "\x00 "...)
			}
			native, stock := filepath.Join(dir, "calculator"), filepath.Join(dir, "app", "calculator")
			lay(t, dir, map[string][]byte{"calculator": append(text, 'x')})
			if len(p.Tokens) > 0 {
				known[app.ID] = true
				if got := identified(t, s, native); got != app.ID {
					t.Errorf("%s, entry %d: a native program with its tokens is %q", app.ID, i, got)
				}
			}
			for _, name := range p.Desktop {
				if !slices.Contains(electronApps(), app.ID) {
					continue
				}
				known[app.ID] = true
				manifest, err := json.Marshal(map[string]string{"name": name, "version": "1"})
				if err != nil {
					t.Fatal(err)
				}
				archive := append(programtest.ASAR(programtest.File{Name: "package.json", Body: manifest}), 'x')
				lay(t, dir, map[string][]byte{"app/calculator": append(electron(t), 'x'), "app/resources/app.asar": archive})
				found := findings(t, s, stock)
				if len(found) != 1 || found[0].Event.Program.App != app.ID {
					t.Errorf("%s, entry %d: beside a stock Electron, %s is not known", app.ID, i, name)
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if known[id] == slices.Contains(byPackage(), id) {
			t.Errorf("%s: known by its content: %t", id, known[id])
		}
	}
}

// identified is the messenger that a file is, at its start.
func identified(t *testing.T, s *scan.Scanner, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	programs, problems, err := s.Identify(context.Background(), f, path)
	if err != nil || len(problems) > 0 || len(programs) == 0 {
		t.Fatal(programs, problems, err)
	}
	return programs[0].App
}

// TestRealClients takes the messengers of Debian that are on this machine, as they are and with one byte more.
func TestRealClients(t *testing.T) {
	s := newScanner(t, scan.Options{Workers: 1})
	seen := 0
	for path, app := range map[string]string{
		"/usr/bin/profanity": "xmpp", "/usr/bin/psi": "xmpp", "/usr/bin/psi-plus": "xmpp", "/usr/bin/dino-im": "xmpp", "/usr/bin/finch": "xmpp", "/usr/bin/mcabber": "xmpp",
		"/usr/bin/irssi": "irc", "/usr/bin/weechat": "irc", "/usr/bin/weechat-headless": "irc", "/usr/bin/kvirc": "irc", "/usr/bin/quasselclient": "irc", "/usr/bin/epic5": "irc",
		"/usr/bin/toxic": "tox", "/usr/bin/utox": "tox", "/usr/bin/twinkle": "sip", "/usr/bin/linphonec": "sip", "/usr/bin/baresip": "sip", "/usr/libexec/jamid": "jami",
	} {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen++
		dir := t.TempDir()
		lay(t, dir, map[string][]byte{"p1": append(b, 'x')})
		if got := identified(t, s, filepath.Join(dir, "p1")); got != app {
			t.Errorf("%s with a byte more is %q", path, got)
		}
	}
	if seen == 0 {
		t.Skip("none is on this machine: " + strings.Join([]string{"profanity", "irssi", "toxic"}, ", "))
	}
}
