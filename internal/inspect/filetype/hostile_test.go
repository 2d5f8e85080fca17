package filetype_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/inspect"
	"github.com/chaperone-im/chaperone/internal/inspect/filetype"
)

func look(name string, size int64, body io.ReaderAt) inspect.Result {
	return filetype.New().Inspect(context.Background(), &inspect.Item{File: &event.File{Name: name}, Size: size, Body: body})
}

// TestCutFiles: a file cut off anywhere has a type or a reason, and a program is told by its first bytes however short it is cut.
func TestCutFiles(t *testing.T) {
	for name, whole := range map[string][]byte{
		"a.exe": pe(), "a.docx": zipOf(t, "[Content_Types].xml", "word/document.xml"), "b.docx": ole("EncryptedPackage"), "a.doc": word(1), "a.zip": locked(zipOf(t, "a.txt")),
	} {
		for n := range len(whole) {
			if n > 700 && n%37 != 0 {
				continue
			}
			r := look(name, int64(n), bytes.NewReader(whole[:n]))
			if r.Type == "" && len(r.NotInspected) == 0 {
				t.Fatalf("%s cut at %d has neither a type nor a reason", name, n)
			}
		}
	}
}

// broken is a file that cannot be read from some place on.
type broken struct{ good []byte }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(b.good)) {
		return 0, errors.New("input/output error")
	}
	n := copy(p, b.good[off:])
	if n < len(p) {
		return n, errors.New("input/output error")
	}
	return n, nil
}

// TestUnreadableIsNotClean: what cannot be read is not inspected, never without a finding.
func TestUnreadableIsNotClean(t *testing.T) {
	for _, good := range [][]byte{nil, zipOf(t, "a.txt")[:40]} {
		r := look("a.zip", 1<<20, broken{good})
		if len(r.NotInspected) == 0 {
			t.Errorf("after %d bytes that could be read: %+v", len(good), r)
		}
	}
}

// TestNames: a name that hides what it is, however long or odd it is.
func TestNames(t *testing.T) {
	for name, disguised := range map[string]bool{
		"setup.exe": false, "SETUP.EXE": false, "report.pdf": true, "report.pdf.exe": true, "report.pdf" + strings.Repeat(" ", 200) + ".exe": true, "picture.JPG": true,
	} {
		r := look(name, int64(len(pe())), bytes.NewReader(pe()))
		found := slices.ContainsFunc(r.Hits, func(h event.Hit) bool { return h.Name == filetype.Disguised })
		program := slices.ContainsFunc(r.Hits, func(h event.Hit) bool { return h.Name == filetype.Executable })
		if found != disguised || !program {
			t.Errorf("%.30q: disguised %v, a program %v", name, found, program)
		}
	}
}
