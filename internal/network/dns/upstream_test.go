package dns_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/health"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/network/dns"
)

// silent is an upstream that takes questions and never answers.
func silent(t *testing.T) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc.LocalAddr().String()
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestDeadUpstreams(t *testing.T) {
	for name, test := range map[string]struct {
		addr     func(*testing.T) string
		patience time.Duration
		ede      int
	}{"silent": {silent, 200 * time.Millisecond, 22}, "closed": {closed, time.Minute, 23}} {
		t.Run(name, func(t *testing.T) {
			board := health.NewBoard(time.Now)
			r := startWith(t, dns.Config{Upstream: []string{test.addr(t)}, Timeout: test.patience}, dns.Deps{Recorder: newRecords(), Board: board}, testPolicy)
			m := ask(t, r, "udp", "www.example", wire.TypeA)
			if ede, text := reason(m); m.Rcode != wire.RcodeServerFailure || ede != test.ede || text == "" {
				t.Errorf("%s, EDE %d %q", wire.RcodeToString[m.Rcode], ede, text)
			}
			if i := board.Items()[0]; i.State != health.Degraded || i.Name != "resolver" || i.Advice == "" {
				t.Errorf("health is %+v", i)
			}
			if m := ask(t, r, "udp", "web.telegram.org", wire.TypeA); m.Rcode != wire.RcodeNameError {
				t.Error("stops depend on the upstream")
			}
		})
	}
}

func TestFailover(t *testing.T) {
	good := startZone(t, plain)
	bad := startZone(t, nil)
	bad.fail("www.example.", wire.RcodeServerFailure)
	board := health.NewBoard(time.Now)
	r := startWith(t, dns.Config{Upstream: []string{closed(t), bad.addr, good.addr}, CacheEntries: -1}, dns.Deps{Recorder: newRecords(), Board: board}, testPolicy)
	for range 3 {
		if m := ask(t, r, "udp", "www.example", wire.TypeA); firstAnswer(m) != "A 192.0.2.1" {
			t.Errorf("answer is %v", m)
		}
	}
	if board.Worst() != health.OK {
		t.Errorf("health is %v", board.Items())
	}
	good.fail("www.example.", wire.RcodeRefused)
	if m := ask(t, r, "udp", "www.example", wire.TypeA); m.Rcode != wire.RcodeRefused && m.Rcode != wire.RcodeServerFailure {
		t.Errorf("a failure of all became %v", m)
	}
}

func TestCutAnswersComeOverTCP(t *testing.T) {
	z := startZone(t, plain)
	z.cut["www.example. A"] = true
	r := start(t, dns.Config{Upstream: []string{z.addr}}, newRecords(), testPolicy)
	if m := ask(t, r, "udp", "www.example", wire.TypeA); firstAnswer(m) != "A 192.0.2.1" || m.Truncated {
		t.Errorf("answer is %v", m)
	}
	if m := ask(t, r, "udp", "big.example", wire.TypeTXT); !m.Truncated || m.Len() > 1232 {
		t.Errorf("a big answer is not cut: %d bytes, truncated %t", m.Len(), m.Truncated)
	}
	if m := ask(t, r, "tcp", "big.example", wire.TypeTXT); m.Truncated || len(m.Answer) != 1 {
		t.Errorf("answer over TCP is %v", m)
	}
}

// liar answers every question with what it is told: the wrong id, the wrong name, or noise.
func liar(t *testing.T, answer func(*wire.Msg) []byte) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			m := new(wire.Msg)
			if m.Unpack(buf[:n]) == nil {
				pc.WriteTo(answer(m), from)
			}
		}
	}()
	return pc.LocalAddr().String()
}

func TestForgedAnswersAreNotTaken(t *testing.T) {
	forge := func(change func(*wire.Msg)) func(*wire.Msg) []byte {
		return func(m *wire.Msg) []byte {
			a := new(wire.Msg).SetReply(m)
			rr, _ := wire.NewRR("www.example. 60 IN A 203.0.113.66")
			a.Answer = []wire.RR{rr}
			change(a)
			b, _ := a.Pack()
			return b
		}
	}
	for name, answer := range map[string]func(*wire.Msg) []byte{
		"wrong id":   forge(func(m *wire.Msg) { m.Id++ }),
		"wrong name": forge(func(m *wire.Msg) { m.Question[0].Name = "other.example." }),
		"a question": forge(func(m *wire.Msg) { m.Response = false }),
		"noise":      func(*wire.Msg) []byte { return []byte("not DNS at all") },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, dns.Config{Upstream: []string{liar(t, answer)}, Timeout: 200 * time.Millisecond}, newRecords(), testPolicy)
			if m := ask(t, r, "udp", "www.example", wire.TypeA); m.Rcode != wire.RcodeServerFailure || len(m.Answer) > 0 {
				t.Errorf("answer is %v", m)
			}
		})
	}
}

