package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/chaperone-im/chaperone/internal/event"
)

// Bounds of samples: they are shipped in the program and in every bundle.
const (
	maxSample  = 512 << 10
	maxSamples = 2048
)

// Innocent is the folder of samples in which nothing may be recognised.
const Innocent = "none"

// corpusSample begins the name of a sample that cannot be shipped, and is looked for in a folder of labelled captures.
const corpusSample = "corpus:"

// Sample is a capture or a program with what must be recognised in it, from samples/APP/labels.yaml.
type Sample struct {
	App   string   `yaml:"-"` // the folder, or Innocent
	File  string   `yaml:"file"`
	Made  string   `yaml:"made"`  // by what program, and when; or that it is generated
	Also  []string `yaml:"also"`  // other messengers that it shows
	Flows []Expect `yaml:"flows"` // what must be recognised besides what signatures say that name the sample
	Facts []string `yaml:"facts"` // of a program: facts that must identify it, as deb:telegram-desktop
}

// Path returns where the sample is in the catalog's files.
func (s *Sample) Path() string { return path.Join("samples", s.App, s.File) }

// Expect says what must be recognised in a capture: so many flows of which all of this holds.
type Expect struct {
	App        string   `yaml:"app"` // default: the folder
	Service    string   `yaml:"service"`
	Confidence Strength `yaml:"confidence"` // at least
	Fact       string   `yaml:"fact"`       // in the evidence, as traffic:turn-realm
	Server     string   `yaml:"server"`     // ip:port of the flow's server
	Count      int      `yaml:"count"`      // at least; default 1
}

// labels is the form of labels.yaml.
type labels struct {
	Captures []Sample `yaml:"captures"`
	Programs []Sample `yaml:"programs"`
}

// Samples are all samples of a catalog.
type Samples struct {
	Captures []Sample
	Programs []Sample
	files    fs.FS
}

// LoadSamples reads samples/*/labels.yaml of fsys. A catalog without samples has none, which is no error.
func LoadSamples(fsys fs.FS) (*Samples, error) {
	names, err := fs.Glob(fsys, "samples/*/labels.yaml")
	if err != nil {
		return nil, fmt.Errorf("load samples: %w", err)
	}
	out := &Samples{files: fsys}
	var wrong []error
	for _, name := range names {
		b, err := readBounded(fsys, name)
		if err == nil {
			err = out.parse(name, b)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if n := len(out.Captures) + len(out.Programs); n > maxSamples {
		wrong = append(wrong, fmt.Errorf("load samples: %d samples, must be at most %d", n, maxSamples))
	}
	return out, errors.Join(wrong...)
}

func (s *Samples) parse(name string, b []byte) error {
	if err := checkShape(name, b); err != nil {
		return err
	}
	var l labels
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := d.Decode(&l); err != nil && !errors.Is(err, io.EOF) {
		return place(name, err)
	}
	app := path.Base(path.Dir(name))
	var wrong []error
	for _, list := range []struct {
		from []Sample
		to   *[]Sample
	}{{l.Captures, &s.Captures}, {l.Programs, &s.Programs}} {
		for _, x := range list.from {
			x.App = app
			if message := x.check(); message != "" {
				wrong = append(wrong, fmt.Errorf("%s: %q %s", name, x.File, message))
				continue
			}
			*list.to = append(*list.to, x)
		}
	}
	return errors.Join(wrong...)
}

// check says what is wrong with a label by itself.
func (s *Sample) check() string {
	switch {
	case s.File == "" || s.File != path.Base(s.File) || strings.HasPrefix(s.File, "."):
		return "is not the name of a file beside it"
	case !dated(s.Made):
		return "does not say how it was made, with a date (YYYY-MM)"
	case s.App == Innocent && (len(s.Also) > 0 || len(s.Flows) > 0 || len(s.Facts) > 0):
		return "is a sample of no messenger and yet expects one"
	}
	return ""
}

// Read returns the bytes of a sample.
func (s *Samples) Read(x *Sample) ([]byte, error) {
	f, err := s.files.Open(x.Path())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSample+1))
	if err == nil && len(b) > maxSample {
		err = fmt.Errorf("%s: larger than %d bytes", x.Path(), maxSample)
	}
	return b, err
}

