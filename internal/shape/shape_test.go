package shape_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/token"

	"github.com/chaperone-im/chaperone/internal/shape"
)

func TestCheck(t *testing.T) {
	for text, deep := range map[string]bool{
		"a: [1, {b: 2}]\n": false,
		"":                 false,
		strings.Repeat("[", shape.MaxNesting) + strings.Repeat("]", shape.MaxNesting): false,
		strings.Repeat("[", shape.MaxNesting+1):                                       true,
		strings.Repeat("{a: ", 500):                                                   true,
		strings.Repeat("[", 1<<20):                                                    true,
		strings.Repeat("{", 1<<20):                                                    true,
		strings.Repeat("- ", 1<<19):                                                   true,
		"a: '" + strings.Repeat("[", 500) + "'\n":                                     false,
		strings.Repeat("a: [x]\n", 5000):                                              false,
	} {
		err := shape.Check([]byte(text), nil)
		var e *shape.Error
		if errors.As(err, &e) != deep || err != nil != deep {
			t.Errorf("%.40q: %v, too deep %v", text, err, deep)
		}
	}
}

func TestCheckShowsTokens(t *testing.T) {
	anchor := errors.New("an anchor")
	err := shape.Check([]byte("a: &x 1\n"), func(tok *token.Token) error {
		if tok.Type == token.AnchorType {
			return anchor
		}
		return nil
	})
	if !errors.Is(err, anchor) {
		t.Errorf("%v", err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("a: [1, {b: 2}]\n- x"))
	f.Add([]byte("[[[{{{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := shape.Check(data, nil); err != nil && !strings.Contains(err.Error(), "too deeply") {
			t.Errorf("%v", err)
		}
	})
}
