package trust

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const commitName = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestNamed(t *testing.T) {
	for path, want := range map[string]string{
		"/snap/zoom-client/225/zoom":                       "snap zoom-client",
		"/snap/zoom-client_two/225/zoom":                   "snap zoom-client",
		"/var/lib/snapd/snap/zoom-client/225/usr/bin/zoom": "snap zoom-client",
		"/snap/bin/zoom-client":                            "",
		"/snap/zoom-client":                                "",
		"/snap//1/x":                                       "",
		"/home/a/snap/zoom-client/225/zoom":                "",
		"/var/lib/flatpak/app/us.zoom.Zoom/x86_64/stable/" + commitName + "/files/bin": "flatpak us.zoom.Zoom",
		"/home/a/.local/share/flatpak/app/us.zoom.Zoom/x":                              "flatpak us.zoom.Zoom",
		"/a/.local/share/flatpak/app/us.zoom.Zoom":                                     "",
		"/srv/app/us.zoom.Zoom/x86_64/stable/" + commitName + "/files/bin/zoom":        "flatpak us.zoom.Zoom",
		"/srv/app/us.zoom.Zoom/x86_64/stable/short/files/bin/zoom":                     "",
		"/srv/app//x86_64/stable/" + commitName + "/files/bin/zoom":                    "",
		"/app/bin/zoom": "",
		"":              "",
		"/":             "",
	} {
		p, ok := Named(path)
		if got := strings.TrimSpace(p.Manager + " " + p.Name); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v", path, got, ok)
		}
	}
}

func TestBehind(t *testing.T) {
	table := []byte("1 0 0:1 / / rw - tmpfs tmpfs rw\n" +
		"2 1 8:1 /lib/flatpak/app/us.zoom.Zoom/x86_64/stable/" + commitName + "/files /app ro - ext4 /dev/sda1 rw\n" +
		"3 2 8:2 /a/editor /app/bin/editor ro - ext4 /dev/sda2 rw\nnonsense\n")
	for path, want := range map[string]string{"/app/bin/zoom": "us.zoom.Zoom", "/app/bin/editor/x": "", "/usr/bin/zoom": ""} {
		if p, _ := behind(table, path); p.Name != want {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if _, ok := Sandboxed(int32(os.Getpid()), "/app/bin/true"); ok {
		t.Error("this is no sandbox of Flatpak")
	}
	if _, ok := Sandboxed(0, "/app/bin/true"); ok {
		t.Error("there is no such thread")
	}
}

// TestSnapImage reads in an image which snap it is, wherever it is mounted.
func TestSnapImage(t *testing.T) {
	if _, err := exec.LookPath("mksquashfs"); os.Geteuid() != 0 || err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal("needs root and mksquashfs")
		}
		t.Skip("needs root, to mount, and mksquashfs")
	}
	x := t.TempDir()
	tree, image, point := filepath.Join(x, "tree"), filepath.Join(x, "x.snap"), filepath.Join(x, "point")
	for _, dir := range []string{filepath.Join(tree, "meta"), point} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "meta/snap.yaml"), []byte("summary: x\nname: zoom-client # it\nversion: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "zoom"), []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mksquashfs", tree, image, "-all-root", "-quiet", "-no-progress").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("mount", "-t", "squashfs", "-o", "loop,ro", image, point).CombinedOutput(); err != nil {
		t.Skipf("no squashfs here: %s", out)
	}
	defer func() { _ = unix.Unmount(point, unix.MNT_DETACH) }()
	f, err := os.Open(filepath.Join(point, "zoom"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p, sure, ok := Snap(f); !ok || sure || p != (Package{"snap", "zoom-client"}) {
		t.Errorf("%+v %v %v", p, sure, ok)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	if p, _, ok := Snap(self); ok {
		t.Errorf("%+v", p)
	}
}

func TestSnapName(t *testing.T) {
	for text, want := range map[string]string{"name: a\n": "a", "x: y\nname: 'b' # c\n": "b", " name: c": "", "": "", "name:": "", "name: \"d\"\nname: e": "d"} {
		if got := snapName([]byte(text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzOutside reads what comes from outside: lists, tables of mounts, descriptions, paths.
func FuzzOutside(f *testing.F) {
	f.Add([]byte("/.\n/opt/zoom/zoom\n"), "/app/bin/zoom")
	f.Add([]byte(mark+"zoom\t/opt/zoom/zoom\npackage x is not installed\n"), "/snap/a/1/b")
	f.Add([]byte("2 1 8:1 /lib/flatpak/app/x/y /app ro - ext4 /dev/sda1 rw\nname: x\n"), "/app/x/flatpak/app/y/z")
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		for _, parse := range []func(string) (Package, string){parseRPM, func(l string) (Package, string) { return Package{"deb", "x"}, l }} {
			listed, err := parseList(bytes.NewReader(text), 3, parse)
			if len(listed) > 3 {
				t.Errorf("%d files, %v", len(listed), err)
			}
			for _, l := range listed {
				if l.Name == "" || !filepath.IsAbs(l.Path) {
					t.Errorf("%+v", l)
				}
			}
		}
		for _, named := range []func() (Package, bool){func() (Package, bool) { return Named(path) }, func() (Package, bool) { return behind(text, path) }} {
			if p, ok := named(); ok && p.Name == "" || strings.Contains(p.Name, "/") {
				t.Errorf("%+v", p)
			}
		}
		if strings.Contains(snapName(text), "\n") {
			t.Error("more than a line")
		}
	})
}
