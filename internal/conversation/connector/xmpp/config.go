// Package xmpp is the gateway in front of an XMPP server: it stands between clients and server, shows every message to a connector.Judge
// before it goes on, and passes the bytes that came.
//
// Each client session has two legs. The client's leg ends TLS here; the server's leg is a connection of its own. Both byte streams are cut
// into stanzas within limits (package xmlstream), each stanza is looked into, and the original bytes are passed on. What is rewritten is
// little: stream features (no channel binding, no compression, no SASL2), counts of stream management (XEP-0198, package ack), and the
// addresses of upload slots (XEP-0363, see upload.go).
//
// A message is judged once: when its sender's client hands it to us, or, when it came around us, when it is first seen on its way to a
// client. Copies (echoes of rooms, carbons, archive results) carry the verdict of the first sight.
package xmpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/chaperone-im/chaperone/internal/clock"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/health"
)

// How a leg is protected.
const (
	StartTLS = "starttls"
	Direct   = "direct"
	Off      = "off"
)

// Config is one gateway of the configuration file.
type Config struct {
	ID         string     `yaml:"id" doc:"Name of the gateway; the connector of every record it makes. Never change it."`
	Kind       string     `yaml:"kind" doc:"xmpp"`
	Domain     string     `yaml:"domain" doc:"The XMPP domain that clients sign in to."`
	Listen     []Listener `yaml:"listen" doc:"Where clients connect."`
	Upstream   Upstream   `yaml:"upstream" doc:"The XMPP server behind."`
	Uploads    *Uploads   `yaml:"uploads" doc:"HTTP uploads (XEP-0363) through the gateway. Without it, upload slots are refused."`
	OnFailure  string     `yaml:"on_failure" doc:"What happens to a message that cannot be recorded: closed refuses it, open delivers and spools it."`
	MaxStanza  int        `yaml:"max_stanza" doc:"Largest stanza taken from a client, in bytes. Default 262144."`
	MaxDepth   int        `yaml:"max_depth" doc:"Deepest nesting of elements taken from a client. Default 64."`
	PerAddress int        `yaml:"per_address" doc:"Most connections from one address at a time. Default 200."`
	Sessions   int        `yaml:"sessions" doc:"Most client connections at a time. Default 20000."`
}

// Listener is an address where clients connect.
type Listener struct {
	Address     string `yaml:"address" doc:"host:port"`
	TLS         string `yaml:"tls" doc:"starttls, direct, or off (only on loopback)"`
	Certificate string `yaml:"certificate" doc:"PEM file with the certificate chain of the domain."`
	Key         string `yaml:"key" doc:"PEM file with its private key."`
}

// Upstream is the server behind the gateway.
type Upstream struct {
	Address string `yaml:"address" doc:"host:port of the server's client port"`
	TLS     string `yaml:"tls" doc:"starttls, direct, or off (only on loopback)"`
	CA      string `yaml:"ca" doc:"PEM file with the authorities its certificate may be from. Default: the system's."`
}

// Uploads says how files go through the gateway.
type Uploads struct {
	Listen      string `yaml:"listen" doc:"host:port where clients upload and download, by HTTPS."`
	Upstream    string `yaml:"upstream" doc:"Base URL of the server's HTTP port."`
	Public      string `yaml:"public" doc:"Base URL that clients see. Default https://DOMAIN:PORT."`
	Certificate string `yaml:"certificate" doc:"PEM file. Default: that of the first listener."`
	Key         string `yaml:"key" doc:"PEM file. Default: that of the first listener."`
	Path        string `yaml:"path" doc:"Path under which the server keeps files. Default /file_share/, Prosody's."`
	Host        string `yaml:"host" doc:"Host header for the server, when it serves several. Default: that of upstream."`
	MaxBytes    int64  `yaml:"max_bytes" doc:"Largest file, in bytes. Default 104857600."`
}

// Deps is what a gateway works with. Judge and Log are needed; the rest may be left out.
type Deps struct {
	Judge  connector.Judge
	Log    *slog.Logger
	Clock  clock.Clock
	Health *health.Board
	Times  Times
}

// Times are the deadlines of a gateway; a zero field takes its default.
type Times struct {
	Negotiate time.Duration // for everything before a client is signed in; default 60 s
	Stanza    time.Duration // from the first to the last byte of a stanza; default 60 s
	Write     time.Duration // for a peer to take what we write; default 30 s
	Dial      time.Duration // to connect to the server; default 10 s
	Judge     time.Duration // for a judgement; default 30 s
	Resume    time.Duration // how long a lost session may be resumed; default 10 min
	Drain     time.Duration // for sessions to end at shutdown; default 5 s
}

