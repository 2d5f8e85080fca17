package scan_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// disguise wraps a file; nil where the tool for it is missing.
type disguise struct {
	name string
	wrap func(t *testing.T, b []byte) []byte
	exes bool // only what goes on behind its end: programs
}

// packedBy lets a tool pack a file: args in its folder, OUT being the archive.
func packedBy(tool string, args ...string) func(*testing.T, []byte) []byte {
	return func(t *testing.T, b []byte) []byte {
		if _, err := exec.LookPath(tool); err != nil {
			return nil
		}
		dir := t.TempDir()
		out := filepath.Join(dir, "out.bin")
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "in"), 0o755), os.WriteFile(filepath.Join(dir, "in/IMG_0001.JPG"), b, 0o600)); err != nil {
			t.Fatal(err)
		}
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "OUT", out)
		}
		cmd := exec.Command(tool, args...)
		cmd.Dir = filepath.Join(dir, "in")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", tool, err, text)
		}
		packed, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], out, "OUT")
		}
		return packed
	}
}

func zippedAs(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("x/IMG_0001.JPG")
	if err == nil {
		_, err = w.Write(b)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func disguises() []disguise {
	squashfs := packedBy("mksquashfs", ".", "OUT", "-quiet", "-no-progress", "-comp", "xz")
	sevenZip := packedBy("7z", "a", "-bd", "-t7z", "OUT", ".")
	return []disguise{
		{"as it is", func(_ *testing.T, b []byte) []byte { return b }, false},
		{"one byte more", func(_ *testing.T, b []byte) []byte { return append(bytes.Clone(b), 'x') }, true},
		{"a megabyte more", func(_ *testing.T, b []byte) []byte { return append(bytes.Clone(b), make([]byte, 1<<20)...) }, true},
		{"zip", zippedAs, false},
		{"tar.gz", func(_ *testing.T, b []byte) []byte {
			return programtest.Gzip(programtest.Tar(map[string][]byte{"x/IMG_0001.JPG": b}))
		}, false},
		{"cpio", func(_ *testing.T, b []byte) []byte { return programtest.CPIO(map[string][]byte{"x": b}) }, false},
		{"deb", func(_ *testing.T, b []byte) []byte {
			return programtest.Deb("fonts", "1", map[string][]byte{"./usr/share/fonts/a.ttf": b})
		}, false},
		{"7z", sevenZip, false},
		{"7z behind a program", func(t *testing.T, b []byte) []byte {
			if b = sevenZip(t, b); b == nil {
				return nil
			}
			return append(programtest.PE(map[string]string{"ProductName": "Calculator"}), b...)
		}, false},
		{"disc", packedBy("genisoimage", "-quiet", "-J", "-o", "OUT", "."), false},
		{"disc in zip", func(t *testing.T, b []byte) []byte {
			if b = packedBy("genisoimage", "-quiet", "-J", "-o", "OUT", ".")(t, b); b == nil {
				return nil
			}
			return zippedAs(t, b)
		}, false},
		{"squashfs", squashfs, false},
		{"six levels", func(t *testing.T, b []byte) []byte {
			for range 6 {
				b = zippedAs(t, b)
			}
			return b
		}, false},
	}
}

// TestDisguises finds every sample in every disguise, under a name that says nothing.
func TestDisguises(t *testing.T) {
	samples := map[string]struct {
		data []byte
		exe  bool
	}{
		"windows program": {scantest.Installer(), true},
		"debian package":  {programtest.Deb("telegram-desktop", "4.6", nil), false},
		"rpm package":     {programtest.RPM("telegram-desktop", "4.6", "", programtest.Gzip(programtest.CPIO(nil))), false},
		"macos bundle":    {[]byte(`<?xml version="1.0"?><plist version="1.0"><dict><key>CFBundleIdentifier</key><string>ru.keepcoder.Telegram</string><key>CFBundlePackageType</key><string>APPL</string></dict></plist>`), false},
		"desktop file":    {[]byte("[Desktop Entry]\nType=Application\nName=Chat\nExec=flatpak run org.telegram.desktop\nX-Flatpak=org.telegram.desktop\n"), false},
		"msix package":    {zipOfManifest(t), false},
	}
	dir := t.TempDir()
	var want []string
	for sample, s := range samples {
		for _, d := range disguises() {
			if d.exes && !s.exe {
				continue
			}
			if b := d.wrap(t, s.data); b != nil {
				name := sample + ", " + d.name
				write(t, filepath.Join(dir, name), b)
				want = append(want, name)
			}
		}
	}
	r := run(t, scan.Options{}, dir)
	found := map[string]bool{}
	for _, f := range r.findings {
		if f.Event.Program.App == "telegram" && f.Certain() {
			found[filepath.Base(f.Path)] = true
		}
	}
	for _, name := range want {
		if !found[name] {
			t.Errorf("%s was not found", name)
		}
	}
	for _, p := range r.problems { // a package at the sixth level is known, and not looked into
		if !strings.Contains(p, "six levels") || !strings.HasSuffix(p, ": too-deep") {
			t.Errorf("problem %q", p)
		}
	}
	t.Logf("%d of %d disguised samples found", len(found), len(want))
}

func zipOfManifest(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.Create("AppxManifest.xml")
	if err == nil {
		_, err = w.Write([]byte(`<Package><Identity Name="TelegramMessengerLLP.TelegramDesktop" Publisher="CN=x" Version="1"/></Package>`))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
