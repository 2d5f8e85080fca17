package flow_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
)

const request = "GET /a HTTP/1.1\r\nHost: web.example.org\r\n\r\n"

// said is a segment of the client's, whose numbers begin at 100.
func said(from, to int) []byte {
	return flowtest.TCPFrame(client, server, uint32(101+from), 1, psh|ack, []byte(request[from:to]))
}

// TestSegments: the request is read however its segments come, and not when one of them does not.
func TestSegments(t *testing.T) {
	open := flowtest.TCPFrame(client, server, 100, 0, syn, nil)
	accept := flowtest.TCPFrame(server, client, 0, 101, syn|ack, nil)
	all := len(request)
	changed := func(from, to int) []byte {
		return flowtest.TCPFrame(client, server, uint32(101+from), 1, psh|ack, []byte(strings.Repeat("X", to-from)))
	}
	for _, c := range []struct {
		name   string
		frames [][]byte
		found  bool
		middle bool
	}{
		{"in one", [][]byte{open, accept, said(0, all)}, true, false},
		{"without an answer to the SYN", [][]byte{open, said(0, all)}, true, false},
		{"without a SYN", [][]byte{said(0, all)}, true, true},
		{"the answer to the SYN first", [][]byte{accept, open, said(0, all)}, true, false},
		{"the SYN is sent again", [][]byte{open, open, accept, said(0, 9), open, said(9, all)}, true, false},
		{"sent again", [][]byte{open, said(0, 9), said(0, 9), said(9, all), said(9, all)}, true, false},
		{"sent again in larger segments", [][]byte{open, said(0, 9), said(0, 20), said(0, all)}, true, false},
		{"sent again in smaller segments", [][]byte{open, said(0, 20), said(5, 9), said(9, 22), said(20, all)}, true, false},
		{"sent again with other bytes", [][]byte{open, said(0, 25), changed(10, 25), said(25, all)}, true, false},
		{"backwards", [][]byte{open, said(30, all), said(20, 30), said(10, 20), said(0, 10)}, true, false},
		{"keep-alives of a byte before", [][]byte{open, said(0, 20), said(19, 20), said(20, all)}, true, false},
		{"with the SYN", [][]byte{flowtest.TCPFrame(client, server, 100, 0, syn, []byte(request)), accept}, true, false},
		{"the beginning with the SYN", [][]byte{flowtest.TCPFrame(client, server, 100, 0, syn, []byte(request[:9])), accept, said(9, all)}, true, false},
		{"with the SYN, and again because the server took none", [][]byte{flowtest.TCPFrame(client, server, 100, 0, syn, []byte(request[:9])), accept, said(0, all)}, true, false},
		{"a segment is lost", [][]byte{open, said(0, 10), said(20, all)}, false, false},
		{"the first is lost", [][]byte{open, said(10, all)}, false, false},
		{"nothing is said", [][]byte{open, accept, flowtest.TCPFrame(client, server, 101, 1, ack, nil)}, false, false},
	} {
		got, counts, err := read(t, pcap(t, 1, c.frames...), flow.Limits{})
		if err != nil || len(got.closed) != 1 || counts.Packets != int64(len(c.frames)) {
			t.Errorf("%s: %d flows, %d packets, %v", c.name, len(got.closed), counts.Packets, err)
			continue
		}
		f := got.closed[0]
		found := len(got.facts) == 1 && got.facts[0].Get("name") == "web.example.org"
		if found != c.found || f.Client.AddrPort() != client || f.Middle != c.middle {
			t.Errorf("%s: found %v, client %s, middle %v", c.name, got.facts, f.Client, f.Middle)
		}
		if got.settled != 1 {
			t.Errorf("%s: settled %d times", c.name, got.settled)
		}
	}
}

