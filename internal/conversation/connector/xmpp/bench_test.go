package xmpp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp"
	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/event"
)

type discard struct{}

func (discard) Record(context.Context, ...*event.Event) error { return nil }

// BenchmarkRelay sends messages through a gateway without inspectors to a server that signs everybody in and counts what comes. What it
// shows is the whole of both processes' work on loopback, so an upper bound of ours.
func BenchmarkRelay(b *testing.B) {
	got := make(chan struct{}, 1<<16)
	server := fakeServer(b, got)
	pipe := pipeline.New(pipeline.Config{Connector: "office"}, pipeline.Deps{Policy: cards{}, Recorder: discard{}})
	g, err := xmpp.New(xmpp.Config{ID: "office", Domain: domain, Listen: []xmpp.Listener{{Address: "127.0.0.1:0", TLS: xmpp.Off}},
		Upstream: xmpp.Upstream{Address: server, TLS: xmpp.Off}}, xmpp.Deps{Judge: pipe, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go pipe.Run(ctx)
	go g.Run(ctx)
	<-g.Ready()
	conn, err := net.Dial("tcp", g.Addresses()[0].String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	signIn(b, conn)
	go io.Copy(io.Discard, conn)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		fmt.Fprintf(conn, "<message to='bob@example.org' type='chat' id='%08d'><body>shall we meet at noon?</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>", i)
		<-got
	}
}

const answerHeader = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='example.org' id='1' version='1.0'>"

func signIn(b *testing.B, conn net.Conn) {
	b.Helper()
	r := make([]byte, 4096)
	header := strings.Replace(answerHeader, "from=", "to=", 1)
	for _, step := range []struct{ send, want string }{
		{header, "features>"}, {"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>", "success"},
		{header, "features>"}, {"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "jid"},
	} {
		io.WriteString(conn, step.send)
		conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		for all := ""; !strings.Contains(all, step.want); {
			n, err := conn.Read(r)
			if err != nil {
				b.Fatal(err)
			}
			all += string(r[:n])
		}
	}
	conn.SetReadDeadline(time.Time{})
}

// fakeServer signs in whoever comes and tells of each message.
func fakeServer(b *testing.B, got chan<- struct{}) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		f := xmlstream.NewFramer(conn, xmlstream.DefaultLimits)
		for {
			frame, err := f.Next()
			if err != nil {
				return
			}
			raw := string(frame.Raw[:min(12, len(frame.Raw))])
			switch {
			case frame.Kind == xmlstream.Header:
				io.WriteString(conn, answerHeader+"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>")
			case strings.HasPrefix(raw, "<auth"):
				f.Restart()
				io.WriteString(conn, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
			case strings.HasPrefix(raw, "<iq"):
				io.WriteString(conn, "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@example.org/r</jid></bind></iq>")
			case strings.HasPrefix(raw, "<message"):
				got <- struct{}{}
			}
		}
	}()
	return l.Addr().String()
}
