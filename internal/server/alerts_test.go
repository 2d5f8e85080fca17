package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/server"
)

// hook is a webhook that keeps the titles of findings.
func hook(t *testing.T) (address string, bodies chan string) {
	t.Helper()
	bodies = make(chan string, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if strings.Contains(string(raw), "Rule ") {
			bodies <- string(raw)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, bodies
}

// TestAlertsTakeTheirRoute: what a rule raises goes to the channels of its route and to no others.
func TestAlertsTakeTheirRoute(t *testing.T) {
	general, all := hook(t)
	soc, routed := hook(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "alerts: {webhooks: ['"+general+"'], routes: {security: {webhooks: ['"+soc+"']}}}\n")
	stop := h.serve()
	now := time.Now().UTC()
	var sent strings.Builder
	for rule, route := range map[string]string{"malware": "security", "other": ""} {
		e := &event.Event{ID: event.NewID(), Kind: event.FindingHit, Time: now, Received: now, Connector: "scan", Host: event.Host{Name: "laptop-17"},
			Verdict: event.Verdict{Action: event.Block, Rule: rule, Obligations: []event.Obligation{{Kind: event.Alert, Queue: route, Rule: rule}}},
			Content: event.Content{Program: &event.Program{Path: "/x"}}}
		w, err := server.ToWire(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&sent).Encode(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := control.Do(t.Context(), h.cfg.Data(), "record", struct{}{}, strings.NewReader(sent.String()), io.Discard); err != nil {
		t.Fatal(err)
	}
	if body := <-routed; !strings.Contains(body, "Rule malware matched") {
		t.Errorf("the route got %s", body)
	}
	if body := <-all; !strings.Contains(body, "Rule other matched") {
		t.Errorf("the channel of everything got %s", body)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for len(routed) > 0 { // one that was on its way at the end is told again
		body := <-routed
		if strings.Contains(body, "Rule other") {
			t.Errorf("the route got %s", body)
		}
	}
	for len(all) > 0 {
		body := <-all
		if strings.Contains(body, "Rule malware") {
			t.Errorf("the channel of everything got %s", body)
		}
	}
}

// TestUnknownAlertRoutesAreRefused by config test and at start, with the place in the policy.
func TestUnknownAlertRoutesAreRefused(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	h.configure("alerts: {routes: {desk: {webhooks: ['https://a.example/in']}, empty: {}}}\n")
	err := server.Check(h.cfg)
	for _, want := range []string{`policy.yaml:`, `no alert route "security"`, "alerts.routes.empty: there is no channel"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("config test says %v, want %q", err, want)
		}
	}
	if _, err := server.LoadRules(h.cfg); err == nil {
		t.Error("it starts")
	}
}
