package classify_test

import (
	"crypto/tls"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// TestPortsAreWeak: what a port and a protocol say is low and stops nothing; a port beside it, or another protocol, says nothing.
func TestPortsAreWeak(t *testing.T) {
	for _, c := range []struct{ server, protocol, app string }{
		{"203.0.113.5:64738", "", "mumble"}, {"203.0.113.5:64739", "", ""},
		{"203.0.113.5:8448", "h2", "matrix"}, {"203.0.113.5:8447", "h2", ""},
		{"203.0.113.5:443", "imap", "delta_chat"}, {"203.0.113.5:443", "smtp", "delta_chat"},
		{"203.0.113.5:993", "imap", ""}, {"203.0.113.5:8443", "imap", ""}, {"203.0.113.5:443", "pop3", ""}, {"203.0.113.5:443", "h2", ""},
	} {
		config := &tls.Config{ServerName: "www.example.org"}
		if c.protocol != "" {
			config.NextProtos = []string{c.protocol}
		}
		got := findings(t, classify.Options{}, func(w *flowtest.Writer) {
			w.TCP(from(1), at(c.server), flowtest.Chunk{FromClient: true, Data: firstWords(t, config)})
		})
		f := got["1 "+c.server]
		if f.Flow.App != c.app || c.app != "" && f.Flow.Confidence != event.Low || f.Verdict.Action.Stops() {
			t.Errorf("%q at %s: %+v %v", c.protocol, c.server, f.Flow, f.Evidence)
		}
	}
}

// TestWhereAServerIs: the question where a Matrix server is, and those that look like it.
func TestWhereAServerIs(t *testing.T) {
	for name, app := range map[string]string{
		"_matrix-fed._tcp.example.org": "matrix", "_matrix-fed._udp.example.org": "", "_matrix-federation._tcp.example.org": "", "a._matrix-fed._tcp.example.org": "",
		"_imap._tcp.example.org": "",
	} {
		got := findings(t, classify.Options{}, func(w *flowtest.Writer) { w.UDP(from(1), resolver, flowtest.Question(name)) })
		if f := got["1 "+resolver.String()]; f.Flow.App != app {
			t.Errorf("%s: %+v %v", name, f.Flow, f.Evidence)
		}
	}
}
