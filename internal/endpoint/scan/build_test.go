package scan_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// builtAs gives a program of this machine another build id of 20 bytes.
func builtAs(t *testing.T, b, id []byte) []byte {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(".note.gnu.build-id")
	if s == nil || s.Size != 36 {
		t.Skip("the programs of this machine have no build id of 20 bytes")
	}
	changed := bytes.Clone(b)
	copy(changed[s.Offset+16:s.Offset+36], id)
	return changed
}

// TestBuildID knows a program whose every other mark is gone by its build id, in a scan and at its start; and since anybody can write a build id into
// anything, it is blocked and may be moved away, and is no reason to remove a package.
func TestBuildID(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the test takes a Linux program")
	}
	plain, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Load(fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"x, 2026-11\"]\n" +
		"programs: {build_ids: [{id: 707172737475767778797a7b7c7d7e7f80818283, version: \"1.0\"}]}\n")}})
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 20)
	for i := range id {
		id[i] = byte(0x70 + i)
	}
	marked := builtAs(t, plain, id)
	unnamed := bytes.Clone(marked) // as of a tool that removes the table of sections
	clear(unnamed[40:48])
	clear(unnamed[58:64])
	dir := t.TempDir()
	lay(t, dir, map[string][]byte{"marked": append(marked, 'x'), "unnamed": unnamed, "plain": plain})
	s := newScanner(t, scan.Options{Workers: 1, Catalog: c})
	for name, want := range map[string]string{"marked": "pigeon", "unnamed": "pigeon", "plain": ""} {
		if got := identified(t, s, filepath.Join(dir, name)); got != want {
			t.Errorf("%s starts as %q", name, got)
		}
	}
	found := findings(t, s, dir)
	if len(found) != 2 {
		t.Fatalf("%d findings", len(found))
	}
	f := found[0]
	if f.Event.Evidence[0].Fact != "build-id:707172737475767778797a7b7c7d7e7f80818283" || !f.Certain() || f.Identity() || s.MayRemove(f, "dpkg", "pigeon") {
		t.Errorf("%+v: certain %t, identity %t", f.Event.Evidence, f.Certain(), f.Identity())
	}
}

// TestRealClientsWithoutTokens takes the messengers of Debian that are on this machine, at the version that the catalog has seen, with every token of the
// catalog overwritten: the build id is left.
func TestRealClientsWithoutTokens(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(t, scan.Options{Workers: 1})
	seen := 0
	for _, path := range []string{"/usr/bin/profanity", "/usr/bin/irssi", "/usr/bin/weechat", "/usr/bin/mumble", "/usr/bin/pidgin", "/usr/bin/hexchat", "/usr/bin/dino-im", "/usr/bin/toxic", "/usr/bin/telegram-desktop"} {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range c.Tokens() {
			b = bytes.ReplaceAll(b, []byte(token.Text), bytes.Repeat([]byte{'x'}, len(token.Text)))
		}
		dir := t.TempDir()
		lay(t, dir, map[string][]byte{"p1": b})
		for _, f := range findings(t, s, dir) {
			if e := f.Event.Evidence; len(e) == 1 && slices.Contains([]string{"xmpp", "irc", "mumble", "tox", "telegram"}, f.Event.Program.App) {
				seen++
				t.Logf("%s without its tokens is %s by %s", path, f.Event.Program.App, e[0].Fact)
			} else {
				t.Errorf("%s: %s by %+v", path, f.Event.Program.App, e)
			}
		}
	}
	if seen == 0 {
		t.Skip("no messenger of Debian at a version that the catalog has seen is on this machine")
	}
}