func (t Times) withDefaults() Times {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Negotiate, time.Minute}, {&t.Stanza, time.Minute}, {&t.Write, 30 * time.Second}, {&t.Dial, 10 * time.Second},
		{&t.Judge, 30 * time.Second}, {&t.Resume, 10 * time.Minute}, {&t.Drain, 5 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return t
}

// Excluder is what a Judge may also be: it is told of copies that are not records of their own, so that the counts of the day add up.
type Excluder interface {
	Exclude(connectorID, room, reason string)
}

// FromConfig makes the configuration of a gateway from its part of the file; path says where a file named there is.
func FromConfig(c config.Gateway, path func(string) string) Config {
	out := Config{
		ID: c.ID, Kind: c.Kind, Domain: c.Domain, OnFailure: c.OnFailure, MaxStanza: c.Limits.Stanza, MaxDepth: c.Limits.Depth,
		Upstream: Upstream{Address: c.Upstream.Address, TLS: c.Upstream.TLS, CA: path(c.Upstream.CA)},
	}
	for _, l := range c.Listen {
		out.Listen = append(out.Listen, Listener{Address: l.Address, TLS: l.TLS, Certificate: path(l.Certificate), Key: path(l.Key)})
	}
	if u := c.Uploads; u != nil {
		out.Uploads = &Uploads{Listen: u.Listen, Upstream: u.Upstream, Public: u.Public, Certificate: path(u.Certificate), Key: path(u.Key), MaxBytes: u.MaxBytes}
	}
	return out
}

// Check says what is wrong with a configuration, or nil.
func (c *Config) Check() error {
	var errs []error
	add := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("gateway %q: "+format, append([]any{c.ID}, args...)...))
		}
	}
	add(c.ID != "", "id is missing")
	add(c.Kind == "" || c.Kind == "xmpp", "kind %q is not xmpp", c.Kind)
	add(c.Domain != "", "domain is missing")
	add(len(c.Listen) > 0, "listen is missing: no client could connect")
	for _, l := range c.Listen {
		add(tlsMode(l.TLS, l.Address), "listen %s: tls %q is not starttls, direct, or off on loopback", l.Address, l.TLS)
		add(l.TLS == Off || l.Certificate != "" && l.Key != "", "listen %s: certificate and key are missing", l.Address)
	}
	add(c.Upstream.Address != "", "upstream.address is missing")
	add(tlsMode(c.Upstream.TLS, c.Upstream.Address), "upstream: tls %q is not starttls, direct, or off on loopback", c.Upstream.TLS)
	add(c.OnFailure == "" || c.OnFailure == "closed" || c.OnFailure == "open", "on_failure %q is neither closed nor open", c.OnFailure)
	if u := c.Uploads; u != nil {
		add(u.Listen != "" && u.Upstream != "", "uploads: listen and upstream are needed")
		add(u.Certificate != "" || len(c.Listen) > 0 && c.Listen[0].Certificate != "", "uploads: certificate and key are missing")
	}
	return errors.Join(errs...)
}

func tlsMode(mode, address string) bool {
	if mode == Off {
		host, _, err := net.SplitHostPort(address)
		ip := net.ParseIP(host)
		return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
	}
	return mode == "" || mode == StartTLS || mode == Direct
}

// newEvent returns an event of this gateway, happening now.
func (g *Gateway) newEvent(kind event.Kind) *event.Event {
	now := g.clock.Now()
	return &event.Event{ID: event.NewID(), Kind: kind, Time: now, Received: now, Connector: g.cfg.ID}
}

// judge asks for a judgement within the deadline.
func (g *Gateway) judge(ctx context.Context, e *event.Event) error {
	ctx, cancel := context.WithTimeout(ctx, g.times.Judge)
	defer cancel()
	return g.deps.Judge.Judge(ctx, e)
}

func (g *Gateway) exclude(room, reason string) {
	if x, ok := g.deps.Judge.(Excluder); ok {
		x.Exclude(g.cfg.ID, room, reason)
	}
}

// outcome records what became of an event. A failure is logged: the delivery itself is over.
func (g *Gateway) outcome(ctx context.Context, e *event.Event) {
	if err := g.deps.Judge.Outcome(ctx, e); err != nil {
		g.log.Warn("outcome not recorded", "kind", e.Kind, "phase", e.Phase, "error", err)
	}
}
