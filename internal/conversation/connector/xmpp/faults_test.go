package xmpp_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

func TestHostileStreamsEndAloneAndSayWhy(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	for _, tt := range []struct{ name, xml, condition string }{
		{"comment", "<message to='bob@example.org'><!-- --></message>", "restricted-xml"},
		{"entity", "<message to='bob@example.org'><body>&lol;</body></message>", "restricted-xml"},
		{"document type", "<!DOCTYPE x>", "restricted-xml"},
		{"wrong end", "<message><body></message></body>", "not-well-formed"},
		{"large", "<message><body>" + strings.Repeat("x", 300<<10), "policy-violation"},
		{"deep", strings.Repeat("<a>", 100), "policy-violation"},
		{"unknown stanza", "<massage xmlns='jabber:client'/>", "unsupported-stanza-type"},
		{"sasl2", "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "unsupported-stanza-type"},
		{"false count", "<a xmlns='urn:xmpp:sm:3' h='7'/>", "undefined-condition"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := s.managed("carol", "c")
			r.Send(tt.xml)
			if e := s.await(r, "error"); !strings.Contains(e.XML, tt.condition) {
				t.Errorf("got %s, want %s", e.XML, tt.condition)
			}
			if _, err := r.Await(s.ctx, "nothing"); err == nil {
				t.Error("the stream goes on")
			}
		})
	}
	alice.Say(s.ctx, "bob@example.org", "after", "we are still here")
	s.message(bob, "after")
}

func TestBeforeSigningIn(t *testing.T) {
	s := start(t, nil)
	l := s.login("alice")
	l.Password = ""
	for _, tt := range []struct{ name, send, condition string }{
		{"message", "<message to='bob@example.org'><body>x</body></message>", "not-authorized"},
		{"presence", "<presence/>", "not-authorized"},
		{"resume", "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>", "bad-format"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := xmpptest.DialRaw(s.ctx, l)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			s.put(r, r.Header())
			f := s.await(r, "features")
			for _, bad := range []string{"-PLUS", "compression", "starttls", "sasl:2"} {
				if strings.Contains(f.XML, bad) {
					t.Errorf("%s in %s", bad, f.XML)
				}
			}
			s.put(r, tt.send)
			if e := s.await(r, "error"); !strings.Contains(e.XML, tt.condition) {
				t.Errorf("got %s", e.XML)
			}
		})
	}
	l.JID = "alice@elsewhere.example"
	if _, err := xmpptest.DialRaw(s.ctx, l); err == nil {
		t.Error("a stream to another domain was served")
	}
}

