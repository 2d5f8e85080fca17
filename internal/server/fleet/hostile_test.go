package fleet_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

// dial connects as an enrolled machine, by hand.
func (a *agent) dial() *tls.Conn {
	a.r.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.dir+"/agent.crt", a.dir+"/agent.key")
	if err != nil {
		a.r.t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", a.r.address, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{protocol.Streaming}, Certificates: []tls.Certificate{pair}})
	if err != nil {
		a.r.t.Fatal(err)
	}
	a.r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		a.r.t.Fatal(err)
	}
	return conn
}

// hello greets, and reads until a frame of a kind comes.
func (a *agent) hello(conn *tls.Conn, until protocol.Kind) []byte {
	a.r.t.Helper()
	if err := protocol.Send(conn, protocol.HelloFrame, protocol.Hello{Protocol: 1, Name: "another name", Spool: "s"}); err != nil {
		a.r.t.Fatal(err)
	}
	return await(a.r.t, conn, until)
}

func await(t *testing.T, conn *tls.Conn, until protocol.Kind) []byte {
	t.Helper()
	for {
		kind, payload, err := protocol.Read(conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == until {
			return payload
		}
	}
}

// TestAgentIsNotBelieved: an agent says who others are, and is not believed; it says what agents may not, and that is on record as just that.
func TestAgentIsNotBelieved(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	conn := a.dial()
	a.hello(conn, protocol.BundleFrame)
	encode := func(e *event.Event) protocol.Item {
		body, err := protocol.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		return protocol.Item{Kind: protocol.EventItem, Body: body}
	}
	id := event.NewID()
	items := protocol.Items{First: 1, List: []protocol.Item{
		encode(&event.Event{ID: id, Kind: event.FindingHit, Time: time.Now().Add(48 * time.Hour), Connector: "office", Host: event.Host{Name: "laptop-1", Person: "bob"}, Room: event.Room{Name: "desk"}, To: []event.Party{{Handle: "x"}}}),
		encode(&event.Event{ID: event.NewID(), Kind: event.Message, Content: event.Content{Text: "I never wrote that"}}),
		encode(&event.Event{ID: event.NewID(), Kind: event.Act, Phase: "hold.release", Content: event.Content{Act: &event.ActDetail{Action: "hold.release"}}}),
		{Kind: protocol.EventItem, Body: []byte("nonsense")},
		{Kind: protocol.InventoryItem, Body: []byte("{")},
		{Kind: protocol.ReportItem, Body: []byte(`{"order":"nothing-do"}`)},
	}}
	send := func() {
		if _, err := conn.Write(protocol.Frame(protocol.ItemsFrame, items.Append(nil))); err != nil {
			t.Fatal(err)
		}
		if n, err := protocol.ParseAck(await(t, conn, protocol.AckFrame)); err != nil || n != 6 {
			t.Fatal(n, err)
		}
	}
	send()
	send() // twice is once
	found := r.found.list()
	if len(found) != 5 {
		t.Fatalf("%d on record", len(found))
	}
	e := found[0]
	if e.Host.Name != "laptop-17" || e.Host.Person != "alice" || e.Connector != "agent" || e.Room.Name != "" || e.To != nil || time.Until(e.Time) > time.Minute || e.ID == id {
		t.Errorf("believed: %+v", e)
	}
	for _, e := range found[1:] {
		if e.Kind != event.Gap || e.Reason != event.ReasonUndecodable || len(e.Raw) == 0 {
			t.Errorf("%+v", e)
		}
	}
	if h, err := r.Host(a.id(t)); err != nil || h.Name != "laptop-17" {
		t.Errorf("it took another name: %+v", h)
	}
}

// id is the host's id, of an agent that is not run.
func (a *agent) id(t *testing.T) string {
	for _, h := range a.r.Hosts() {
		if h.Name == a.name {
			return h.ID
		}
	}
	t.Fatal("no such host")
	return ""
}

// TestHostileStreams: what is no protocol ends the stream, and only that.
func TestHostileStreams(t *testing.T) {
	r := newRig(t)
	good := r.enrol("laptop-18")
	good.run()
	good.next()
	a := r.enrol("laptop-17")
	for name, raw := range map[string][]byte{
		"no frame":        []byte("GET / HTTP/1.1\r\n\r\n"),
		"four gigabytes":  {byte(protocol.ItemsFrame), 0xff, 0xff, 0xff, 0xff},
		"a server's":      protocol.Frame(protocol.AckFrame, protocol.AckNumber(1)),
		"items of none":   protocol.Frame(protocol.ItemsFrame, []byte{1, 0}),
		"a broken get":    protocol.Frame(protocol.GetFrame, []byte{1}),
		"another's renew": protocol.Frame(protocol.RenewFrame, []byte{0x30}),
		"another hello":   protocol.Frame(protocol.HelloFrame, []byte(`{"protocol":1}`)),
	} {
		conn := a.dial()
		a.hello(conn, protocol.BundleFrame)
		if _, err := conn.Write(raw); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the stream goes on", name)
		}
	}
	conn := a.dial()
	if err := protocol.Send(conn, protocol.HelloFrame, protocol.Hello{Protocol: 1, Host: 1 << 62}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a generation beyond all bounds is taken")
	}
	if h, err := r.Host(good.ID()); err != nil || !h.Seen.Online {
		t.Error("another agent's stream ended with it")
	}
	// A part that nobody has is answered as none, and the second connection of a host ends its first.
	conn = a.dial()
	a.hello(conn, protocol.BundleFrame)
	if _, err := conn.Write(protocol.Frame(protocol.GetFrame, protocol.Get{Offset: 1 << 60}.Encode())); err != nil {
		t.Fatal(err)
	}
	if p, err := protocol.ParsePiece(await(t, conn, protocol.PieceFrame)); err != nil || len(p.Bytes) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	a.hello(a.dial(), protocol.WelcomeFrame)
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("one host has two streams")
	}
}

