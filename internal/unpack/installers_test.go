package unpack_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/unpack"
)

// need returns a tool, or ends the test: skipped, but in CI it fails.
func need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip(tool + " is not installed")
	}
	return path
}

// made runs a tool in a folder that holds the given files, and returns the file that it made.
func made(t testing.TB, files map[string]string, result, tool string, args ...string) []byte {
	t.Helper()
	tool = need(t, tool)
	dir := t.TempDir()
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, result))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const wixSource = `<?xml version="1.0"?><Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="*" Name="Example" Language="1033" Version="1.0.0"
Manufacturer="Example" UpgradeCode="11111111-2222-3333-4444-555555555555"><Package InstallerVersion="200" Compressed="yes"/>
<Media Id="1" Cabinet="cab1.cab" EmbedCab="yes"/><Directory Id="TARGETDIR" Name="SourceDir"><Component Id="C" Guid="11111111-2222-3333-4444-555555555556">
<File Id="Before" Source="readme.txt"/><File Id="Program" Source="a.exe" KeyPath="yes"/></Component></Directory><Feature Id="X" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>`

// msiFile is a real MSI with a cabinet of several blocks inside.
func msiFile(t testing.TB) []byte {
	words := strings.Repeat("words that are longer than one block of a cabinet\n", 3000)
	return made(t, map[string]string{"a.wxs": wixSource, "readme.txt": words, "a.exe": string(exe())}, "a.msi", "wixl", "-o", "a.msi", "a.wxs")
}

// nsisFile is a real installer that NSIS made.
func nsisFile(t testing.TB) []byte {
	return made(t, map[string]string{"a.nsi": "OutFile a-setup.exe\nSection\nSetOutPath $TEMP\nFile a.exe\nSectionEnd\n", "a.exe": string(exe())},
		"a-setup.exe", "makensis", "-V1", "a.nsi")
}

// sevenZipFile is an archive that 7z made.
func sevenZipFile(t testing.TB, args ...string) []byte {
	return made(t, map[string]string{"holiday.jpg": string(exe())}, "out.7z", "7z", append(append([]string{"a", "-bd"}, args...), "out.7z", "holiday.jpg")...)
}

// setupExe is a generated program with something behind it, at the place where stubs put it.
func setupExe(payload ...[]byte) []byte {
	return append(exe(), bytes.Join(payload, nil)...)
}

// withResources is a generated program whose resources hold something, behind its version.
func withResources(t testing.TB, payload []byte) []byte {
	t.Helper()
	// The text of the version resource is the only room there is; it is swapped in place.
	const mark = "0123456789abcdef"
	room := strings.Repeat(mark, len(payload)/16+1)
	data := programtest.PE(map[string]string{"Comments": room})
	at := bytes.Index(data, []byte("0\x001\x002\x003\x00"))
	if at < 0 {
		t.Fatal("no room")
	}
	return append(append(slices.Clone(data[:at]), payload...), data[at+len(payload):]...)
}

// cab makes a cabinet of one folder with one stored file; method is what it claims of its compression.
func cab(method uint16, folder uint16, name string, body []byte) []byte {
	le := binary.LittleEndian
	files := 36 + 8
	blocks := files + 16 + len(name) + 1
	b := []byte("MSCF\x00\x00\x00\x00")
	b = le.AppendUint32(b, uint32(blocks+8+len(body)))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(files))
	b = append(b, 0, 0, 0, 0, 3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(b, uint32(blocks))
	b = le.AppendUint16(le.AppendUint16(b, 1), method)
	b = le.AppendUint32(b, uint32(len(body)))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, folder)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(append(b, name...), 0)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(le.AppendUint16(b, uint16(len(body))), uint16(len(body)))
	return append(b, body...)
}

