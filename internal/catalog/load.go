// Package catalog loads, checks and indexes what each messenger looks like: names, addresses, traffic, publishers, packages, hashes and
// tokens. Look-ups answer with the app, the fact that matched and how strong it is.
//
// A messenger is one YAML file under apps/. Load reads them strictly: a key it does not know is an error with its place. Lint finds what is
// well formed and yet wrong: two messengers claiming one fact, facts so broad that they catch others, facts without a source. A Catalog does
// not change once loaded and is safe for concurrent use; its version is a digest of its files.
package catalog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	files "github.com/chaperone-im/chaperone/catalog"
)

// Bounds of what Load reads: a catalog is written by people, and one that passes them is broken.
const (
	maxFile = 1 << 20
	maxApps = 4096
)

// Catalog is the loaded and indexed set of messengers.
type Catalog struct {
	version string
	apps    []App          // sorted by id
	byID    map[string]int // index into apps
	index
}

// Default returns the catalog that is built into the program. Its files are not looked at for what would keep a parser busy: tests do that.
func Default() (*Catalog, error) { return load(files.Files, decode) }

// Load reads apps/*.yaml of fsys, checks their form and indexes them. All that is wrong with the form is in the error, a line each.
func Load(fsys fs.FS) (*Catalog, error) { return load(fsys, Parse) }

func load(fsys fs.FS, parse func(file string, b []byte) (*App, error)) (*Catalog, error) {
	names, err := fs.Glob(fsys, "apps/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	if len(names) == 0 || len(names) > maxApps {
		return nil, fmt.Errorf("load catalog: %d files match apps/*.yaml, must be 1 to %d", len(names), maxApps)
	}
	slices.Sort(names)
	c := &Catalog{byID: make(map[string]int, len(names))}
	digest := sha256.New()
	var wrong []error
	for _, name := range names {
		b, err := readBounded(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("load catalog: %w", err)
		}
		fmt.Fprintf(digest, "%d:%s%d:", len(name), name, len(b))
		digest.Write(b)
		app, err := parse(name, b)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		c.apps = append(c.apps, *app)
	}
	if err := errors.Join(append(wrong, c.number()...)...); err != nil {
		return nil, err
	}
	c.version = hex.EncodeToString(digest.Sum(nil))
	c.index = buildIndex(c.apps)
	return c, nil
}

// Parse reads one messenger's file, named file in errors.
func Parse(file string, b []byte) (*App, error) {
	if err := checkShape(file, b); err != nil {
		return nil, err
	}
	return decode(file, b)
}

// decode is Parse without the look at the shape.
func decode(file string, b []byte) (*App, error) {
	app := &App{file: file}
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := d.Decode(app); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s:1:1: the file is empty", file)
		}
		return nil, place(file, err)
	}
	if err := d.Decode(new(App)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: more than one document in the file", file)
	}
	switch {
	case !validID(app.ID):
		return nil, fmt.Errorf("%s: id is %q, must be lower-case letters, digits and _", file, app.ID)
	case app.ID+".yaml" != path.Base(file):
		return nil, fmt.Errorf("%s: id is %q, must be the name of the file", file, app.ID)
	case app.Name == "":
		return nil, fmt.Errorf("%s: name is missing", file)
	}
	return app, nil
}

func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// number sorts the apps and gives them their places.
func (c *Catalog) number() []error {
	slices.SortFunc(c.apps, func(a, b App) int { return cmp.Compare(a.ID, b.ID) })
	var wrong []error
	for i := range c.apps {
		if first, taken := c.byID[c.apps[i].ID]; taken {
			wrong = append(wrong, fmt.Errorf("%s: id %s is taken by %s", c.apps[i].file, c.apps[i].ID, c.apps[first].file))
		}
		c.byID[c.apps[i].ID] = i
	}
	return wrong
}

func readBounded(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return b, nil
}

// Version returns the hex SHA-256 of the catalog's files.
func (c *Catalog) Version() string { return c.version }

// Apps returns all messengers, sorted by id. The caller must not change what they hold.
func (c *Catalog) Apps() []App { return slices.Clone(c.apps) }

// App returns one messenger by its id.
func (c *Catalog) App(id string) (App, bool) {
	i, ok := c.byID[id]
	if !ok {
		return App{}, false
	}
	return c.apps[i], true
}
