package scan_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// container packs files; nil where the tool for it is missing.
type container struct {
	name   string
	levels int // that one of it takes
	pack   func(t *testing.T, files map[string][]byte) []byte
}

func byTool(tool string, args ...string) func(*testing.T, map[string][]byte) []byte {
	return func(t *testing.T, files map[string][]byte) []byte { return packedBy(t, tool, args, files) }
}

func containers() []container {
	list := func(files map[string][]byte) (out []programtest.File) {
		for name, b := range files {
			out = append(out, programtest.File{Name: name, Body: b})
		}
		return out
	}
	return []container{
		{"zip", 1, zipped},
		{"7z", 1, byTool("7z", "a", "-bd", "-mx=1", "-t7z", "OUT", ".")},
		{"rar", 1, func(_ *testing.T, files map[string][]byte) []byte { return programtest.RAR(0, list(files)...) }},
		{"cab", 1, func(_ *testing.T, files map[string][]byte) []byte { return programtest.Cabinet(list(files)...) }},
		{"iso", 1, byTool("genisoimage", "-quiet", "-J", "-R", "-o", "OUT", ".")},
		{"squashfs", 1, byTool("mksquashfs", ".", "OUT", "-quiet", "-no-progress", "-comp", "xz", "-processors", "1")},
		{"cpio", 1, func(_ *testing.T, files map[string][]byte) []byte { return programtest.CPIO(files) }},
		{"tar", 1, func(_ *testing.T, files map[string][]byte) []byte { return programtest.Tar(files) }},
		{"tar.gz", 2, func(_ *testing.T, files map[string][]byte) []byte { return programtest.Gzip(programtest.Tar(files)) }},
		{"tar.xz", 2, func(t *testing.T, files map[string][]byte) []byte {
			var out bytes.Buffer
			w, err := xz.NewWriter(&out)
			if err == nil {
				_, err = w.Write(programtest.Tar(files))
			}
			if err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}},
		{"tar.zst", 2, func(t *testing.T, files map[string][]byte) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll(programtest.Tar(files), nil)
		}},
		{"deb", 2, func(_ *testing.T, files map[string][]byte) []byte { return programtest.Deb("fonts", "1", files) }},
		{"asar", 1, func(_ *testing.T, files map[string][]byte) []byte { return programtest.ASAR(list(files)...) }},
		{"7z behind a program", 1, func(t *testing.T, files map[string][]byte) []byte {
			b := packedBy(t, "7z", []string{"a", "-bd", "-mx=1", "-t7z", "OUT", "."}, files)
			if b == nil {
				return nil
			}
			return append(programtest.PE(map[string]string{"ProductName": "Calculator"}), b...)
		}},
		{"zip behind a program", 1, func(t *testing.T, files map[string][]byte) []byte {
			return append(programtest.PE(map[string]string{"ProductName": "Calculator"}), zipped(t, files)...)
		}},
	}
}

const maxLevels = 6

// disguised is one file, and what must be found in it.
type disguised struct {
	name    string // says nothing
	samples map[string]string
}

// bare puts a sample under a name of another kind, without an extension, with something behind and before it where it works with that.
func bare(t *testing.T, dir string, i int, s *sample) (out []disguised) {
	t.Helper()
	put := func(how, name string, b []byte) {
		write(t, filepath.Join(dir, name), b)
		out = append(out, disguised{name, map[string]string{"": s.name + ", " + how}})
	}
	put("renamed", fmt.Sprintf("IMG_%04d.JPG", i), s.data)
	put("without extension", fmt.Sprintf("notes%d", i), s.data)
	if s.behind {
		put("one byte more", fmt.Sprintf("a%d.txt", i), append(bytes.Clone(s.data), '\n'))
		put("a megabyte of zeros more", fmt.Sprintf("b%d.pdf", i), append(bytes.Clone(s.data), make([]byte, 1<<20)...))
		put("a megabyte of noise more", fmt.Sprintf("c%d.mp3", i), append(bytes.Clone(s.data), noise(1<<20)...))
	}
	if s.before {
		put("noise before", fmt.Sprintf("d%d.dat", i), append(noise(100_000), s.data...))
		put("a picture before", fmt.Sprintf("e%d.gif", i), append([]byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"), s.data...))
	}
	return out
}

// packed puts all samples that lie so many levels within themselves into one container, once and as deep as is looked.
func packed(t *testing.T, dir string, c *container, levels int, list []sample) (out []disguised) {
	t.Helper()
	members, names := map[string][]byte{}, map[string]string{}
	for i := range list {
		if list[i].levels == levels {
			name := fmt.Sprintf("x/IMG%04d", i)
			members[name], names[fmt.Sprintf("IMG%04d", i)] = list[i].data, list[i].name
		}
	}
	if len(members) == 0 {
		return nil
	}
	b := c.pack(t, members)
	for times := 1; b != nil && times*c.levels+levels <= maxLevels; times++ {
		if times == 1 || (times+1)*c.levels+levels > maxLevels {
			d := disguised{fmt.Sprintf("%s-%d-%d.bin", strings.ReplaceAll(c.name, " ", ""), levels, times), map[string]string{}}
			for member, name := range names {
				d.samples[member] = fmt.Sprintf("%s, %d times in %s", name, times, c.name)
			}
			write(t, filepath.Join(dir, d.name), b)
			out = append(out, d)
		}
		b = c.pack(t, map[string][]byte{fmt.Sprintf("y/scan%d", times): b})
	}
	return out
}

// TestDisguises finds every sample in every disguise, under a name that says nothing.
func TestDisguises(t *testing.T) {
	dir := t.TempDir()
	list := samples(t)
	var all []disguised
	for i := range list {
		all = append(all, bare(t, dir, i, &list[i])...)
	}
	for _, c := range containers() {
		for levels := range 4 {
			all = append(all, packed(t, dir, &c, levels, list)...)
		}
	}
	r := run(t, scan.Options{}, dir)
	found := map[string][]string{} // by file: places of messengers
	for place, f := range r.findings {
		if f.Certain() && f.Event.Program.App != "" {
			name, _, _ := strings.Cut(place, "!/")
			found[name] = append(found[name], "/"+f.Inside+"/")
		}
	}
	want, got := 0, 0
	for _, d := range all {
		for member, what := range d.samples {
			want++
			if hidden(found[d.name], member) {
				t.Errorf("%s was not found in %s", what, d.name)
				continue
			}
			got++
		}
	}
	t.Logf("%d of %d disguised samples found: %d formats, %d kinds of containers", got, want, len(list), len(containers()))
}

// hidden reports whether nothing was found at or within a member; "" is the file itself. A file that is known as a whole is known with all in it.
func hidden(places []string, member string) bool {
	for _, p := range places {
		if member == "" || p == "//" || strings.Contains(p, "/"+member+"/") || strings.Contains(p, "/"+member+"!/") {
			return false
		}
	}
	return true
}

// noise is what does not compress, and means nothing.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(7)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}
