package classify_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// opaque are bytes that no decoder knows.
func opaque() flowtest.Chunk {
	return flowtest.Chunk{FromClient: true, Data: []byte("\x00\x01\x02\x03 opaque bytes of nobody knows what, longer than sixty-four of them in all.")}
}

// asks writes a question of a machine and its answer.
func asks(w *flowtest.Writer, who netip.AddrPort, name, server string) {
	w.UDP(who, resolver, flowtest.Question(name))
	w.UDP(resolver, who, flowtest.Answer(name, netip.MustParseAddr(server)))
}

// byEnds finds the finding of a flow by its ends.
func byEnds(t *testing.T, all []classify.Finding, client, server netip.AddrPort) classify.Finding {
	t.Helper()
	for _, f := range all {
		if f.Flow.Client == client.String() && f.Flow.Server == server.String() {
			return f
		}
	}
	t.Fatalf("%s → %s was not reported", client, server)
	return classify.Finding{}
}

// TestAnswersExpire: an answer explains connections for two hours, and using it once more begins them anew.
func TestAnswersExpire(t *testing.T) {
	edge := at("203.0.113.10:443")
	for _, c := range []struct {
		name  string
		write func(w *flowtest.Writer)
		want  string
	}{
		{"at once", func(*flowtest.Writer) {}, "pigeon"},
		{"after an hour", func(w *flowtest.Writer) { w.Wait(time.Hour) }, "pigeon"},
		{"just before", func(w *flowtest.Writer) { w.Wait(2*time.Hour - time.Second) }, "pigeon"},
		{"just after", func(w *flowtest.Writer) { w.Wait(2*time.Hour + time.Second) }, ""},
		{"asked again", func(w *flowtest.Writer) {
			w.Wait(90 * time.Minute)
			asks(w, from(2), "chat.pigeon.example", "203.0.113.10")
			w.Wait(90 * time.Minute)
		}, "pigeon"},
		{"used again by name", func(w *flowtest.Writer) {
			w.Wait(90 * time.Minute)
			handshake(t, w, 3, "203.0.113.10:443", "chat.pigeon.example")
			w.Wait(90 * time.Minute)
		}, "pigeon"},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			asks(w, from(1), "chat.pigeon.example", "203.0.113.10")
			c.write(w)
			w.TCP(from(9), edge, opaque())
		})
		if f := byEnds(t, got, from(9), edge); f.Flow.App != c.want {
			t.Errorf("%s: %q, want %q", c.name, f.Flow.App, c.want)
		}
	}
}

// TestWhoseAnswer: an answer is for who asked and for the address in it.
func TestWhoseAnswer(t *testing.T) {
	neighbour := at("10.0.0.8:50000")
	for _, c := range []struct {
		name           string
		client, server netip.AddrPort
		want           string
	}{
		{"who asked", from(9), at("203.0.113.10:443"), "pigeon"},
		{"another port of the address", from(9), at("203.0.113.10:9999"), "pigeon"},
		{"a neighbour", neighbour, at("203.0.113.10:443"), ""},
		{"the address beside it", from(9), at("203.0.113.11:443"), ""},
		{"TCP from the server to its client", at("203.0.113.10:443"), from(9), ""},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			asks(w, from(1), "chat.pigeon.example", "203.0.113.10")
			w.TCP(c.client, c.server, opaque())
		})
		f := byEnds(t, got, c.client, c.server)
		if f.Flow.App != c.want {
			t.Errorf("%s: %q, want %q", c.name, f.Flow.App, c.want)
		}
		if c.want != "" && (f.Flow.Confidence != event.Medium || f.Flow.Name != "chat.pigeon.example" || len(f.Evidence) != 1) {
			t.Errorf("%s: %+v, evidence %v", c.name, f.Flow, f.Evidence)
		}
	}
}