// TestWhoBegan: the client is who sent the SYN, whoever was heard first, and each direction is counted for itself.
func TestWhoBegan(t *testing.T) {
	same := netip.MustParseAddrPort("192.0.2.1:50000") // the client's port on the server
	for _, c := range []struct {
		name        string
		frames      [][]byte
		client      netip.AddrPort
		there, back int64
	}{
		{"SYN", [][]byte{flowtest.TCPFrame(client, server, 1, 0, syn, nil), flowtest.TCPFrame(server, client, 1, 2, syn|ack, nil)}, client, 1, 1},
		{"answer to a SYN", [][]byte{flowtest.TCPFrame(server, client, 1, 2, syn|ack, nil), flowtest.TCPFrame(client, server, 2, 2, ack, nil)}, client, 1, 1},
		{"answer only", [][]byte{flowtest.TCPFrame(server, client, 1, 2, syn|ack, nil), flowtest.TCPFrame(server, client, 2, 2, fin|ack, nil)}, client, 0, 2},
		{"reset", [][]byte{flowtest.TCPFrame(server, client, 1, 2, rst, nil), flowtest.TCPFrame(client, server, 2, 2, ack, nil)}, server, 1, 1},
		{"one port", [][]byte{flowtest.TCPFrame(client, same, 1, 0, syn, nil), flowtest.TCPFrame(same, client, 1, 2, syn|ack, nil), flowtest.TCPFrame(client, same, 2, 2, ack, nil)}, client, 2, 1},
		{"one port, answer first", [][]byte{flowtest.TCPFrame(same, client, 1, 2, syn|ack, nil), flowtest.TCPFrame(client, same, 2, 2, ack, nil)}, client, 1, 1},
		{"datagrams", [][]byte{flowtest.UDPFrame(server, client, []byte("a")), flowtest.UDPFrame(client, server, []byte("b"))}, server, 1, 1},
	} {
		got, _, err := read(t, pcap(t, 1, c.frames...), flow.Limits{})
		if err != nil || len(got.closed) != 1 {
			t.Errorf("%s: %d flows, %v", c.name, len(got.closed), err)
			continue
		}
		if there, back := got.closed[0].Directions(); got.closed[0].Client.AddrPort() != c.client || there != c.there || back != c.back {
			t.Errorf("%s: client %s, %d there, %d back", c.name, got.closed[0].Client, there, back)
		}
	}
}

// TestFlowsAreTheirFiveTuple: what differs in one of five is another flow.
func TestFlowsAreTheirFiveTuple(t *testing.T) {
	otherPort, otherHost := netip.AddrPortFrom(client.Addr(), 50001), netip.MustParseAddrPort("10.0.0.8:50000")
	otherServer, otherService := netip.MustParseAddrPort("192.0.2.2:443"), netip.AddrPortFrom(server.Addr(), 444)
	six := netip.MustParseAddrPort("[::ffff:10.0.0.7]:50000")
	frames := [][]byte{
		flowtest.UDPFrame(client, server, []byte("x")), flowtest.UDPFrame(server, client, []byte("x")),
		flowtest.UDPFrame(otherPort, server, []byte("x")), flowtest.UDPFrame(otherHost, server, []byte("x")),
		flowtest.UDPFrame(client, otherServer, []byte("x")), flowtest.UDPFrame(client, otherService, []byte("x")),
		flowtest.TCPFrame(client, server, 1, 0, syn, nil),
		flowtest.UDPFrame(six, netip.MustParseAddrPort("[::ffff:192.0.2.1]:443"), []byte("x")),
	}
	got, counts, err := read(t, pcap(t, 1, frames...), flow.Limits{})
	if err != nil || len(got.closed) != 7 || counts.Flows != 7 || counts.Packets != 8 {
		t.Errorf("%d flows, %+v, %v", len(got.closed), counts, err)
	}
}

