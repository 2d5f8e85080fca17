package reveal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// tooled lets a tool make a file of others, nil when it is not installed: the other formats are enough then.
func tooled(t *testing.T, files map[string][]byte, out, tool string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		return nil
	}
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", tool, err, text)
	}
	b, err := os.ReadFile(filepath.Join(dir, out))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seeds are small files of many formats.
func seeds(t *testing.T) map[string][]byte {
	exe := programtest.PE(map[string]string{"ProductName": "Example", "CompanyName": "Example"})
	tree := map[string][]byte{"in/a.exe": exe, "in/b.txt": []byte("words")}
	asar := []byte(`{"files":{"package.json":{"size":14,"offset":"0"}}}`)
	asarHead := binary.LittleEndian.AppendUint32(nil, 4)
	for _, n := range []int{len(asar) + 8, len(asar) + 4, len(asar)} {
		asarHead = binary.LittleEndian.AppendUint32(asarHead, uint32(n))
	}
	all := map[string][]byte{
		"pe": exe, "deb": programtest.Deb("example", "1", map[string][]byte{"a": exe}), "tar.gz": programtest.Gzip(programtest.Tar(map[string][]byte{"a": exe})),
		"rpm":  programtest.RPM("example", "1", "", programtest.Gzip(programtest.CPIO(map[string][]byte{"a": exe}))),
		"asar": append(append(asarHead, asar...), `{"name":"xxx"}`...), "plist": []byte(`<?xml version="1.0"?><plist version="1.0"><dict><key>CFBundleIdentifier</key><string>a.b</string></dict></plist>`),
		"desktop": []byte("[Desktop Entry]\nType=Application\nName=x\nExec=chromium --app-id=hnpfjngllnobngcgfapefoaidbinmjnm\n"),
		"nsis":    tooled(t, map[string][]byte{"a.nsi": []byte("SetCompressor /SOLID lzma\nOutFile o.exe\nSection\nFile a.exe\nSectionEnd\n"), "a.exe": exe}, "o.exe", "makensis", "-V1", "a.nsi"),
		"nsis-bz": tooled(t, map[string][]byte{"a.nsi": []byte("SetCompressor bzip2\nOutFile o.exe\nSection\nFile a.exe\nSectionEnd\n"), "a.exe": exe}, "o.exe", "makensis", "-V1", "a.nsi"),
		"7z":      tooled(t, tree, "o.7z", "7z", "a", "-bd", "o.7z", "in"),
		"zip":     tooled(t, tree, "o.zip", "7z", "a", "-bd", "-tzip", "o.zip", "in"),
	}
	all["iso"] = tooled(t, tree, "o", "genisoimage", "-quiet", "-J", "-o", "o", "in")
	all["msi"] = tooled(t, map[string][]byte{"a.exe": exe, "a.wxs": []byte(`<?xml version="1.0"?><Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="*" Name="Tools" Language="1033" Version="1.0.0"
Manufacturer="Example" UpgradeCode="11111111-2222-3333-4444-555555555555"><Package InstallerVersion="200" Compressed="yes"/><Media Id="1" Cabinet="cab1.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Component Id="C" Guid="11111111-2222-3333-4444-555555555556"><File Id="P" Source="a.exe" KeyPath="yes"/></Component></Directory>
<Feature Id="X" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>`)}, "o.msi", "wixl", "-o", "o.msi", "a.wxs")
	for _, by := range []string{"gzip", "xz", "zstd", "lzo", "lz4"} {
		all["squashfs-"+by] = tooled(t, tree, "o", "mksquashfs", "in", "o", "-quiet", "-no-progress", "-comp", by)
	}
	elf, err := os.ReadFile("/bin/true")
	if err == nil {
		all["elf"] = elf
	}
	return all
}

// mutate changes a few bytes, cuts, doubles or swaps stretches.
func mutate(r *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + r.IntN(6) {
		if len(b) < 8 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(8) {
		case 0:
			b = b[:at]
		case 1:
			b = append(b[:at:at], b[r.IntN(len(b)):]...)
		case 2, 3:
			binary.LittleEndian.PutUint32(b[min(at, len(b)-4):], []uint32{0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0, uint32(len(b))}[r.IntN(7)])
		case 4:
			from := r.IntN(len(b))
			copy(b[at:], b[from:min(len(b), from+64)])
		default:
			b[at] ^= byte(1 << r.IntN(8))
		}
	}
	return b
}

// TestMutations gives the child damaged files of every format: whatever becomes of a file, the scanner lives, and each answer comes. The number
// for each format is CHAPERONE_MUTATIONS.
func TestMutations(t *testing.T) {
	count := 150
	if n, err := strconv.Atoi(os.Getenv("CHAPERONE_MUTATIONS")); err == nil {
		count = n
	}
	rev, err := reveal.New(reveal.Options{Tokens: []string{"tdesktop-theme"}, Timeout: 10 * time.Second, Limits: unpack.Limits{Total: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer rev.Close()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "x"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, seed := range seeds(t) {
		if seed == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, uint64(len(seed))))
			reasons := map[string]int{}
			for range count {
				b := mutate(r, seed)
				if err := errors.Join(f.Truncate(0), f.Truncate(int64(len(b)))); err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(b, 0); err != nil {
					t.Fatal(err)
				}
				report, err := rev.Reveal(context.Background(), f)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range report.Problems {
					reasons[p.Reason]++
					if p.Reason == "parser crashed" || p.Reason == "out of memory" || p.Reason == "timeout" {
						t.Errorf("%s: %s", p.Reason, p.Detail)
						_ = os.WriteFile(filepath.Join(os.TempDir(), "chaperone-mutation-"+name), b, 0o600) // to look at
					}
				}
			}
			t.Logf("%d mutations: %v", count, reasons)
		})
	}
}
