package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/telemetry"
	"github.com/prometheus/client_golang/prometheus"
)

// meters are the figures of one process. They implement pipeline.Meter.
type meters struct {
	judged *prometheus.HistogramVec
	failed *prometheus.CounterVec
	frames *prometheus.GaugeVec
	health *prometheus.GaugeVec
	lag    prometheus.Gauge
}

func newMeters(r prometheus.Registerer) *meters {
	m := &meters{
		judged: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "chaperone_pipeline_judged_seconds", Help: "Time from first sight to durable record.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2.5, 12)}, []string{"connector", "kind", "verdict"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chaperone_pipeline_failed_total", Help: "Events that could not be recorded."}, []string{"connector", "kind"}),
		frames: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chaperone_journal_frames", Help: "Sequence of the last durable frame."}, []string{"stream"}),
		health: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chaperone_health_state", Help: "0 ok, 1 degraded, 2 failed."}, []string{"item"}),
		lag:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "chaperone_archive_lag_seconds", Help: "How far the projections stand behind the journal."}),
	}
	r.MustRegister(m.judged, m.failed, m.frames, m.health, m.lag)
	return m
}

// Judged implements pipeline.Meter.
func (m *meters) Judged(connector string, kind event.Kind, action event.Action, took time.Duration) {
	m.judged.WithLabelValues(connector, string(kind), string(action)).Observe(took.Seconds())
}

// Failed implements pipeline.Meter.
func (m *meters) Failed(connector string, kind event.Kind) {
	m.failed.WithLabelValues(connector, string(kind)).Inc()
}

// metricsHandler serves /metrics, and /healthz with status 503 while something has failed.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", telemetry.Handler(s.registry))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if s.board.Worst() == health.Failed {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(s.board.Items())
	})
	return mux
}