func TestReasonsOfUpstreamArePassedOn(t *testing.T) {
	addr := liar(t, func(m *wire.Msg) []byte {
		a := new(wire.Msg).SetRcode(m, wire.RcodeServerFailure)
		a.SetEdns0(1232, false)
		a.IsEdns0().Option = []wire.EDNS0{&wire.EDNS0_NSID{Code: wire.EDNS0NSID, Nsid: "6162"},
			&wire.EDNS0_EDE{InfoCode: wire.ExtendedErrorCodeDNSBogus, ExtraText: "signature\nexpired"}}
		b, _ := a.Pack()
		return b
	})
	r := start(t, dns.Config{Upstream: []string{addr}}, newRecords(), testPolicy)
	m := ask(t, r, "udp", "www.example", wire.TypeA)
	if code, text := reason(m); m.Rcode != wire.RcodeServerFailure || code != 6 || text != "signature expired" || len(m.IsEdns0().Option) != 1 {
		t.Errorf("answer is %v", m)
	}
	plain := exchange(t, r, "udp", new(wire.Msg).SetQuestion("www.example.", wire.TypeA))
	if plain.IsEdns0() != nil {
		t.Errorf("a client without EDNS got %v", plain)
	}
}

func TestQuestionsUnderWayAreBounded(t *testing.T) {
	upstream, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	r := start(t, dns.Config{Upstream: []string{upstream.LocalAddr().String()}, Timeout: 20 * time.Second, InFlight: 1}, newRecords(), testPolicy)
	c, err := net.Dial("udp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(question("first.example.")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := upstream.ReadFrom(make([]byte, 512)); err != nil { // it is under way, and never answered
		t.Fatal(err)
	}
	m := ask(t, r, "tcp", "second.example", wire.TypeA)
	if code, _ := reason(m); m.Rcode != wire.RcodeServerFailure || code != 14 {
		t.Errorf("answer is %v", m)
	}
	if m := ask(t, r, "udp", "web.telegram.org", wire.TypeA); m.Rcode != wire.RcodeNameError {
		t.Error("a busy resolver does not refuse")
	}
}

func TestCache(t *testing.T) {
	var seconds atomic.Int64
	now := clock.Func(func() time.Time { return time.Unix(1_800_000_000+seconds.Load(), 0) })
	z := startZone(t, plain)
	rec := newRecords()
	r := startWith(t, dns.Config{Upstream: []string{z.addr}}, dns.Deps{Recorder: rec, Observer: rec, Clock: now}, testPolicy)
	ask(t, r, "udp", "www.example", wire.TypeA)
	seconds.Store(20)
	m := ask(t, r, "udp", "WWW.example", wire.TypeA)
	if z.times("www.example. A") != 1 || m.Answer[0].Header().Ttl != 40 {
		t.Errorf("asked %d times, TTL %d", z.times("www.example. A"), m.Answer[0].Header().Ttl)
	}
	ask(t, r, "udp", "nothing.example", wire.TypeA)
	if m := ask(t, r, "udp", "nothing.example", wire.TypeA); m.Rcode != wire.RcodeNameError || z.times("nothing.example. A") != 1 {
		t.Errorf("a name that is not was asked for %d times", z.times("nothing.example. A"))
	}
	ask(t, r, "udp", "cloak.example", wire.TypeA)
	if m := ask(t, r, "udp", "cloak.example", wire.TypeA); m.Rcode != wire.RcodeNameError || z.times("cloak.example. A") != 1 {
		t.Error("an alias is not stopped when it comes from the cache")
	}
	seconds.Store(61)
	ask(t, r, "udp", "www.example", wire.TypeA)
	if z.times("www.example. A") != 2 {
		t.Error("an answer outlived its time")
	}
}

func TestCacheIsBounded(t *testing.T) {
	records := map[string][]string{}
	for i := range 100 {
		records[fmt.Sprintf("n%d.example. A", i)] = []string{fmt.Sprintf("n%d.example. 60 IN A 192.0.2.1", i)}
	}
	z := startZone(t, records)
	r := start(t, dns.Config{Upstream: []string{z.addr}, CacheEntries: 10}, newRecords(), testPolicy)
	for i := range 100 {
		ask(t, r, "udp", fmt.Sprintf("n%d.example", i), wire.TypeA)
	}
	ask(t, r, "udp", "n99.example", wire.TypeA)
	ask(t, r, "udp", "n0.example", wire.TypeA)
	if z.times("n99.example. A") != 1 || z.times("n0.example. A") != 2 {
		t.Errorf("the last was asked %d times, the first %d times", z.times("n99.example. A"), z.times("n0.example. A"))
	}
}

