package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
)

func TestJoin(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	if err := flowtest.WriteDemo(&b, netip.MustParseAddr("10.0.0.7"), time.Unix(1700000000, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "demo.pcapng"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	packets, size, err := join(dir, filepath.Join(t.TempDir(), "joined.pcap"))
	if err != nil || packets == 0 || packets%rounds != 0 || size == 0 {
		t.Errorf("%d packets, %d bytes, %v", packets, size, err)
	}
}
