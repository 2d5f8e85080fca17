package dns_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/network/dns"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const testPolicy = `
version: 1
mode: enforce
groups:
  everyone: {people: ["*"], networks: [127.0.0.0/8, "::1/128"]}
rules:
  - {id: chat, apps: [xmpp], verdict: allow}
  - {id: no-messengers, apps: ["*"], verdict: block, say: "Please use the firm's own chat."}
  - {id: tracker, names: ["*.tracker.example", tracker.example], verdict: block}
  - {id: watched, names: [watched.example], alert: desk}
otherwise: {network: allow}
`

// records is a Recorder and Observer that tests look into.
type records struct {
	mu         sync.Mutex
	kept, seen []*event.Event
	fail       error
	hold       chan struct{} // when set, Record waits for it
	entered    chan struct{} // when set, Record says that it was called
	told       chan struct{}
}

func newRecords() *records { return &records{told: make(chan struct{}, 1024)} }

func (r *records) Record(ctx context.Context, events ...*event.Event) error {
	if r.entered != nil {
		r.entered <- struct{}{}
	}
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.told <- struct{}{} }()
	if r.fail != nil {
		return r.fail
	}
	r.kept = append(r.kept, events...)
	return nil
}

func (r *records) Observe(e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, e)
}

// await returns the first kept event for which found holds.
func (r *records) await(t *testing.T, found func(*event.Event) bool) *event.Event {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		r.mu.Lock()
		i := slices.IndexFunc(r.kept, found)
		if i >= 0 {
			defer r.mu.Unlock()
			return r.kept[i]
		}
		r.mu.Unlock()
		select {
		case <-r.told:
		case <-deadline:
			t.Fatal("the event was not recorded")
		}
	}
}

func (r *records) observed(name string) *event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.seen, func(e *event.Event) bool { return e.Question.Name == name })
	if i < 0 {
		return nil
	}
	return r.seen[i]
}

// zone is an upstream server in this process: name and type → records in text.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	rcode   map[string]int
	asked   map[string]int
	cut     map[string]bool // answered with TC over UDP
	addr    string
}

func startZone(t testing.TB, records map[string][]string) *zone {
	t.Helper()
	z := &zone{records: records, rcode: map[string]int{}, asked: map[string]int{}, cut: map[string]bool{}}
	pc, l := bothPorts(t)
	z.addr = pc.LocalAddr().String()
	for _, s := range []*wire.Server{{PacketConn: pc, Handler: z}, {Listener: l, Handler: z}} {
		go s.ActivateAndServe()
	}
	t.Cleanup(func() { pc.Close(); l.Close() })
	return z
}

// bothPorts opens one free port for UDP and TCP.
func bothPorts(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

// ServeDNS answers from the records.
func (z *zone) ServeDNS(w wire.ResponseWriter, m *wire.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	q := m.Question[0]
	key := q.Name + " " + wire.TypeToString[q.Qtype]
	z.asked[key]++
	answer := new(wire.Msg).SetReply(m)
	answer.RecursionAvailable = true
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch {
	case udp && z.cut[key]:
		answer.Truncated = true
	case z.records[key] != nil:
		for _, text := range z.records[key] {
			rr, err := wire.NewRR(text)
			if err != nil {
				panic(err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
	default:
		answer.Rcode = wire.RcodeNameError
		soa, _ := wire.NewRR("example. 60 IN SOA ns.example. host.example. 1 1 1 1 60")
		answer.Ns = []wire.RR{soa}
	}
	if rcode, ok := z.rcode[q.Name]; ok {
		answer.Rcode, answer.Answer = rcode, nil
	}
	if udp {
		answer.Truncate(1232)
	}
	w.WriteMsg(answer)
}

func (z *zone) fail(name string, rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcode[name] = rcode
}

func (z *zone) times(key string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[key]
}

var plain = map[string][]string{
	"www.example. A":       {"www.example. 60 IN A 192.0.2.1"},
	"www.example. AAAA":    {"www.example. 60 IN AAAA 2001:db8::1"},
	"cloak.example. A":     {"cloak.example. 60 IN CNAME x.tracker.example.", "x.tracker.example. 60 IN A 192.0.2.2"},
	"cloak2.example. A":    {"cloak2.example. 60 IN CNAME mmx-ds.cdn.whatsapp.net.", "mmx-ds.cdn.whatsapp.net. 60 IN A 192.0.2.2"},
	"https.example. HTTPS": {"https.example. 60 IN HTTPS 0 web.telegram.org."},
	"cdn.example. A":       {"cdn.example. 60 IN CNAME edge.cdn.example.", "edge.cdn.example. 60 IN A 192.0.2.3"},
	"rebind.example. A":    {"rebind.example. 60 IN A 192.168.1.1"},
	"host.corp.example. A": {"host.corp.example. 60 IN A 10.1.1.1"},
	"mapped.example. AAAA": {"mapped.example. 60 IN AAAA ::ffff:127.0.0.1"},
	"jabber.org. A":        {"jabber.org. 60 IN A 192.0.2.4"},
	"watched.example. A":   {"watched.example. 60 IN A 192.0.2.5"},
	"web.telegram.org. A":  {"web.telegram.org. 60 IN A 149.154.167.99"},
	"big.example. TXT":     {"big.example. 60 IN TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 12)},
	"auth.kakao.com. A":    {"auth.kakao.com. 60 IN A 192.0.2.6"},
}

func compile(t testing.TB, text string, c *catalog.Catalog) policy.Decider {
	t.Helper()
	f, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(f, policy.Known{CatalogVersion: c.Version()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs a resolver on loopback and returns it.
func start(t testing.TB, cfg dns.Config, rec *records, policyText string) *dns.Resolver {
	t.Helper()
	return startWith(t, cfg, dns.Deps{Recorder: rec, Observer: rec}, policyText)
}

func startWith(t testing.TB, cfg dns.Config, dep dns.Deps, policyText string) *dns.Resolver {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	dep.Catalog, dep.Decider = c, compile(t, policyText, c)
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute // of a machine that has other things to do
	}
	r, err := dns.New(cfg, dep)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// ask asks with EDNS, over UDP or TCP.
func ask(t testing.TB, r *dns.Resolver, network, name string, qtype uint16) *wire.Msg {
	t.Helper()
	m := new(wire.Msg).SetQuestion(wire.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	return exchange(t, r, network, m)
}

func exchange(t testing.TB, r *dns.Resolver, network string, m *wire.Msg) *wire.Msg {
	t.Helper()
	c := wire.Client{Net: network, Timeout: 2 * time.Minute}
	answer, _, err := c.Exchange(m, r.Addr())
	if err != nil {
		t.Fatalf("%s over %s: %v", m.Question[0].Name, network, err)
	}
	return answer
}

// reason returns the Extended DNS Error of an answer, -1 for none.
func reason(m *wire.Msg) (int, string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*wire.EDNS0_EDE); ok {
				return int(ede.InfoCode), ede.ExtraText
			}
		}
	}
	return -1, ""
}

func firstAnswer(m *wire.Msg) string {
	if len(m.Answer) == 0 {
		return ""
	}
	return strings.Join(strings.Fields(m.Answer[len(m.Answer)-1].String())[3:], " ")
}

func TestVerdicts(t *testing.T) {
	z := startZone(t, plain)
	rec := newRecords()
	r := start(t, dns.Config{Upstream: []string{z.addr}, Rebind: true, Internal: []string{"*.corp.example"},
		Rewrite: map[string]netip.Addr{"Time.Example.": netip.MustParseAddr("10.0.0.9")}}, rec, testPolicy)
	for _, network := range []string{"udp", "tcp"} {
		for _, test := range []struct {
			name   string
			qtype  uint16
			rcode  int
			answer string
			ede    int
			say    string
		}{
			{"www.example", wire.TypeA, 0, "A 192.0.2.1", -1, ""},
			{"WWW.Example", wire.TypeAAAA, 0, "AAAA 2001:db8::1", -1, ""},
			{"nothing.example", wire.TypeA, wire.RcodeNameError, "", -1, ""},
			{"web.telegram.org", wire.TypeA, wire.RcodeNameError, "", 15, "Please use the firm's own chat."},
			{"Web.WhatsApp.COM", wire.TypeHTTPS, wire.RcodeNameError, "", 15, "Please use the firm's own chat."},
			{"jabber.org", wire.TypeA, 0, "A 192.0.2.4", -1, ""},
			{"a.tracker.example", wire.TypeA, wire.RcodeNameError, "", 15, ""},
			{"cloak.example", wire.TypeA, wire.RcodeNameError, "", 15, ""},
			{"cloak2.example", wire.TypeA, wire.RcodeNameError, "", 15, "Please use the firm's own chat."},
			{"https.example", wire.TypeHTTPS, wire.RcodeNameError, "", 15, "Please use the firm's own chat."},
			{"cdn.example", wire.TypeA, 0, "A 192.0.2.3", -1, ""},
			{"rebind.example", wire.TypeA, wire.RcodeNameError, "", 15, "The answer points into a private network (rebind protection)."},
			{"mapped.example", wire.TypeAAAA, wire.RcodeNameError, "", 15, "The answer points into a private network (rebind protection)."},
			{"host.corp.example", wire.TypeA, 0, "A 10.1.1.1", -1, ""},
			{"time.example", wire.TypeA, 0, "A 10.0.0.9", -1, ""},
			{"time.example", wire.TypeAAAA, 0, "", -1, ""},
			{"watched.example", wire.TypeA, 0, "A 192.0.2.5", -1, ""},
			{"auth.kakao.com", wire.TypeA, 0, "A 192.0.2.6", -1, ""},
			{"use-application-dns.net", wire.TypeA, wire.RcodeNameError, "", -1, ""},
			{"mask.icloud.com", wire.TypeA, wire.RcodeNameError, "", -1, ""},
			{"www.example", wire.TypeANY, wire.RcodeRefused, "", -1, ""},
		} {
			m := ask(t, r, network, test.name, test.qtype)
			ede, say := reason(m)
			if m.Rcode != test.rcode || firstAnswer(m) != test.answer || ede != test.ede || say != test.say {
				t.Errorf("%s %s over %s: %s, answer %q, EDE %d %q", test.name, wire.TypeToString[test.qtype], network, wire.RcodeToString[m.Rcode], firstAnswer(m), ede, say)
			}
			if m.Question[0].Name != wire.Fqdn(test.name) {
				t.Errorf("the name came back as %q", m.Question[0].Name)
			}
		}
	}
	stop := rec.await(t, func(e *event.Event) bool { return e.Question != nil && e.Question.Name == "web.telegram.org" })
	if stop.Kind != event.DNSQuery || stop.Question.App != "telegram" || stop.Question.Client != "127.0.0.1" || stop.Verdict.Rule != "no-messengers" ||
		len(stop.Evidence) == 0 || stop.ID == "" || stop.Connector != "resolver" || stop.Host.Address != "127.0.0.1" {
		t.Errorf("record is %+v", stop)
	}
	cloak := rec.await(t, func(e *event.Event) bool { return e.Question.Name == "x.tracker.example" })
	if len(cloak.Facts) != 1 || cloak.Facts[0].Value != "cloak.example" {
		t.Errorf("the alias does not say of what: %+v", cloak.Facts)
	}
	rec.await(t, func(e *event.Event) bool {
		return e.Question.Name == "watched.example" && len(e.Verdict.Obligations) == 1
	})
	rec.await(t, func(e *event.Event) bool { return e.Verdict.Rule == "rebind-protection" })
	if e := rec.observed("www.example"); e == nil || e.Verdict.Action != event.Allow || !slices.Equal(e.Question.Answers, []string{"192.0.2.1"}) {
		t.Errorf("observation is %+v", e)
	}
	if rec.observed("jabber.org") == nil {
		t.Error("an allowed messenger is not an observation")
	}
}

func TestWithoutEDNSThereIsNoReason(t *testing.T) {
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, newRecords(), testPolicy)
	m := exchange(t, r, "udp", new(wire.Msg).SetQuestion("web.telegram.org.", wire.TypeA))
	if m.Rcode != wire.RcodeNameError || m.IsEdns0() != nil {
		t.Errorf("answer is %v", m)
	}
}

func TestAnswersToStops(t *testing.T) {
	z := startZone(t, plain)
	for answer, want := range map[dns.Answer]map[uint16]string{
		dns.NXDomain: {wire.TypeA: "NXDOMAIN ", wire.TypeAAAA: "NXDOMAIN ", wire.TypeTXT: "NXDOMAIN "},
		dns.Null:     {wire.TypeA: "NOERROR A 0.0.0.0", wire.TypeAAAA: "NOERROR AAAA ::", wire.TypeTXT: "NOERROR "},
		dns.Refused:  {wire.TypeA: "REFUSED ", wire.TypeAAAA: "REFUSED ", wire.TypeTXT: "REFUSED "},
	} {
		r := start(t, dns.Config{Upstream: []string{z.addr}, Answer: answer}, newRecords(), testPolicy)
		for qtype, text := range want {
			m := ask(t, r, "udp", "web.telegram.org", qtype)
			if got := wire.RcodeToString[m.Rcode] + " " + firstAnswer(m); got != text {
				t.Errorf("%s: type %d is %q, want %q", answer, qtype, got, text)
			}
			if ede, _ := reason(m); ede != 15 {
				t.Errorf("%s: EDE %d", answer, ede)
			}
		}
	}
}

func TestMonitorModeAnswersAndRecords(t *testing.T) {
	rec := newRecords()
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, rec, strings.Replace(testPolicy, "mode: enforce", "mode: monitor", 1))
	for _, name := range []string{"web.telegram.org", "cloak2.example"} {
		if m := ask(t, r, "udp", name, wire.TypeA); m.Rcode != 0 || len(m.Answer) == 0 {
			t.Errorf("%s was stopped: %v", name, m)
		}
	}
	for _, name := range []string{"web.telegram.org", "mmx-ds.cdn.whatsapp.net"} {
		e := rec.await(t, func(e *event.Event) bool { return e.Question.Name == name })
		if e.Verdict.Action != event.Block || e.Verdict.Enforced {
			t.Errorf("%s: verdict is %+v", name, e.Verdict)
		}
	}
}

func TestMessengersThatNoRuleNamesAreFindings(t *testing.T) {
	rec := newRecords()
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, rec, "version: 1\notherwise: {network: allow}\n")
	if m := ask(t, r, "udp", "web.telegram.org", wire.TypeA); m.Rcode != 0 {
		t.Errorf("stopped: %v", m)
	}
	rec.await(t, func(e *event.Event) bool { return e.Question.App == "telegram" && e.Verdict.Action == event.Allow })
}

func TestRepeatedStopsAreOneRecord(t *testing.T) {
	rec := newRecords()
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, rec, testPolicy)
	for range 20 {
		ask(t, r, "udp", "web.telegram.org", wire.TypeA)
	}
	ask(t, r, "udp", "web.whatsapp.com", wire.TypeA)
	rec.await(t, func(e *event.Event) bool { return e.Question.Name == "web.whatsapp.com" })
	if s := r.Stats(); s.Recorded != 2 || s.Repeated != 19 || s.Stopped != 21 {
		t.Errorf("stats are %+v", s)
	}
}

func TestAnswersNeverWaitForTheJournal(t *testing.T) {
	rec := newRecords()
	rec.hold = make(chan struct{})
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}, QueueLen: 8}, rec, testPolicy)
	for i := range 300 {
		ask(t, r, "udp", "h"+string(rune('a'+i%26))+string(rune('a'+i/26))+".tracker.example", wire.TypeA)
	}
	if s := r.Stats(); s.Stopped != 300 || s.Unrecorded == 0 {
		t.Errorf("stats are %+v", s)
	}
	close(rec.hold)
	ask(t, r, "udp", "last.tracker.example", wire.TypeA)
	gap := rec.await(t, func(e *event.Event) bool { return e.Kind == event.Gap })
	if gap.Reason != dns.ReasonOverload || !strings.Contains(gap.Explanation, "stopped questions are not on record") {
		t.Errorf("gap is %+v", gap)
	}
}

func TestJournalErrorIsAHealthItem(t *testing.T) {
	rec := newRecords()
	rec.fail = errors.New("disk full")
	board := health.NewBoard(time.Now)
	r := startWith(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, dns.Deps{Recorder: rec, Board: board}, testPolicy)
	changed := make(chan health.Item, 8)
	board.Watch(func(i health.Item) { changed <- i })
	ask(t, r, "udp", "web.telegram.org", wire.TypeA)
	if i := <-changed; i.Name != "resolver record" || i.State != health.Degraded || !strings.Contains(i.Detail, "disk full") {
		t.Errorf("item is %+v", i)
	}
	rec.mu.Lock()
	rec.fail = nil
	rec.mu.Unlock()
	ask(t, r, "udp", "web.whatsapp.com", wire.TypeA)
	if i := <-changed; i.State != health.OK {
		t.Errorf("item is %+v", i)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	good := dns.Deps{Recorder: newRecords(), Catalog: c, Decider: compile(t, testPolicy, c)}
	for name, test := range map[string]struct {
		cfg dns.Config
		dep dns.Deps
	}{
		"no dependencies": {dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{"127.0.0.1:53"}}, dns.Deps{}},
		"no upstream":     {dns.Config{Listen: []string{"127.0.0.1:0"}}, good},
		"no listen":       {dns.Config{Upstream: []string{"127.0.0.1:53"}}, good},
		"no port":         {dns.Config{Listen: []string{"127.0.0.1"}, Upstream: []string{"127.0.0.1:53"}}, good},
		"unknown answer":  {dns.Config{Listen: []string{"127.0.0.1:0"}, Upstream: []string{"127.0.0.1:53"}, Answer: "teapot"}, good},
	} {
		if _, err := dns.New(test.cfg, test.dep); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	first := start(t, dns.Config{Upstream: []string{"127.0.0.1:1"}}, newRecords(), testPolicy)
	c, _ := catalog.Default()
	second, err := dns.New(dns.Config{Listen: []string{first.Addr()}, Upstream: []string{"127.0.0.1:1"}},
		dns.Deps{Recorder: newRecords(), Catalog: c, Decider: compile(t, testPolicy, c)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error is %v", err)
	}
	if second.Addr() != "" {
		t.Error("it says it listens")
	}
}
