package hint_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
)

func TestHint(t *testing.T) {
	err := fmt.Errorf("open: %w", hint.New(io.EOF, "try again"))
	if err.Error() != "open: EOF" || !errors.Is(err, io.EOF) || hint.Of(err) != "try again" {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
	if outer := hint.New(err, "first this"); hint.Of(outer) != "first this" {
		t.Errorf("hint %q", hint.Of(outer))
	}
	if hint.Of(io.EOF) != "" || hint.Of(nil) != "" {
		t.Error("a hint from nowhere")
	}
}
