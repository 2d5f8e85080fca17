package reveal_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/program/token"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func TestMain(m *testing.M) {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	os.Exit(m.Run())
}

func look(t *testing.T, data []byte, o reveal.Options) reveal.Report {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute // of a machine that has other things to do
	}
	r, err := reveal.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, err := r.Reveal(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestReveal(t *testing.T) {
	exe := append(programtest.PE(map[string]string{"ProductName": "Example"}), "xx a-long-token yy"...)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, body := range map[string][]byte{"holiday\xff.jpg": exe, "notes.txt": []byte("a-long-token")} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	report := look(t, b.Bytes(), reveal.Options{Tokens: []string{"another-token", "a-long-token"}})
	if len(report.Items) != 2 || len(report.Problems) != 0 {
		t.Fatalf("got %+v", report)
	}
	outer, inner := report.Items[0], report.Items[1]
	if outer.Identity.Format != program.Zip || len(outer.Identity.SHA256) != 64 || outer.Identity.Tokens != nil {
		t.Errorf("outer %+v", outer)
	}
	if string(inner.Inside) != "holiday\xff.jpg" || inner.Identity.Product != "Example" || !slices.Equal(inner.Identity.Tokens, []int{1}) {
		t.Errorf("inner %+v", inner)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name   string
		data   []byte
		reason string
	}{
		{"broken elf", []byte("\x7fELF and no more"), "unparseable"},
		{"broken archive", []byte("PK\x03\x04 and no more"), "unparseable"},
		{"squashfs", []byte("hsqs and no more"), "unparseable"},
	} {
		report := look(t, c.data, reveal.Options{})
		if !slices.ContainsFunc(report.Problems, func(p reveal.Problem) bool { return p.Reason == c.reason }) {
			t.Errorf("%s: %+v", c.name, report)
		}
	}
	if report := look(t, nil, reveal.Options{}); len(report.Items)+len(report.Problems) != 0 {
		t.Errorf("an empty file: %+v", report)
	}
	if report := look(t, []byte("MZ is how this text begins, which runs on for more than sixty-four bytes in all"), reveal.Options{}); len(report.Items) != 0 {
		t.Errorf("a text: %+v", report)
	}
}

// TestOutlivesTheChild gives the child less time than it needs: what it found before is kept.
func TestOutlivesTheChild(t *testing.T) {
	big := make([]byte, 48<<20)
	data := programtest.Tar(map[string][]byte{"a.exe": programtest.PE(nil), "b.gz": programtest.Gzip(big), "c.gz": programtest.Gzip(big)})
	report := look(t, data, reveal.Options{Timeout: time.Nanosecond, Limits: unpack.Limits{Ratio: 1 << 40}})
	if !slices.ContainsFunc(report.Problems, func(p reveal.Problem) bool { return p.Reason == sandbox.Timeout }) {
		t.Errorf("got %+v", report.Problems)
	}
}

func FuzzIdentify(f *testing.F) {
	for _, data := range [][]byte{programtest.PE(map[string]string{"ProductName": "x"}), programtest.Deb("x", "1", nil), []byte("bplist00"),
		[]byte("[Desktop Entry]\nType=Application\n"), []byte("\x7fELF"), programtest.RPM("x", "1", "", nil)} {
		f.Add(data)
	}
	tokens := token.New([]string{"a-long-token"})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<18 {
			return
		}
		format := program.Sniff(data[:min(len(data), program.HeadSize)])
		id, _ := reveal.Identify(&unpack.Entry{Inside: "x", Format: format, Data: data}, tokens)
		if id != nil && id.Size != int64(len(data)) {
			t.Errorf("size %d", id.Size)
		}
	})
}
