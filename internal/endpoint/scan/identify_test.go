package scan_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// zipOf makes an archive that holds data.
func zipOf(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("a/b")
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestIdentify knows an opened file whose name is gone, and judges and records nothing.
func TestIdentify(t *testing.T) {
	records := &recorder{}
	s := newScanner(t, scan.Options{Recorder: records, Workers: 1})
	for name, test := range map[string]struct {
		data []byte
		apps []string // of each program
	}{
		"a messenger":           {scantest.Installer(), []string{"telegram"}},
		"a messenger, longer":   {append(scantest.Installer(), 'x'), []string{"telegram"}},
		"a program":             {programtest.PE(map[string]string{"ProductName": "Calculator"}), []string{""}},
		"a text":                {[]byte("nothing that could be started"), nil},
		"nothing":               {nil, nil},
		"a messenger in an zip": {zipOf(t, scantest.Installer()), []string{"", "telegram"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			programs, problems, err := s.Identify(context.Background(), f, "/started/as")
			if err != nil || len(problems) > 0 {
				t.Fatal(problems, err)
			}
			if len(programs) != len(test.apps) {
				t.Fatalf("%d programs: %+v", len(programs), programs)
			}
			for i, p := range programs {
				if p.App != test.apps[i] || p.Path != "/started/as" || len(p.SHA256) != 64 || (p.App != "") != (len(p.Evidence) > 0) {
					t.Errorf("program %d: %+v", i, p)
				}
			}
			if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
				t.Errorf("it is read up to %d, %v", at, err)
			}
		})
	}
	if len(records.events) > 0 {
		t.Errorf("%d events", len(records.events))
	}
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Identify(context.Background(), closed, ""); err == nil {
		t.Error("a closed file was identified")
	}
}

// BenchmarkIdentify knows a program of 64 MB, as large messengers are, from the page cache.
func BenchmarkIdentify(b *testing.B) {
	s := newScanner(b, scan.Options{Workers: 1})
	path := filepath.Join(b.TempDir(), "x")
	if err := os.WriteFile(path, append(scantest.Installer(), make([]byte, 64<<20)...), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(64 << 20)
	for b.Loop() {
		if programs, _, err := s.Identify(context.Background(), f, path); err != nil || len(programs) != 1 {
			b.Fatal(programs, err)
		}
	}
}

// TestMayRemove: packages go only when something identifies the messenger for itself.
func TestMayRemove(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "claims"), scantest.Installer())
	write(t, filepath.Join(dir, "deb"), programtest.Deb("telegram-desktop", "1", nil))
	s := newScanner(t, scan.Options{})
	r := run(t, scan.Options{}, dir)
	for _, c := range []struct {
		file, manager, name string
		want                bool
	}{
		{"claims", "dpkg", "image-tools", false}, {"claims", "dpkg", "telegram-desktop:amd64", true}, {"claims", "rpm", "telegram-desktop", true},
		{"claims", "dpkg", "signal-desktop", false}, {"claims", "other", "telegram-desktop", false}, {"deb", "dpkg", "image-tools", true},
	} {
		f := r.findings[c.file]
		if f == nil {
			t.Fatalf("%s was not found: %q", c.file, r.order)
		}
		if got := s.MayRemove(f, c.manager, c.name); got != c.want {
			t.Errorf("%s of %s %s: %v (identified: %v)", c.file, c.manager, c.name, got, f.Identified)
		}
	}
	if f := r.findings["claims"]; !f.Certain() || f.Identified {
		t.Errorf("a claim: certain %v, identified %v", f.Certain(), f.Identified)
	}
}
