package xmpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

// Probed is what the server behind a gateway offers to the gateway.
type Probed struct {
	Mechanisms     []string // of SASL
	ChannelBinding bool     // clients that know it will not be able to sign in
	Compression    bool
}

// Probe connects to the server as a session would, and tells what it offers. It signs nobody in. `doctor` asks it.
func Probe(ctx context.Context, cfg Config) (*Probed, error) {
	g := &Gateway{cfg: cfg, log: slog.New(slog.DiscardHandler), times: Times{}.withDefaults()}
	g.cfg.Listen, g.cfg.Uploads = nil, nil
	if g.cfg.Upstream.TLS == "" {
		g.cfg.Upstream.TLS = StartTLS
	}
	g.limits.server = xmlstream.Limits{Bytes: serverStanza, Depth: 128, Attributes: 128, Elements: 10_000}
	if err := g.loadTLS(); err != nil {
		return nil, err
	}
	s := &session{g: g}
	s.server.timeout = g.times.Write
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Upstream.Address, err)
	}
	defer s.server.conn.Close()
	stop := context.AfterFunc(ctx, func() { s.server.conn.SetDeadline(past()) })
	defer stop()
	open := xmlstream.Escape([]byte("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='"+nsStream+"' version='1.0' to='"), cfg.Domain)
	if err := s.server.write(append(open, "'>"...)); err != nil {
		return nil, err
	}
	frame, err := nextSolid(s.server.framer)
	if err != nil {
		return nil, err
	}
	_, scope, err := xmlstream.ParseHeader(frame.Raw, g.limits.server)
	if err != nil {
		return nil, err
	}
	n, err := s.serverElement(s.server.framer, scope)
	if err != nil {
		return nil, err
	}
	s.server.write([]byte("</stream:stream>"))
	if n.Local != "features" {
		return nil, errors.New("the server does not serve " + cfg.Domain)
	}
	return offers(n), nil
}

func offers(features *xmlstream.Node) *Probed {
	p := &Probed{}
	for _, c := range features.Children {
		switch c.Local {
		case "mechanisms":
			for _, m := range c.Children {
				p.Mechanisms = append(p.Mechanisms, strings.TrimSpace(m.Text))
				p.ChannelBinding = p.ChannelBinding || strings.HasSuffix(strings.TrimSpace(m.Text), "-PLUS")
			}
		case "sasl-channel-binding":
			p.ChannelBinding = true
		case "compression":
			p.Compression = true
		}
	}
	return p
}
