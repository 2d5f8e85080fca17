package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// Describe writes the reference of every key: its path, its type and what it is for, as a Markdown table.
func Describe(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| key | type | what it is |\n|---|---|---|\n"); err != nil {
		return err
	}
	return describe(w, "", reflect.TypeFor[Config]())
}

func describe(w io.Writer, prefix string, t reflect.Type) error {
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "-" {
			continue
		}
		path, inner := prefix+key, f.Type
		if inner.Kind() == reflect.Slice {
			path, inner = path+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s |\n", path, typeName(inner), f.Tag.Get("doc")); err != nil {
			return err
		}
		if inner.Kind() == reflect.Struct {
			if err := describe(w, path+".", inner); err != nil {
				return err
			}
		}
	}
	return nil
}

func typeName(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "duration"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "section"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "number"
	case reflect.Map:
		return "mapping"
	default:
		return strings.ReplaceAll(t.Kind().String(), "string", "text")
	}
}
