package clients_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/clients"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

// node is an element of a document.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []node     `xml:",any"`
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n *node) all(path ...string) []node {
	if len(path) == 0 {
		return []node{*n}
	}
	var out []node
	for i := range n.Children {
		if n.Children[i].XMLName.Local == path[0] {
			out = append(out, n.Children[i].all(path[1:]...)...)
		}
	}
	return out
}

// shapes say of each element which attributes it must have and may have, and which elements stand in it in which order (? none or one, * any
// number, + at least one, | one of them), as [MS-GPREG] 7.1 to 7.3 have them for the part of the schema that we use.
func shapes() map[string][3]string {
	return map[string][3]string{
		"policyDefinitions":         {"revision schemaVersion", "", "policyNamespaces supersededAdm* annotation* resources supportedOn? categories? policies?"},
		"policyNamespaces":          {"", "", "target using*"},
		"target":                    {"prefix namespace", "", ""},
		"supportedOn":               {"", "ref", "definitions?"},
		"definitions":               {"", "", "definition+"},
		"definition":                {"name displayName", "", ""},
		"categories":                {"", "", "category+"},
		"category":                  {"name displayName", "explainText", "parentCategory?"},
		"policies":                  {"", "", "policy+"},
		"policy":                    {"name class displayName key", "explainText presentation valueName", "annotation* parentCategory? seeAlso* keywords? supportedOn enabledValue? disabledValue? enabledList? disabledList? elements?"},
		"parentCategory":            {"ref", "", ""},
		"enabledList":               {"", "defaultKey", "item+"},
		"disabledList":              {"", "defaultKey", "item+"},
		"item":                      {"valueName", "key", "value"},
		"value":                     {"", "", "delete|decimal|string"},
		"delete":                    {"", "", ""},
		"decimal":                   {"value", "", ""},
		"string":                    {"", "id", ""},
		"elements":                  {"", "", "text+"},
		"text":                      {"id valueName", "key required maxLength expandable soft", ""},
		"policyDefinitionResources": {"revision schemaVersion", "", "displayName description annotation* resources"},
		"displayName":               {"", "", ""},
		"description":               {"", "", ""},
		"resources":                 {"", "minRequiredRevision fallbackCulture", "stringTable? presentationTable?"},
		"stringTable":               {"", "", "string+"},
		"presentationTable":         {"", "", "presentation+"},
		"presentation":              {"id", "", "textBox*"},
		"textBox":                   {"refId", "", "label defaultValue?"},
		"label":                     {"", "", ""},
		"defaultValue":              {"", "", ""},
	}
}

// checkShape holds an element and those in it to the shapes.
func checkShape(t *testing.T, n *node) {
	t.Helper()
	name := n.XMLName.Local
	shape, ok := shapes()[name]
	if !ok || n.XMLName.Space != "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions" {
		t.Fatalf("element %v", n.XMLName)
	}
	must, may := strings.Fields(shape[0]), strings.Fields(shape[1])
	for _, a := range n.Attrs {
		if !slices.Contains(slices.Concat(must, may, []string{"xmlns"}), a.Name.Local) {
			t.Errorf("%s has %s", name, a.Name.Local)
		}
	}
	for _, a := range must {
		if n.attr(a) == "" {
			t.Errorf("%s has no %s", name, a)
		}
	}
	order := ""
	for _, part := range strings.Fields(shape[2]) {
		bare := strings.TrimRight(part, "?*+")
		order += "(?:(?:" + bare + ") )" + strings.TrimPrefix(part, bare)
	}
	got := ""
	for i := range n.Children {
		got += n.Children[i].XMLName.Local + " "
		checkShape(t, &n.Children[i])
	}
	if !regexp.MustCompile("^" + order + "$").MatchString(got) {
		t.Errorf("%s has %q, want %s", name, got, shape[2])
	}
}

// document writes a format, and reads it as a document of the schema.
func document(t *testing.T, write func(io.Writer, *export.Plan) ([]string, error), p *export.Plan) (*node, []string) {
	t.Helper()
	var out bytes.Buffer
	left, err := write(&out, p)
	if err != nil {
		t.Fatal(err)
	}
	var n node
	if err := xml.Unmarshal(out.Bytes(), &n); err != nil {
		t.Fatal(err)
	}
	checkShape(t, &n)
	return &n, left
}

