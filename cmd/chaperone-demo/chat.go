package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmpptest"
	"github.com/chaperone-im/chaperone/internal/inspect/malware/clamdtest"
)

// soon bounds a wait for a peer.
func (s *stage) soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, time.Minute)
}

// hears waits for a message with that id.
func (s *stage) hears(c *xmpptest.Client, id string) (*xmpptest.Stanza, error) {
	ctx, cancel := s.soon()
	defer cancel()
	m, err := c.Message(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("message %s did not come: %w", id, err)
	}
	return m, nil
}

func (s *stage) onRecord(query string, want ...string) error {
	_, err := s.prove(want, append([]string{"search", query}, s.reading()...)...)
	return err
}

func (s *stage) message() error {
	if err := s.alice.Say(s.ctx, "bob@example.org", "hello", "Good morning Bob, the figures are ready"); err != nil {
		return err
	}
	m, err := s.hears(s.bob, "hello")
	if err != nil {
		return err
	}
	s.say("Bob's client got: %s", m.XML)
	return s.onRecord(`"figures are ready"`, "Good morning Bob", "allow")
}

func (s *stage) card() error {
	if err := s.alice.Say(s.ctx, "bob@example.org", "card", "my card is 4111 1111 1111 1111"); err != nil {
		return err
	}
	refused, err := s.hears(s.alice, "card")
	if err != nil {
		return err
	}
	if refused.Attr("type") != "error" || !strings.Contains(refused.XML, "Card numbers may not be sent by chat") {
		return fmt.Errorf("the sender got no words: %s", refused.XML)
	}
	s.say("Alice's client got: %s", refused.XML)
	if err := s.neverCame(s.bob, "card", "after-card"); err != nil {
		return err
	}
	s.say("Bob got nothing of it: the next message from Alice came first.")
	return s.onRecord("rule:cards", "block", "cards")
}

// neverCame sends one more message and sees that it comes with nothing of the other before it.
func (s *stage) neverCame(c *xmpptest.Client, id, next string) error {
	if err := s.alice.Say(s.ctx, "bob@example.org", next, "still there?"); err != nil {
		return err
	}
	ctx, cancel := s.soon()
	defer cancel()
	m, err := c.Next(ctx, func(m *xmpptest.Stanza) bool {
		return m.Local == "message" && (m.Attr("id") == id || m.Attr("id") == next)
	})
	if err != nil {
		return err
	}
	if m.Attr("id") == id {
		return fmt.Errorf("it was delivered: %s", m.XML)
	}
	return nil
}

func (s *stage) versions() error {
	for _, m := range []struct{ id, xml string }{
		{"v1", "<message to='bob@example.org' type='chat' id='v1'><body>The price is 40 dolars</body></message>"},
		{"v2", "<message to='bob@example.org' type='chat' id='v2'><body>The price is 40 dollars</body><replace id='v1' xmlns='urn:xmpp:message-correct:0'/></message>"},
		{"v3", "<message to='bob@example.org' type='chat' id='v3'><retract id='v1' xmlns='urn:xmpp:message-retract:1'/><body>/me retracted a previous message</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/></message>"},
	} {
		if err := s.alice.Send(s.ctx, m.xml); err != nil {
			return err
		}
		if _, err := s.hears(s.bob, m.id); err != nil {
			return err
		}
	}
	return s.onRecord(`person:alice (price OR kind:retraction)`, "dolars", "dollars", "edit", "retraction")
}

const room = "desk@rooms.example.org"

func (s *stage) group() error {
	for _, c := range []struct {
		client *xmpptest.Client
		nick   string
	}{{s.alice, "alice"}, {s.bob, "bob"}} {
		if err := c.client.Send(s.ctx, "<presence to='"+room+"/"+c.nick+"'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"); err != nil {
			return err
		}
		ctx, cancel := s.soon()
		_, err := c.client.Next(ctx, func(m *xmpptest.Stanza) bool {
			return m.Local == "presence" && m.Attr("from") == room+"/"+c.nick
		})
		cancel()
		if err != nil {
			return fmt.Errorf("%s does not get into the room: %w", c.nick, err)
		}
		if c.nick != "alice" {
			continue
		}
		// a new room is locked until its owner has accepted its defaults (XEP-0045, section 10.1.2)
		if err := s.alice.Send(s.ctx, "<iq type='set' to='"+room+"' id='instant'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"); err != nil {
			return err
		}
	}
	if err := s.bob.Send(s.ctx, "<message to='"+room+"' type='groupchat' id='g1'><body>Quarter closes on Friday</body></message>"); err != nil {
		return err
	}
	m, err := s.hears(s.alice, "g1")
	if err != nil {
		return err
	}
	s.say("Alice's client got: %s", m.XML)
	return s.onRecord("room:"+room, "Quarter closes", "join")
}

func (s *stage) upload() error {
	put, err := s.slot("invoice.txt", len(clamdtest.EICAR()))
	if err != nil {
		return err
	}
	address, err := url.Parse(put)
	if err != nil {
		return err
	}
	address.Host = s.uploads // the name in the address is the domain's; here it is this machine
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPut, address.String(), strings.NewReader(string(clamdtest.EICAR())))
	if err != nil {
		return err
	}
	trust := s.prosody.TLS()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust.RootCAs, ServerName: "example.org"}}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	s.say("The upload got: %s %s", resp.Status, strings.TrimSpace(string(body)))
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "malware") {
		return errors.New("it was not stopped with words")
	}
	return s.onRecord("kind:file", "invoice.txt", "block", "malware")
}

func (s *stage) slot(name string, size int) (string, error) {
	const ns = "urn:xmpp:http:upload:0"
	if err := s.alice.Send(s.ctx, fmt.Sprintf("<iq type='get' id='slot' to='upload.example.org'><request xmlns='%s' filename='%s' size='%d' content-type='text/plain'/></iq>", ns, name, size)); err != nil {
		return "", err
	}
	ctx, cancel := s.soon()
	defer cancel()
	i, err := s.alice.Next(ctx, func(i *xmpptest.Stanza) bool { return i.Local == "iq" && i.Attr("id") == "slot" })
	if err != nil {
		return "", err
	}
	slot := i.Child(ns, "slot")
	if slot == nil || slot.Child(ns, "put") == nil {
		return "", fmt.Errorf("no upload slot: %s", i.XML)
	}
	return slot.Child(ns, "put").Attr("url"), nil
}
