package flow_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/network/flow"
	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

// stopper is a flow.Handler that stops listening once a name was seen.
type stopper struct {
	collector
	stop  context.CancelFunc
	names []string
}

func (s *stopper) Learned(_ *flow.Flow, facts []decode.Fact) {
	s.names = append(s.names, facts[0].Get("name"))
	s.stop()
}

// TestLive listens to loopback in a network namespace of its own.
func TestLive(t *testing.T) {
	namespace(t)
	from, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for ctx.Err() == nil {
			from.WriteTo(flowtest.Question("live.example.org"), to.LocalAddr())
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	h := &stopper{stop: stop}
	tracker := flow.NewTracker(h, flow.Limits{Idle: time.Minute})
	watched := 0
	tracker.Watch(func(flow.Stats) { watched++ })
	stats, err := flow.Live(ctx, "lo", tracker)
	<-asked
	if err != nil || len(h.names) == 0 || h.names[0] != "live.example.org" || len(h.closed) == 0 || stats.Packets == 0 || watched == 0 {
		t.Errorf("%v: names %v, %d flows, %+v", err, h.names, len(h.closed), stats)
	}
	if _, err := flow.Live(t.Context(), "no-such", flow.NewTracker(h, flow.Limits{})); err == nil {
		t.Error("an interface that is not there")
	}
}

// TestLiveOnMirrorPort listens to one end of a pair of interfaces, to which packets come that are addressed to others.
func TestLiveOnMirrorPort(t *testing.T) {
	namespace(t)
	for _, args := range []string{"link add mirror type veth peer name far", "link set mirror up", "link set far up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", args, err, out)
		}
	}
	far, err := net.InterfaceByName("far")
	if err != nil {
		t.Fatal(err)
	}
	out, err := packet.Listen(far, packet.Raw, 0x0800, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	frame := flowtest.UDPFrame(client, netip.MustParseAddrPort("192.0.2.53:53"), flowtest.Question("mirror.example.org"))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for ctx.Err() == nil {
			out.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	h := &stopper{stop: stop}
	_, err = flow.Live(ctx, "mirror", flow.NewTracker(h, flow.Limits{}))
	<-sent
	if err != nil || len(h.names) == 0 || h.names[0] != "mirror.example.org" {
		t.Errorf("%v: names %v", err, h.names)
	}
}

// namespace puts the test into a network namespace of its own, with loopback up. The thread ends with the test.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = exec.Command("ip", "link", "set", "lo", "up").Run()
	}
	if err != nil && os.Getenv("CHAPERONE_CI") == "1" {
		t.Fatalf("network namespace: %v", err)
	}
	if err != nil {
		t.Skipf("a network namespace needs root and iproute2: %v", err)
	}
}
