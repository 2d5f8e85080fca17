package sensors_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control/rules"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
	"github.com/chaperone-im/chaperone/internal/server/sensors"
)

// veth makes a pair of interfaces in a network namespace of the test's own, and returns a function that has a frame come out of the one named
// tap. The thread ends with the test.
func veth(t *testing.T) (send func(frame []byte)) {
	t.Helper()
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	for _, args := range []string{"link add tap type veth peer name far", "link set tap up", "link set far up"} {
		if err == nil {
			err = exec.Command("ip", strings.Fields(args)...).Run()
		}
	}
	if err != nil && os.Getenv("CHAPERONE_CI") == "1" {
		t.Fatalf("network namespace: %v", err)
	}
	if err != nil {
		t.Skipf("a network namespace needs root and iproute2: %v", err)
	}
	far, err := net.InterfaceByName("far")
	if err != nil {
		t.Fatal(err)
	}
	out, err := packet.Listen(far, packet.Raw, 0x0800, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return func(frame []byte) { out.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}) }
}

// knows is a side whose catalog knows one messenger by its agent, and whose policy stops messengers.
func knows(t *testing.T, serial uint64, agent string) *rollout.Side {
	t.Helper()
	c, err := catalog.Load(fstest.MapFS{"apps/pigeon.yaml": {Data: []byte("id: pigeon\nname: Pigeon\nsources: [\"docs.example, 2026-11\"]\n" +
		"traffic: [{id: a, transport: tcp, decoder: http, match: {agent: \"" + agent + "/*\"}, confidence: high}]\n")}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := policy.Parse("policy.yaml", []byte("version: 1\nmode: {network: enforce}\nrules: [{id: birds, apps: [\"*\"], verdict: block}]\notherwise: {network: allow}\n"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Build(f, c)
	if err != nil {
		t.Fatal(err)
	}
	return &rollout.Side{Serial: serial, Set: set}
}

// visits are the frames of connections by those agents, each from a port of its own.
func visits(port uint16, agents ...string) (frames [][]byte) {
	for i, agent := range agents {
		from := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), port+uint16(i))
		frames = append(frames, flowtest.Connection(from, netip.MustParseAddrPort("192.0.2.1:80"),
			flowtest.Chunk{FromClient: true, Data: []byte("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: " + agent + "/1\r\n\r\n")})...)
	}
	return frames
}

// step is what is in force, which connections come then, and the client of the one that is recorded.
type step struct {
	pair   *rollout.Pair
	frames [][]byte
	client string
}

// listens has the sensor listen while the steps are taken, one after the other, and returns what was recorded.
func listens(t *testing.T, steps ...step) (recorded []*event.Event) {
	send := veth(t)
	d, x := world(t)
	var pair atomic.Pointer[rollout.Pair]
	pair.Store(steps[0].pair)
	d.Pair = pair.Load
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		defer stop()
		for _, s := range steps {
			pair.Store(s.pair)
			for known := len(recorded); len(recorded) == known && ctx.Err() == nil; {
				for _, frame := range s.frames { // until what is to be recorded was; what comes twice is a retransmission
					send(frame)
				}
				select {
				case e := <-x.recorded:
					recorded = append(recorded, e)
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
	}()
	if err := sensors.Interface(config.Sensor{Interface: "tap"}, d)(ctx); err != nil {
		t.Fatal(err)
	}
	<-taken
	for len(x.recorded) > 0 {
		recorded = append(recorded, <-x.recorded)
	}
	return recorded
}

// TestTwoCatalogsOnAnInterface: packets of an interface are decided by two catalogs. In shadow the old one's findings are recorded, from a change
// on the new one's, while the sensor listens on; how the two differ is counted.
func TestTwoCatalogsOnAnInterface(t *testing.T) {
	old, fresh := knows(t, 0, "Old"), knows(t, 1, "New")
	pair := func(first, second *rollout.Side, stage rollout.Stage) *rollout.Pair {
		return &rollout.Pair{First: first, Second: second, Stage: stage, Tally: rollout.NewTally(time.Now())}
	}
	shadow, tried, after := pair(old, fresh, rollout.Shadow), pair(old, fresh, rollout.Shadow), pair(fresh, old, rollout.None)
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"shadow", []step{{shadow, visits(50000, "New", "Browser", "Old"), "10.0.0.7:50002"}}},
		{"shadow, then in force", []step{{tried, visits(50000, "New", "Browser", "Old"), "10.0.0.7:50002"}, {after, visits(51000, "Old", "Browser", "New"), "10.0.0.7:51002"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			recorded := listens(t, c.steps...)
			if len(recorded) != len(c.steps) {
				t.Fatalf("%d were recorded, want %d", len(recorded), len(c.steps))
			}
			for i, e := range recorded {
				if f := e.Flow; f.Client != c.steps[i].client || f.App != "pigeon" || e.Verdict.Action != event.Block || e.Connector != "sensor-tap" {
					t.Errorf("recorded %+v of %+v, want that of %s", e, f, c.steps[i].client)
				}
			}
			// The kernel says something of its own there, which both let pass.
			last := c.steps[len(c.steps)-1].pair
			if n := last.Tally.Counts(); n.Decided < 3 || n.Stopped != 1 || n.Passed != 1 || len(n.Changes) != 2 || n.Changes[0].Kind != "flow" {
				t.Errorf("%+v", n)
			}
		})
	}
}