// Expected returns what must be recognised in each capture: what its label says and what the signatures say that name it. The captures
// that signatures name and no label describes, and those of the corpus, come last.
func (c *Catalog) Expected(s *Samples) []Sample {
	out := slices.Clone(s.Captures)
	at := map[string]int{}
	for i := range out {
		out[i].Flows = slices.Clone(out[i].Flows)
		at[out[i].App+"/"+out[i].File] = i
	}
	for i := range c.apps {
		for _, t := range c.apps[i].Traffic {
			if t.Sample == "" {
				continue
			}
			n, ok := at[t.Sample]
			if !ok {
				n = len(out)
				at[t.Sample] = n
				dir, file := path.Split(t.Sample)
				out = append(out, Sample{App: path.Clean(dir), File: file})
			}
			out[n].Flows = append(out[n].Flows, Expect{App: c.apps[i].ID, Service: t.Service, Confidence: t.Confidence, Fact: string(kindTraffic) + ":" + t.ID})
		}
	}
	return out
}

// Corpus returns the name of the capture when the sample is one of the corpus.
func (s *Sample) Corpus() (string, bool) { return strings.CutPrefix(s.File, corpusSample) }

// LintSamples returns what is wrong with samples and the signatures that must name one: a signature that has none and states no reason,
// one whose time to be looked at again has come (a warning), a sample of no messenger.
func (c *Catalog) LintSamples(s *Samples, now time.Time) []Problem {
	var out []Problem
	for i := range c.apps {
		for _, t := range c.apps[i].Traffic {
			add := func(warning bool, message string) {
				out = append(out, Problem{File: c.apps[i].file, App: c.apps[i].ID, Fact: string(kindTraffic) + ":" + t.ID, Message: message, Warning: warning})
			}
			if t.Sample == "" && strings.TrimSpace(t.NoSample) == "" {
				add(false, "names no sample, and no_sample does not say why")
			}
			if t.Sample != "" && t.NoSample != "" {
				add(false, "names a sample and says why there is none")
			}
			switch by := reviewBy(&c.apps[i], &t); {
			case by.IsZero():
				add(false, "has no review_by, neither of its own nor of its file: facts age")
			case now.After(by.AddDate(0, 0, 1)):
				add(true, "was to be looked at again by "+by.Format(time.DateOnly))
			}
		}
	}
	for _, x := range slices.Concat(s.Captures, s.Programs) {
		for _, app := range append([]string{x.App}, x.Also...) {
			if _, ok := c.byID[app]; !ok && app != Innocent {
				out = append(out, Problem{File: x.Path(), App: app, Message: "is a sample of a messenger that the catalog does not know"})
			}
		}
	}
	return out
}

func reviewBy(a *App, t *Traffic) Day {
	if t.ReviewBy.IsZero() {
		return a.ReviewBy
	}
	return t.ReviewBy
}

// Holds reports whether a recognised flow is what is expected. The app is given where the label leaves it to the folder.
func (x *Expect) Holds(app string, f *event.Flow, evidence []event.Evidence) bool {
	if x.App != "" {
		app = x.App
	}
	return f.App == app && (x.Service == "" || f.Service == x.Service) && f.Confidence >= event.Confidence(x.Confidence) &&
		(x.Server == "" || f.Server == x.Server) &&
		(x.Fact == "" || slices.ContainsFunc(evidence, func(e event.Evidence) bool { return e.Fact == x.Fact || strings.HasSuffix(e.Fact, " "+x.Fact) }))
}

// String says what is expected, for messages.
func (x *Expect) String() string {
	parts := []string{x.App}
	if x.Service != "" {
		parts = append(parts, x.Service)
	}
	if x.Fact != "" {
		parts = append(parts, "by "+x.Fact)
	}
	if x.Server != "" {
		parts = append(parts, "at "+x.Server)
	}
	if x.Confidence > 0 {
		parts = append(parts, fmt.Sprintf("with %.2f or more", event.Confidence(x.Confidence).Float()))
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}
