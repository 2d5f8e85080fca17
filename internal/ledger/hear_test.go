package ledger

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

// TestDriverLog: what the driver says of its own workings is for who debugs, what goes wrong is in our form.
func TestDriverLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(driverLog{slog.NewJSONHandler(&out, nil)}).With("part", "ledger driver").WithGroup("g")
	log.Info("initializing", "a", 1)
	if out.Len() > 0 || log.Enabled(context.Background(), slog.LevelInfo) {
		t.Errorf("it says %s", &out)
	}
	log.Warn("unlock", "a", 1)
	log.Error("integrate", "a", 1)
	if lines := strings.Count(out.String(), `"part":"ledger driver","g":{"a":1}`); lines != 2 || !strings.Contains(out.String(), `"level":"WARN"`) {
		t.Errorf("it says %s", &out)
	}
	out.Reset()
	slog.New(driverLog{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})}).Info("initializing")
	if !strings.Contains(out.String(), "level=DEBUG") {
		t.Errorf("who debugs reads %s", &out)
	}
}
