package unpack_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/unpack"
)

// packer makes an archive of one format.
type packer struct {
	name   string
	pack   func(t testing.TB, files ...file) []byte
	squash bool // it compresses
	flat   bool // it keeps no folders in names
}

// packers are all formats that hold files by name.
func packers() []packer {
	tarred := func(t testing.TB, files ...file) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range files {
			if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body)), Format: tar.FormatPAX}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(f.body); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	within := func(squeeze func(testing.TB, []byte) []byte) func(testing.TB, ...file) []byte {
		return func(t testing.TB, files ...file) []byte { return squeeze(t, tarred(t, files...)) }
	}
	asMap := func(files []file) map[string][]byte {
		m := map[string][]byte{}
		for _, f := range files {
			m[f.name] = f.body
		}
		return m
	}
	gzipped := func(_ testing.TB, b []byte) []byte { return programtest.Gzip(b) }
	return []packer{
		{"zip", zipped, true, false},
		{"tar", tarred, false, false},
		{"tar.gz", within(gzipped), true, false},
		{"tar.xz", within(func(t testing.TB, b []byte) []byte { return xzipped(t, b) }), true, false},
		{"tar.zst", within(func(t testing.TB, b []byte) []byte { return zstandard(t, b) }), true, false},
		{"tar.bz2", within(bzipped), true, false},
		{"7z", sevenZipped, true, false},
		{"rar", func(_ testing.TB, files ...file) []byte { return rar(0, files...) }, false, false},
		{"ar", func(_ testing.TB, files ...file) []byte { return ar(files...) }, false, true},
		{"deb", func(_ testing.TB, files ...file) []byte { return programtest.Deb("example", "1", asMap(files)) }, true, false},
		{"rpm", func(_ testing.TB, files ...file) []byte {
			return programtest.RPM("example", "1", "", programtest.Gzip(programtest.CPIO(asMap(files))))
		}, true, false},
		{"cpio", func(_ testing.TB, files ...file) []byte { return programtest.CPIO(asMap(files)) }, false, false},
		{"cab", func(_ testing.TB, files ...file) []byte { return cabOf(files...) }, false, false},
		{"asar", func(t testing.TB, files ...file) []byte { return asarOf(t, files...) }, false, false},
		{"xar", func(t testing.TB, files ...file) []byte { return xarOf(t, "application/octet-stream", files...) }, false, true},
		{"xar by zlib", func(t testing.TB, files ...file) []byte { return xarOf(t, "application/x-gzip", files...) }, true, true},
		{"old cpio", func(_ testing.TB, files ...file) []byte { return oldCPIO(files...) }, false, false},
		{"iso", isoOf, false, false},
		{"squashfs by gzip", squashed("gzip"), true, false},
		{"squashfs by xz", squashed("xz"), true, false},
		{"squashfs by zstd", squashed("zstd"), true, false},
		{"squashfs by lzo", squashed("lzo"), true, false},
		{"squashfs by lz4", squashed("lz4"), true, false},
		{"squashfs behind a program", func(t testing.TB, files ...file) []byte { return setupExe(squashed("gzip")(t, files...)) }, true, false},
		{"zip behind a program", func(t testing.TB, files ...file) []byte { return setupExe(zipped(t, files...)) }, true, false},
		{"7z behind a program", func(t testing.TB, files ...file) []byte { return setupExe(sevenZipped(t, files...)) }, true, false},
	}
}