func TestClientsAreBounded(t *testing.T) {
	frozen := clock.Func(func() time.Time { return time.Unix(1_800_000_000, 0) })
	r := startWith(t, dns.Config{Upstream: []string{closed(t)}, RatePerClient: 5}, dns.Deps{Recorder: newRecords(), Clock: frozen}, testPolicy)
	refused := 0
	for range 20 {
		if m := ask(t, r, "udp", "web.telegram.org", wire.TypeA); m.Rcode == wire.RcodeRefused {
			refused++
		}
	}
	if refused != 10 {
		t.Errorf("%d of 20 questions were refused, want 10", refused)
	}
	r = start(t, dns.Config{Upstream: []string{closed(t)}, Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, newRecords(), testPolicy)
	if m := ask(t, r, "tcp", "web.telegram.org", wire.TypeA); m.Rcode != wire.RcodeRefused {
		t.Errorf("a stranger was answered: %v", m)
	}
}

func TestManyAtOnceAskUpstreamOnce(t *testing.T) {
	z := startZone(t, plain)
	z.mu.Lock() // the upstream holds its answer until all have asked
	r := start(t, dns.Config{Upstream: []string{z.addr}, CacheEntries: -1, InFlight: 40}, newRecords(), testPolicy)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if m := ask(t, r, "udp", "www.example", wire.TypeA); len(m.Answer) != 1 {
				t.Errorf("answer is %v", m)
			}
		})
	}
	for r.Stats().Questions < 30 {
		time.Sleep(time.Millisecond)
	}
	z.mu.Unlock()
	all.Wait()
	if n := z.times("www.example. A"); n > 5 {
		t.Errorf("upstream was asked %d times", n)
	}
}

func TestTCP(t *testing.T) {
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, newRecords(), testPolicy)
	c, err := wire.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, name := range []string{"www.example.", "web.telegram.org.", "cdn.example."} {
		if err := c.WriteMsg(new(wire.Msg).SetQuestion(name, wire.TypeA)); err != nil {
			t.Fatal(err)
		}
		m, err := c.ReadMsg()
		if err != nil || m.Question[0].Name != name {
			t.Fatalf("question %d: %v, %v", i, m, err)
		}
	}
}

func TestTCPConnectionsAreBounded(t *testing.T) {
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}, TCPConns: 8}, newRecords(), testPolicy)
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := (&wire.Conn{Conn: c}).Write(question("www.example.")); err != nil {
			t.Fatal(err)
		}
		if _, err := (&wire.Conn{Conn: c}).ReadMsg(); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	third, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	third.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if _, err := third.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("a client holds more than a quarter of the connections: %v", err)
	}
	if got := r.Stats().TCPRefused; got != 1 || len(open) != 2 {
		t.Errorf("%d connections were refused", got)
	}
}

func TestTooLargeATCPQuestionEndsTheConnection(t *testing.T) {
	r := start(t, dns.Config{Upstream: []string{closed(t)}}, newRecords(), testPolicy)
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(binary.BigEndian.AppendUint16(nil, 60_000))
	c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.ReadAll(c); os.IsTimeout(err) {
		t.Error("the connection stays open")
	}
}

func question(name string) []byte {
	b, _ := new(wire.Msg).SetQuestion(name, wire.TypeA).Pack()
	return b
}

func TestHostilePackets(t *testing.T) {
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, newRecords(), testPolicy)
	c, err := net.Dial("udp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	change := func(f func(b []byte)) []byte {
		b := question("www.example.")
		f(b)
		return b
	}
	for name, test := range map[string]struct {
		packet []byte
		rcode  int // -1 for no answer
	}{
		"empty":             {[]byte{}, -1},
		"short":             {[]byte{1, 2, 3}, -1},
		"an answer":         {change(func(b []byte) { b[2] |= 0x80 }), -1},
		"an update":         {change(func(b []byte) { b[2] = 5 << 3 }), wire.RcodeNotImplemented},
		"no question":       {change(func(b []byte) { b[5] = 0 }), wire.RcodeFormatError},
		"many questions":    {change(func(b []byte) { b[4] = 255 }), wire.RcodeFormatError},
		"pointer to itself": {change(func(b []byte) { b[12], b[13] = 0xc0, 12 }), wire.RcodeFormatError},
		"label too long":    {change(func(b []byte) { b[12] = 0x7f }), wire.RcodeFormatError},
		"cut":               {question("www.example.")[:20], wire.RcodeFormatError},
		"chaos class":       {change(func(b []byte) { b[len(b)-1] = 3 }), wire.RcodeRefused},
		"zone transfer":     {change(func(b []byte) { b[len(b)-3] = 252 }), wire.RcodeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.Write(test.packet); err != nil {
				t.Fatal(err)
			}
			if test.rcode < 0 {
				c.Write(question("www.example.")) // the next answer is to this
				test.rcode = wire.RcodeSuccess
			}
			c.SetReadDeadline(time.Now().Add(2 * time.Minute))
			buf := make([]byte, 4096)
			n, err := c.Read(buf)
			m := new(wire.Msg)
			if err != nil || m.Unpack(buf[:n]) != nil || m.Rcode != test.rcode {
				t.Errorf("answer %v, error %v, want %s", m, err, wire.RcodeToString[test.rcode])
			}
		})
	}
}

