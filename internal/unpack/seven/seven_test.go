package seven_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/unpack/seven"
)

// packed has the real tool make an archive; without it the test is skipped, but in CI it fails.
func packed(t testing.TB, files map[string]string, args ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("7z")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("7z is not installed")
	}
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, "tree", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(body), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, append([]string{"a", "-bd", filepath.Join(dir, "o.7z"), "."}, args...)...)
	cmd.Dir = filepath.Join(dir, "tree")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "o.7z"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// raw is an archive with the given header behind nothing, its sums right.
func raw(header ...byte) []byte {
	b := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), make([]byte, 24)...)
	binary.LittleEndian.PutUint64(b[20:], uint64(len(header)))
	binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(header))
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return append(b, header...)
}

func tree(n int) map[string]string {
	files := map[string]string{"empty": "", "a/b/c": "deep"}
	for i := range n {
		files[fmt.Sprintf("many/%d", i)] = fmt.Sprintf("file %d of %x", i, i*i*2654435761)
	}
	return files
}

// TestReal opens what the tool makes, solid or not, with headers that are packed or not, and reads all of it.
func TestReal(t *testing.T) {
	files := tree(60)
	for _, args := range [][]string{nil, {"-mhc=off"}, {"-ms=off"}, {"-ms=off", "-mhc=off"}, {"-m0=copy"}, {"-m0=ppmd:mem=1m"}, {"-m0=bzip2"}, {"-m0=deflate"}, {"-m0=bcj", "-m1=lzma:d=64k"},
		{"-m0=bcj2", "-m1=lzma:d=64k", "-m2=lzma:d=64k", "-m3=lzma:d=64k", "-mb0:1", "-mb0s1:2", "-mb0s2:3"}, {"-mtc=on", "-mta=on"}, {"-m0=delta:4", "-m1=lzma:d=64k"}, {"-m0=delta:1", "-m1=copy"}} {
		z, err := seven.Open(packed(t, files, args...), 100)
		if err != nil {
			t.Errorf("%v: %v", args, err)
			continue
		}
		found := 0
		for _, f := range z.File {
			want, ok := files[f.Name]
			if !ok {
				continue // a folder
			}
			r, err := f.Open()
			if err != nil {
				t.Errorf("%v: %s: %v", args, f.Name, err)
				continue
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != want {
				t.Errorf("%v: %s: %q, %v", args, f.Name, b, err)
			}
			found++
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if found != len(files) {
			t.Errorf("%v: %d of %d", args, found, len(files))
		}
	}
}

// TestBounds refuses archives that ask for much, before the library makes any of it.
func TestBounds(t *testing.T) {
	if _, err := seven.Open(packed(t, tree(60)), 50); !errors.Is(err, seven.ErrTooMany) {
		t.Errorf("too many files: %v", err)
	}
	if _, err := seven.Open(packed(t, tree(3), "-psecret", "-mhe=on"), 50); !errors.Is(err, seven.ErrLocked) {
		t.Errorf("an encrypted header: %v", err)
	}
	huge := []byte{0xf0, 0xff, 0xff, 0xff, 0xff} // 4294967295, as 7z writes numbers
	for name, header := range map[string][]byte{
		"files":           append([]byte{1, 5}, huge...),
		"streams":         append([]byte{1, 4, 6, 0}, huge...),
		"folders":         append([]byte{1, 4, 7, 0x0b}, huge...),
		"methods":         append([]byte{1, 4, 7, 0x0b, 1, 0}, huge...),
		"ways":            append([]byte{1, 4, 7, 0x0b, 1, 0, 1, 0x11, 0}, huge...),
		"properties":      append([]byte{1, 4, 7, 0x0b, 1, 0, 1, 0x21, 0}, huge...),
		"files in folder": append([]byte{1, 4, 7, 0x0b, 1, 0, 1, 1, 0, 0x0c, 5, 0, 8, 0x0d}, huge...),
		"no header":       {9}, "nothing": {}, "of nothing": {0x17}, "packed twice": {0x17, 0x17},
	} {
		if _, err := seven.Open(raw(header...), 400_000); !errors.Is(err, seven.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A header that is said to unpack to a gigabyte: position, one stream of 1 byte, one folder of one LZMA, its size.
	encoded := append([]byte{0x17, 6, 0, 1, 9, 1, 0, 7, 0x0b, 1, 0, 1, 0x23, 3, 1, 1, 5, 0x5d, 0, 0, 0, 0x40, 0x0c}, 0xf0, 0, 0, 0, 0x40, 0, 0)
	if _, err := seven.Open(raw(encoded...), 50); !errors.Is(err, seven.ErrMemory) {
		t.Errorf("a large header: %v", err)
	}
	if _, err := seven.Open(raw(0x17, 6, 0, 1, 9, 1, 0, 7, 0x0b, 1, 0, 1, 1, 7, 0x0c, 1, 0, 0), 50); !errors.Is(err, seven.ErrUnsupported) {
		t.Errorf("a header by an unknown method: %v", err)
	}
}

// TestDamage: an archive that is cut or has a bit that is not as it was is refused or read, and nothing else.
func TestDamage(t *testing.T) {
	good := packed(t, tree(2), "-mhc=off")
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if z, err := seven.Open(bad, 50); err == nil && len(z.File) > 50 {
			t.Errorf("bit %d: %d files", i, len(z.File))
		}
	}
	for n := range good {
		if _, err := seven.Open(good[:n], 50); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(good))
		}
	}
	// A stream that ends before all of it came out, by a method that passes on what it is given: no endless reading.
	short := packed(t, map[string]string{"a": "words that are cut"}, "-m0=delta:4", "-m1=copy", "-mhc=off")
	at := bytes.LastIndexByte(short, 0x0c) // sizes of what comes out, one for each method
	for i := range 2 {
		short[at+1+i] = 0x7f
	}
	size := binary.LittleEndian.Uint64(short[20:])
	binary.LittleEndian.PutUint32(short[28:], crc32.ChecksumIEEE(short[uint64(len(short))-size:]))
	binary.LittleEndian.PutUint32(short[8:], crc32.ChecksumIEEE(short[12:32]))
	z, err := seven.Open(short, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		if r, err := f.Open(); err == nil {
			b, err := io.ReadAll(r)
			t.Logf("%s: %q, %v", f.Name, b, err)
			_ = r.Close()
		}
	}
	twice := append(bytes.Clone(good), good...) // the library would go on to the second
	twice[8] ^= 1
	if _, err := seven.Open(twice, 50); !errors.Is(err, seven.ErrFormat) {
		t.Errorf("behind a damaged start: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	for _, args := range [][]string{nil, {"-mhc=off"}, {"-m0=ppmd:mem=1m", "-mhc=off"}, {"-psecret"}} {
		f.Add(packed(f, tree(2), args...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 32 { // sums that are right
			at, size := binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])
			if room := uint64(len(b) - 32); at <= room && size <= room-at {
				binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(b[32+at:32+at+size]))
			}
			binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
		}
		z, err := seven.Open(b, 100)
		if err == nil && len(z.File) > 100 {
			t.Errorf("%d files", len(z.File))
		}
	})
}