// TestDirectionOfTheMiddle: when nobody saw who began, an answer explains the flow whichever end speaks first.
func TestDirectionOfTheMiddle(t *testing.T) {
	edge := at("203.0.113.10:443")
	said := []byte("\x17\x03\x03\x00\x20 the middle of something encrypted")
	for _, c := range []struct {
		name  string
		write func(w *flowtest.Writer)
		ends  [2]netip.AddrPort
	}{
		{"TCP, the server first", func(w *flowtest.Writer) { w.Frame(flowtest.TCPFrame(edge, from(9), 1, 1, 0x18, said)) }, [2]netip.AddrPort{edge, from(9)}},
		{"TCP, the client first", func(w *flowtest.Writer) { w.Frame(flowtest.TCPFrame(from(9), edge, 1, 1, 0x18, said)) }, [2]netip.AddrPort{from(9), edge}},
		{"UDP, the server first", func(w *flowtest.Writer) { w.UDP(edge, from(9), []byte("opaque")) }, [2]netip.AddrPort{edge, from(9)}},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			asks(w, from(1), "chat.pigeon.example", "203.0.113.10")
			c.write(w)
		})
		if f := byEnds(t, got, c.ends[0], c.ends[1]); f.Flow.App != "pigeon" {
			t.Errorf("%s: %+v", c.name, f.Flow)
		}
	}
}

// TestSharedAddresses: an address that serves several explains nothing, for as long as the other name may still be used there.
func TestSharedAddresses(t *testing.T) {
	edge := at("203.0.113.10:443")
	for _, c := range []struct {
		name  string
		asked []string
		wait  time.Duration
		want  string
	}{
		{"one messenger", []string{"chat.pigeon.example"}, 0, "pigeon"},
		{"two names of one", []string{"chat.pigeon.example", "www.pigeon.example"}, 0, "pigeon"},
		{"two messengers", []string{"chat.pigeon.example", "chat.raven.example"}, 0, ""},
		{"two messengers, the other way round", []string{"chat.raven.example", "chat.pigeon.example"}, 0, ""},
		{"two messengers, the first once more", []string{"chat.pigeon.example", "chat.raven.example", "chat.pigeon.example"}, 0, ""},
		{"a messenger and a site", []string{"chat.pigeon.example", "www.example.org"}, 0, ""},
		{"a site and a messenger", []string{"www.example.org", "chat.pigeon.example"}, 0, ""},
		{"a messenger, long after a site", []string{"www.example.org", "chat.pigeon.example"}, 3 * time.Hour, "pigeon"},
		{"a name and a shared one of the same", []string{"chat.pigeon.example", "login.bird.example"}, 0, "pigeon"},
		{"a shared one and a name of the same", []string{"login.bird.example", "chat.pigeon.example"}, 0, "pigeon"},
		{"a shared name alone", []string{"login.bird.example"}, 0, ""},
		{"a site", []string{"www.example.org"}, 0, ""},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			for i, name := range c.asked {
				asks(w, from(1+i), name, "203.0.113.10")
				w.Wait(c.wait)
			}
			if c.wait > 0 { // the last answer is fresh
				asks(w, from(8), c.asked[len(c.asked)-1], "203.0.113.10")
			}
			w.TCP(from(9), edge, opaque())
		})
		if f := byEnds(t, got, from(9), edge); f.Flow.App != c.want {
			t.Errorf("%s: %q, want %q", c.name, f.Flow.App, c.want)
		}
	}
}

// TestOwnNameGoesBeforeAll: what a flow says of itself outweighs what others taught and where its server stands.
func TestOwnNameGoesBeforeAll(t *testing.T) {
	for _, c := range []struct{ name, own, want string }{
		{"another messenger", "chat.raven.example", "raven"}, {"a site", "www.example.org", ""}, {"the same", "chat.pigeon.example", "pigeon"},
		{"a name that only ends alike", "notpigeon.example", ""}, {"a name below another", "pigeon.example.org", ""},
	} {
		server := "198.51.100.9:443" // pigeon's own range
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) {
			asks(w, from(1), "chat.pigeon.example", "198.51.100.9")
			handshake(t, w, 9, server, c.own)
		})
		f := byEnds(t, got, from(9), at(server))
		if f.Flow.App != c.want || f.Flow.Name != c.own {
			t.Errorf("%s: %+v", c.name, f.Flow)
		}
		for _, e := range f.Evidence {
			if c.want == "raven" && e.Value != c.own {
				t.Errorf("%s: evidence %+v", c.name, e)
			}
		}
	}
}