// TestFloodWaits: an agent that says more than it may is slowed down, and nobody else.
func TestFloodWaits(t *testing.T) {
	r := newRig(t)
	a := r.enrol("laptop-17")
	conn := a.dial()
	a.hello(conn, protocol.BundleFrame)
	const pings = 260 // 60 more than at once, at 20 a second
	begin := time.Now()
	if _, err := conn.Write(bytes.Repeat(protocol.Frame(protocol.PingFrame, nil), pings)); err != nil {
		t.Fatal(err)
	}
	for range pings {
		await(t, conn, protocol.PongFrame)
	}
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("%d frames in %v", pings, took)
	}
}

// TestStrangersStayOut: without TLS 1.3, without a certificate, with another's, and half open for ever.
func TestStrangersStayOut(t *testing.T) {
	r, other := newRig(t), newRig(t)
	stranger := other.enrol("laptop-17")
	pair, err := tls.LoadX509KeyPair(stranger.dir+"/agent.crt", stranger.dir+"/agent.key")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*tls.Config{
		"no protocol":    {},
		"TLS 1.2":        {MaxVersion: tls.VersionTLS12, NextProtos: []string{protocol.Streaming}},
		"no certificate": {NextProtos: []string{protocol.Streaming}},
		"another fleet":  {NextProtos: []string{protocol.Streaming}, Certificates: []tls.Certificate{pair}},
	} {
		c.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", r.address, c)
		if err != nil {
			continue
		}
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		protocol.Send(conn, protocol.HelloFrame, protocol.Hello{Protocol: 1})
		if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it comes in (%v)", name, err)
		}
		conn.Close()
	}
	var open []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	a := r.enrol("laptop-17")
	a.run()
	a.next()
	for _, conn := range open {
		conn.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Approve(ctx, "admin", "nobody"); err == nil {
		t.Error("nobody was approved")
	}
}
