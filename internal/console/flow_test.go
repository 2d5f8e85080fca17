package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/archive/observation"
	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/event"
)

// observe keeps flows that are no records.
func (r *rig) observe(when time.Time, host event.Host, flows ...event.Flow) {
	r.t.Helper()
	var batch []observation.Entry
	for i, f := range flows {
		e := &event.Event{Kind: event.FlowSeen, Time: when.Add(time.Duration(i) * time.Second), Received: when, Connector: "sensor-lan0", Host: host,
			Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise"}, Content: event.Content{Flow: &f}}
		batch = append(batch, observation.Entry{Observed: archive.Observed{Event: e, Last: e.Time, Times: 1}, Same: fmt.Sprint(host, f.Server, f.Proto)})
	}
	if _, err := r.observed.Add(r.t.Context(), batch); err != nil {
		r.t.Fatal(err)
	}
}

// tellUnknown has a machine talk to thirty others by UDP, speak with one, and another do what machines do.
func (r *rig) tellUnknown() {
	r.t.Helper()
	var flows []event.Flow
	for i := range 30 {
		flows = append(flows, event.Flow{Proto: "udp", Client: "10.0.0.31:33033", Server: fmt.Sprintf("203.0.113.%d:%d", i+1, 20000+i*911%40000), Packets: 12, Bytes: 1100})
	}
	flows = append(flows, event.Flow{Proto: "udp", Client: "10.0.0.31:33033", Server: "203.0.113.77:41004", Packets: 9100, Bytes: 1_820_000})
	r.observe(at(11, 22, 0), laptop("laptop-31", "10.0.0.31", "frank"), flows...)
	r.observe(at(11, 23, 0), laptop("laptop-17", "10.0.0.17", "alice"), event.Flow{Proto: "tcp", Client: "10.0.0.17:51000", Server: "203.0.113.9:443", Name: "news.example", JA4: "t13d1516h2_8daaf6152771_02713d6af862", Packets: 90, Bytes: 80_000})
}

// TestUnknownButSuspicious: the page says what speaks for a look, is content, and its look is on record.
func TestUnknownButSuspicious(t *testing.T) {
	r := newRig(t, noon)
	r.tellUnknown()
	want(t, r.as("rita").get("/suspicious"), http.StatusOK, "Why do you look?")
	want(t, r.as("adam").get("/suspicious"), http.StatusForbidden, "Who administers does not read")
	v := r.reading("rita")
	before := r.frames()
	a := v.get("/suspicious")
	want(t, a, http.StatusOK, "1 machine, of 32 observations", "laptop-31", "frank", "31 addresses outside", "9100 small packets (200 bytes on average) with 203.0.113.77:41004", "no fact", "And 19 more")
	lacks(t, a, "news.example", "laptop-17")
	if got := r.actsSince(before); len(got) != 1 || !strings.HasPrefix(got[0].Act.Object, "observations after=") {
		t.Errorf("on record: %v", got)
	}
	want(t, v.get("/suspicious?days=7"), http.StatusOK, "laptop-31")
	for _, days := range []string{"0", "15", "x", "-1"} {
		want(t, v.get("/suspicious?days="+days), http.StatusBadRequest, "from 1 to 14")
	}
}

// TestAFlowsPage: what it is, how sure that is and by which facts, which rule and why, whose it is, and what the machine did beside it.
func TestAFlowsPage(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	r.tellUnknown()
	revised := whatsapp(at(11, 26, 0), laptop("laptop-17", "10.0.0.17", "alice"))
	revised.ID = event.NewID()
	revised.Flow.Revised = true
	r.record(revised)
	v := r.reading("rita")
	a := v.get("/record?id=" + string(revised.ID))
	want(t, a, http.StatusOK, "WhatsApp", "What for</dt><dd>chat", "95 %, of all that is listed as evidence together", "names.web", "AS32934, 2026-10", "80 %", "Known after</dt><dd>4 packets",
		"yes: a later flow told what this one is", "no-messengers", "alice", "laptop-17", "five minutes before and after", "asked for g.whatsapp.net.", "news.example", "observed")
	if n := strings.Count(a.body, "web.whatsapp.com</a>"); n != 1 { // the flow of 11:24, and not itself, nor that of 11:31
		t.Errorf("%d neighbours are WhatsApp's", n)
	}
	lacks(t, a, "laptop-31", "203.0.113.77")
	alone := &event.Event{ID: event.NewID(), Kind: event.FlowSeen, Time: at(5, 0, 0), Connector: "border", Verdict: event.Verdict{Action: event.Block, Rule: "odd", Enforced: true},
		Content: event.Content{Flow: &event.Flow{Proto: "udp", Client: "10.0.0.40:1", Server: "203.0.113.1:2"}}}
	r.record(alone)
	a = v.get("/record?id=" + string(alone.ID))
	want(t, a, http.StatusOK, "unknown: no fact names it", "Nothing else is known of it.")
	lacks(t, a, "Confidence</dt>", "Known after")
}

// TestUnknownUnderPseudonyms: what looks like a messenger is found of machines that nobody is told the names of, and so are a flow's neighbours.
func TestUnknownUnderPseudonyms(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	r.tellUnknown()
	flow := whatsapp(at(11, 26, 0), laptop("laptop-17", "10.0.0.17", "alice"))
	flow.ID = event.NewID()
	r.record(flow)
	r.veil = true
	r.serve(clock.Func(r.now), r.store)
	v := r.reading("rita")
	a := v.get("/suspicious")
	want(t, a, http.StatusOK, "1 machine, of 32 observations", "peer to peer", "like speech")
	lacks(t, a, "laptop-31", "10.0.0.31", "frank")
	a = v.get("/record?id=" + string(flow.ID))
	want(t, a, http.StatusOK, "asked for g.whatsapp.net.", "news.example", "observed")
	lacks(t, a, "laptop-17", "10.0.0.17", "alice")
}