func bzipped(t testing.TB, b []byte) []byte {
	cmd := exec.Command(need(t, "bzip2"), "-c")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sevenZipped makes a 7z archive with the real tool, which refuses some names: those are left out.
// byTool writes files to a folder and lets a tool make an archive of them: args in the folder, OUT being the archive.
func byTool(t testing.TB, tool string, args []string, files ...file) []byte {
	t.Helper()
	tool, dir := need(t, tool), t.TempDir()
	tree := filepath.Join(dir, "tree")
	for _, f := range files {
		path := filepath.Join(tree, filepath.Clean("/"+f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.body, 0o644); err != nil {
			t.Skipf("%q: %v", f.name, err)
		}
	}
	out := filepath.Join(dir, "out.7z")
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "OUT" {
			args[i] = out
		}
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sevenZipped(t testing.TB, files ...file) []byte {
	return byTool(t, "7z", []string{"a", "-bd", "-mx=1", "OUT", "."}, files...)
}

func isoOf(t testing.TB, files ...file) []byte {
	return byTool(t, "genisoimage", []string{"-quiet", "-J", "-R", "-o", "OUT", "."}, files...)
}

func squashed(by string) func(testing.TB, ...file) []byte {
	return func(t testing.TB, files ...file) []byte {
		return byTool(t, "mksquashfs", []string{".", "OUT", "-quiet", "-no-progress", "-all-root", "-processors", "1", "-comp", by}, files...)
	}
}

// oldCPIO makes an archive in the old character format.
func oldCPIO(files ...file) []byte {
	var b []byte
	for _, f := range append(slices.Clone(files), file{"TRAILER!!!", nil}) {
		b = fmt.Appendf(b, "070707%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o%s\x00%s", 1, 2, 0o100644, 0, 0, 1, 0, 0, len(f.name)+1, len(f.body), f.name, f.body)
	}
	return b
}

// TestMacPackage finds a program in the payload of an installer package, in both of its forms.
func TestMacPackage(t *testing.T) {
	x := append(exe(), noise(100_000)...)
	archive := oldCPIO(file{"./Applications/X.app/Contents/MacOS/X", x})
	be := binary.BigEndian
	chunks := be.AppendUint64([]byte("pbzx"), 1<<24)
	for i, part := range [][]byte{archive[:50_000], archive[50_000:]} {
		if i == 0 {
			part = xzipped(t, part)
		}
		chunks = append(be.AppendUint64(be.AppendUint64(chunks, 1<<24), uint64(len(part))), part...)
	}
	for name, payload := range map[string][]byte{"gzip": programtest.Gzip(archive), "pbzx": chunks} {
		h := hold(t, xarOf(t, "application/octet-stream", file{"Payload", payload}, file{"PackageInfo", []byte("<x/>")}), unpack.Limits{})
		if !bytes.Equal(h.bodies["Payload!/content!/Applications/X.app/Contents/MacOS/X"], x) || h.failures != nil {
			t.Errorf("%s: %q, failures %q", name, h.entries, h.failures)
		}
		if s := walk(t, payload[:len(payload)/2], unpack.Limits{}); s.failures == nil {
			t.Errorf("%s: half of it is the whole", name)
		}
	}
	if s := walk(t, xarOf(t, "application/x-unknown", file{"Payload", x}), unpack.Limits{}); !slices.Equal(s.failures, []string{"Payload: unsupported"}) {
		t.Errorf("failures %q", s.failures)
	}
}

func ar(files ...file) []byte {
	b := []byte("!<arch>\n")
	for _, f := range files {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", f.name+"/", 0, 0, 0, "644", len(f.body))
		if b = append(b, f.body...); len(f.body)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

func files(list []file) []programtest.File {
	out := make([]programtest.File, len(list))
	for i, f := range list {
		out[i] = programtest.File{Name: f.name, Body: f.body}
	}
	return out
}

func rar(flags uint16, list ...file) []byte { return programtest.RAR(flags, files(list)...) }

func cabOf(list ...file) []byte { return programtest.Cabinet(files(list)...) }

func asarOf(_ testing.TB, list ...file) []byte { return programtest.ASAR(files(list)...) }

func xarOf(_ testing.TB, style string, list ...file) []byte {
	return programtest.XAR(style, files(list)...)
}

// holder keeps what members hold, by name.
type holder struct {
	seen
	bodies map[string][]byte
}

func (h *holder) Visit(e *unpack.Entry) bool {
	if h.bodies == nil {
		h.bodies = map[string][]byte{}
	}
	h.bodies[e.Inside] = bytes.Clone(e.Data)
	return h.seen.Visit(e)
}

func hold(t testing.TB, data []byte, limits unpack.Limits) *holder {
	t.Helper()
	var h holder
	if err := unpack.Walk(context.Background(), data, limits, &h); err != nil {
		t.Fatal(err)
	}
	return &h
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// TestEachFormat finds a program in every format, byte for byte, beside what is none.
func TestEachFormat(t *testing.T) {
	x := append(exe(), noise(100_000)...)
	for _, p := range packers() {
		t.Run(p.name, func(t *testing.T) {
			h := hold(t, p.pack(t, file{"readme", []byte("words")}, file{"a.exe", x}, file{"z.txt", []byte("more words")}), unpack.Limits{})
			if !bytes.Equal(h.bodies["a.exe"], x) || len(h.entries) != 1 || h.failures != nil {
				t.Errorf("%d bytes, %q, failures %q", len(h.bodies["a.exe"]), h.entries, h.failures)
			}
		})
	}
}

// TestCutShort cuts archives at every sixteenth: what can no longer be read is said, and nothing half is taken for the whole.
func TestCutShort(t *testing.T) {
	for _, p := range packers() {
		t.Run(p.name, func(t *testing.T) {
			for _, size := range []int{500, 60_000} { // less and more than is read to recognise a format
				x := append(exe(), noise(size)...)
				whole := p.pack(t, file{"a.exe", x})
				for i := 1; i < 16; i++ {
					cut := whole[:len(whole)*i/16]
					if p.name == "tar" && len(cut) < 512 {
						continue // not even one header, which alone shows the format
					}
					if p.name == "iso" && len(cut) < 0x8006 {
						continue // as far in as a disc shows itself
					}
					h := hold(t, cut, unpack.Limits{})
					if body, found := h.bodies["a.exe"]; found && !bytes.Equal(body, x) && h.failures == nil {
						t.Errorf("%d/16: %d of %d bytes were taken for the whole", i, len(body), len(x))
					}
					if _, found := h.bodies["a.exe"]; !found && h.failures == nil && !strings.HasSuffix(p.name, "behind a program") {
						t.Errorf("%d/16: nothing was found and nothing said", i)
					}
				}
			}
		})
	}
}

// TestFlippedBits damages archives all over: nothing panics, and every walk ends.
func TestFlippedBits(t *testing.T) {
	for _, p := range packers() {
		t.Run(p.name, func(t *testing.T) {
			whole := p.pack(t, file{"a.exe", exe()}, file{"b.exe", exe()})
			for i := range 64 {
				damaged := slices.Clone(whole)
				damaged[(i*len(damaged))/64] ^= 1 << (i % 8)
				walk(t, damaged, unpack.Limits{})
			}
		})
	}
}

// TestHostileNames keeps names as they are, since they are only shown, and writes nothing anywhere.
func TestHostileNames(t *testing.T) {
	names := []string{"/etc/cron.d/x", "../../../x", "a/../../x", `..\..\x`, `C:\Windows\x`, "a\nb", "\x1b[2J", "bad\xff", "-rf", "con.txt", strings.Repeat("n", 200)}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, p := range packers() {
		if p.flat || strings.HasPrefix(p.name, "7z") || strings.HasPrefix(p.name, "squashfs") || p.name == "iso" { // the tool makes files of these names itself
			continue
		}
		for _, name := range names {
			h := hold(t, p.pack(t, file{name, exe()}), unpack.Limits{})
			if len(h.entries) != 1 || h.failures != nil {
				t.Errorf("%s, %q: %q, failures %q", p.name, name, h.entries, h.failures)
			}
			if p.name != "rar" && h.bodies[name] == nil { // its reader takes \ for /
				if p.name == "asar" && strings.Contains(name, "\xff") {
					continue // its names are JSON, which has no such bytes
				}
				t.Errorf("%s: %q became %q", p.name, name, h.entries)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("files appeared: %v, %v", left, err)
	}
}

// TestLongNames bounds what one name may add to a report.
func TestLongNames(t *testing.T) {
	for _, p := range packers() {
		if p.name != "zip" && p.name != "tar" && p.name != "tar.gz" {
			continue // their names are short by format
		}
		s := walk(t, p.pack(t, file{strings.Repeat("n", 20_000), exe()}), unpack.Limits{Name: 100})
		if len(s.entries) != 1 || len(s.entries[0]) > 120 {
			t.Errorf("%s: %d entries, failures %q", p.name, len(s.entries), s.failures)
		}
	}
}

// TestTooManyMembers stops at the bound and says so once, whatever the format.
func TestTooManyMembers(t *testing.T) {
	var files []file
	for i := range 30 {
		files = append(files, file{fmt.Sprintf("%02d.exe", i), exe()})
	}
	for _, p := range packers() {
		t.Run(p.name, func(t *testing.T) {
			s := walk(t, p.pack(t, files...), unpack.Limits{Entries: 10})
			if len(s.entries) != 10 || !slices.Equal(s.failures, []string{": bomb"}) {
				t.Errorf("%d entries, failures %q", len(s.entries), s.failures)
			}
		})
	}
}

// TestManyEmptyMembers counts members that hold nothing, links and folders too.
func TestManyEmptyMembers(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 3000 {
		kind := []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeChar}[i%4]
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: kind, Linkname: "/etc/passwd"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := walk(t, programtest.Gzip(b.Bytes()), unpack.Limits{Entries: 1000})
	if s.entries != nil || !slices.Equal(s.failures, []string{": bomb"}) {
		t.Errorf("%q, failures %q", s.entries, s.failures)
	}
}

// TestBombsOfEachFormat unpacks no more than the bounds allow.
func TestBombsOfEachFormat(t *testing.T) {
	for _, p := range packers() {
		if !p.squash {
			continue
		}
		size := 34 << 20 // the ratio counts from 32 MiB
		if p.name == "tar.xz" || p.name == "tar.bz2" {
			size = 3 << 20 // slow to make: the other bounds must do
		}
		t.Run(p.name, func(t *testing.T) {
			data := p.pack(t, file{"zeros.exe", append(exe(), make([]byte, size)...)})
			for name, limits := range map[string]unpack.Limits{
				"ratio": {Ratio: 20, Member: int64(size)}, "in all": {Total: 1 << 20, Ratio: 1 << 40}, "member": {Member: 1 << 20, Ratio: 1 << 40}, "at one time": {Live: 1 << 20, Ratio: 1 << 40},
			} {
				h := hold(t, data, limits)
				if len(h.bodies["zeros.exe"]) > 0 || len(h.failures) == 0 {
					t.Errorf("%s: %d bytes came out, failures %q", name, len(h.bodies["zeros.exe"]), h.failures)
				}
				for _, f := range h.failures {
					if !strings.HasSuffix(f, ": bomb") && !strings.HasSuffix(f, ": oversize") {
						t.Errorf("%s: failures %q", name, h.failures)
					}
				}
			}
		})
	}
}

// TestNestedInEachFormat counts levels whatever they are made of.
func TestNestedInEachFormat(t *testing.T) {
	list := packers()
	for i, outer := range list {
		inner := list[(i+5)%len(list)]
		t.Run(inner.name+" in "+outer.name, func(t *testing.T) {
			data := outer.pack(t, file{"inner.bin", inner.pack(t, file{"a.exe", exe()})})
			if s := walk(t, data, unpack.Limits{}); !slices.Contains(s.entries, "inner.bin!/a.exe (pe)") || s.failures != nil {
				t.Errorf("%q, failures %q", s.entries, s.failures)
			}
			if s := walk(t, data, unpack.Limits{Depth: 1}); !slices.Equal(s.failures, []string{"inner.bin: too-deep"}) {
				t.Errorf("one level: %q, failures %q", s.entries, s.failures)
			}
		})
	}
}

// TestKnownAndNotOpened says of containers that are not taken apart that they are there, by their content, alone and in an archive.
func TestKnownAndNotOpened(t *testing.T) {
	pad := make([]byte, 4096)
	image := slices.Concat(make([]byte, 0x8000), []byte("\x01CD001\x01"), make([]byte, 4096))
	udf := slices.Concat(make([]byte, 0x8000), []byte("\x00BEA01\x01"), make([]byte, 4096))
	for data, want := range map[*[]byte]string{&image: "unparseable", &udf: "unsupported"} {
		for _, s := range []*seen{walk(t, *data, unpack.Limits{}), walk(t, zipped(t, file{"x", *data}), unpack.Limits{})} {
			if len(s.failures) != 1 || !strings.HasSuffix(s.failures[0], ": "+want) {
				t.Errorf("disc without files: failures %q, want %s", s.failures, want)
			}
		}
	}
	for name, data := range map[string][]byte{
		"wim": []byte("MSWIM\x00\x00\x00"), "lz4": []byte("\x04\x22\x4d\x18\x64"), "lzip": []byte("LZIP\x01"),
		"compress": []byte("\x1f\x9d\x90"), "installshield": []byte("ISc("), "lha": []byte("\x24\x00-lh5-"), "ace": []byte("\x00\x00\x31\x00\x00\x00\x90**ACE**"),
	} {
		data = append(data, pad...)
		if s := walk(t, data, unpack.Limits{}); !slices.Equal(s.failures, []string{": unsupported"}) {
			t.Errorf("%s: failures %q", name, s.failures)
		}
		if s := walk(t, zipped(t, file{"x", data}), unpack.Limits{}); !slices.Equal(s.failures, []string{"x: unsupported"}) {
			t.Errorf("%s in a zip: failures %q", name, s.failures)
		}
	}
	koly := append([]byte("koly\x00\x00\x00\x04\x00\x00\x02\x00"), make([]byte, 500)...)
	if s := walk(t, append(noise(4096), koly...), unpack.Limits{}); !slices.Equal(s.failures, []string{": unsupported"}) {
		t.Errorf("dmg: failures %q", s.failures)
	}
	for _, head := range []string{"x\xda\x63\x60\x18\x05", "x\x01", "ER\x02\x00", "bvx2", "encrcdsa", "\x00\x00\x00\x00"} {
		for _, size := range []int{0, 40_000, 1 << 20} { // told by the head of what is read, by its end, by going on
			data := append(append([]byte(head), noise(size)...), koly...)
			if s := walk(t, zipped(t, file{"a.dmg", data}, file{"b", data[:len(data)-1]}), unpack.Limits{}); s.failures[0] != "a.dmg: unsupported" || len(s.failures) > 1 && head != "encrcdsa" {
				t.Errorf("dmg that begins with %q, in a zip: failures %q", head, s.failures)
			}
		}
	}
	if s := walk(t, append(bzipped(t, pad), koly...), unpack.Limits{}); !slices.Contains(s.failures, ": unsupported") {
		t.Errorf("dmg by bzip2: failures %q", s.failures)
	}
	for name, data := range map[string][]byte{"zeros": make([]byte, 1<<20), "noise": noise(1 << 20), "words": bytes.Repeat([]byte("LZIP and xar! "), 5000), "little": {1}} {
		if s := walk(t, data, unpack.Limits{}); s.failures != nil || s.entries != nil {
			t.Errorf("%s: %q, failures %q", name, s.entries, s.failures)
		}
	}
}

// TestEncryptedRAR says so for each file.
func TestEncryptedRAR(t *testing.T) {
	s := walk(t, rar(4, file{"a.exe", exe()}), unpack.Limits{})
	if s.entries != nil || !slices.Equal(s.failures, []string{"a.exe: encrypted"}) {
		t.Errorf("%q, failures %q", s.entries, s.failures)
	}
}

// TestStopsInTheMiddle ends a walk when its context does, between members and within one.
func TestStopsInTheMiddle(t *testing.T) {
	for _, p := range packers() {
		t.Run(p.name, func(t *testing.T) {
			data := p.pack(t, file{"a.exe", exe()}, file{"b.exe", append(exe(), noise(1<<18)...)})
			ctx, cancel := context.WithCancel(t.Context())
			err := unpack.Walk(ctx, data, unpack.Limits{}, &canceller{cancel: cancel})
			if err == nil {
				t.Error("a walk went on after its end")
			}
		})
	}
}

// canceller ends the context at the first member.
type canceller struct {
	seen
	cancel context.CancelFunc
}

func (c *canceller) Visit(e *unpack.Entry) bool {
	if e.Inside != "" {
		c.cancel()
	}
	return c.seen.Visit(e)
}
