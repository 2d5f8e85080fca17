package squashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/unpack/squashfs"
)

// image lets mksquashfs make an image; without it the test is skipped, but in CI it fails.
func image(t testing.TB, files map[string][]byte, args ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("mksquashfs")
	if err != nil {
		if os.Getenv("CHAPERONE_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("mksquashfs is not installed")
	}
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, "tree", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, body, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	if text, err := exec.Command(tool, append([]string{filepath.Join(dir, "tree"), out, "-quiet", "-no-progress", "-processors", "1"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// read returns all files of an image.
func read(data []byte) (map[string][]byte, error) {
	i, err := squashfs.Open(data)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	total := 0
	err = i.Walk(func(name string, size int64, r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, 32<<20))
		if total += len(b); err == nil && total > 64<<20 {
			err = errors.New("enough")
		}
		if err == nil && int64(len(b)) != size && size < 32<<20 {
			return fmt.Errorf("%s: %d of %d bytes", name, len(b), size)
		}
		out[name] = b
		return err
	})
	return out, err
}

// words return n bytes that compress, and no two stretches alike.
func words(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of %x\n", i, i*i*2654435761)
	}
	return b.Bytes()[:n]
}

// TestEveryCompressor reads what mksquashfs wrote: small files in fragments, large ones in blocks, holes, and many names.
func TestEveryCompressor(t *testing.T) {
	files := map[string][]byte{"small": []byte("x"), "large": words(700_000), "empty": nil, "a/b/c/deep": words(5000),
		"hole": append(append(words(100), make([]byte, 1<<20)...), words(77)...), "exact": words(256 << 10), "zeros": make([]byte, 300_000)}
	for i := range 700 {
		files[fmt.Sprintf("many/%04d", i)] = words(i % 50)
	}
	for _, args := range []string{"-comp gzip", "-comp xz", "-comp zstd", "-comp lzo", "-comp lz4", "-noI -noD -noF", "-no-fragments", "-b 4096", "-b 1M", "-comp lzo -b 1M", "-always-use-fragments"} {
		t.Run(args, func(t *testing.T) {
			got, err := read(image(t, files, strings.Fields(args)...))
			if err != nil || len(got) != len(files) {
				t.Fatalf("%d of %d files, %v", len(got), len(files), err)
			}
			for name, want := range files {
				if !bytes.Equal(got[name], want) {
					t.Errorf("%s: %d bytes, want %d", name, len(got[name]), len(want))
				}
			}
		})
	}
}

// TestLeavesAlone passes links and pipes by, and ends when it is told.
func TestLeavesAlone(t *testing.T) {
	data := image(t, map[string][]byte{"a": []byte("1"), "b": []byte("2")}, "-p", "pipe i 644 0 0 f", "-p", "device c 644 0 0 1 3", "-p", "link s 777 0 0 a")
	if got, err := read(data); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	i, err := squashfs.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	stop, calls := errors.New("stop"), 0
	if err := i.Walk(func(string, int64, io.Reader) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestRefuses(t *testing.T) {
	good := image(t, map[string][]byte{"a": words(9000)})
	changed := func(at int, b ...byte) []byte {
		d := bytes.Clone(good)
		copy(d[at:], b)
		return d
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing": {nil, squashfs.ErrFormat}, "no superblock": {good[:90], squashfs.ErrFormat}, "no magic": {changed(0, 'x'), squashfs.ErrFormat},
		"version 3": {changed(28, 3), squashfs.ErrUnsupported}, "LZMA": {changed(20, 2), squashfs.ErrUnsupported}, "huge blocks": {changed(12, 0, 0, 0, 0x7f), squashfs.ErrFormat},
		"no block size": {changed(12, 0, 0, 0, 0), squashfs.ErrFormat},
	} {
		if _, err := read(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, at := range []int{32, 64, 72, 80} { // references and tables out of the file
		if _, err := read(changed(at, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)); err == nil {
			t.Errorf("a place at %d out of the image was believed", at)
		}
	}
	for n := range len(good) {
		if _, err := read(good[:n]); err == nil && n < len(good)/2 {
			t.Errorf("%d of %d bytes are whole", n, len(good))
		}
	}
}

// FuzzImage reads damaged images of every compressor. Nothing may panic, or give more than a bound.
func FuzzImage(f *testing.F) {
	for _, by := range []string{"gzip", "xz", "zstd", "lzo", "lz4"} {
		f.Add(image(f, map[string][]byte{"a": words(200), "b/c": words(9000), "d": make([]byte, 50_000)}, "-comp", by, "-b", "4096"))
	}
	f.Add([]byte("hsqs"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if len(data) < 1<<20 {
			_, _ = read(data) // any error is right
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	files := map[string][]byte{}
	for i := range 200 {
		files[fmt.Sprintf("%d/%d", i%7, i)] = words(50_000)
	}
	for _, by := range []string{"gzip", "xz", "zstd", "lzo"} {
		data := image(b, files, "-comp", by)
		b.Run(by, func(b *testing.B) {
			b.SetBytes(200 * 50_000)
			for b.Loop() {
				if _, err := read(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
