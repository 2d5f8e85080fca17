package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/event"
)

// seen is one observed flow of a machine.
func seen(host, proto, server string, packets, bytes int64, change ...func(*event.Event)) archive.Observed {
	e := &event.Event{Kind: event.FlowSeen, Time: testNoon, Host: event.Host{Name: host, Address: "10.0.0.5"},
		Content: event.Content{Flow: &event.Flow{Proto: proto, Client: "10.0.0.5:40000", Server: server, Packets: packets, Bytes: bytes}}}
	for _, c := range change {
		c(e)
	}
	return archive.Observed{Event: e, Last: e.Time.Add(time.Minute), Times: 1}
}

func named(name string) func(*event.Event) { return func(e *event.Event) { e.Flow.Name = name } }
func ofApp(app string) func(*event.Event)  { return func(e *event.Event) { e.Flow.App = app } }
func later(d time.Duration) func(*event.Event) {
	return func(e *event.Event) { e.Time = e.Time.Add(d) }
}
func withTLS(e *event.Event) { e.Flow.JA4 = "t13d1516h2_8daaf6152771_02713d6af862" }

// peers are flows to n different addresses.
func peers(n int, proto, port string, change ...func(*event.Event)) []archive.Observed {
	var out []archive.Observed
	for i := range n {
		out = append(out, seen("h", proto, fmt.Sprintf("198.51.100.%d:%s", i+1, port), 10, 1200, change...))
	}
	return out
}

// TestSuspects: what makes a machine worth a look, and what does not: most of what is unknown is nobody's messenger.
func TestSuspects(t *testing.T) {
	hours := func(n int, server string, change ...func(*event.Event)) []archive.Observed {
		var out []archive.Observed
		for i := range n {
			out = append(out, seen("h", "tcp", server, 20, 900, append(change, later(time.Duration(i)*time.Hour))...))
		}
		return out
	}
	for name, c := range map[string]struct {
		seen []archive.Observed
		want string // names of the signs
	}{
		"nothing":                     {nil, ""},
		"many peers":                  {peers(20, "udp", "33033"), "peer to peer"},
		"not so many peers":           {peers(19, "udp", "33033"), ""},
		"name servers":                {peers(40, "udp", "53"), ""},
		"peers with names":            {peers(40, "udp", "33033", named("x.example")), ""},
		"peers of a known messenger":  {peers(40, "udp", "33033", ofApp("skype")), ""},
		"one peer many times":         {append(peers(1, "udp", "33033"), peers(1, "udp", "33034")...), ""},
		"speech":                      {[]archive.Observed{seen("h", "udp", "198.51.100.7:50000", 3000, 600_000)}, "like speech"},
		"a download by UDP":           {[]archive.Observed{seen("h", "udp", "198.51.100.7:50000", 3000, 3_600_000)}, ""},
		"keep-alive by UDP":           {[]archive.Observed{seen("h", "udp", "198.51.100.7:50000", 3000, 120_000)}, ""},
		"speech inside":               {[]archive.Observed{seen("h", "udp", "10.9.9.9:50000", 3000, 600_000)}, ""},
		"443 without TLS":             {[]archive.Observed{seen("h", "tcp", "198.51.100.7:443", 60, 50_000)}, "no handshake that we know"},
		"443 with TLS and no name":    {[]archive.Observed{seen("h", "tcp", "198.51.100.7:443", 60, 50_000, withTLS)}, ""},
		"443 that came to nothing":    {[]archive.Observed{seen("h", "tcp", "198.51.100.7:443", 3, 180)}, ""},
		"an odd port alone":           {[]archive.Observed{seen("h", "tcp", "198.51.100.7:27015", 60, 50_000)}, ""},
		"an odd port beside speech":   {[]archive.Observed{seen("h", "tcp", "198.51.100.7:27015", 60, 50_000), seen("h", "udp", "198.51.100.7:50000", 3000, 600_000)}, "like speech, unknown on an odd port"},
		"keeps coming back":           {hours(4, "198.51.100.7:5222"), "keeps coming back"},
		"came thrice":                 {hours(3, "198.51.100.7:5222"), ""},
		"keeps coming back to a name": {hours(9, "198.51.100.7:443", named("mail.example")), ""},
		"an address that is none":     {[]archive.Observed{seen("h", "udp", "nonsense", 3000, 600_000), seen("h", "udp", "[::1]:50000", 3000, 600_000)}, ""},
		"a question is no flow":       {[]archive.Observed{{Event: &event.Event{Content: event.Content{Question: &event.Question{Name: "x"}}}}}, ""},
		"IPv6":                        {[]archive.Observed{seen("h", "udp", "[2001:db8::7]:50000", 3000, 600_000)}, "like speech"},
		"packets that nobody counted": {[]archive.Observed{seen("h", "udp", "198.51.100.7:50000", 0, 600_000)}, ""},
	} {
		got := suspects(c.seen)
		var names []string
		for _, s := range got {
			for _, x := range s.Signs {
				names = append(names, x.Name)
			}
			if len(s.Flows) == 0 || s.First.IsZero() || s.Last.Before(s.First) {
				t.Errorf("%s: it does not show what it speaks of: %+v", name, s)
			}
		}
		if s := strings.Join(names, ", "); s != c.want || len(got) > 1 {
			t.Errorf("%s: %q of %d machines, want %q", name, s, len(got), c.want)
		}
	}
}

// TestSuspectsInOrder: the machine that more speaks for comes first, each with its own flows, and only so many of them.
func TestSuspectsInOrder(t *testing.T) {
	other := func(e *event.Event) { e.Host = event.Host{Address: "10.0.0.9", Person: "bob"} }
	list := append(peers(40, "udp", "33033"), seen("h", "udp", "198.51.100.200:50000", 3000, 600_000), seen("", "tcp", "198.51.100.7:443", 60, 5_000_000, other))
	got := suspects(list)
	if len(got) != 2 || got[0].Host.Name != "h" || len(got[0].Signs) != 2 || got[1].Host.Person != "bob" || len(got[1].Flows) != 1 {
		t.Fatalf("suspects are %+v", got)
	}
	if len(got[0].Flows) != shownFlows || got[0].More != 41-shownFlows || got[0].Flows[0].Event.Flow.Bytes != 600_000 {
		t.Errorf("%d flows and %d more are shown", len(got[0].Flows), got[0].More)
	}
	nobody := suspects([]archive.Observed{seen("", "tcp", "198.51.100.7:443", 60, 50_000, func(e *event.Event) { e.Host = event.Host{} })})
	if len(nobody) != 1 || nobody[0].Host.Address != "10.0.0.5" {
		t.Errorf("a machine that nobody knows is %+v", nobody)
	}
}

func BenchmarkSuspects(b *testing.B) {
	var list []archive.Observed
	for i := range suspiciousRows {
		list = append(list, seen(fmt.Sprint("h", i%200), "udp", fmt.Sprintf("198.51.%d.%d:33033", i%250, i%199+1), 10, 1200))
	}
	for b.Loop() {
		if len(suspects(list)) == 0 {
			b.Fatal("nobody")
		}
	}
}
