package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/inspect/malware/clamdtest"
	"github.com/chaperone-im/chaperone/internal/loopback"
	"github.com/chaperone-im/chaperone/internal/server"
	"github.com/chaperone-im/chaperone/internal/server/certificate"
	"github.com/chaperone-im/chaperone/internal/server/doctor"
	"github.com/chaperone-im/chaperone/internal/server/quickstart"
)

// machine is what quickstart makes, and a configuration that tests break.
type machine struct {
	t    *testing.T
	dir  string
	drop string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t, filepath.Join(t.TempDir(), "m"), t.TempDir()}
	if _, err := quickstart.Write(quickstart.Options{Dir: m.dir, Domain: "example.org", Console: "127.0.0.1:0", Shares: 3, Needed: 2}); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) config(text string) *config.Config {
	m.t.Helper()
	if !strings.Contains(text, "keys:") {
		text += "\nkeys: {unlock: \"file:data/keys/passphrase\"}\n"
	}
	if err := os.WriteFile(m.path("c.yaml"), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	c, err := config.Load(m.path("c.yaml"))
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

func (m *machine) examine(text string, o doctor.Options) []doctor.Finding {
	m.t.Helper()
	return doctor.Examine(m.t.Context(), m.config(text), o)
}

// says checks that a finding is among those found, and that each bad one says why and what to do.
func says(t *testing.T, found []doctor.Finding, check string, state doctor.State, what string) {
	t.Helper()
	hit := false
	for _, f := range found {
		hit = hit || f.Check == check && f.State == state && strings.Contains(f.What, what)
		if f.What == "" || f.State != doctor.OK && (f.Why == "" || f.Do == "") {
			t.Errorf("a finding does not say enough: %+v", f)
		}
	}
	if !hit {
		t.Errorf("no finding %s %s %q in\n%s", check, state, what, text(found))
	}
}

func text(found []doctor.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintln(&b, f.State, f.Check, f.What)
	}
	return b.String()
}

func free(t *testing.T) string {
	t.Helper()
	at, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestBrokenSetUps(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	later := func() time.Time { return time.Now().AddDate(3, 0, 0) }
	for _, tt := range []struct {
		name   string
		config string // %s is the drop folder
		broken func(m *machine)
		o      doctor.Options
		check  string
		state  doctor.State
		what   string
	}{
		{name: "as quickstart leaves it", check: "configuration", state: doctor.OK, what: "fit together"},
		{name: "broken policy", config: "policy: policy.yaml", broken: func(m *machine) { must(os.WriteFile(m.path("policy.yaml"), []byte("rules: 1"), 0o600)) },
			check: "configuration", state: doctor.Fail, what: "policy"},
		{name: "no certificate", config: "gateways: [{id: g, kind: xmpp, domain: d.example, listen: [{address: '127.0.0.1:0', certificate: no.pem, key: no.key}], upstream: {address: '127.0.0.1:1', tls: off}}]",
			check: "certificates", state: doctor.Fail, what: "no.pem"},
		{name: "server behind is not there", config: "gateways: [{id: g, kind: xmpp, domain: d.example, listen: [{address: '127.0.0.1:0', tls: off}], upstream: {address: '127.0.0.1:1', tls: off}}]",
			check: "gateways", state: doctor.Fail, what: "refused"},
		{name: "no data", broken: func(m *machine) { must(os.RemoveAll(m.path("data"))) }, check: "data", state: doctor.Fail, what: "no such file"},
		{name: "open data", broken: func(m *machine) { must(os.Chmod(m.path("data"), 0o755)) }, check: "data", state: doctor.Warn, what: "everybody"},
		{name: "no socket", broken: func(m *machine) { must(os.WriteFile(m.path("data/control.sock"), nil, 0o600)) }, check: "data", state: doctor.Fail, what: "no socket"},
		{name: "wrong clock", o: doctor.Options{Now: func() time.Time { return time.Unix(0, 0) }}, check: "clock", state: doctor.Fail, what: "1970"},
		{name: "key for all", broken: func(m *machine) { must(os.Chmod(m.path("data/keys/compliance.key"), 0o644)) }, check: "keys", state: doctor.Fail, what: "compliance.key"},
		{name: "key folder for all", broken: func(m *machine) { must(os.Chmod(m.path("data/keys"), 0o755)) }, check: "keys", state: doctor.Fail, what: "can be read by others"},
		{name: "no keys", broken: func(m *machine) { must(os.RemoveAll(m.path("data/keys"))) }, check: "keys", state: doctor.Fail, what: "no such file"},
		{name: "passphrase beside the data", check: "keys", state: doctor.Warn, what: "passphrase"},
		{name: "shares on the machine", check: "recovery", state: doctor.Warn, what: "3 recovery shares"},
		{name: "shares given away", broken: func(m *machine) { must(os.RemoveAll(m.path("recovery-shares"))) }, check: "recovery", state: doctor.OK, what: "no recovery shares"},
		{name: "no recovery file", broken: func(m *machine) { must(os.Remove(m.path("data/keys/recovery.json"))) }, check: "recovery", state: doctor.Warn, what: "recovery.json"},
		{name: "no recipient", check: "checkpoints", state: doctor.Fail, what: "no recipient"},
		{name: "drop beside the data", config: "ledger: {checkpoints: ['file:%s']}", check: "checkpoints", state: doctor.Warn, what: "file system of the data"},
		{name: "drop missing", config: "ledger: {checkpoints: ['file:%s/no']}", check: "checkpoints", state: doctor.Fail, what: "no such file"},
		{name: "recipient away", config: "ledger: {checkpoints: ['https://127.0.0.1:1/in']}", check: "checkpoints", state: doctor.Fail, what: "not reached"},
		{name: "log server", config: "ledger: {checkpoints: ['syslog:udp://192.0.2.1:514']}", check: "checkpoints", state: doctor.OK, what: "look there"},
		{name: "log server here", config: "ledger: {checkpoints: ['syslog:udp://127.0.0.1:514']}", check: "checkpoints", state: doctor.Warn, what: "on this machine"},
		{name: "log socket here", config: "ledger: {checkpoints: ['syslog:unix:/dev/log']}", check: "checkpoints", state: doctor.Warn, what: "on this machine"},
		{name: "nothing recorded", check: "record", state: doctor.OK, what: "no records yet"},
		{name: "no clamd", config: "inspectors: {malware: {clamd: 'unix:/nowhere/clamd'}}", check: "malware", state: doctor.Fail, what: "does not answer"},
		{name: "no resolver", config: "network: {resolver: {listen: ['127.0.0.1:0'], upstream: ['127.0.0.1:1']}}", check: "resolver", state: doctor.Fail, what: "no upstream"},
		{name: "no interface", config: "network: {sensors: [{interface: nowhere0}]}", check: "network", state: doctor.Fail, what: "nowhere0"},
		{name: "sandbox gone", o: doctor.Options{Sandbox: func(context.Context) (string, error) { return "", errors.New("no fork") }}, check: "sandbox", state: doctor.Fail, what: "no fork"},
		{name: "sandbox weak", o: doctor.Options{Sandbox: func(context.Context) (string, error) { return "landlock unavailable", nil }}, check: "sandbox", state: doctor.Warn, what: "landlock"},
		{name: "sandbox", o: doctor.Options{Sandbox: func(context.Context) (string, error) { return "", nil }}, check: "sandbox", state: doctor.OK, what: "confined"},
		{name: "certificate over", config: "console: {listen: '127.0.0.1:0', certificate: c.crt, key: c.key}", o: doctor.Options{Now: later},
			broken: func(m *machine) { _, _, err := certificate.SelfSigned(m.dir, "c"); must(err) }, check: "certificates", state: doctor.Fail, what: "not valid now"},
		{name: "certificate near its end", config: "console: {listen: '127.0.0.1:0', certificate: c.crt, key: c.key}", o: doctor.Options{Now: func() time.Time { return time.Now().AddDate(2, 0, -5) }},
			broken: func(m *machine) { _, _, err := certificate.SelfSigned(m.dir, "c"); must(err) }, check: "certificates", state: doctor.Warn, what: "ends"},
		{name: "certificate", config: "console: {listen: '127.0.0.1:0', certificate: c.crt, key: c.key}",
			broken: func(m *machine) { _, _, err := certificate.SelfSigned(m.dir, "c"); must(err) }, check: "certificates", state: doctor.OK, what: "ends"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			if tt.broken != nil {
				tt.broken(m)
			}
			says(t, m.examine(strings.ReplaceAll(tt.config, "%s", m.drop), tt.o), tt.check, tt.state, tt.what)
		})
	}
}

func TestPortsAndARunningServer(t *testing.T) {
	m, at := newMachine(t), free(t)
	text := fmt.Sprintf("metrics: {listen: '%s'}\nledger: {checkpoints: ['file:%s']}", at, m.drop)
	says(t, m.examine(text, doctor.Options{}), "ports", doctor.OK, at+" is free")
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	says(t, m.examine(text, doctor.Options{}), "ports", doctor.Fail, "another process has tcp "+at)
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	s, err := server.New(ctx, m.config(text), slog.New(slog.DiscardHandler), "test")
	if err != nil {
		t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, func() { close(up) }) }()
	<-up
	found := m.examine(text, doctor.Options{})
	says(t, found, "journal", doctor.OK, "runs and answers")
	says(t, found, "ports", doctor.OK, "taken while serve runs")
	says(t, found, "data", doctor.OK, "owner and group only")
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	found = m.examine(text, doctor.Options{})
	says(t, found, "journal", doctor.OK, "no chaperone runs")
	says(t, found, "record", doctor.OK, "PROVEN")
	segments, err := filepath.Glob(m.path("data/journal/local/*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segment", err)
	}
	for _, s := range segments {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	found = m.examine(text, doctor.Options{})
	says(t, found, "record", doctor.Fail, "BROKEN")
	if doctor.Worst(found) != doctor.Fail {
		t.Error("the worst of a failure is no failure")
	}
}

func TestRealServerBehind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	p, err := xmpptest.StartProsody(ctx, t.TempDir(), "example.org", map[string]string{"alice": "x"})
	if errors.Is(err, xmpptest.ErrMissing) && os.Getenv("CHAPERONE_CI") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	m := newMachine(t)
	gateway := func(domain, tls string) string {
		return fmt.Sprintf("gateways: [{id: g, kind: xmpp, domain: %s, listen: [{address: '127.0.0.1:0', tls: off}], upstream: {address: '%s', %s}}]", domain, p.Address, tls)
	}
	says(t, m.examine(gateway("example.org", "tls: off"), doctor.Options{}), "gateways", doctor.OK, "PLAIN")
	says(t, m.examine(gateway("example.org", "ca: "+p.Certificate), doctor.Options{}), "gateways", doctor.OK, "answers for example.org")
	says(t, m.examine(gateway("example.org", "tls: starttls"), doctor.Options{}), "gateways", doctor.Fail, "certificate")
	says(t, m.examine(gateway("other.example", "tls: off"), doctor.Options{}), "gateways", doctor.Fail, "gateway g")
}

func TestRealClamd(t *testing.T) {
	c := clamdtest.Start(t)
	says(t, newMachine(t).examine("inspectors: {malware: {clamd: '"+c.Address+"'}}", doctor.Options{}), "malware", doctor.Warn, "clamd")
}

func TestResolverThatAnswers(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetReply(q)) })}
	go srv.ActivateAndServe()
	defer srv.Shutdown()
	found := newMachine(t).examine(fmt.Sprintf("network: {resolver: {listen: ['127.0.0.1:0'], upstream: ['%s', '127.0.0.1:1']}}", pc.LocalAddr()), doctor.Options{})
	says(t, found, "resolver", doctor.OK, "answers")
	says(t, found, "resolver", doctor.Warn, "127.0.0.1:1")
}
