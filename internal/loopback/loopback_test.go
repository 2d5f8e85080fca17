package loopback_test

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/loopback"
)

// TestAddress holds what is found against the ports that this system gives to connections, and listens there for both.
func TestAddress(t *testing.T) {
	first := uint64(1 << 16)
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		first, _ = strconv.ParseUint(strings.Fields(string(b))[0], 10, 16)
	}
	for range 100 {
		addr, err := loopback.Address()
		if err != nil {
			t.Fatal(err)
		}
		at, err := netip.ParseAddrPort(addr)
		if err != nil || at.Addr().String() != "127.0.0.1" || at.Port() < 1024 || at.Port() >= 49152 {
			t.Fatalf("%s: %v", addr, err)
		}
		if first >= 32768 && uint64(at.Port()) >= first {
			t.Errorf("%s: any connection may get it", addr)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		c.Close()
	}
}

// TestAddressesDiffer: whoever asks twice before anybody listens does not get the same.
func TestAddressesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		addr, err := loopback.Address()
		if err != nil {
			t.Fatal(err)
		}
		seen[addr] = true
	}
	if len(seen) < 15 {
		t.Errorf("20 addresses, %d different", len(seen))
	}
}
