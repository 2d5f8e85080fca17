package inspection

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

func TestParseWanted(t *testing.T) {
	for text, good := range map[string]bool{
		"3": true, "tcp 10.0.0.7:1 192.0.2.1:443": true, "udp [2001:db8::7]:1 [2001:db8::1]:443": true,
		"": false, "0": false, "-1": false, "x": false, "tcp 10.0.0.7:1": false, "tcp a b": false, "dccp 10.0.0.7:1 192.0.2.1:443": false, "tcp 10.0.0.7:1 192.0.2.1:443 x": false,
	} {
		if _, err := parseWanted(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

var morning = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// TestInTimeOrder: by the first packets; what cannot be read comes last, where reading it says why.
func TestInTimeOrder(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, at := range map[string]time.Time{"b-first.pcapng": morning, "a-second.pcapng": morning.Add(time.Minute)} {
		var b bytes.Buffer
		w := flowtest.NewWriter(&b, at)
		w.UDP(netip.MustParseAddrPort("10.0.0.7:1"), netip.MustParseAddrPort("192.0.2.99:9999"), []byte(name))
		if err := errors.Join(w.Close(), os.WriteFile(path(name), b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path("text"), []byte("no capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := inTimeOrder([]string{path("text"), path("a-second.pcapng"), path("missing"), path("b-first.pcapng")})
	if want := []string{path("b-first.pcapng"), path("a-second.pcapng"), path("text"), path("missing")}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if at, err := firstPacket(path("b-first.pcapng")); err != nil || !at.Equal(morning) {
		t.Errorf("%v, %v", at, err)
	}
}
