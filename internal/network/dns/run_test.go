package dns_test

import (
	"context"
	"net"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/dns"
)

func run(t *testing.T, cfg dns.Config, rec *records) (r *dns.Resolver, stop func() error) {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	r, err = dns.New(cfg, dns.Deps{Recorder: rec, Observer: rec, Catalog: c, Decider: compile(t, testPolicy, c)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	return r, func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(2 * time.Minute):
			t.Fatal("it does not stop")
			return nil
		}
	}
}

func TestStopDoesNotWaitForSilentUpstreams(t *testing.T) {
	r, stop := run(t, dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{silent(t)}, Timeout: time.Hour}, newRecords())
	c := wire.Client{Net: "udp", Timeout: 100 * time.Millisecond}
	c.Exchange(new(wire.Msg).SetQuestion("www.example.", wire.TypeA), r.Addr())
	for end := time.Now().Add(2 * time.Minute); r.Stats().Questions != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("stats are %+v", r.Stats())
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestStopRecordsWhatWaits(t *testing.T) {
	rec := newRecords()
	rec.hold = make(chan struct{})
	r, stop := run(t, dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{silent(t)}}, rec)
	names := []string{"a.tracker.example", "b.tracker.example", "c.tracker.example"}
	for _, name := range names {
		ask(t, r, "udp", name, wire.TypeA)
	}
	close(rec.hold)
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, name := range names {
		rec.await(t, func(e *event.Event) bool { return e.Question != nil && e.Question.Name == name })
	}
	if s := r.Stats(); s.Recorded != 3 || s.Unrecorded != 0 {
		t.Errorf("stats are %+v", s)
	}
}

// TestStopLetsTheJournalFinish stops while a batch is being written: it is neither lost nor counted as lost.
func TestStopLetsTheJournalFinish(t *testing.T) {
	rec := newRecords()
	rec.hold, rec.entered = make(chan struct{}), make(chan struct{}, 8)
	r, stop := run(t, dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{silent(t)}}, rec)
	ask(t, r, "udp", "a.tracker.example", wire.TypeA)
	<-rec.entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until the listener is gone, which is when the journal is waited for
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			break
		}
		c.Close()
	}
	close(rec.hold)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Recorded != 1 || s.Unrecorded != 0 {
		t.Errorf("stats are %+v", s)
	}
}

func TestStopEndsTCPConnections(t *testing.T) {
	r, stop := run(t, dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{silent(t)}}, newRecords())
	c, err := wire.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMsg(new(wire.Msg).SetQuestion("web.telegram.org.", wire.TypeA)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := c.ReadMsg(); err == nil {
		t.Error("the connection goes on")
	}
}

func TestIPv6AndSeveralAddresses(t *testing.T) {
	r := start(t, dns.Config{Listen: []string{"[::1]:0", "127.0.0.1:0"}, Upstream: []string{startZone(t, plain).addr}}, newRecords(), testPolicy)
	for _, network := range []string{"udp", "tcp"} {
		if m := ask(t, r, network, "web.telegram.org", wire.TypeA); m.Rcode != wire.RcodeNameError {
			t.Errorf("%s: %v", network, m)
		}
		if m := ask(t, r, network, "www.example", wire.TypeA); firstAnswer(m) != "A 192.0.2.1" {
			t.Errorf("%s: %v", network, m)
		}
	}
}

func TestRunOnlyOnce(t *testing.T) {
	r, stop := run(t, dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{silent(t)}}, newRecords())
	if err := r.Run(t.Context()); err == nil {
		t.Error("it ran twice")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
