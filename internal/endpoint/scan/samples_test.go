package scan_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// sample is a messenger in one format. What it is known by may lie some levels within it.
type sample struct {
	name   string
	data   []byte
	levels int  // within it, at which the fact lies; those of packages are read from the outside
	behind bool // works with something behind its end
	before bool // works with something before its begin
}

// samples are all formats that programs come in. Those of tools that are missing are left out, but not in CI.
func samples(t *testing.T) []sample {
	t.Helper()
	exe := scantest.Installer()
	shortcut := []byte("[Desktop Entry]\nType=Application\nName=Chat\nExec=x\nIcon=org.telegram.desktop\nX-Flatpak=org.telegram.desktop\n")
	list := []sample{
		{"windows program, by its version resource", exe, 0, true, false},
		{"windows program, by words in UTF-16", append(programtest.PE(map[string]string{"ProductName": "Calculator"}), wide("x tdesktop-theme x TelegramDesktop x")...), 0, true, false},
		{"windows program, by words in UTF-8", append(programtest.PE(map[string]string{"ProductName": "Calculator"}), "x tdesktop-theme x TelegramDesktop x"...), 0, true, false},
		{"Inno Setup", append(bytes.Clone(exe), "Inno Setup Setup Data (6.2.0) (u)"...), 0, true, false},
		{"Squirrel", append(programtest.PE(map[string]string{"ProductName": "Setup"}), zipped(t, map[string][]byte{"x-full.nupkg": zipped(t, map[string][]byte{"lib/net45/x.exe": exe})})...), 2, true, false},
		{"debian package", programtest.Deb("telegram-desktop", "4.6", nil), 0, true, false},
		{"rpm package", programtest.RPM("telegram-desktop", "4.6", "", programtest.Gzip(programtest.CPIO(nil))), 0, true, false},
		{"flatpak and web shortcut", shortcut, 0, true, false},
		{"macos bundle", []byte(`<?xml version="1.0"?><plist version="1.0"><dict><key>CFBundleIdentifier</key><string>ru.keepcoder.Telegram</string><key>CFBundlePackageType</key><string>APPL</string></dict></plist>`), 0, false, false},
		{"macos program, by its signature", programtest.MachO("ru.keepcoder.Telegram", "6N38VWS5BX"), 0, true, false},
		{"macos app in a zip", zipped(t, map[string][]byte{"T.app/Contents/MacOS/T": programtest.MachO("ru.keepcoder.Telegram", "6N38VWS5BX")}), 1, true, true},
		{"macos package", programtest.XAR("application/octet-stream", programtest.File{Name: "Payload", Body: programtest.Gzip(programtest.CPIO(map[string][]byte{"./T.app/Contents/MacOS/T": programtest.MachO("ru.keepcoder.Telegram", "6N38VWS5BX")}))}), 3, true, false},
		{"electron archive", programtest.ASAR(programtest.File{Name: "package.json", Body: []byte(`{"name":"x","productName":"Telegram Desktop","desktopName":"org.telegram.desktop.desktop","author":"Telegram FZ-LLC"}`)}), 0, true, false},
		{"msix package", zipped(t, map[string][]byte{"AppxManifest.xml": []byte(`<Package><Identity Name="TelegramMessengerLLP.TelegramDesktop" Publisher="CN=x" Version="1"/></Package>`)}), 0, true, true},
		{"python wheel", zipped(t, map[string][]byte{"Telethon-1.36.dist-info/METADATA": []byte("Metadata-Version: 2.1\nName: Telethon\nVersion: 1.36\n")}), 0, true, true},
		{"python distribution", []byte("Metadata-Version: 2.1\nName: Telethon\nVersion: 1.36\n"), 0, true, false},
		{"java archive", zipped(t, map[string][]byte{"META-INF/MANIFEST.MF": []byte("Manifest-Version: 1.0\nMain-Class: org.jivesoftware.launcher.Startup\n")}), 0, true, true},
	}
	list = append(list, linuxSamples(t, shortcut)...)
	return append(list, builtSamples(t, exe)...)
}

// linuxSamples are programs around one of this machine.
func linuxSamples(t *testing.T, shortcut []byte) []sample {
	t.Helper()
	path, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	elf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := []sample{{"linux program", append(bytes.Clone(elf), "x tdesktop-palette x tg://login?token= x"...), 0, true, false}}
	if image := packedBy(t, "mksquashfs", []string{".", "OUT", "-quiet", "-no-progress", "-all-root"}, map[string][]byte{"meta/gui/x.desktop": shortcut}); image != nil {
		app := append(bytes.Clone(elf), image...)
		copy(app[8:], "AI\x02")
		list = append(list, sample{"snap", image, 1, true, false}, sample{"AppImage", app, 1, true, false})
	}
	return list
}

// builtSamples are installers that real tools build.
func builtSamples(t *testing.T, exe []byte) []sample {
	t.Helper()
	var list []sample
	script := []byte("OutFile ../out.bin\nSection\nSetOutPath $TEMP\nFile a.exe\nSectionEnd\n")
	if b := packedBy(t, "makensis", []string{"-V1", "a.nsi"}, map[string][]byte{"a.exe": exe, "a.nsi": script}); b != nil {
		list = append(list, sample{"NSIS", b, 1, true, false})
	}
	source := []byte(`<?xml version="1.0"?><Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="*" Name="Telegram Desktop" Language="1033" Version="1.0.0"
Manufacturer="Telegram FZ-LLC" UpgradeCode="11111111-2222-3333-4444-555555555555"><Package InstallerVersion="200" Compressed="yes"/><Media Id="1" Cabinet="c.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Component Id="C" Guid="11111111-2222-3333-4444-555555555556"><File Id="P" Source="a.exe" KeyPath="yes"/></Component></Directory>
<Feature Id="X" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>`)
	if b := packedBy(t, "wixl", []string{"-o", "OUT", "a.wxs"}, map[string][]byte{"a.exe": []byte("nothing"), "a.wxs": source}); b != nil {
		list = append(list, sample{"MSI", b, 0, true, false})
	}
	return list
}

// wide is text as Windows programs hold it.
func wide(text string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// zipped packs files, in the order of their names.
func zipped(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packedBy lets a tool make a file of files: args in their folder, OUT being what it makes, ../out.bin. nil where the tool is missing.
func packedBy(t *testing.T, tool string, args []string, files map[string][]byte) []byte {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Log("left out: ", err)
		return nil
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out.bin")
	for name, b := range files {
		path := filepath.Join(in, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "OUT" {
			args[i] = out
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = in
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", tool, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
