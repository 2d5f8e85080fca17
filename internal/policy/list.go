package policy

import (
	"fmt"
	"strconv"
)

// List is a list of words. In YAML a single word stands for a list of one.
type List []string

// UnmarshalYAML reads a word, a number or a list of them.
func (l *List) UnmarshalYAML(unmarshal func(any) error) error {
	var v any
	if err := unmarshal(&v); err != nil {
		return err
	}
	items, ok := v.([]any)
	if !ok {
		if v == nil {
			return nil
		}
		items = []any{v}
	}
	*l = make(List, 0, len(items))
	for _, item := range items {
		s, err := word(item)
		if err != nil {
			return err
		}
		*l = append(*l, s)
	}
	return nil
}

func word(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return x, nil
	case uint64:
		return strconv.FormatUint(x, 10), nil
	case int64:
		return strconv.FormatInt(x, 10), nil
	}
	return "", fmt.Errorf("a word is needed here, not %T", v)
}

// UnmarshalYAML reads one word for all planes, or a mapping.
func (m *Modes) UnmarshalYAML(unmarshal func(any) error) error {
	var all string
	if err := unmarshal(&all); err == nil {
		*m = Modes{all, all, all}
		return nil
	}
	type plain Modes
	return unmarshal((*plain)(m))
}
