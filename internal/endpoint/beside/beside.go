// Package beside finds the application that a runtime starts: what lies beside a stock Electron or NW.js, whose own file says nothing of it.
//
// The folder is the one that the opened file lies in, and it counts only where it holds that very file. What is there is opened as the runtime
// would, through links, but only regular files, without making anything happen by opening, and bounded in number and size. Nothing is parsed
// here: an archive is handed over as it is, and of a folder the files are written one after the other into an archive of the same form, in
// memory, for the parsers in the sandbox. What opening may wait for, as a file system that another process serves, ends with the context.
package beside

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Marks are texts that Electron (lib/browser/init.ts, shell/common) and NW.js (src/nw_package.cc) contain. Which of them does not matter: with one of
// them, what lies beside is looked at.
func Marks() []string {
	return []string{"ELECTRON_RUN_AS_NODE", "default_app.asar", "process.resourcesPath", "you've damaged the Electron package", "ELECTRON_FORCE_IS_PACKAGED",
		"electron/js2c/", "package.nw"}
}

// Names under which the runtimes look for their application, in the folder of their own file: an archive or a folder, each of them. The last is
// an application whose folder is the runtime's own.
func names() []string {
	return []string{"resources/app.asar", "resources/app", "package.nw", ""}
}

// Bounds of what is looked at.
const (
	maxFiles  = 512 // of a folder
	maxDepth  = 6
	maxPacked = 24 << 20 // bytes of a folder's files
)

// ErrFolder says that no folder is seen that holds the file, as when it was removed.
var ErrFolder = errors.New("beside: its folder is not seen")

// key is what tells a changed file from an unchanged one.
type key struct {
	Dev, Ino      uint64
	Size, Changed int64
	Folder        bool
}

// found is one application.
type found struct {
	name  string // as the runtime calls it
	file  *os.File
	parts []part // of a folder
	keys  []key
	even  bool // its file system marks every change
}

// part is a file in a folder.
type part struct {
	name string
	key  key
}

// Place is the folder of a file.
type Place struct {
	dir  string
	apps []*found
}

// Look returns what lies beside f, which was opened at path. The path counts only while it leads to that very file.
func Look(f *os.File, path string) (*Place, error) {
	if !same(f, path) {
		return nil, ErrFolder
	}
	p := &Place{dir: filepath.Dir(path)}
	for _, name := range names() {
		app, err := open(p.dir, name)
		if err != nil {
			p.Close()
			return nil, err
		}
		if app != nil {
			p.apps = append(p.apps, app)
		}
	}
	return p, nil
}

// open opens one application, nil where there is none.
func open(dir, name string) (*found, error) {
	app := &found{name: name}
	at := filepath.Join(dir, name)
	if name != "" {
		file, k, even, err := regular(at)
		switch {
		case err != nil:
			return nil, err
		case file != nil:
			app.file, app.keys, app.even = file, []key{k}, even
			return app, nil
		case !k.Folder:
			return nil, nil
		}
	}
	manifest, k, even, err := regular(filepath.Join(at, "package.json"))
	if err != nil || manifest == nil {
		return nil, err
	}
	manifest.Close()
	if name == "" {
		app.name = "package.json"
		app.parts, app.keys, app.even = []part{{"package.json", k}}, []key{k}, even
		return app, nil
	}
	w := &walk{app: app, root: at}
	app.even = even
	w.folder("", 0)
	return app, nil
}

// Folder returns the application in a folder, nil when there is none: it has no manifest.
func Folder(path string) (*Place, error) {
	app, err := open(filepath.Dir(path), filepath.Base(path))
	if err != nil || app == nil {
		return nil, err
	}
	return &Place{dir: filepath.Dir(path), apps: []*found{app}}, nil
}

// walk lists the files of a folder, as many as are looked at.
type walk struct {
	app  *found
	root string
	size int64
}

func (w *walk) folder(path string, depth int) {
	if depth > maxDepth {
		return
	}
	entries, err := os.ReadDir(filepath.Join(w.root, path))
	if err != nil {
		return
	}
	var folders []string
	for _, e := range entries {
		name := filepath.ToSlash(filepath.Join(path, e.Name()))
		k, err := stat(filepath.Join(w.root, name))
		switch {
		case err != nil:
			continue
		case k.Folder:
			folders = append(folders, name)
			continue
		case len(w.app.parts) >= maxFiles || w.size+k.Size > maxPacked && e.Name() != "package.json":
			continue
		}
		w.size += k.Size
		w.app.parts, w.app.keys = append(w.app.parts, part{name, k}), append(w.app.keys, k)
	}
	for _, name := range folders {
		if len(w.app.parts) < maxFiles && !strings.HasSuffix(name, "/node_modules") && name != "node_modules" {
			w.folder(name, depth+1)
		}
	}
}

// Close closes what was opened.
func (p *Place) Close() {
	for _, a := range p.apps {
		if a.file != nil {
			a.file.Close()
		}
	}
}

// Sum changes when a file beside comes, goes or changes.
func (p *Place) Sum() string {
	h := sha256.New()
	for _, a := range p.apps {
		h.Write([]byte(a.name + "\x00"))
		for _, k := range a.keys {
			_ = binary.Write(h, binary.LittleEndian, k) // a hash takes everything
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Settled reports whether Sum tells every change from here on: the file systems mark each one, and the last is longer ago than a tick of their clocks.
func (p *Place) Settled(now time.Time) bool {
	for _, a := range p.apps {
		if !a.even {
			return false
		}
		for _, k := range a.keys {
			if now.UnixNano()-k.Changed < int64(time.Second) {
				return false
			}
		}
	}
	return true
}

// Each calls look with each application as one file, an archive.
func (p *Place) Each(look func(name string, f *os.File) error) error {
	for _, a := range p.apps {
		f, err := a.archive(p.dir)
		if err != nil {
			return err
		}
		err = look(a.name, f)
		if f != a.file {
			err = errors.Join(err, discard(f))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
