package unpack_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/unpack"
)

// seen is a visitor that writes down what it is told.
type seen struct {
	entries  []string // "inside (format)", without the outermost
	failures []string // "inside: reason"
	control  string
}

func (s *seen) Visit(e *unpack.Entry) bool {
	if e.Inside != "" {
		s.entries = append(s.entries, fmt.Sprintf("%s (%s)", e.Inside, e.Format))
	}
	if e.Control != nil {
		s.control = string(e.Control)
	}
	return true
}

func (s *seen) Fail(inside, reason, _ string) {
	s.failures = append(s.failures, inside+": "+reason)
}

func walk(t testing.TB, data []byte, limits unpack.Limits) *seen {
	t.Helper()
	var s seen
	if err := unpack.Walk(context.Background(), data, limits, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

type file struct {
	name string
	body []byte
}

func zipped(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		m, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compress(t testing.TB, body []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func xzipped(t testing.TB, body []byte) []byte {
	return compress(t, body, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
}

func zstandard(t testing.TB, body []byte) []byte {
	return compress(t, body, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

func exe() []byte { return programtest.PE(map[string]string{"ProductName": "Example"}) }

func TestContainers(t *testing.T) {
	x := exe()
	tar := programtest.Tar(map[string][]byte{"./dir/holiday.jpg": x, "readme": []byte("words")})
	ar := "!<arch>\n" + fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", "a.o/", 0, 0, 0, "644", len(x)) + string(x)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"zip", zipped(t, file{"a/b.jpg", x}, file{"readme", []byte("words")}, file{"dir/", nil}), "a/b.jpg (pe)"},
		{"tar", tar, "dir/holiday.jpg (pe)"},
		{"tar.gz", programtest.Gzip(tar), "dir/holiday.jpg (pe)"},
		{"tar.xz", xzipped(t, tar), "dir/holiday.jpg (pe)"},
		{"tar.zst", zstandard(t, tar), "dir/holiday.jpg (pe)"},
		{"gz", programtest.Gzip(x), "content (pe)"},
		{"ar", []byte(ar), "a.o (pe)"},
		{"rpm", programtest.RPM("x", "1", "", programtest.Gzip(programtest.CPIO(map[string][]byte{"./usr/bin/x": x, "doc": []byte("w")}))), "usr/bin/x (pe)"},
		{"zip behind a program", append(slices.Clone(x), zipped(t, file{"inner.exe", x})...), "inner.exe (pe)"},
		{"zip behind a picture", append([]byte("\xff\xd8\xff\xe0 not a picture"), zipped(t, file{"inner.exe", x})...), "inner.exe (pe)"},
		{"name that is not UTF-8", programtest.Tar(map[string][]byte{"bad\xff": x}), "bad\xff (pe)"},
	} {
		s := walk(t, c.data, unpack.Limits{})
		if !slices.Equal(s.entries, []string{c.want}) || s.failures != nil {
			t.Errorf("%s: %q, failures %q", c.name, s.entries, s.failures)
		}
	}
}

func TestDebian(t *testing.T) {
	s := walk(t, programtest.Deb("telegram-desktop", "4.6.5", map[string][]byte{"./usr/bin/x": exe()}), unpack.Limits{})
	if !strings.HasPrefix(s.control, "Package: telegram-desktop\n") || !slices.Equal(s.entries, []string{"usr/bin/x (pe)"}) {
		t.Errorf("control %q, entries %q, failures %q", s.control, s.entries, s.failures)
	}
}

func TestNested(t *testing.T) {
	data := exe()
	for i := range 5 {
		data = zipped(t, file{fmt.Sprintf("%d.zip", i), data})
	}
	data = programtest.Gzip(programtest.Tar(map[string][]byte{"outer": data}))
	s := walk(t, data, unpack.Limits{})
	last := s.entries[len(s.entries)-1]
	if last != "outer!/4.zip!/3.zip!/2.zip!/1.zip!/0.zip (pe)" || s.failures != nil {
		t.Errorf("%q, failures %q", s.entries, s.failures)
	}
	s = walk(t, zipped(t, file{"more.zip", data}), unpack.Limits{})
	if len(s.failures) != 1 || !strings.HasSuffix(s.failures[0], ": too-deep") {
		t.Errorf("one level more: %q", s.failures)
	}
}

// zeros returns a raw deflate stream of n zero bytes.
func zeros(t testing.TB, n int) []byte {
	return compress(t, make([]byte, n), func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
}

func TestBombs(t *testing.T) {
	tar := programtest.Tar(map[string][]byte{"a": make([]byte, 64<<20)})
	small := unpack.Limits{Entries: 10, Total: 1 << 20}
	many := make([]file, 20)
	for i := range many {
		many[i] = file{fmt.Sprint(i), []byte("x")}
	}
	for _, c := range []struct {
		name   string
		data   []byte
		limits unpack.Limits
		want   string
	}{
		{"zip member that says so", zipped(t, file{"zeros", make([]byte, 64<<20)}), unpack.Limits{}, "zeros: bomb"},
		{"tar.gz", programtest.Gzip(tar), unpack.Limits{}, ": bomb"},
		{"too much in all", programtest.Gzip(programtest.Tar(map[string][]byte{"a": exe(), "b": make([]byte, 2<<20)})), small, ": bomb"},
		{"too many members", zipped(t, many...), small, ": bomb"},
		{"members that overlap", overlapping(t), unpack.Limits{}, ": bomb"},
	} {
		s := walk(t, c.data, c.limits)
		if !slices.Contains(s.failures, c.want) {
			t.Errorf("%s: failures %q, entries %q", c.name, s.failures, s.entries)
		}
	}
}

// overlapping makes a zip whose two directory entries lead to the same bytes.
func overlapping(t testing.TB) []byte {
	t.Helper()
	data := zipped(t, file{"a.exe", exe()})
	end := bytes.LastIndex(data, []byte("PK\x05\x06"))
	at := binary.LittleEndian.Uint32(data[end+16:])
	directory := data[at:end]
	out := slices.Clone(data[:at])
	for range 40 {
		out = append(out, directory...)
	}
	tail := slices.Clone(data[end:])
	binary.LittleEndian.PutUint16(tail[8:], 40)
	binary.LittleEndian.PutUint16(tail[10:], 40)
	binary.LittleEndian.PutUint32(tail[12:], uint32(40*len(directory)))
	return append(out, tail...)
}

func TestTooLargeForMemory(t *testing.T) {
	big := append(exe(), make([]byte, 1<<20)...)
	s := walk(t, programtest.Tar(map[string][]byte{"big.exe": big}), unpack.Limits{Member: 1 << 19})
	if !slices.Equal(s.failures, []string{"big.exe: oversize"}) {
		t.Errorf("failures %q", s.failures)
	}
}

func TestBroken(t *testing.T) {
	good := zipped(t, file{"a.exe", exe()})
	crc := slices.Clone(good)
	crc[60] ^= 0xff // within the compressed bytes
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"cut zip", good[:len(good)-30], ": unparseable"},
		{"flipped bit", crc, "a.exe: unparseable"},
		{"gzip of nothing", []byte("\x1f\x8b\x08\x00 and no more"), ": unparseable"},
		{"7z of nothing", []byte("7z\xbc\xaf\x27\x1c and no more than this text here"), ": unparseable"},
		{"rar of nothing", []byte("Rar!\x1a\x07\x01\x00 and no more"), ": unparseable"},
		{"squashfs", []byte("hsqs and no more"), ": unparseable"},
	} {
		s := walk(t, c.data, unpack.Limits{})
		if !slices.Contains(s.failures, c.want) {
			t.Errorf("%s: failures %q", c.name, s.failures)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := unpack.Walk(ctx, zipped(t, file{"a.exe", exe()}), unpack.Limits{}, &seen{}); err == nil {
		t.Error("a walk went on after its end")
	}
}

// TestOtherTools walks archives that 7z and zip made, encrypted ones too.
func TestOtherTools(t *testing.T) {
	for _, c := range []struct {
		tool string
		args []string
		want string // an entry, or a failure
	}{
		{"7z", []string{"a", "-bd", "out", "holiday.jpg"}, "holiday.jpg (pe)"},
		{"7z", []string{"a", "-bd", "-psecret", "out", "holiday.jpg"}, "holiday.jpg: encrypted"},
		{"7z", []string{"a", "-bd", "-psecret", "-mhe=on", "out", "holiday.jpg"}, ": encrypted"},
		{"7z", []string{"a", "-bd", "-tbzip2", "out", "holiday.jpg"}, "content (pe)"},
		{"zip", []string{"-q", "-P", "secret", "out", "holiday.jpg"}, "holiday.jpg: encrypted"},
	} {
		tool, err := exec.LookPath(c.tool)
		if err != nil {
			if os.Getenv("CHAPERONE_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip(c.tool + " is not installed")
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "holiday.jpg"), exe(), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tool, c.args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		outs, err := filepath.Glob(filepath.Join(dir, "out*"))
		if err != nil || len(outs) != 1 {
			t.Fatal(outs, err)
		}
		data, err := os.ReadFile(outs[0])
		if err != nil {
			t.Fatal(err)
		}
		s := walk(t, data, unpack.Limits{})
		if !slices.Contains(append(s.entries, s.failures...), c.want) {
			t.Errorf("%s %v: %q, failures %q", c.tool, c.args, s.entries, s.failures)
		}
	}
}

func FuzzWalk(f *testing.F) {
	x := exe()
	f.Add(zipped(f, file{"a.exe", x}, file{"b.zip", zipped(f, file{"c", x})}))
	f.Add(programtest.Gzip(programtest.Tar(map[string][]byte{"a": x})))
	f.Add(programtest.Deb("x", "1", map[string][]byte{"a": x}))
	f.Add(programtest.RPM("x", "1", "", programtest.Gzip(programtest.CPIO(map[string][]byte{"a": x}))))
	f.Add(xzipped(f, x))
	f.Add(zstandard(f, x))
	f.Add(overlapping(f))
	f.Add([]byte("Rar!\x1a\x07\x01\x00 and no more"))
	f.Add([]byte("7z\xbc\xaf\x27\x1c\x00\x04 and no more than this text here"))
	f.Add(zeros(f, 1<<20))
	f.Add(cab(0, 0, "a.exe", x))
	f.Add(setupExe(cab(1, 0, "a.exe", []byte("CK\x4b\x04\x00"))))
	f.Add(setupExe(zipped(f, file{"a.exe", x}), []byte("signature")))
	f.Add(withResources(f, zipped(f, file{"a.exe", x})))
	f.Add([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and no more"))
	f.Add(nsisFile(f))
	f.Add(xarOf(f, "application/x-gzip", file{"a.exe", x}))
	f.Add(oldCPIO(file{"a.exe", x}))
	f.Add(asarOf(f, file{"a.exe", x}))
	f.Add(isoOf(f, file{"a.exe", x})[:0xd000])
	limits := unpack.Limits{Depth: 3, Entries: 100, Total: 4 << 20, Member: 1 << 20, Live: 2 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<17 {
			return
		}
		s := walk(t, data, limits)
		if len(s.entries)+len(s.failures) > 1000 {
			t.Errorf("%d entries, %d failures", len(s.entries), len(s.failures))
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	data := programtest.Gzip(programtest.Tar(map[string][]byte{"a": bytes.Repeat([]byte("text and more text"), 1<<16), "b": exe()}))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := unpack.Walk(context.Background(), data, unpack.Limits{}, &seen{}); err != nil {
			b.Fatal(err)
		}
	}
}

var _ unpack.Visitor = (*seen)(nil)
