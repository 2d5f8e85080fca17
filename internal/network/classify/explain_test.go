package classify_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// TestConsider: what a flow was compared with, what holds first, and of the rest what was missing.
func TestConsider(t *testing.T) {
	c := pigeons(t, `transport: tcp, decoder: http, match: {agent: "Pigeon/*"}, confidence: high`, `transport: udp, decoder: http, confidence: high`,
		`transport: tcp, decoder: http, match: {port: "81", agent: "*"}, confidence: high`, `transport: tcp, decoder: http, match: {address: own}, confidence: high`)
	k := classify.New(c, classify.Options{Report: func(*classify.Finding) {}})
	asked := &flow.Flow{Proto: 17, Client: flow.EndOf(from(9)), Server: flow.EndOf(resolver), Last: flow.MomentOf(start)}
	k.Opened(asked)
	k.Learned(asked, []decode.Fact{{Decoder: "dns", Attrs: []decode.Attr{{Key: "name", Value: "chat.raven.example"}, {Key: "answer", Value: "192.0.2.1"}}}})
	f := &flow.Flow{Proto: 6, Client: flow.EndOf(from(1)), Server: flow.EndOf(at("192.0.2.1:80")), Last: flow.MomentOf(start)}
	facts := func(agent, name string) []decode.Fact {
		return []decode.Fact{{Decoder: "http", Attrs: []decode.Attr{{Key: "agent", Value: agent}, {Key: "name", Value: name}}}}
	}
	find := func(list []classify.Considered, app, fact string) (classify.Considered, int) {
		t.Helper()
		for i, x := range list {
			if x.App == app && x.Fact == fact {
				return x, i
			}
		}
		t.Errorf("nothing about %s, %s in %+v", app, fact, list)
		return classify.Considered{}, 0
	}
	got := k.Consider(f, append(facts("Browser/1", "login.bird.example"), facts("Pigeon/1", "www.example.org")...))
	for _, want := range []struct {
		app, fact string
		holds     bool
		why       string
	}{
		{"pigeon", "traffic:s0", true, "agent=Pigeon/*"},
		{"pigeon", "traffic:s1", false, "it is for udp"},
		{"pigeon", "traffic:s2", false, "port is 80, wants 81"},
		{"pigeon", "traffic:s3", false, "192.0.2.1 is no address of pigeon"},
		{"pigeon", "http name:login.bird.example", false, "it names nobody"},
		{"", "http name", false, "www.example.org, which no messenger claims"},
		{"raven", "answer name:raven.example", true, "asked for or used chat.raven.example at 192.0.2.1"},
	} {
		if x, _ := find(got, want.app, want.fact); x.Holds != want.holds || !strings.Contains(x.Why, want.why) {
			t.Errorf("%+v, want %+v", x, want)
		}
	}
	if !got[0].Holds || got[len(got)-1].Holds {
		t.Errorf("what holds does not stand first: %+v", got)
	}
	if x, _ := find(k.Consider(f, facts("Browser/1", "")), "pigeon", "traffic:s0"); !strings.Contains(x.Why, `agent is "Browser/1", wants "Pigeon/*"`) {
		t.Errorf("%+v", x)
	}
	own := &flow.Flow{Proto: 6, Client: flow.EndOf(from(1)), Server: flow.EndOf(netip.MustParseAddrPort("198.51.100.9:443")), Last: flow.MomentOf(start)}
	if x, _ := find(k.Consider(own, nil), "pigeon", "address:198.51.100.0/24"); !x.Holds || x.Strength > 500 {
		t.Errorf("%+v", x)
	}
}

// TestRenew: after Renew the signatures of the changed catalog count.
func TestRenew(t *testing.T) {
	now := pigeons(t)
	k := classify.New(changing{&now}, classify.Options{Report: func(f *classify.Finding) {}})
	now = pigeons(t, `transport: tcp, decoder: http, match: {agent: "Pigeon/*"}, confidence: high`)
	f := &flow.Flow{Proto: 6, Client: flow.EndOf(from(1)), Server: flow.EndOf(at("192.0.2.1:80")), Last: flow.MomentOf(start)}
	facts := []decode.Fact{{Decoder: "http", Attrs: []decode.Attr{{Key: "agent", Value: "Pigeon/1"}}}}
	if got := k.Consider(f, facts); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	k.Renew()
	if got := k.Consider(f, facts); len(got) != 1 || !got[0].Holds {
		t.Errorf("%+v", got)
	}
}

// changing is a catalog that another takes the place of.
type changing struct{ now **catalog.Catalog }

func (c changing) ByName(host string) []catalog.Match        { return (*c.now).ByName(host) }
func (c changing) ByAddress(addr netip.Addr) []catalog.Match { return (*c.now).ByAddress(addr) }
func (c changing) Traffic() []catalog.TrafficSignature       { return (*c.now).Traffic() }
