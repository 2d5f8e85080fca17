package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chaperone-im/chaperone/cmd/chaperone/policies"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/sandbox"
)

// TestMain lets scripts call this very program as "chaperone".
func TestMain(m *testing.M) {
	sandbox.Child(os.Args, sandboxParsers())
	testscript.Main(m, map[string]func(){"chaperone": main})
}

// TestScripts runs testdata/script/*.txtar: each is a story told on the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Setup: func(e *testscript.Env) error {
		// What is too large, or no text, to stand in a script.
		e.Setenv("ESCAPE", "\x1b[31mred")
		line := `{"id":"1","from":"a@example.org","to":["b@example.org"],"text":"x"}` + "\n"
		return errors.Join(writeCaptures(e.WorkDir), os.WriteFile(filepath.Join(e.WorkDir, "long.jsonl"), []byte(line+strings.Repeat("a", policies.TryLimit+1)), 0o600),
			os.WriteFile(filepath.Join(e.WorkDir, "large"), make([]byte, 1<<20), 0o600))
	}})
}

// writeCaptures writes the demonstration's capture, and two that one network was captured to: a name is asked for in the first, and used in the
// second.
func writeCaptures(dir string) error {
	client, resolver := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddrPort("192.0.2.53:53")
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	port := func(n uint16) netip.AddrPort { return netip.AddrPortFrom(client, n) }
	server := netip.MustParseAddrPort("192.0.2.60:443")
	write := func(name string, at time.Time, say func(w *flowtest.Writer)) error {
		var b bytes.Buffer
		w := flowtest.NewWriter(&b, at)
		say(w)
		return errors.Join(w.Close(), os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600))
	}
	var demo bytes.Buffer
	return errors.Join(flowtest.WriteDemo(&demo, client, at), os.WriteFile(filepath.Join(dir, "demo.pcapng"), demo.Bytes(), 0o600),
		write("b-first.pcapng", at, func(w *flowtest.Writer) {
			w.UDP(port(40001), resolver, flowtest.Question("web.telegram.org"))
			w.UDP(resolver, port(40001), flowtest.Answer("web.telegram.org", server.Addr()))
			w.UDP(port(40002), netip.MustParseAddrPort("192.0.2.99:9999"), []byte("part one"))
		}),
		write("a-second.pcapng", at.Add(time.Minute), func(w *flowtest.Writer) {
			w.TCP(port(40010), server, flowtest.Chunk{FromClient: true, Data: bytes.Repeat([]byte{0x90, 0x91}, 50)})
			w.UDP(port(40002), netip.MustParseAddrPort("192.0.2.99:9999"), []byte("part two"))
		}))
}
