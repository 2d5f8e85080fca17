package scan_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// electron is a program of this machine with what a stock Electron holds behind it.
func electron(t *testing.T) []byte {
	t.Helper()
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program to make one of: ", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(b), "x ELECTRON_RUN_AS_NODE x default_app.asar x"...)
}

func lay(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	signalJSON = `{"name":"signal-desktop","productName":"Signal","desktopName":"signal.desktop","version":"7.9.0","author":{"name":"Signal Messenger, LLC"}}`
	editorJSON = `{"name":"an-editor","productName":"An Editor","version":"1"}`
)

// TestBeside knows a stock Electron by the application beside it, in every way in which Electron finds one.
func TestBeside(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the test makes a Linux program")
	}
	asar := programtest.ASAR(programtest.File{Name: "package.json", Body: []byte(signalJSON)})
	s := newScanner(t, scan.Options{Workers: 1})
	for _, c := range []struct {
		name  string
		files map[string][]byte
		links map[string]string
		app   string
	}{
		{"nothing", nil, nil, ""},
		{"an archive", map[string][]byte{"resources/app.asar": asar}, nil, "signal"},
		{"an archive with a byte more", map[string][]byte{"resources/app.asar": append(bytes.Clone(asar), 'x')}, nil, "signal"},
		{"another archive", map[string][]byte{"resources/app.asar": programtest.ASAR(programtest.File{Name: "package.json", Body: []byte(editorJSON)})}, nil, ""},
		{"a folder", map[string][]byte{"resources/app/package.json": []byte(signalJSON)}, nil, "signal"},
		{"a folder called as an archive", map[string][]byte{"resources/app.asar/package.json": []byte(signalJSON)}, nil, "signal"},
		{"a folder whose manifest was changed, known by its code", map[string][]byte{"resources/app/package.json": []byte(editorJSON),
			"resources/app/js/main.js": []byte("x org.whispersystems.signal-desktop x textsecure-service.whispersystems.org x")}, nil, "signal"},
		{"another folder", map[string][]byte{"resources/app/package.json": []byte(editorJSON)}, nil, ""},
		{"a link to the archive", map[string][]byte{"elsewhere/a": asar}, map[string]string{"resources/app.asar": "../elsewhere/a"}, "signal"},
		{"a link to the folder above", map[string][]byte{"elsewhere/app.asar": asar}, map[string]string{"resources": "elsewhere"}, "signal"},
		{"NW.js", map[string][]byte{"package.json": []byte(signalJSON)}, nil, "signal"},
		{"no archive", map[string][]byte{"resources/app.asar": []byte("damaged")}, nil, ""},
	} {
		dir := t.TempDir()
		lay(t, dir, map[string][]byte{"calculator": electron(t)})
		lay(t, dir, c.files)
		for link, to := range c.links {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755), os.Symlink(to, filepath.Join(dir, link))); err != nil {
				t.Fatal(err)
			}
		}
		generic(t, s, filepath.Join(dir, "calculator"))
		found := findings(t, s, filepath.Join(dir, "calculator"))
		if (len(found) > 0) != (c.app != "") {
			t.Errorf("%s: the scan finds %d", c.name, len(found))
			continue
		}
		for _, f := range found {
			e := f.Event
			if e.Program.App != c.app || len(e.Evidence) == 0 || !strings.HasPrefix(e.Evidence[0].Value, "electron app beside: ") || len(e.Program.SHA256) != 64 {
				t.Errorf("%s: %+v", c.name, e.Program)
			}
		}
	}
}

// generic asks what a runtime is by itself.
func generic(t *testing.T, s *scan.Scanner, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	programs, problems, err := s.Identify(context.Background(), f, path)
	if err != nil || len(problems) > 0 || len(programs) != 1 || !programs[0].Runtime || programs[0].App != "" {
		t.Fatal(programs, problems, err)
	}
}

func findings(t *testing.T, s *scan.Scanner, path string) []*scan.Finding {
	t.Helper()
	var out []*scan.Finding
	if _, err := s.Scan(context.Background(), []string{path}, func(r scan.Result) error {
		if r.Problem != nil {
			t.Errorf("%+v", r.Problem)
		}
		if r.Finding != nil {
			out = append(out, r.Finding)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNotBeside knows nothing of what lies beside a program that starts no application.
func TestNotBeside(t *testing.T) {
	dir := t.TempDir()
	plain := bytes.ReplaceAll(bytes.ReplaceAll(electron(t), []byte("ELECTRON_"), []byte("SOMETHING")), []byte("default_app"), []byte("another_app"))
	lay(t, dir, map[string][]byte{"plain": plain, "resources/app.asar": programtest.ASAR(programtest.File{Name: "package.json", Body: []byte(signalJSON)})})
	if found := findings(t, newScanner(t, scan.Options{Workers: 1}), filepath.Join(dir, "plain")); len(found) > 0 {
		t.Errorf("%+v", found[0].Event)
	}
}
