package agentcmd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFlatpakByID starts programs that say nothing of a messenger, out of the folder of a user's Flatpak application: by their path, and as /app in
// a sandbox. That of a messenger does not start, that of another application does.
func TestFlatpakByID(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := packageField(t)
	f.start()
	for id, starts := range map[string]bool{"us.zoom.Zoom": false, "org.example.Editor": true} {
		files := filepath.Join(f.dir, "home/.local/share/flatpak/app", id, "x86_64/stable", strings.Repeat("0123456789abcdef", 4), "files")
		if err := os.MkdirAll(filepath.Join(files, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		f.want(f.program(filepath.Join(files, "bin/client"), id), starts)
		script := `mount -t tmpfs t /mnt && mkdir /mnt/app /mnt/old && mount --rbind "$1" /mnt/app && cd /mnt && ln -s old/lib old/lib64 old/usr . &&
pivot_root . old && export PATH=/old/usr/sbin:/old/usr/bin && cd / && /app/bin/client && echo started`
		out, err := exec.Command("unshare", "-U", "-r", "-m", "sh", "-c", script, "sh", files).CombinedOutput()
		if strings.Contains(string(out), "unshare failed") {
			t.Skipf("no user namespaces here: %s", out)
		}
		if strings.Contains(string(out), "started") != starts || !starts && !strings.Contains(string(out), "not permitted") {
			t.Errorf("%s in its sandbox: %v\n%s", id, err, out)
		}
	}
}

// TestSnapByName starts programs that say nothing of a messenger out of images that name a snap, wherever they are mounted.
func TestSnapByName(t *testing.T) {
	needs(t, "mksquashfs")
	if !namespace(t) {
		return
	}
	f := packageField(t)
	f.start()
	for name, starts := range map[string]bool{"zoom-client": false, "an-editor": true} {
		tree, image, dir := filepath.Join(f.work, name), filepath.Join(f.work, name+".snap"), filepath.Join(f.work, "watched", name)
		if err := errors.Join(os.MkdirAll(filepath.Join(tree, "meta"), 0o755), os.MkdirAll(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		f.write(filepath.Join(tree, "meta/snap.yaml"), "name: "+name+"\nversion: 1\n", 0o644)
		f.program(filepath.Join(tree, "client"), name)
		f.run("mksquashfs", tree, image, "-all-root", "-quiet", "-no-progress")
		if out, err := exec.Command("mount", "-t", "squashfs", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
			t.Skipf("no squashfs here: %s", out)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		f.becomes(filepath.Join(dir, "client"), starts) // it is watched a moment later
	}
}
