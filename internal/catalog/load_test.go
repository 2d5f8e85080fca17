package catalog_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	builtin "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/internal/catalog"
)

// files makes a catalog of YAML texts, one file for each id.
func files(texts map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for id, text := range texts {
		fsys["apps/"+id+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func TestLoadSaysWhereItIsWrong(t *testing.T) {
	const head = "id: a\nname: A\nsources: [\"vendor, 2026-01\"]\n"
	for name, test := range map[string]struct{ text, want string }{
		"unknown key":        {head + "nams: {}\n", "apps/a.yaml:4:1: unknown field"},
		"unknown key inside": {head + "names:\n  services: [a.example]\n", "apps/a.yaml:5:3: unknown field"},
		"unknown key of a name fact": {head + "names:\n  service:\n    - {suffix: a.example, secret: 1}\n",
			"apps/a.yaml:6:27: unknown field"},
		"confidence word": {head + "names:\n  service:\n    - {suffix: a.example, confidence: sure}\n",
			`apps/a.yaml:6:39: confidence is "sure", must be low, medium, high or exact`},
		"confidence number": {head + "traffic:\n  - {id: x, confidence: 0.9}\n", "apps/a.yaml:5:25: confidence is"},
		"date": {head + "programs:\n  windows:\n    - publishers: [{subject: O=A, from: 1.2.2024}]\n",
			`apps/a.yaml:6:41: date is "1.2.2024", must be YYYY-MM-DD`},
		"no such day":    {head + "programs:\n  windows:\n    - publishers: [{subject: O=A, from: 2024-02-30}]\n", "must be YYYY-MM-DD"},
		"range":          {head + "addresses: [{cidr: 192.0.2.1/24}]\n", "apps/a.yaml:4:20: address range is \"192.0.2.1/24\", must be a CIDR prefix"},
		"not yaml":       {head + "names: [\n", "apps/a.yaml:"},
		"wrong type":     {head + "names: 7\n", "apps/a.yaml:4:8: "},
		"empty":          {"", "apps/a.yaml:1:1: the file is empty"},
		"two documents":  {head + "---\n" + head, "apps/a.yaml: more than one document"},
		"id with spaces": {"id: a b\nname: A\n", "id is \"a b\", must be lower-case"},
		"other id":       {"id: b\nname: B\n", "must be the name of the file"},
		"no name":        {"id: a\n", "name is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := catalog.Load(files(map[string]string{"a": test.text}))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestLoadRefusesNothingAndTooMuch(t *testing.T) {
	if _, err := catalog.Load(fstest.MapFS{}); err == nil {
		t.Error("an empty catalog was loaded")
	}
	if _, err := catalog.Load(files(map[string]string{"a": strings.Repeat("#", 1<<20+1)})); err == nil {
		t.Error("a huge file was loaded")
	}
}

func TestLoadReportsEveryFile(t *testing.T) {
	_, err := catalog.Load(files(map[string]string{"a": "x: 1", "b": "y: 1"}))
	if err == nil || !strings.Contains(err.Error(), "a.yaml:1:1") || !strings.Contains(err.Error(), "b.yaml:1:1") {
		t.Errorf("error is %v", err)
	}
}

func TestVersionFollowsTheBytes(t *testing.T) {
	version := func(text string) string {
		c, err := catalog.Load(files(map[string]string{"a": text}))
		if err != nil {
			t.Fatal(err)
		}
		return c.Version()
	}
	first := version("id: a\nname: A\n")
	if len(first) != 64 || first != version("id: a\nname: A\n") {
		t.Errorf("version %q is not a stable digest", first)
	}
	if first == version("id: a\nname: A\n# a word\n") {
		t.Error("two texts have one version")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("id: a\nname: A\nnames: {service: [a.example, {suffix: b.example, confidence: low}]}\n"))
	f.Add([]byte("id: a\nname: A\naddresses: [{cidr: 192.0.2.0/24}]\nprograms: {windows: [{publishers: [{subject: O=A, from: 2024-01-01}]}]}\n"))
	f.Add([]byte("id: a\nname: A\nnames: {service: [{suffix: ~}, ~, 1, [2]]}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		app, err := catalog.Parse("apps/a.yaml", b)
		if err == nil && app.ID != "a" {
			t.Errorf("accepted id %q", app.ID)
		}
	})
}

// TestGuideExample runs the example of docs/guide/catalog.md.
func TestGuideExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/guide/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(rest, "   ```")
	if !found {
		t.Fatal("the page has no example")
	}
	c, err := catalog.Load(files(map[string]string{"pigeon": strings.ReplaceAll("\n"+text, "\n   ", "\n")}))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(c.Lint(), c.SelfTest()...) {
		t.Error(p)
	}
	if c.Facts() < 15 {
		t.Errorf("%d facts", c.Facts())
	}
}

// TestAliasesAreRefused says where they are, and what to write instead.
func TestAliasesAreRefused(t *testing.T) {
	for text, at := range map[string]string{
		"id: x\nname: &n X\n":         "x.yaml:2:7: ",
		"id: x\nname: *n\n":           "x.yaml:2:7: ",
		"id: x\nnames: {<<: *all}\n":  "x.yaml:2:9: ",
		"id: x\nname: !!str X\n":      "x.yaml:2:7: ",
		"id: x\nname: '*n'\ncount: 1": "",
	} {
		_, err := catalog.Parse("x.yaml", []byte(text))
		refused := err != nil && strings.Contains(err.Error(), "aliases and tags are not part of a catalog: write the value out in each place") && strings.Contains(err.Error(), "goes into quotes")
		if refused != (at != "") || refused && !strings.HasPrefix(err.Error(), at) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestDeepNestingIsRefused before the parser sees it: that would take it for ever.
func TestDeepNestingIsRefused(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 1<<20-1), strings.Repeat("{a: ", 1<<18)} {
		if _, err := catalog.Parse("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// TestDefaultIsWhatLoadAccepts: the built-in catalog, which is not looked at each time the program starts, passes what others must pass.
func TestDefaultIsWhatLoadAccepts(t *testing.T) {
	looked, err := catalog.Load(builtin.Files)
	if err != nil {
		t.Fatal(err)
	}
	if c := shipped(t); c.Version() != looked.Version() || !reflect.DeepEqual(c.Apps(), looked.Apps()) {
		t.Error("Default and Load differ")
	}
}
