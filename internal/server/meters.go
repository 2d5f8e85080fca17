package server

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chaperone-im/chaperone/internal/archive/observation"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/telemetry"
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

// observe registers the figures of observations.
func (m *meters) observe(r prometheus.Registerer, k *observation.Keeper) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "chaperone_observation_kept_entries", Help: "Observations in the store."},
		func() float64 { return float64(k.Size()) }))
	for reason := range k.Dropped() {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "chaperone_observation_dropped_total", Help: "Observations that were counted and not kept.",
			ConstLabels: prometheus.Labels{"reason": reason}}, func() float64 { return float64(k.Dropped()[reason]) }))
	}
}

// Judged implements pipeline.Meter.
func (m *meters) Judged(connector string, kind event.Kind, action event.Action, took time.Duration) {
	m.judged.WithLabelValues(connector, string(kind), string(action)).Observe(took.Seconds())
}

// Failed implements pipeline.Meter.
func (m *meters) Failed(connector string, kind event.Kind) {
	m.failed.WithLabelValues(connector, string(kind)).Inc()
}

// serving reports whether the process does its work: recording works, and what takes work in has not failed. What only makes the record worth
// less, such as a checkpoint that nobody outside has, is on the board and takes no traffic away.
func serving(items []health.Item) bool {
	return !slices.ContainsFunc(items, func(i health.Item) bool {
		does := i.Name == journalItem || i.Name == "disk" || i.Name == "resolver" || strings.HasPrefix(i.Name, "gateway ")
		return does && i.State == health.Failed
	})
}

// metricsHandler serves /metrics, /livez while the process answers, and /healthz with all items: status 503 while it cannot serve, else 200.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", telemetry.Handler(s.registry))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		items := s.board.Items()
		if !serving(items) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(items)
	})
	return mux
}
