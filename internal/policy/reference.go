package policy

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the reference page of the language, as Markdown, from the doc tags of its types.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Policy reference\n\nMade by `chaperone policy check --reference`; do not edit. The guide is [policy](../guide/policy.md).\n")
	var queue []reflect.Type
	seen := map[reflect.Type]bool{}
	add := func(t reflect.Type) string {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
			if t == reflect.TypeFor[List]() {
				return "word or list of words"
			}
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return map[reflect.Kind]string{reflect.String: "word or text", reflect.Int: "number", reflect.Bool: "true or false"}[t.Kind()]
		}
		if !seen[t] {
			seen[t] = true
			queue = append(queue, t)
		}
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	}
	add(reflect.TypeFor[File]())
	for len(queue) > 0 {
		t := queue[0]
		queue = queue[1:]
		fmt.Fprintf(&b, "\n## %s\n\n| key | value | meaning |\n|---|---|---|\n", t.Name())
		for i := range t.NumField() {
			f := t.Field(i)
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			value := add(f.Type)
			switch {
			case f.Type.Kind() == reflect.Map:
				value = "by name: " + value
			case f.Type.Kind() == reflect.Slice && f.Type != reflect.TypeFor[List]():
				value = "list of " + value
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, value, strings.ReplaceAll(f.Tag.Get("doc"), "|", "\\|"))
		}
	}
	b.WriteString("\n## Variables of expressions\n\n| variable | type | meaning |\n|---|---|---|\n")
	for _, v := range Variables() {
		name, rest, _ := strings.Cut(v, " ")
		kind, doc, _ := strings.Cut(rest, ": ")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, kind, doc)
	}
	return b.String()
}
