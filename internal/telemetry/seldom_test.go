package telemetry_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// TestLibrariesAreHeardOnceAMinute: with other attributes or in a group it is the same message; another message is heard; memory is bounded.
func TestLibrariesAreHeardOnceAMinute(t *testing.T) {
	var b bytes.Buffer
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	log := telemetry.Libraries(telemetry.NewLog(&b, true, slog.LevelInfo), func() time.Time { return at })
	for i := range 100 {
		log.With("i", i).WithGroup("g").Warn("Failed to remove temporary file", "name", "")
		at = at.Add(500 * time.Millisecond)
	}
	log.Warn("something else")
	at = at.Add(time.Minute)
	log.Warn("Failed to remove temporary file")
	if got := strings.Count(b.String(), "temporary"); got != 2 {
		t.Errorf("heard %d times, want 2", got)
	}
	if !strings.Contains(b.String(), "something else") {
		t.Error("another message was swallowed")
	}
	for i := range 1000 {
		log.Warn(fmt.Sprint("text ", i))
	}
	if got := strings.Count(b.String(), "text "); got != 1000 {
		t.Errorf("%d of 1000 texts were heard", got)
	}
}
