package policy

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/chaperone-im/chaperone/internal/shape"
)

// Limits of a policy file. A file beyond them is refused before it is parsed.
const (
	MaxFileSize = 1 << 20
	maxRules    = 10_000
)

// Error is a mistake in a policy file, with its place and what to do about it.
type Error struct {
	File   string
	Line   int // 0 when it has no place
	Column int
	Msg    string
	Hint   string
}

// Error gives file:line:column and the message.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Name returns the name the file was parsed by.
func (f *File) Name() string { return f.name }

// Parse reads a policy file. Its keys are strict, and there are no anchors or aliases. It does not look into rules: Compile does.
func Parse(name string, data []byte) (*File, error) {
	if len(data) > MaxFileSize {
		return nil, &Error{File: name, Msg: "larger than 1 MiB", Hint: "long lists of names belong into a list file of the resolver"}
	}
	if err := checkShape(name, data); err != nil {
		return nil, err
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, yamlError(name, err)
	}
	f := &File{name: name, source: bytes.Clone(data), places: &places{}}
	if len(tree.Docs) > 1 {
		return nil, &Error{File: name, Msg: "more than one document", Hint: "remove the line with ---"}
	}
	if len(tree.Docs) == 1 && tree.Docs[0].Body != nil {
		f.places.root = tree.Docs[0].Body
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if f.places.root != nil {
		if err := decoder.Decode(f); err != nil {
			return nil, yamlError(name, err)
		}
	}
	if f.Version != 1 {
		return nil, f.ErrorAt("version: 1 is needed", "write version: 1 at the top", "version")
	}
	if len(f.Rules) > maxRules {
		return nil, f.ErrorAt("more than 10000 rules", "put names and addresses of one verdict into one rule", "rules")
	}
	return f, nil
}

// checkShape refuses what could make a parser work without bound: deep nesting, anchors and aliases.
func checkShape(name string, data []byte) error {
	if bytes.IndexByte(data, 0) >= 0 {
		return &Error{File: name, Msg: "not a text file", Hint: "a policy is YAML in UTF-8"}
	}
	err := shape.Check(data, func(t *token.Token) error {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType:
			return &Error{File: name, Line: t.Position.Line, Column: t.Position.Column, Msg: "anchors, aliases and tags are not part of a policy", Hint: "write the value out in each place; one that begins with &, * or ! and means just that goes into quotes"}
		}
		return nil
	})
	var deep *shape.Error
	if errors.As(err, &deep) {
		return &Error{File: name, Line: deep.Line, Column: deep.Column, Msg: "nested too deeply"}
	}
	return err
}

func yamlError(name string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		own.File = name
		return own
	}
	out := &Error{File: name, Msg: err.Error()}
	var placed yaml.Error
	if !errors.As(err, &placed) {
		return out
	}
	out.Msg = placed.GetMessage()
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		out.Msg, out.Hint = "the value has the wrong form", "docs/reference/policy.md says what each key takes"
	}
	if t := placed.GetToken(); t != nil && t.Position != nil {
		out.Line, out.Column = t.Position.Line, t.Position.Column
		var unknown *yaml.UnknownFieldError
		if errors.As(err, &unknown) {
			out.Msg = fmt.Sprintf("unknown key %q", t.Value)
			out.Hint = didYouMean(t.Value, allKeys())
		}
	}
	return out
}

// allKeys returns every key of the language.
func allKeys() []string {
	var keys []string
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			if key := t.Field(i).Tag.Get("yaml"); key != "" {
				keys = append(keys, key)
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[File]())
	return keys
}

// places finds where a value stands in the file.
type places struct{ root ast.Node }

// ErrorAt makes an error at the place of a value; path is keys and indexes. Where the path ends early, the last place found is given.
func (f *File) ErrorAt(msg, hint string, path ...any) *Error {
	e := &Error{File: f.name, Msg: msg, Hint: hint}
	if f.places == nil || f.places.root == nil {
		return e
	}
	node := f.places.root
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			break
		}
		node = next
	}
	for {
		m, ok := node.(*ast.MappingNode)
		if !ok || len(m.Values) == 0 || m.IsFlowStyle {
			break
		}
		node = m.Values[0].Key
	}
	if t := node.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

func child(node ast.Node, step any) ast.Node {
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if key, ok := step.(string); ok && v.Key.GetToken().Value == key {
				return v.Value
			}
		}
	case *ast.MappingValueNode:
		if key, ok := step.(string); ok && n.Key.GetToken().Value == key {
			return n.Value
		}
	case *ast.SequenceNode:
		if i, ok := step.(int); ok && i < len(n.Values) {
			return n.Values[i]
		}
	}
	return nil
}

// didYouMean returns a hint naming the known word nearest to s, or "" when none is near.
func didYouMean(s string, known []string) string {
	best, distance := "", 1+max(1, len(s)/3)
	for _, k := range known {
		if k == s {
			continue // right elsewhere, wrong here
		}
		if d := editDistance(strings.ToLower(s), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
