package telemetry_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/telemetry"
)

func TestLog(t *testing.T) {
	var b bytes.Buffer
	telemetry.NewLog(&b, false, slog.LevelInfo).Info("journal opened", "stream", "local")
	if !strings.Contains(b.String(), `"stream":"local"`) {
		t.Errorf("log line is %s", b.String())
	}
}

func TestMetrics(t *testing.T) {
	w := httptest.NewRecorder()
	telemetry.Handler(telemetry.NewRegistry()).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Errorf("status %d: %.100s", w.Code, w.Body)
	}
}
