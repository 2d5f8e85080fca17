package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/server"
)

// TestObservationsOfARealResolver asks questions that policy allows, over the wire: they are no records, they are kept with machine and
// name, reading them needs a purpose and is on record, and they are there after a restart.
func TestObservationsOfARealResolver(t *testing.T) {
	upstream := answering(t)
	at, metrics := free(t), free(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), fmt.Sprintf("network: {resolver: {listen: [%q], upstream: [%q]}}\nmetrics: {listen: %q}\n", at, upstream, metrics))
	h.write("policy.yaml", "version: 1\notherwise: {network: allow, messages: allow}\nretention: [{id: default, days: 30, erasable: request}]\n")
	stop := h.serve()
	for range 3 {
		m := new(wire.Msg).SetQuestion("intranet.example.", wire.TypeA)
		if _, err := wire.Exchange(m, at); err != nil {
			t.Fatal(err)
		}
	}
	args := server.ObservationsArgs{Sign: as("reviewer"), Host: "127.0.0.1"}
	var line server.ObservationLine
	for deadline := time.Now().Add(2 * time.Minute); line.Times < 3 && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if out := h.must("observations", args); out != "" {
			if err := json.Unmarshal([]byte(out), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	if line.Times != 3 || line.Name != "intranet.example" || line.Address != "127.0.0.1" || line.Verdict != "allow" || line.Kind != "dns" {
		t.Fatalf("observed: %+v", line)
	}
	if hits := h.hits("kind:dns"); len(hits) != 0 {
		t.Errorf("%d allowed questions are records", len(hits))
	}
	_, err := h.do("observations", server.ObservationsArgs{Sign: as("admin"), Host: "127.0.0.1"})
	refused(t, err, archive.ErrNotReader.Error())
	silent := args
	silent.Purpose = ""
	_, err = h.do("observations", silent)
	refused(t, err, archive.ErrNoPurpose.Error())
	if looks := h.must("search", server.SearchArgs{Sign: as("reviewer"), Query: "kind:act"}); !strings.Contains(looks, `observations host=\"127.0.0.1\"`) {
		t.Error("the look is not on record")
	}
	if out, err := h.do("observations.hours", server.ObservationsArgs{}); err != nil || out != "" {
		t.Errorf("hours: %q %v", out, err)
	}
	response, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(response.Body)
	response.Body.Close()
	for _, want := range []string{`chaperone_observation_dropped_total{reason="ring-full"} 0`, "chaperone_observation_kept_entries 1"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.do("observations", args); err == nil || !strings.Contains(err.Error(), control.ErrNotRunning.Error()) {
		t.Errorf("nobody serves, and it answers: %v", err)
	}
	h.serve()
	if out := h.must("observations", args); !strings.Contains(out, "intranet.example") {
		t.Errorf("after a restart: %q", out)
	}
}

// answering is a DNS server that knows one address for every name.
func answering(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wire.Server{PacketConn: conn, Handler: wire.HandlerFunc(func(w wire.ResponseWriter, q *wire.Msg) {
		m := new(wire.Msg).SetReply(q)
		m.Answer = []wire.RR{&wire.A{Hdr: wire.RR_Header{Name: q.Question[0].Name, Rrtype: wire.TypeA, Class: wire.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return conn.LocalAddr().String()
}