// TestWeakAddresses: where a server stands says little, and nothing of a flow whose protocol is known.
func TestWeakAddresses(t *testing.T) {
	for _, c := range []struct {
		name   string
		server string
		said   flowtest.Chunk
		want   string
	}{
		{"opaque, in the range", "198.51.100.9:443", opaque(), "pigeon"},
		{"opaque, at its first address", "198.51.100.0:443", opaque(), "pigeon"},
		{"opaque, at its last address", "198.51.100.255:443", opaque(), "pigeon"},
		{"opaque, beside the range", "198.51.101.0:443", opaque(), ""},
		{"an invitation, in the range", "198.51.100.9:5060", flowtest.Chunk{FromClient: true, Data: []byte("INVITE sip:a@b SIP/2.0\r\n\r\n")}, ""},
		{"a request without a name", "198.51.100.9:80", flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.0\r\n\r\n")}, ""},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) { w.TCP(from(1), at(c.server), c.said) })
		f := got[0]
		if f.Flow.App != c.want || c.want != "" && (f.Flow.Confidence != event.Low || f.Evidence[0].Source == "") {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// TestServices: a name of a part of a messenger says which part, and a later name of another part does not take it away.
func TestServices(t *testing.T) {
	for _, c := range []struct{ question, app, service string }{
		{"turn.pigeon.example", "pigeon", "call"}, {"eu.turn.pigeon.example", "pigeon", "call"}, {"www.pigeon.example", "pigeon", ""}, {"pigeon.example", "pigeon", ""},
		{"PIGEON.Example", "pigeon", ""}, {"raven.example", "raven", ""}, {"xturn.pigeon.example", "pigeon", ""}, {"example", "", ""},
	} {
		got := classified(t, pigeons(t), flow.Limits{}, func(w *flowtest.Writer) { w.UDP(from(1), resolver, flowtest.Question(c.question)) })
		if f := got[0].Flow; f.App != c.app || f.Service != c.service {
			t.Errorf("%s: %s/%s", c.question, f.App, f.Service)
		}
	}
}

// TestEvidenceIsTheSameEachTime: of a signature with several values the same one is written down, run after run.
func TestEvidenceIsTheSameEachTime(t *testing.T) {
	c := pigeons(t, `transport: tcp, decoder: http, match: {path: "/bird/*", agent: "Pigeon/*", method: GET}, confidence: high`)
	for range 40 {
		got := classified(t, c, flow.Limits{}, func(w *flowtest.Writer) {
			w.TCP(from(1), at("192.0.2.1:80"), flowtest.Chunk{FromClient: true, Data: []byte("GET /bird/coo HTTP/1.1\r\nUser-Agent: Pigeon/1\r\n\r\n")})
		})
		if len(got) != 1 || len(got[0].Evidence) != 1 || got[0].Evidence[0].Value != "http agent=Pigeon/*" {
			t.Fatalf("evidence %+v", got[0].Evidence)
		}
	}
}

// TestFactsWithoutMeaning: facts of decoders that no signature names leave a flow without a messenger.
func TestFactsWithoutMeaning(t *testing.T) {
	var got []classify.Finding
	k := classify.New(pigeons(t), classify.Options{Report: func(f *classify.Finding) { got = append(got, *f) }})
	f := &flow.Flow{Proto: 6, Client: flow.EndOf(from(1)), Server: flow.EndOf(at("192.0.2.1:443")), Last: flow.MomentOf(start), Packets: 3}
	k.Opened(f)
	for _, d := range decode.Decoders() {
		k.Learned(f, []decode.Fact{{Decoder: d.Name}})
	}
	k.Learned(f, []decode.Fact{{Decoder: "nobody"}, {}})
	k.Settled(f)
	k.Closed(f, false)
	if len(got) != 1 || got[0].Flow.App != "" || len(got[0].Evidence) != 0 || f.State != 0 {
		t.Errorf("%+v", got)
	}
}
