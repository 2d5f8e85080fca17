package event_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
)

func TestUnfit(t *testing.T) {
	why := errors.New("too large")
	err := fmt.Errorf("record: %w", event.Unfit(why))
	if !errors.Is(err, event.ErrUnfit) || !errors.Is(err, why) || err.Error() != "record: too large" {
		t.Error(err)
	}
	if event.Unfit(nil) != nil || errors.Is(why, event.ErrUnfit) {
		t.Error("an error that says nothing of the event counts as one")
	}
}
