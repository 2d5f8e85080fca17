package unpack

import (
	"context"
	"errors"
	"io"
	"testing"
)

// stuck brings nothing, and no error either.
type stuck struct{}

// Read brings nothing.
func (stuck) Read([]byte) (int, error) { return 0, nil }

// TestStuck ends the reading of a decompressor that goes on for ever without bringing anything.
func TestStuck(t *testing.T) {
	w := &walker{ctx: context.Background(), limits: Limits{}.withDefaults()}
	if n, err := io.Copy(io.Discard, w.metered(stuck{}, "", 1)); n != 0 || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%d, %v", n, err)
	}
}