func TestPlainBytesAfterStartTLSAreRefused(t *testing.T) {
	s := start(t, nil)
	conn, err := net.Dial("tcp", s.gateway.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	header := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='example.org'>"
	conn.Write([]byte(header + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>"))
	var all strings.Builder
	b := make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		all.Write(b[:n])
		if err != nil {
			break
		}
	}
	if !strings.Contains(all.String(), "policy-violation") || strings.Contains(all.String(), "<proceed") {
		t.Errorf("got %s", all.String())
	}
}

func TestRecordingFails(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.dial("alice"), s.dial("bob")
	s.journal.setFail(true)
	alice.Say(s.ctx, "bob@example.org", "m1", "unrecordable")
	if m := s.message(alice, "m1"); m.Attr("type") != "error" || !strings.Contains(m.ErrorText(), "could not be recorded") {
		t.Errorf("alice got %s", m.XML)
	}
	if s.health.Worst() != health.Failed {
		t.Error("nobody is told")
	}
	s.journal.setFail(false)
	alice.Say(s.ctx, "bob@example.org", "m2", "recordable")
	for {
		m, err := bob.Next(s.ctx, isMessage)
		if err != nil {
			t.Fatal(err)
		}
		if m.Attr("id") == "m2" {
			break
		}
		t.Errorf("bob got %s", m.XML)
	}
}

func TestRecordingFailsOpen(t *testing.T) {
	s := start(t, func(_ *xmpp.Config, p *pipeline.Config) { p.Open = true })
	alice, bob := s.dial("alice"), s.dial("bob")
	s.journal.setFail(true)
	alice.Say(s.ctx, "bob@example.org", "m1", "delivered and spooled")
	s.message(bob, "m1")
	s.journal.setFail(false)
	if e := s.count(event.Message, "spooled", 1)[0]; e.Reason != event.ReasonLate {
		t.Errorf("recorded %+v", e)
	}
}

func TestServerIsKilledAndComesBack(t *testing.T) {
	s := start(t, nil)
	r, _ := s.managed("alice", "desk")
	s.prosody.Kill()
	if e := s.await(r, "error"); !strings.Contains(e.XML, "remote-connection-failed") {
		t.Errorf("got %s", e.XML)
	}
	l := s.login("alice")
	if _, err := xmpptest.DialRaw(s.ctx, l); err == nil {
		t.Error("signed in without a server")
	}
	if s.health.Worst() != health.Failed {
		t.Error("nobody is told")
	}
	if err := s.prosody.Start(s.ctx); err != nil {
		t.Fatal(err)
	}
	alice, bob := s.dial("alice"), s.dial("bob")
	alice.Say(s.ctx, "bob@example.org", "back", "back again")
	s.message(bob, "back")
	if s.health.Worst() != health.OK {
		t.Errorf("health %+v", s.health.Items())
	}
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	s := start(t, func(c *xmpp.Config, _ *pipeline.Config) { c.PerAddress = 2 })
	s.dial("alice")
	s.dial("bob")
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	if _, err := xmpptest.Dial(ctx, s.login("carol")); err == nil {
		t.Error("a third connection was taken")
	}
}

func TestShutdownTellsClients(t *testing.T) {
	s := start(t, nil)
	r, _ := s.managed("alice", "desk")
	go s.stop()
	if e := s.await(r, "error"); !strings.Contains(e.XML, "system-shutdown") {
		t.Errorf("got %s", e.XML)
	}
	s.stop()
}

func TestConfigurationsThatAreWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*xmpp.Config)
		want   string
	}{
		{"no id", func(c *xmpp.Config) { c.ID = "" }, "id is missing"},
		{"no listener", func(c *xmpp.Config) { c.Listen = nil }, "no client could connect"},
		{"plain on the network", func(c *xmpp.Config) { c.Upstream = xmpp.Upstream{Address: "192.0.2.1:5222", TLS: xmpp.Off} }, "off on loopback"},
		{"no certificate", func(c *xmpp.Config) { c.Listen[0].Certificate = "" }, "certificate and key"},
		{"kind", func(c *xmpp.Config) { c.Kind = "irc" }, "not xmpp"},
		{"failure", func(c *xmpp.Config) { c.OnFailure = "maybe" }, "neither closed nor open"},
	} {
		c := xmpp.Config{ID: "x", Domain: domain, Upstream: xmpp.Upstream{Address: "127.0.0.1:1", TLS: xmpp.Off},
			Listen: []xmpp.Listener{{Address: "127.0.0.1:0", TLS: xmpp.StartTLS, Certificate: "c", Key: "k"}}}
		tt.change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestWhatCannotBeReadIsQuarantined(t *testing.T) {
	s := start(t, nil)
	for _, tt := range []struct{ name, xml, reason string }{
		{"large", "<message to='bob@example.org'><body>" + strings.Repeat("x", 300<<10), event.ReasonOversize},
		{"broken", "<message to='bob@example.org'><body>broken</message></body>", event.ReasonUndecodable},
		{"entity", "<message to='bob@example.org'><body>&x;</body></message>", event.ReasonUndecodable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.journal.find(event.Message, ""))
			r, _ := s.managed("alice", "desk")
			r.Send(tt.xml)
			s.await(r, "error")
			got := s.count(event.Message, "", before+1)
			e := got[before]
			if e.Reason != tt.reason || e.Verdict.Action != event.Quarantine || e.From.Handle != "alice@example.org" || len(e.Raw) == 0 {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	s := start(t, nil)
	got, err := xmpp.Probe(s.ctx, s.config())
	if err != nil || got.ChannelBinding || got.Compression || len(got.Mechanisms) == 0 {
		t.Errorf("%+v %v", got, err)
	}
	s.prosody.Kill()
	if _, err := xmpp.Probe(s.ctx, s.config()); err == nil {
		t.Error("a dead server was found well")
	}
}

// TestNoSignInWithoutTLS: before STARTTLS no sign-in is offered or taken, and TLS before 1.2 is no TLS.
func TestNoSignInWithoutTLS(t *testing.T) {
	s := start(t, nil)
	header := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='example.org'>"
	dial := func(first, until string) (net.Conn, string) {
		conn, err := net.Dial("tcp", s.gateway.Addresses()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		conn.Write([]byte(header + first))
		var all strings.Builder
		for b := make([]byte, 1); !strings.Contains(all.String(), until); {
			if _, err := conn.Read(b); err != nil {
				break
			}
			all.Write(b)
		}
		return conn, all.String()
	}
	if _, got := dial("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFsaWNlAHdvbmRlcmxhbmQ=</auth>", "</stream:stream>"); strings.Contains(got, "<mechanism") || strings.Contains(got, "<success") || !strings.Contains(got, "starttls") {
		t.Errorf("in plain text: %s", got)
	}
	for version, well := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, got := dial("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		if !strings.Contains(got, "<proceed") {
			t.Fatalf("got %s", got)
		}
		err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: domain, MinVersion: version, MaxVersion: version}).HandshakeContext(s.ctx)
		if (err == nil) != well {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}
