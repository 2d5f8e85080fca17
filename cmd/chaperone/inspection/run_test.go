package inspection_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/cmd/chaperone/inspection"
	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const policyText = `version: 1
mode: enforce
rules:
  - {id: no-telegram, apps: [telegram], verdict: block}
  - {id: rest, apps: ["*"], verdict: allow}
otherwise: {network: allow}
`

// newRun returns a run with the shipped catalog and a policy that forbids Telegram alone.
func newRun(t *testing.T, out inspection.Writer) *inspection.Run {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	file, err := policy.Parse("policy.yaml", []byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(file, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	return &inspection.Run{Catalog: c, Decider: p, Out: out}
}

var nine = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// write puts a file into the folder.
func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// demo returns the demonstration's capture.
func demo(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := flowtest.WriteDemo(&b, netip.MustParseAddr("10.0.0.7"), nine); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// objects decodes lines of JSON, each of which must be an object.
func objects(t *testing.T, text string) (out []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

// kept is an event.Recorder that remembers.
type kept struct {
	events []*event.Event
	fail   error
}

func (k *kept) Record(_ context.Context, events ...*event.Event) error {
	k.events = append(k.events, events...)
	return k.fail
}

// TestCapturesRecordWhatPolicyStops: every flow is a line, and what was stopped is counted and recorded with an id of its own.
func TestCapturesRecordWhatPolicyStops(t *testing.T) {
	var b bytes.Buffer
	r := newRun(t, inspection.NewLines(&b, false))
	k := &kept{}
	r.Recorder, r.Host, r.In = k, "pc-7", bytes.NewReader(demo(t))
	if err := errors.Join(r.Captures(t.Context(), []string{"-"}), r.Out.Close()); err != nil {
		t.Fatal(err)
	}
	list := objects(t, b.String())
	if len(list) != 7 || r.Forbidden != 1 {
		t.Fatalf("%d lines, %d forbidden:\n%s", len(list), r.Forbidden, b.String())
	}
	for _, l := range list {
		if stops := l["verdict"] == "block"; stops != (l["app"] == "telegram") || l["host"] != "pc-7" || l["capture"] != "-" {
			t.Errorf("%v", l)
		}
	}
	if len(k.events) != 1 || k.events[0].Flow.App != "telegram" || k.events[0].Connector != "inspect" || k.events[0].ID == "" || k.events[0].Host.Name != "pc-7" {
		t.Errorf("recorded: %+v", k.events)
	}
}

// TestReadingStopsWhenNothingCanBeKept: an error of recorder or output ends the run, and is returned as it is.
func TestReadingStopsWhenNothingCanBeKept(t *testing.T) {
	full := errors.New("disk full")
	path := write(t, t.TempDir(), "a.pcapng", demo(t))
	for _, one := range []bool{false, true} {
		r := newRun(t, inspection.NewLines(io.Discard, false))
		r.Recorder, r.One = &kept{fail: full}, one
		if err := r.Captures(t.Context(), []string{path, path}); !errors.Is(err, full) || r.Forbidden != 1 {
			t.Errorf("one network %v: %v, %d forbidden", one, err, r.Forbidden)
		}
		r = newRun(t, inspection.NewLines(refusing{}, true))
		r.One = one
		if err := r.Captures(t.Context(), []string{path}); !errors.Is(err, errRefused) {
			t.Errorf("one network %v: output that fails gives %v", one, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newRun(t, inspection.NewLines(io.Discard, false)).Captures(ctx, []string{path}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended from outside: %v", err)
	}
}

var errRefused = errors.New("nobody reads")

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errRefused }

// TestOneNetwork: a flow that goes on in the next capture is one flow, of the capture in which it began, in whatever order they are named.
func TestOneNetwork(t *testing.T) {
	dir := t.TempDir()
	client, server := netip.MustParseAddrPort("10.0.0.7:40021"), netip.MustParseAddrPort("149.154.167.51:443")
	frames := flowtest.Connection(client, server, flowtest.Chunk{FromClient: true, Data: flowtest.MTProto()}, flowtest.Chunk{Data: make([]byte, 96)})
	part := func(name string, at time.Time, frames [][]byte) string {
		var b bytes.Buffer
		w := flowtest.NewWriter(&b, at)
		for _, f := range frames {
			w.Frame(f)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return write(t, dir, name, b.Bytes())
	}
	second, first := part("a-second.pcapng", nine.Add(time.Second), frames[4:]), part("b-first.pcapng", nine, frames[:4])
	for _, c := range []struct {
		one  bool
		want map[string]float64 // packets by capture
	}{
		{true, map[string]float64{"b-first.pcapng": float64(len(frames))}},
		{false, map[string]float64{"b-first.pcapng": 4, "a-second.pcapng": float64(len(frames) - 4)}},
	} {
		var b bytes.Buffer
		r := newRun(t, inspection.NewLines(&b, false))
		r.One = c.one
		if err := errors.Join(r.Captures(t.Context(), []string{second, first}), r.Out.Close()); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, l := range objects(t, b.String()) {
			got[l["capture"].(string)] += l["packets"].(float64)
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("one network %v: %v, want %v", c.one, got, c.want)
		}
	}
	r := newRun(t, inspection.NewLines(io.Discard, false))
	r.One = true
	if err := r.Captures(t.Context(), []string{"-", first}); err == nil {
		t.Error("standard input was put in order with a file")
	}
}

// TestBadCapturesAreSaidAndTheNextIsRead, in lines and in the table; one that is cut is no failure of the run.
func TestBadCapturesAreSaidAndTheNextIsRead(t *testing.T) {
	dir := t.TempDir()
	whole := demo(t)
	good, cut := write(t, dir, "good.pcapng", whole), write(t, dir, "cut.pcapng", whole[:len(whole)-7])
	text := write(t, dir, "text\x1b[31m.pcap", []byte("no capture at all, but a text"))
	var b bytes.Buffer
	r := newRun(t, inspection.NewTable(&b, nil, false))
	err := r.Captures(t.Context(), []string{filepath.Join(dir, "missing.pcap"), text, cut, good})
	if err == nil || !strings.Contains(err.Error(), "2 of 4 captures") {
		t.Errorf("%v", err)
	}
	if err := r.Out.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"not opened: missing.pcap: ", "not read to the end: cut.pcapng: ", "14 flows: 10 of messengers, 2 that policy forbids", "4 captures, 3 with errors"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("the name of a file speaks to the terminal")
	}
	if err := newRun(t, inspection.NewLines(io.Discard, false)).Captures(t.Context(), []string{cut}); err != nil {
		t.Errorf("a capture that is cut short: %v", err)
	}
}

// TestExplain: by number and by ends either way round, for people and for programs.
func TestExplain(t *testing.T) {
	path := write(t, t.TempDir(), "demo.pcapng", demo(t))
	var lines bytes.Buffer
	r := newRun(t, inspection.NewLines(&lines, false))
	if err := errors.Join(r.Captures(t.Context(), []string{path}), r.Out.Close()); err != nil {
		t.Fatal(err)
	}
	number := ""
	for i, l := range objects(t, lines.String()) {
		if l["app"] == "telegram" {
			number = string(rune('1' + i))
		}
	}
	k := &kept{}
	for _, name := range []string{number, "tcp 10.0.0.7:40021 149.154.167.51:443", "tcp 149.154.167.51:443 10.0.0.7:40021"} {
		for _, one := range []bool{false, true} {
			var text, objectsOut bytes.Buffer
			r := newRun(t, nil)
			r.Recorder, r.One = k, one
			if err := r.Explain(t.Context(), &text, false, name, []string{path}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, want := range []string{"tcp 10.0.0.7:40021 → 149.154.167.51:443, in demo.pcapng", "telegram", "evidence:\n  0.99", "considered:", "memory of other flows: nothing", "block by no-telegram", "no-telegram: yes; it decides"} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("%s: no %q in:\n%s", name, want, text.String())
				}
			}
			if err := newRun(t, nil).Explain(t.Context(), &objectsOut, true, name, []string{path}); err != nil {
				t.Fatal(err)
			}
			list := objects(t, objectsOut.String())
			if len(list) != 1 || list[0]["type"] != "explanation" || list[0]["flow"].(map[string]any)["app"] != "telegram" || len(list[0]["rules"].([]any)) == 0 {
				t.Errorf("%s: %s", name, objectsOut.String())
			}
		}
	}
	if len(k.events) > 0 {
		t.Errorf("what was asked for was recorded: %+v", k.events)
	}
}

// TestExplainSaysWhatItCannot: names that are none, flows that are not there, and captures that cannot be read.
func TestExplainSaysWhatItCannot(t *testing.T) {
	dir := t.TempDir()
	good, bad := write(t, dir, "good.pcapng", demo(t)), write(t, dir, "bad.pcap", []byte("no capture at all, but a text"))
	for name, paths := range map[string][]string{"0": {good}, "99": {good}, "tcp 10.0.0.7:1 192.0.2.1:1": {good}, "the third": {good}, "1": {"-"}} {
		var out bytes.Buffer
		if err := newRun(t, nil).Explain(t.Context(), &out, false, name, paths); err == nil || hint.Of(err) == "" || out.Len() > 0 {
			t.Errorf("%q: %v, hint %q, said %q", name, err, hint.Of(err), out.String())
		}
	}
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		err := newRun(t, nil).Explain(t.Context(), &out, asJSON, "1", []string{bad, good})
		if err == nil || !strings.Contains(err.Error(), "1 of 2") || !strings.Contains(out.String(), "bad.pcap") {
			t.Errorf("%v:\n%s", err, out.String())
		}
		if !asJSON {
			continue
		}
		list := objects(t, out.String())
		if len(list) != 2 || list[0]["type"] != "explanation" || list[1]["type"] != "error" || list[1]["capture"] != "bad.pcap" {
			t.Errorf("%v", list)
		}
	}
}

const zeekDNS = `{"ts":1795629067.1,"uid":"D1","id.orig_h":"10.0.0.7","id.orig_p":40000,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","query":"web.telegram.org","qtype_name":"A","answers":["192.0.2.44"]}
not a line of any kind
`

const zeekConn = `{"ts":1795629068.1,"uid":"C1","id.orig_h":"10.0.0.7","id.orig_p":50005,"id.resp_h":"192.0.2.44","id.resp_p":443,"proto":"tcp","service":"ssl","conn_state":"SF","orig_pkts":4,"resp_pkts":5}
`

// TestLogs: logs of one program share what they say, lines that are none are said, and what is stopped is recorded.
func TestLogs(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "dns.log", []byte(zeekDNS))
	var b bytes.Buffer
	r := newRun(t, inspection.NewLines(&b, false))
	k := &kept{}
	r.In, r.Recorder, r.Host = strings.NewReader(zeekConn), k, "pc-7"
	if err := errors.Join(r.Logs(t.Context(), []string{"zeek:" + path, "zeek:-"}), r.Out.Close()); err != nil {
		t.Fatal(err)
	}
	list := objects(t, b.String())
	if len(list) != 3 || list[0]["capture"] != "dns.log" || list[1]["type"] != "error" || !strings.Contains(list[1]["reason"].(string), "1 of its lines") || !strings.Contains(list[1]["reason"].(string), "line 2") {
		t.Fatalf("%s", b.String())
	}
	if conn := list[2]; conn["app"] != "telegram" || conn["name"] != "web.telegram.org" || conn["packets"] != 9. || conn["confidence"].(float64) > 0.8 || conn["verdict"] != "block" {
		t.Errorf("%v", conn)
	}
	if len(k.events) == 0 || r.Forbidden != len(k.events) || k.events[0].Connector != "inspect" || k.events[0].Host.Name != "pc-7" {
		t.Errorf("%d forbidden, recorded %+v", r.Forbidden, k.events)
	}
}

func TestLogsThatCannotBeRead(t *testing.T) {
	path := write(t, t.TempDir(), "conn.log", []byte(zeekDNS+zeekConn))
	for _, spec := range []string{"netflow:" + path, "zeek", path, "", "zeek:" + path + "-missing", "zeek:" + filepath.Dir(path)} {
		err := newRun(t, inspection.NewLines(io.Discard, false)).Logs(t.Context(), []string{spec})
		if format, _, ok := strings.Cut(spec, ":"); err == nil || (!ok || format != "zeek") != strings.Contains(hint.Of(err), "dnsmasq, squid, suricata, zeek") {
			t.Errorf("%q: %v, hint %q", spec, err, hint.Of(err))
		}
	}
	full := errors.New("disk full")
	r := newRun(t, inspection.NewLines(io.Discard, false))
	r.Recorder = &kept{fail: full}
	if err := r.Logs(t.Context(), []string{"zeek:" + path}); !errors.Is(err, full) {
		t.Errorf("a recorder that fails: %v", err)
	}
	if err := newRun(t, inspection.NewLines(refusing{}, true)).Logs(t.Context(), []string{"zeek:" + path}); !errors.Is(err, errRefused) {
		t.Errorf("output that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newRun(t, inspection.NewLines(io.Discard, false)).Logs(ctx, []string{"zeek:" + path}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended from outside: %v", err)
	}
}

// TestLiveSaysWhatIsNeeded: an interface that is not there is an error with a word on what to do.
func TestLiveSaysWhatIsNeeded(t *testing.T) {
	r := newRun(t, inspection.NewLines(io.Discard, true))
	if err := r.Live(t.Context(), "no-such-interface", time.Hour); err == nil || !strings.Contains(hint.Of(err), "ip link") {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
}

// TestLiveWithoutTheRight: who may not listen is told what right it takes. Root gives it up for one thread, which ends with the test.
func TestLiveWithoutTheRight(t *testing.T) {
	r := newRun(t, inspection.NewLines(io.Discard, true))
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Capget(&head, &caps[0])
		if err == nil {
			caps[0].Effective &^= 1 << unix.CAP_NET_RAW
			err = unix.Capset(&head, &caps[0])
		}
		if err == nil {
			err = r.Live(t.Context(), "lo", time.Millisecond)
		}
		done <- err
	}()
	if err := <-done; err == nil || !strings.Contains(hint.Of(err), "CAP_NET_RAW") {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
}
