package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/chaperone-im/chaperone/internal/telemetry"
)

// TestLevels: what is below the level is not written, in either form.
func TestLevels(t *testing.T) {
	for _, human := range []bool{false, true} {
		for level, lines := range map[slog.Level]int{slog.LevelDebug: 4, slog.LevelInfo: 3, slog.LevelWarn: 2, slog.LevelError: 1, slog.LevelError + 1: 0} {
			var b bytes.Buffer
			log := telemetry.NewLog(&b, human, level)
			log.Debug("one")
			log.Info("two")
			log.Warn("three")
			log.Error("four")
			if got := strings.Count(b.String(), "\n"); got != lines {
				t.Errorf("human %v, level %s: %d lines, want %d", human, level, got, lines)
			}
		}
	}
}

// TestLinesAreLines: whatever a value holds, one event is one line, and JSON for machines.
func TestLinesAreLines(t *testing.T) {
	hostile := "a\nlevel=ERROR msg=\"forged\"\x1b[31m\u2028\x00"
	for _, human := range []bool{false, true} {
		var b bytes.Buffer
		telemetry.NewLog(&b, human, slog.LevelInfo).With("connector", "office").WithGroup("peer").Error("connection lost", "name", hostile, "error", errors.New(hostile))
		if strings.Count(b.String(), "\n") != 1 || strings.Contains(b.String(), "\x1b") {
			t.Errorf("human %v: %q", human, b.String())
		}
		if human {
			continue
		}
		var line struct {
			Level, Msg, Connector string
			Peer                  struct{ Name, Error string }
		}
		if err := json.Unmarshal(b.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Level != "ERROR" || line.Msg != "connection lost" || line.Connector != "office" || line.Peer.Name != hostile || line.Peer.Error != hostile {
			t.Errorf("%+v", line)
		}
	}
}

func scrape(r *prometheus.Registry) (int, string) {
	w := httptest.NewRecorder()
	telemetry.Handler(r).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Code, w.Body.String()
}

// TestOwnFigures: what a constructor registers is served, with its labels and its help.
func TestOwnFigures(t *testing.T) {
	r := telemetry.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chaperone_test_messages_total", Help: "Messages seen."}, []string{"action"})
	r.MustRegister(c)
	c.WithLabelValues("block").Add(3)
	c.WithLabelValues("allow").Inc()
	code, body := scrape(r)
	for _, want := range []string{"# HELP chaperone_test_messages_total Messages seen.", "# TYPE chaperone_test_messages_total counter",
		`chaperone_test_messages_total{action="block"} 3`, `chaperone_test_messages_total{action="allow"} 1`, "go_memstats", "process_"} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("status %d, no %s", code, want)
		}
	}
	if err := r.Register(collectors.NewGoCollector()); err == nil {
		t.Error("the same figures were registered twice")
	}
}

// TestRegistriesAreApart: two servers in one process do not share figures.
func TestRegistriesAreApart(t *testing.T) {
	one, two := telemetry.NewRegistry(), telemetry.NewRegistry()
	for _, r := range []*prometheus.Registry{one, two} {
		r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "chaperone_test_own", Help: "x"}))
	}
	only := prometheus.NewGauge(prometheus.GaugeOpts{Name: "chaperone_test_only_one", Help: "x"})
	one.MustRegister(only)
	if _, body := scrape(two); strings.Contains(body, "chaperone_test_only_one") || !strings.Contains(body, "chaperone_test_own") {
		t.Error("figures of one registry are in the other")
	}
}