func TestUnknownEDNSVersion(t *testing.T) {
	r := start(t, dns.Config{Upstream: []string{closed(t)}}, newRecords(), testPolicy)
	m := new(wire.Msg).SetQuestion("www.example.", wire.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().SetVersion(7)
	if answer := exchange(t, r, "udp", m); answer.Rcode != wire.RcodeBadVers {
		t.Errorf("answer is %v", answer)
	}
}

// peer returns the path of a program the test needs.
func peer(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	if os.Getenv("CHAPERONE_CI") == "1" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func TestDigShowsTheReason(t *testing.T) {
	dig := peer(t, "dig")
	r := start(t, dns.Config{Upstream: []string{startZone(t, plain).addr}}, newRecords(), testPolicy)
	host, port, _ := net.SplitHostPort(r.Addr())
	for _, args := range [][]string{{"+notcp"}, {"+tcp"}} {
		out, err := exec.Command(dig, append(args, "@"+host, "-p", port, "web.telegram.org")...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "status: NXDOMAIN") || !strings.Contains(string(out), "EDE: 15 (Blocked): (Please use the firm's own chat.)") {
			t.Errorf("dig %v: %v\n%s", args, err, out)
		}
	}
	out, err := exec.Command(dig, "@"+host, "-p", port, "+short", "www.example", "AAAA").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "2001:db8::1" {
		t.Errorf("dig: %v %s", err, out)
	}
}

func TestUnboundAsUpstream(t *testing.T) {
	unbound := peer(t, "unbound")
	dir := t.TempDir()
	addr := closed(t)
	host, port, _ := net.SplitHostPort(addr)
	conf := fmt.Sprintf(`server:
  interface: %s
  port: %s
  username: ""
  chroot: ""
  directory: %q
  pidfile: %q
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  local-zone: "example." static
  local-data: "www.example. 300 IN A 192.0.2.1"
  local-data: "alias.example. 300 IN CNAME web.telegram.org."
  local-data: "text.example. 300 IN TXT hello"
`, host, port, dir, dir+"/pid")
	if err := os.WriteFile(dir+"/unbound.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(unbound, "-d", "-c", dir+"/unbound.conf")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	awaitServer(t, addr)
	r := start(t, dns.Config{Upstream: []string{addr}}, newRecords(), testPolicy)
	for _, network := range []string{"udp", "tcp"} {
		if m := ask(t, r, network, "www.example", wire.TypeA); firstAnswer(m) != "A 192.0.2.1" {
			t.Errorf("%s: %v", network, m)
		}
		if m := ask(t, r, network, "text.example", wire.TypeTXT); firstAnswer(m) != `TXT "hello"` {
			t.Errorf("%s: %v", network, m)
		}
		if m := ask(t, r, network, "none.example", wire.TypeA); m.Rcode != wire.RcodeNameError {
			t.Errorf("%s: %v", network, m)
		}
	}
}

// awaitServer waits until a server answers at all.
func awaitServer(t *testing.T, addr string) {
	t.Helper()
	c := wire.Client{Timeout: 200 * time.Millisecond}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		if _, _, err := c.Exchange(new(wire.Msg).SetQuestion("www.example.", wire.TypeA), addr); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server does not answer")
}

// TestAnswersFromElsewhereAreNotTaken: right in all but the port that they come from.
func TestAnswersFromElsewhereAreNotTaken(t *testing.T) {
	elsewhere, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	upstream, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	go func() {
		for buf := make([]byte, 4096); ; {
			n, from, err := upstream.ReadFrom(buf)
			if err != nil {
				return
			}
			m := new(wire.Msg)
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			a := new(wire.Msg).SetReply(m)
			rr, _ := wire.NewRR("www.example. 60 IN A 203.0.113.66")
			a.Answer = []wire.RR{rr}
			b, _ := a.Pack()
			elsewhere.WriteTo(b, from)
		}
	}()
	r := start(t, dns.Config{Upstream: []string{upstream.LocalAddr().String()}, Timeout: 200 * time.Millisecond}, newRecords(), testPolicy)
	if m := ask(t, r, "udp", "www.example", wire.TypeA); m.Rcode != wire.RcodeServerFailure || len(m.Answer) > 0 {
		t.Errorf("answer is %v", m)
	}
}
