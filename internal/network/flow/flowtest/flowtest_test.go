package flowtest_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// look runs the recogniser over a generated capture, and returns app and service by client and server.
func look(t *testing.T, capture *bytes.Buffer, at time.Time) map[string]string {
	if !bytes.Contains(capture.Bytes(), []byte("Generated for tests")) {
		t.Error("the capture does not say that it is generated")
	}
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	k := classify.New(cat, classify.Options{Capture: "demo", Report: func(f *classify.Finding) {
		got[f.Flow.Client+" "+f.Flow.Server] = f.Flow.App + "/" + f.Flow.Service
		if f.FirstSeen.Before(at) || f.FirstSeen.After(at.Add(time.Minute)) {
			t.Errorf("%s seen at %s", f.Flow.Server, f.FirstSeen)
		}
	}})
	if _, err := flow.ReadCapture(t.Context(), capture, flow.NewTracker(k, flow.Limits{})); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSkypeIsRecognised(t *testing.T) {
	var capture bytes.Buffer
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	if err := flowtest.WriteSkype(&capture, netip.MustParseAddr("10.0.0.7"), at); err != nil {
		t.Fatal(err)
	}
	got := look(t, &capture, at)
	for flow, app := range got {
		if !strings.HasPrefix(app, "skype/") {
			t.Errorf("%s is %q", flow, app)
		}
	}
	if len(got) != 12 {
		t.Errorf("%d flows: %v", len(got), got)
	}
}

func TestDemoIsRecognised(t *testing.T) {
	var capture bytes.Buffer
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	if err := flowtest.WriteDemo(&capture, netip.MustParseAddr("10.0.0.7"), at); err != nil {
		t.Fatal(err)
	}
	got := look(t, &capture, at)
	want := map[string]string{
		"10.0.0.7:40001 192.0.2.53:53":      "whatsapp/web",
		"10.0.0.7:40002 192.0.2.53:53":      "/",
		"10.0.0.7:40011 192.0.2.60:443":     "whatsapp/web",
		"10.0.0.7:40012 192.0.2.80:443":     "/",
		"10.0.0.7:40021 149.154.167.51:443": "telegram/chat",
		"10.0.0.7:40031 192.0.2.48:3478":    "whatsapp/call",
		"10.0.0.7:40031 198.51.100.7:50000": "whatsapp/call",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d flows, want %d: %v", len(got), len(want), got)
	}
}
