package agentcmd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/event"
)

// asar makes the archive of an Electron app with one file in it.
func asar(text string) string {
	tree := fmt.Sprintf(`{"files":{"main.js":{"offset":"0","size":%d}}}`, len(text))
	padded := tree + strings.Repeat("\x00", -len(tree)&3)
	var b []byte
	for _, n := range []int{4, len(padded) + 8, len(padded) + 4, len(tree)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b) + padded + text
}

// TestElectron starts a program that is the same for all Electron apps, beside the app of a messenger, and beside another; and asks for the app.
func TestElectron(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.write(filepath.Join(f.work, "secret"), "a secret for exceptions", 0o600)
	config := f.write(filepath.Join(f.work, "agent.yaml"), "data_dir: "+f.work+"/data\npolicy: policy.yaml\nagent: {secret: 'file:secret'}\n", 0o600)
	app := func(name, text string) string {
		t.Helper()
		dir := filepath.Join(f.dir, name)
		if err := os.MkdirAll(filepath.Join(dir, "resources"), 0o755); err != nil {
			t.Fatal(err)
		}
		path := f.program(filepath.Join(dir, "electron"), "")
		if err := os.Truncate(path, 33<<20); err != nil {
			t.Fatal(err)
		}
		f.write(filepath.Join(dir, "resources/app.asar"), asar(text), 0o644)
		return path
	}
	bad, good := app("bad", messenger), app("good", "an editor")
	f.start("--config", config)
	for range 2 {
		f.want(bad, false)
		f.want(good, true)
	}
	// On a busy machine it is refused first since there was no time to look at it: it is started until it is known.
	e := f.spooled("refusal", func(e *event.Event) bool {
		return e.Kind == event.ProgramRun && e.Program.Path == bad && e.Program.App != ""
	}, func() { f.want(bad, false) })
	out := f.chaperone("agent", "request", "--socket", filepath.Join(f.work, "agent.sock"), bad)
	if e.Program.App != "telegram" || !strings.Contains(out, e.Program.SHA256) || !strings.Contains(out, "app.asar") {
		t.Errorf("%+v\n%s", e.Program, out)
	}
	code, _, _ := strings.Cut(f.chaperone("agent", "code", "--secret", "file:"+filepath.Join(f.work, "secret"), "--host", "field", "--sha256", e.Program.SHA256), "\n")
	f.chaperone("agent", "request", "--socket", filepath.Join(f.work, "agent.sock"), "--code", code, bad)
	f.want(bad, true)
	other := app("other", messenger+"x")
	f.want(other, false) // the same program, another app
	elsewhere := filepath.Join(f.dir, "moved")
	if err := os.Rename(filepath.Join(f.dir, "other"), elsewhere); err != nil {
		t.Fatal(err)
	}
	f.want(filepath.Join(elsewhere, "electron"), false)
	shell := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" /mnt && ! /mnt/electron`, "sh", elsewhere)
	if out, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(out), "not permitted") {
		t.Errorf("in another mount namespace: %v\n%s", err, out)
	}
}

// TestSnap starts programs out of a squashfs image, as snaps are mounted, and out of one that a user may change below it.
func TestSnap(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	f.start()
	tree := t.TempDir()
	if err := os.Chmod(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	f.program(filepath.Join(tree, "bad"), messenger)
	f.program(filepath.Join(tree, "good"), "")
	snap := func(name string, owner int) string {
		t.Helper()
		image, dir := filepath.Join(f.work, name+".snap"), filepath.Join(f.work, "watched", name)
		f.run("mksquashfs", tree, image, "-all-root", "-quiet", "-no-progress")
		if err := errors.Join(os.Chown(image, owner, owner), os.MkdirAll(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "squashfs", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
			t.Skipf("no squashfs here: %s", out)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		f.until(filepath.Join(dir, "bad"), false) // it is watched a moment later
		return dir
	}
	dir := snap("snap", 0)
	for range 3 {
		f.want(filepath.Join(dir, "bad"), false)
		f.want(filepath.Join(dir, "good"), true)
	}
	user := snap("image", 1000)
	f.want(filepath.Join(user, "good"), false)
	if e := f.spooled("refusal", func(e *event.Event) bool {
		return e.Kind == event.ProgramRun && e.Program.Path == filepath.Join(user, "good")
	}); e.Verdict.Rule != "removable-media" || !strings.Contains(e.Verdict.Say, "image") {
		t.Errorf("%+v", e.Verdict)
	}
}

// TestFlatpak starts programs as Flatpak does: hard links to the objects of a store, bound into a mount and user namespace.
func TestFlatpak(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	files := filepath.Join(f.dir, "app/org.example.Client/x86_64/stable/1/files/bin")
	objects := filepath.Join(f.dir, "repo/objects/ab")
	if err := errors.Join(os.MkdirAll(files, 0o755), os.MkdirAll(objects, 0o755)); err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"bad": messenger, "good": ""} {
		if err := os.Link(f.program(filepath.Join(objects, name+".file"), more), filepath.Join(files, name)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1100 * time.Millisecond)
	f.start()
	script := `mount --rbind "$1" /mnt && mount --bind /mnt "$2" && "$2/bin/good" && ! "$2/bin/bad"`
	shell := exec.Command("unshare", "-U", "-r", "-m", "-p", "-f", "sh", "-c", script, "sh", filepath.Dir(files), t.TempDir())
	out, err := shell.CombinedOutput()
	if strings.Contains(string(out), "unshare failed") {
		t.Skipf("no user namespaces here: %s", out)
	}
	if err != nil || !strings.Contains(string(out), "not permitted") {
		t.Errorf("%v\n%s", err, out)
	}
	f.want(filepath.Join(files, "bad"), false)
	f.want(filepath.Join(files, "good"), true)
}
