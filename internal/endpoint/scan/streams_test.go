package scan

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// siblings keeps the streams of x as files beside it, x:NAME, in a folder apart: as NTFS would have them.
type siblings struct {
	dir    string
	broken bool
}

func (s siblings) list(f *os.File) ([]handle.Stream, error) {
	if s.broken {
		return nil, errors.New("no answer")
	}
	found, err := filepath.Glob(filepath.Join(s.dir, filepath.Base(f.Name())+":*"))
	var out []handle.Stream
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		_, name, _ := strings.Cut(filepath.Base(path), ":")
		out = append(out, handle.Stream{Name: name, Size: info.Size()})
	}
	return out, err
}

func (s siblings) open(f *os.File, name, _ string) (*os.File, error) {
	return os.Open(filepath.Join(s.dir, filepath.Base(f.Name())+":"+name))
}

// TestStreams looks into what lies beside the content of files and folders, and says what it cannot look into.
func TestStreams(t *testing.T) {
	tree, beside := filepath.Join(t.TempDir(), "tree"), t.TempDir()
	sample := programtest.Deb("telegram-desktop", "4.6", nil)
	packed := programtest.Tar(map[string][]byte{"a": sample})
	err := errors.Join(os.MkdirAll(filepath.Join(tree, "folder"), 0o755), os.WriteFile(filepath.Join(tree, "note.txt"), []byte("nothing but words"), 0o600),
		os.WriteFile(filepath.Join(tree, "plain.txt"), []byte("nothing but words"), 0o600),
		os.WriteFile(filepath.Join(beside, "note.txt:hidden"), sample, 0o600), os.WriteFile(filepath.Join(beside, "note.txt:more"), packed, 0o600),
		os.WriteFile(filepath.Join(beside, "note.txt:Zone.Identifier"), []byte("[ZoneTransfer]"), 0o600), os.WriteFile(filepath.Join(beside, "note.txt:broken"), []byte("PK\x03\x04 and no more"), 0o600),
		os.Symlink("nowhere", filepath.Join(beside, "plain.txt:gone")), os.WriteFile(filepath.Join(beside, "folder:sub"), sample, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	file, err := policy.Parse("all.yaml", []byte("version: 1\nrules:\n  - {id: all, apps: [\"*\"], verdict: block}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(file, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Catalog: c, Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	look := func(by siblings) (found []string, sums map[string]string) {
		t.Helper()
		s.streams, sums = by, map[string]string{}
		if _, err := s.Scan(t.Context(), []string{tree}, func(r Result) error {
			if f := r.Finding; f != nil {
				found = append(found, filepath.Base(f.Real)+"!/"+f.Inside+" "+f.Event.Program.App)
				sums[filepath.Base(f.Real)] = f.File.SHA256
				if f.Event.Program.Inside != f.Inside {
					t.Errorf("on record: %q", f.Event.Program.Inside)
				}
			} else {
				found = append(found, filepath.Base(r.Problem.Path)+"!/"+r.Problem.Inside+" "+r.Problem.Reason)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(found)
		return found, sums
	}
	found, sums := look(siblings{dir: beside})
	want := []string{"folder!/:sub telegram", "note.txt!/:broken unparseable", "note.txt!/:hidden telegram", "note.txt!/:more!/a telegram", "plain.txt!/ unreadable"}
	if !slices.Equal(found, want) {
		t.Errorf("found %q", found)
	}
	words, err := os.Open(filepath.Join(tree, "note.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	if sum, err := digest(words); err != nil || sums["note.txt"] != sum || sums["folder"] != "" {
		t.Errorf("by what they are known again: %q, %v", sums, err)
	}
	if found, _ = look(siblings{broken: true}); !slices.Equal(found, []string{"folder!/ unreadable", "note.txt!/ unreadable", "plain.txt!/ unreadable", "tree!/ unreadable"}) {
		t.Errorf("without an answer: %q", found)
	}
}