// lzxCab makes a cabinet whose file is in a block of LZX that is not packed: 3 bits of its kind, 24 of its size, three offsets.
func lzxCab(name string, body []byte) []byte {
	le := binary.LittleEndian
	head := 3<<28 | uint32(len(body))<<4
	packed := le.AppendUint16(le.AppendUint16(nil, uint16(head>>16)), uint16(head))
	packed = append(append(packed, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0), body...)
	b := cab(0x1503, 0, name, packed)
	le.PutUint32(b[44:], uint32(len(body)))                   // the size of the file
	le.PutUint16(b[len(b)-len(packed)-2:], uint16(len(body))) // and of the block
	return b
}

func appImage(b []byte) []byte {
	b = slices.Clone(b)
	copy(b[8:], "AI\x02")
	return b
}

// TestInstallers says of everything that an installer carries what it is, or that it was not looked into.
func TestInstallers(t *testing.T) {
	x := exe()
	elf, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data func() []byte
		want string // an entry, or a failure
	}{
		{"NSIS", func() []byte { return nsisFile(t) }, "file-1 (pe)"},
		{"MSI", func() []byte { return msiFile(t) }, "cab1.cab!/Program (pe)"},
		{"Inno Setup", func() []byte { return setupExe([]byte("idska32\x1a...."), []byte("Inno Setup Setup Data (6.2.0) (u)")) }, ": unsupported"},
		{"7z", func() []byte { return setupExe(sevenZipFile(t)) }, "holiday.jpg (pe)"},
		{"7z with a configuration before and a signature behind", func() []byte {
			return setupExe([]byte(";!@Install@!UTF-8!\r\nRunProgram=\"x\"\r\n;!@InstallEnd@!"), sevenZipFile(t), make([]byte, 4000))
		}, "holiday.jpg (pe)"},
		{"7z with a password", func() []byte { return setupExe(sevenZipFile(t, "-psecret")) }, "holiday.jpg: encrypted"},
		{"7z behind an ELF", func() []byte { return append(slices.Clone(elf), sevenZipFile(t)...) }, "holiday.jpg (pe)"},
		{"rar", func() []byte { return setupExe([]byte("Rar!\x1a\x07\x01\x00 and no more")) }, ": unparseable"},
		{"cabinet", func() []byte { return setupExe(cab(0, 0, "holiday.jpg", x)) }, "holiday.jpg (pe)"},
		{"cabinet in LZX", func() []byte { return setupExe(lzxCab("holiday.jpg", x)) }, "holiday.jpg (pe)"},
		{"cabinet in LZX that is none", func() []byte { return setupExe(cab(0x1503, 0, "holiday.jpg", x)) }, ": unparseable"},
		{"cabinet in LZX with a window that is none", func() []byte { return setupExe(cab(0x1903, 0, "holiday.jpg", x)) }, ": unparseable"},
		{"cabinet in Quantum", func() []byte { return setupExe(cab(0x1202, 0, "holiday.jpg", x)) }, ": unsupported"},
		{"cabinet of several volumes", func() []byte { return setupExe(cab(0, 0xfffd, "holiday.jpg", x)) }, "holiday.jpg: unsupported"},
		{"cabinet in the resources", func() []byte { return withResources(t, cab(0, 0, "holiday.jpg", x)) }, "holiday.jpg (pe)"},
		{"zip in the resources", func() []byte { return withResources(t, zipped(t, file{"holiday.jpg", x})) }, "holiday.jpg (pe)"},
		{"zip with a signature behind", func() []byte { return setupExe(zipped(t, file{"holiday.jpg", x}), make([]byte, 4000)) }, "holiday.jpg (pe)"},
		{"MSI behind a program", func() []byte { return setupExe(make([]byte, 100), msiFile(t)) }, "payload.msi!/cab1.cab!/Program (pe)"},
		{"squashfs behind a program", func() []byte { return append(slices.Clone(elf), "hsqs and no more"...) }, ": unparseable"},
		{"squashfs that is whole behind a program", func() []byte { return append(slices.Clone(elf), squashed("xz")(t, file{"holiday.jpg", x})...) }, "holiday.jpg (pe)"},
		{"AppImage without its file system", func() []byte { return appImage(elf) }, ": unsupported"},
		{"AppImage", func() []byte { return append(appImage(elf), squashed("gzip")(t, file{"usr/bin/holiday.jpg", x})...) }, "usr/bin/holiday.jpg (pe)"},
		{"snap", func() []byte { return squashed("lzo")(t, file{"holiday.jpg", x}) }, "holiday.jpg (pe)"},
		{"disc", func() []byte { return isoOf(t, file{"Eine Datei mit langem Namen.jpg", x}) }, "Eine Datei mit langem Namen.jpg (pe)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := walk(t, c.data(), unpack.Limits{})
			if !slices.Contains(append(s.entries, s.failures...), c.want) {
				t.Errorf("%q, failures %q", s.entries, s.failures)
			}
		})
	}
}