// applied is what group policy does to a registry where each policy of a template is set to a state: the words of the language file are looked up,
// and what its fields hold is what somebody leaves in them.
func applied(t *testing.T, template, language *node, enabled bool, registry map[string]string) {
	t.Helper()
	words, fields := map[string]string{}, map[string]string{}
	for _, s := range language.all("resources", "stringTable", "string") {
		words[s.attr("id")] = s.Text
	}
	for _, p := range language.all("resources", "presentationTable", "presentation") {
		words["presentation."+p.attr("id")] = "there"
		for _, b := range p.all("textBox") {
			fields[b.attr("refId")] = b.all("defaultValue")[0].Text
		}
	}
	item := regexp.MustCompile(`^[\p{L}\p{N}_]+$`)
	hives := map[string]string{"Machine": `HKEY_LOCAL_MACHINE\`, "User": `HKEY_CURRENT_USER\`}
	seen := map[string]bool{}
	for _, p := range template.all("policies", "policy") {
		name := p.attr("name")
		hive := hives[p.attr("class")]
		if !item.MatchString(name) || seen[name] || hive == "" || strings.HasPrefix(p.attr("key"), "HKEY") {
			t.Errorf("policy %q of class %q, key %q", name, p.attr("class"), p.attr("key"))
		}
		seen[name] = true
		for _, ref := range []string{p.attr("displayName"), p.attr("explainText")} {
			if id, ok := strings.CutPrefix(strings.TrimSuffix(ref, ")"), "$(string."); !ok || words[id] == "" {
				t.Errorf("%s: no words for %s", name, ref)
			}
		}
		list := "disabledList"
		if enabled {
			list = "enabledList"
		}
		for _, i := range p.all(list, "item") {
			write(t, registry, hive+i.attr("key")+`\`+i.attr("valueName"), &i.all("value")[0].Children[0])
		}
		for _, e := range p.all("elements", "text") {
			longest, err := strconv.Atoi(e.attr("maxLength"))
			text, ok := fields[e.attr("id")]
			if err != nil || !ok || len(text) > longest || words["presentation."+name] == "" || p.attr("presentation") != "$(presentation."+name+")" {
				t.Errorf("%s: text %s: %v", name, e.attr("id"), err)
			}
			if registry[hive+e.attr("key")+`\`+e.attr("valueName")] = text; !enabled {
				delete(registry, hive+e.attr("key")+`\`+e.attr("valueName"))
			}
		}
	}
}

func write(t *testing.T, registry map[string]string, at string, value *node) {
	t.Helper()
	switch value.XMLName.Local {
	case "delete":
		delete(registry, at)
	case "decimal":
		n, err := strconv.ParseUint(value.attr("value"), 10, 32)
		if err != nil {
			t.Error(err)
		}
		registry[at] = fmt.Sprintf("dword %d", n)
	default:
		if len(value.Text) > 255 {
			t.Errorf("%s: %d characters", at, len(value.Text))
		}
		registry[at] = value.Text
	}
}

// TestTemplate: enabling what the template has writes what the registry file writes, long lists too; disabling it takes that away.
func TestTemplate(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("2fd6bb84-ad40-4ec5-9369-%012d", i))
	}
	for name, text := range map[string]string{"all": set, "many tenants": strings.Replace(set, "5b0c4a10-0000-4000-8000-000000000001", strings.Join(many[:99], ", "), 1)} {
		p := exporttest.Plan(t, text, export.Options{})
		var file bytes.Buffer
		wantLeft, err := clients.Registry(&file, p)
		if err != nil {
			t.Fatal(err)
		}
		template, left := document(t, clients.Template, p)
		language, _ := document(t, clients.Language, p)
		got, want := map[string]string{}, registry(t, file.String())
		applied(t, template, language, true, got)
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v\nwant %v", name, got, want)
		}
		for _, l := range wantLeft {
			if !slices.Contains(left, l) {
				t.Errorf("%s: not said: %s", name, l)
			}
		}
		if applied(t, template, language, false, got); len(got) != 0 {
			t.Errorf("%s: disabled, there is still %v", name, got)
		}
	}
}

// TestTemplateOfNothing has no table of policies, which the schema wants to hold at least one.
func TestTemplateOfNothing(t *testing.T) {
	p := exporttest.Plan(t, "version: 1\nrules: [{id: none, apps: ['*'], verdict: block}]\n", export.Options{})
	template, _ := document(t, clients.Template, p)
	if n := len(template.all("policies")); n != 0 {
		t.Errorf("%d tables", n)
	}
	document(t, clients.Language, p)
}
