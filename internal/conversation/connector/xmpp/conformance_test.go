package xmpp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/connectortest"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
)

type talker struct{ *xmpptest.Client }

func (c talker) Handle() string {
	bare, _, _ := strings.Cut(c.JID(), "/")
	return bare
}

func (c talker) Heard(ctx context.Context) (string, error) {
	m, err := c.Next(ctx, func(m *xmpptest.Stanza) bool {
		return m.Local == "message" && m.Attr("type") != "error" && m.Body() != ""
	})
	if err != nil {
		return "", err
	}
	return m.Body(), nil
}

func (c talker) Refused(ctx context.Context) (string, error) {
	m, err := c.Next(ctx, func(m *xmpptest.Stanza) bool { return m.Local == "message" && m.Attr("type") == "error" })
	if err != nil {
		return "", err
	}
	return m.ErrorText(), nil
}

func TestConformance(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	prosody := startProsody(t, ctx)
	connectortest.Run(t, connectortest.Setting{Connector: "office", Start: func(t *testing.T, judge connector.Judge) (from, to connectortest.Client) {
		s := &setting{t: t, ctx: ctx, prosody: prosody}
		s.run(s.config(), judge)
		return talker{s.dial("alice")}, talker{s.dial("bob")}
	}})
}