// TestInstallerInside is what scan shows of an installer in an archive.
func TestInstallerInside(t *testing.T) {
	s := walk(t, zipped(t, file{"setup.exe", nsisFile(t)}, file{"a.msi", setupExe(cab(0x1202, 0, "x", exe()))}), unpack.Limits{})
	if !slices.Equal(s.failures, []string{"a.msi: unsupported"}) || !slices.Contains(s.entries, "setup.exe!/file-1 (pe)") {
		t.Errorf("%q, failures %q", s.entries, s.failures)
	}
}

// TestNSIS finds every file of an installer byte for byte, by every compressor, solid and not.
func TestNSIS(t *testing.T) {
	small, large := exe(), append(append(exe(), noise(200_000)...), bytes.Repeat([]byte("again and again, "), 60_000)...)
	for _, compressor := range []string{"", "SetCompress off", "SetCompressor zlib", "SetCompressor /SOLID zlib", "SetCompressor lzma", "SetCompressor /SOLID lzma",
		"SetCompressor bzip2", "SetCompressor /SOLID bzip2", "SetCompressor /SOLID lzma\nSetCompressorDictSize 32", "CRCCheck off"} {
		t.Run(compressor, func(t *testing.T) {
			data := made(t, map[string]string{"a.nsi": compressor + "\nOutFile a-setup.exe\nSection\nSetOutPath $TEMP\nFile a.exe\nFile words\nFile b.exe\nWriteUninstaller u.exe\nSectionEnd\nSection Uninstall\nSectionEnd\n",
				"a.exe": string(small), "b.exe": string(large), "words": "words"}, "a-setup.exe", "makensis", "-V1", "a.nsi")
			h := hold(t, data, unpack.Limits{})
			found := 0
			for _, b := range h.bodies {
				if bytes.Equal(b, small) || bytes.Equal(b, large) {
					found++
				}
			}
			if found != 2 || h.failures != nil {
				t.Errorf("%d found, %q, failures %q", found, h.entries, h.failures)
			}
		})
	}
}

// TestNoInstaller keeps programs that only talk about installers, as those that read them do, from being taken for one.
func TestNoInstaller(t *testing.T) {
	words := []byte("\xef\xbe\xad\xdeNullsoftInst Inno Setup Setup Data (5.5.0) 7z\xbc\xaf\x27\x1c MSCF\x00\x00\x00\x00 PK\x05\x06 Rar!\x1a\x07\x01\x00 hsqs")
	s := walk(t, withResources(t, words), unpack.Limits{})
	if s.failures != nil || s.entries != nil {
		t.Errorf("in the resources: %q, failures %q", s.entries, s.failures)
	}
	for _, damaged := range [][]byte{[]byte("7z\xbc\xaf\x27\x1c and no header with its checksum at all"), []byte("MSCF\x00\x00\x00\x00"), []byte("PK\x05\x06"),
		[]byte("MSCF\x00\x00\x00\x00 but not what a cabinet would go on with")} {
		if s := walk(t, setupExe(damaged), unpack.Limits{}); s.failures != nil || s.entries != nil {
			t.Errorf("%q behind a program: %q, failures %q", damaged, s.entries, s.failures)
		}
	}
}