// TestSilenceEndsFlows: a flow that is silent for the time ends with it, and the same five-tuple is a new flow then.
func TestSilenceEndsFlows(t *testing.T) {
	for _, c := range []struct {
		wait  time.Duration
		idle  time.Duration
		flows int
	}{{time.Second, 0, 1}, {time.Hour, 0, 1}, {30 * time.Second, time.Minute, 1}, {2 * time.Minute, time.Minute, 2}} {
		var b bytes.Buffer
		w := flowtest.NewWriter(&b, start)
		other := netip.MustParseAddrPort("10.0.0.9:1")
		w.UDP(client, server, []byte("one"))
		w.Wait(c.wait)
		w.UDP(other, server, []byte("somebody else's")) // time passes for the table with packets only
		w.UDP(client, server, []byte("two"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, _, err := read(t, b.Bytes(), flow.Limits{Idle: c.idle})
		own := 0
		for _, f := range got.closed {
			if f.Client.AddrPort() == client {
				own++
			}
		}
		if err != nil || own != c.flows || got.evicted != 0 {
			t.Errorf("after %s of %s: %d flows, %v", c.wait, c.idle, own, err)
		}
	}
}

// TestTick ends silent flows when no packet comes, the one silent for longest first.
func TestTick(t *testing.T) {
	c := &collector{}
	tracker := flow.NewTracker(c, flow.Limits{Idle: time.Minute})
	for i := range 5 {
		tracker.Packet(&flow.Packet{Time: start.Add(time.Duration(i) * 10 * time.Second), Proto: 17, SrcPort: uint16(1000 + i), DstPort: 53, Length: 60})
	}
	for _, step := range []struct {
		after time.Duration
		open  int
	}{{59 * time.Second, 5}, {time.Minute, 4}, {85 * time.Second, 2}, {time.Hour, 0}} {
		tracker.Tick(start.Add(step.after))
		if tracker.Len() != step.open {
			t.Errorf("after %s: %d flows, want %d", step.after, tracker.Len(), step.open)
		}
	}
	for i, f := range c.closed {
		if f.Client.Port() != uint16(1000+i) {
			t.Errorf("flow %d to end is %s", i, f.Client)
		}
	}
	forever := flow.NewTracker(c, flow.Limits{})
	forever.Packet(&flow.Packet{Time: start, Proto: 17, SrcPort: 1, DstPort: 2})
	if forever.Tick(start.Add(1000 * time.Hour)); forever.Len() != 1 {
		t.Error("a flow without a limit ended")
	}
}

// TestBudget: decoders look at so many packets with payload, and the flow is counted to its end.
func TestBudget(t *testing.T) {
	for budget, want := range map[int64]bool{1: false, 3: false, 5: true, 48: true} {
		frames := [][]byte{flowtest.TCPFrame(client, server, 100, 0, syn, nil)}
		for from := 0; from < len(request); from += 10 {
			frames = append(frames, said(from, min(from+10, len(request))))
		}
		got, counts, err := read(t, pcap(t, 1, frames...), flow.Limits{Budget: budget})
		if err != nil || len(got.facts) > 0 != want || counts.Packets != int64(len(frames)) || got.closed[0].Packets != int64(len(frames)) {
			t.Errorf("a budget of %d: found %v, %d packets, %v", budget, got.facts, counts.Packets, err)
		}
	}
}

// TestStreamLimit: of each direction so many bytes are kept, and what they say is still read.
func TestStreamLimit(t *testing.T) {
	long := "GET /" + strings.Repeat("a", 3000) + " HTTP/1.1\r\nHost: web.example.org\r\n\r\n"
	for limit, want := range map[int]string{1000: "", 4096: "web.example.org"} {
		var b bytes.Buffer
		w := flowtest.NewWriter(&b, start)
		w.TCP(client, server, flowtest.Chunk{FromClient: true, Data: []byte(long)}, flowtest.Chunk{Data: []byte("HTTP/1.1 200 OK\r\n\r\n")})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, _, err := read(t, b.Bytes(), flow.Limits{Stream: limit})
		if err != nil || len(got.facts) != 1 || got.facts[0].Get("name") != want {
			t.Errorf("of %d bytes: %v, %v", limit, got.facts, err)
		}
	}
}
