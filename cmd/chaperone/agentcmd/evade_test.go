package agentcmd_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func notify() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
}

// TestNamesCountForNothing tries a messenger under other names, in other places and with more bytes.
func TestNamesCountForNothing(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	bad, good, root := f.program("holiday", messenger), f.program("good", ""), f.program("root-good", "")
	f.start()
	for range 3 {
		f.want(good, true)
		f.want(root, true)
		f.want(bad, false)
	}
	renamed := filepath.Join(f.dir, "ls")
	if err := os.Rename(bad, renamed); err != nil {
		t.Fatal(err)
	}
	f.want(renamed, false)
	link := filepath.Join(f.dir, "link")
	if err := os.Link(renamed, link); err != nil {
		t.Fatal(err)
	}
	f.want(link, false)
	soft := filepath.Join(t.TempDir(), "soft") // on a file system that is not watched
	if err := os.Symlink(link, soft); err != nil {
		t.Fatal(err)
	}
	f.want(soft, false)
	f.want(f.program("copy", messenger), false)
	f.want(f.program("one more byte", messenger+"x"), false)
	f.want(f.program("root-owned", messenger), false)
	f.want(f.program("good again", "x"), true)
	telegram, err := hex.DecodeString("0b2588d040195d37334aa4581531976b266a29ad")
	if err != nil {
		t.Fatal(err)
	}
	f.want(f.builtAs("without its texts", telegram), false)
	f.want(f.builtAs("of a build that nobody knows", make([]byte, 20)), true)
}

// builtAs makes a program whose build id is all that tells what it is.
func (f *field) builtAs(name string, id []byte) string {
	f.t.Helper()
	path := f.program(name, "")
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	parsed, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		f.t.Fatal(err)
	}
	note := parsed.Section(".note.gnu.build-id")
	if note == nil || note.Size != 36 {
		f.t.Skip("the programs of this machine have no build id of 20 bytes")
	}
	copy(b[note.Offset+16:], id)
	return f.write(path, string(b), 0o755)
}

// TestOtherWaysToTheSameFile goes through bind mounts, another mount namespace, layers, and file systems that are mounted later.
func TestOtherWaysToTheSameFile(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	f.program("bad", messenger)
	f.program("good", "")
	f.start()
	mount := func(source, kind, data string, flags uintptr) string {
		t.Helper()
		dir := filepath.Join(f.work, "watched", kind+filepath.Base(source))
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount(source, dir, kind, flags, data)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		return dir
	}
	elsewhere := t.TempDir() // a place that is not watched itself
	if err := unix.Mount(f.dir, elsewhere, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(elsewhere, unix.MNT_DETACH) }()
	f.want(filepath.Join(elsewhere, "bad"), false)
	f.want(filepath.Join(elsewhere, "good"), true)

	script := "mount --bind " + f.dir + " /mnt && /mnt/good && ! /mnt/bad"
	if out, err := exec.Command("unshare", "-m", "sh", "-c", script).CombinedOutput(); err != nil || !strings.Contains(string(out), "not permitted") {
		t.Errorf("in another mount namespace: %v\n%s", err, out)
	}

	// What is mounted later is watched a moment later.
	later := func(dir string) {
		t.Helper()
		b := f.program(filepath.Join(dir, "bad"), messenger)
		for end := time.Now().Add(2 * time.Minute); f.starts(b) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		f.want(b, false)
		f.want(f.program(filepath.Join(dir, "good"), ""), true)
	}
	again := f.mountImage("later")
	later(again)
	f.run("sh", "-c", "until umount "+again+"; do sleep 0.05; done && mount -o loop "+filepath.Join(f.work, "later.img")+" "+again) // with the same device number; it is busy as long as what was started cannot be written
	later(again)
	later(mount("memory", "tmpfs", "", 0))
	for _, d := range []string{"lower", "upper", "layers"} {
		if err := os.Mkdir(filepath.Join(f.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.program(filepath.Join(f.dir, "lower", "bad below"), messenger)
	layers := mount("layered", "overlay", "lowerdir="+f.dir+"/lower,upperdir="+f.dir+"/upper,workdir="+f.dir+"/layers", 0)
	later(layers)
	f.want(filepath.Join(layers, "bad below"), false)
}

// TestRewrittenAfterItWasAllowed changes a program by writing and through a shared mapping, before, while and after it is decided, on a file
// system that tells of such changes and on one that does not.
func TestRewrittenAfterItWasAllowed(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	memory := filepath.Join(f.work, "watched", "memory")
	if err := errors.Join(os.MkdirAll(memory, 0o755), unix.Mount("memory", memory, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(memory, unix.MNT_DETACH) }()
	f.start()
	good, bad := f.twoOfOneSize()
	rounds := "25"
	if os.Getenv("CHAPERONE_SOAK") == "1" {
		rounds = "400"
	}
	for _, dir := range []string{f.dir, memory} {
		for _, how := range []string{"attack-write", "attack-map"} {
			target := filepath.Join(dir, how)
			f.run("install", "-o", "1000", "-m", "755", good, target) // root could do what he likes
			cmd := exec.Command("/proc/self/exe", how, target, good, bad, rounds)
			cmd.Args[0] = os.Args[0]
			out, err := cmd.CombinedOutput()
			t.Logf("%s on %s: %s", how, filepath.Base(dir), out)
			if err != nil {
				t.Errorf("%s on %s: %v", how, filepath.Base(dir), err)
			}
		}
	}
	// In peace: allowed, remembered, changed without a trace but the mapping.
	for _, dir := range []string{f.dir, memory} {
		target := filepath.Join(dir, "peace")
		f.run("install", "-o", "1000", "-m", "755", good, target)
		time.Sleep(1100 * time.Millisecond) // its change is not fresh any more, so it is remembered
		f.want(target, true)
		f.want(target, true)
		b, err := os.ReadFile(bad)
		if err != nil {
			t.Fatal(err)
		}
		if err := changeMapped(target, b, b, 0); err != nil {
			t.Fatal(err)
		}
		f.want(target, false)
	}
}

// twoOfOneSize makes a program that ends with 0 and a messenger that ends with 1, of the same size. They lie where nothing is watched.
func (f *field) twoOfOneSize() (good, bad string) {
	f.t.Helper()
	programs := [2][]byte{}
	for i, name := range []string{"/bin/true", "/bin/false"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.t.Fatal(err)
		}
		if i == 1 {
			b = append(b, messenger...)
		}
		programs[i] = b
	}
	size := max(len(programs[0]), len(programs[1]))
	for i, p := range programs {
		programs[i] = append(p, make([]byte, size-len(p))...)
	}
	good = f.write(filepath.Join(f.work, "good"), string(programs[0]), 0o755)
	bad = f.write(filepath.Join(f.work, "bad"), string(programs[1]), 0o755)
	return good, bad
}
