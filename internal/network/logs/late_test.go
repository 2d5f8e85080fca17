package logs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/logs"
)

// TestSlowWriter: what is written to a rotated file after it was left is said to be lost, once, also when that cannot be taken at first.
func TestSlowWriter(t *testing.T) {
	x := newTail(t)
	x.write("", "a")
	x.steps()
	x.rename("", ".1")
	x.write("", "b")
	x.steps()
	if x.want("a b"); len(x.lost) > 0 {
		t.Fatalf("lost before anything was: %q", x.lost)
	}
	x.write(".1", "late")
	x.write("", "c")
	x.fail = errors.New("disk full")
	if _, err := x.f.Step(t.Context()); !errors.Is(err, x.fail) {
		t.Fatal(err)
	}
	x.fail = nil
	x.steps()
	x.write(".1", "later")
	x.write("", "d")
	x.steps()
	if x.want("a b c d"); len(x.lost) != 1 || !strings.Contains(x.lost[0], "still written to") {
		t.Errorf("lost: %q", x.lost)
	}
	x.rename("", ".2") // the next rotation is watched as the first was
	x.write("", "e")
	x.steps()
	x.write(".2", "late")
	x.steps()
	if x.want("a b c d e"); len(x.lost) != 2 {
		t.Errorf("lost: %q", x.lost)
	}
}

// TestRotatedFileWithoutAnEnd: its last line is read when the file is left, and its removal afterwards is no loss.
func TestRotatedFileWithoutAnEnd(t *testing.T) {
	x := newTail(t)
	x.write("", "a", "raw:"+strings.TrimSuffix(question("b"), "\n"))
	x.steps()
	x.want("a")
	x.rename("", ".1")
	x.steps() // no new one yet
	x.want("a")
	x.write("", "c")
	x.steps()
	if err := os.Remove(x.path(".1")); err != nil {
		t.Fatal(err)
	}
	x.write("", "d")
	x.steps()
	if x.want("a b c d"); len(x.lost) > 0 || x.bad > 0 || x.f.Lines() != 4 {
		t.Errorf("lost %q, %d bad, %d lines", x.lost, x.bad, x.f.Lines())
	}
}

// TestLogThatIsNoFile: a folder or a pipe is refused, and read once a file is there.
func TestLogThatIsNoFile(t *testing.T) {
	x := newTail(t)
	if err := os.Mkdir(x.path(""), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := x.f.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder gives %v", err)
	}
	if err := os.Remove(x.path("")); err != nil {
		t.Fatal(err)
	}
	x.write("", "a")
	x.steps()
	x.want("a")
	if _, err := logs.NewFollower(x.path(""), "netflow", x.dir, now, nil); err == nil {
		t.Error("a format that is none is followed")
	}
	state := t.TempDir()
	f, err := logs.NewFollower(x.path(""), "dnsmasq", filepath.Join(state, "file", "x"), now, func(context.Context, logs.Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(filepath.Join(state, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Step(t.Context()); err == nil {
		t.Error("a position that cannot be kept is no error")
	}
}

// TestOddLines: one line of each kind that programs write beside the usual, or that nobody should: what it says, nothing, or trouble.
func TestOddLines(t *testing.T) {
	eve := func(kind, more string) string {
		return `{"timestamp":"2026-11-25T17:48:44.123456+0100","flow_id":1,"event_type":"` + kind + `","src_ip":"10.0.0.7","src_port":5,"dest_ip":"192.0.2.9","dest_port":443,"proto":"TCP"` + more + `}`
	}
	zeek := func(more string) string {
		return `{"ts":1795629067.5,"uid":"C","id.orig_h":"10.0.0.7","id.orig_p":5,"id.resp_h":"192.0.2.9","id.resp_p":443` + more + `}`
	}
	const squid = "1795629067.855 0 10.0.0.7 TCP_TUNNEL/200 559 "
	for _, c := range []struct{ format, line, want string }{
		{"squid", squid + "CONNECT web.whatsapp.com:443 - HIER_DIRECT/192.0.2.7 -", "17:51:07.855 10.0.0.7:0>192.0.2.7:443 web.whatsapp.com connect 559"},
		{"squid", squid + "CONNECT [2001:db8::9]:5222 alice HIER_NONE/- -", "17:51:07.855 10.0.0.7:0>[2001:db8::9]:5222  connect 559 alice"},
		{"squid", squid + "GET http://User@Example.ORG.:8080/x - HIER_NONE/- text/html", "17:51:07.855 10.0.0.7:0>invalid AddrPort example.org http 559"},
		{"squid", squid + "GET ftp://192.0.2.9/x - HIER_NONE/- -", "17:51:07.855 10.0.0.7:0>192.0.2.9:21  http 559"},
		{"squid", squid + "NONE error:invalid-request - HIER_NONE/- -", "nothing"},
		{"squid", squid + "CONNECT web.whatsapp.com - HIER_NONE/- -", "no host and port"},
		{"squid", squid + "CONNECT web.whatsapp.com:99999 - HIER_NONE/- -", "out of range"},
		{"squid", squid + "GET /only/a/path - HIER_NONE/- -", "names no host"},
		{"squid", "1795629067.855 0 proxy TCP_MISS/200 559 GET http://x/ - HIER_NONE/- -", "no address"},
		{"squid", "1795629067.855 0 10.0.0.7 TCP_MISS/200 many GET http://x/ - HIER_NONE/- -", "no number of bytes"},
		{"squid", "yesterday 0 10.0.0.7 TCP_MISS/200 1 GET http://x/ - HIER_NONE/- -", "no time"},
		{"squid", "-1.5 0 10.0.0.7 TCP_MISS/200 1 GET http://x/ - HIER_NONE/- -", "no time"},
		{"squid", "1795629067.-5 0 10.0.0.7 TCP_MISS/200 1 GET http://x/ - HIER_NONE/- -", "no time"},
		{"squid", "17 0 10.0.0.7 TCP_MISS/200 1 GET http://x/ - HIER_NONE/- -", "has no time"}, // 1970
		{"squid", "1795629067.855 0 10.0.0.7", "3 fields"},
		{"suricata", eve("tls", `,"tls":{"sni":"WEB.whatsapp.com.","ja4":"t13","client_alpns":["h2","x"]}`), "16:48:44.123456 10.0.0.7:5>192.0.2.9:443 web.whatsapp.com tls 0 h2"},
		{"suricata", eve("quic", `,"quic":{"sni":"x.org","client_alpns":[7]}`), "16:48:44.123456 10.0.0.7:5>192.0.2.9:443 x.org quic 0"},
		{"suricata", eve("flow", `,"flow":{"bytes_toserver":-5,"bytes_toclient":9,"start":"2026-11-25T16:00:00Z"}`), "16:00:00 10.0.0.7:5>192.0.2.9:443   0"},
		{"suricata", eve("flow", `,"flow":{"bytes_toserver":9223372036854775807,"bytes_toclient":9}`), "16:48:44.123456 10.0.0.7:5>192.0.2.9:443   0"},
		{"suricata", eve("alert", ""), "nothing"},
		{"suricata", "", "nothing"},
		{"suricata", `{"timestamp":"2026-11-25T17:48:44Z"}`, "no event_type"},
		{"suricata", eve("tls", `,"tls":"text"`), "tls: json"},
		{"suricata", strings.Replace(eve("flow", ""), "10.0.0.7", "gateway", 1), "src_ip"},
		{"suricata", strings.Replace(eve("flow", ""), `"dest_port":443`, `"dest_port":70000`, 1), "dest_ip: 70000 is no port"},
		{"suricata", strings.Replace(eve("flow", ""), "2026-11-25T", "2026-13-25T", 1), "no time"},
		{"zeek", zeek(`,"_path":"ssl","server_name":"x.org","version":"DTLSv12"`), "17:51:07.5 10.0.0.7:5>192.0.2.9:443 x.org dtls 0"},
		{"zeek", zeek(`,"_path":"http","host":"x.org:8080","username":"alice"`), "17:51:07.5 10.0.0.7:5>192.0.2.9:443 x.org http 0 alice"},
		{"zeek", zeek(`,"conn_state":"SF","orig_bytes":3,"resp_bytes":4`), "17:51:07.5 10.0.0.7:5>192.0.2.9:443   7"},
		{"zeek", zeek(`,"conn_state":"SF","orig_bytes":"many","resp_bytes":4`), "17:51:07.5 10.0.0.7:5>192.0.2.9:443   4"},
		{"zeek", zeek(`,"_path":"weird"`), "nothing"},
		{"zeek", zeek(""), "nothing"},
		{"zeek", "#close\t2026-11-25", "nothing"},
		{"zeek", `#separator \q`, "separator"},
		{"zeek", "#fields\t" + strings.Repeat("f\t", 300), "names 301 fields"},
		{"zeek", "a\tb", "no #fields"},
		{"zeek", "#fields\tts\tuid\n1\t2\t3", "it has 3 fields, not 2"},
		{"zeek", strings.Replace(zeek(`,"conn_state":"SF"`), "192.0.2.9", "x", 1), "id.resp_h"},
		{"zeek", `{"ts":`, "JSON"},
		{"dnsmasq", "Nov 25 17:48:43 gw dnsmasq[1]: 7 10.0.0.7/5 query[HTTPS] Web.Whatsapp.com. from 10.0.0.7", ">invalid AddrPort web.whatsapp.com  0"},
		{"dnsmasq", "Nov 25 17:48:43 dnsmasq[1]: reply web.whatsapp.com is 192.0.2.7", "nothing"},
		{"dnsmasq", "Nov 25 17:48:43 dnsmasq[1]: started, version 2.90", "nothing"},
		{"dnsmasq", "Nov 31 17:48:43 dnsmasq[1]: query[A] x.org from 10.0.0.7", "no time"},
		{"dnsmasq", "2026-11-25T25:00:00Z gw dnsmasq[1]: query[A] x.org from 10.0.0.7", "no time"},
		{"dnsmasq", "Nov 25 17:48:43 dnsmasq[1]: query[A] x.org from somebody", "no address"},
		{"dnsmasq", "Nov 25 17:48:43 sshd[1]: a visitor", "no line of dnsmasq"},
	} {
		r, err := logs.NewReader(c.format, strings.NewReader(c.line+"\n"), now)
		if err != nil {
			t.Fatal(err)
		}
		got := "nothing"
		e, err := r.Next()
		switch {
		case err == nil:
			got = strings.TrimSpace(fmt.Sprintf("%s %s>%s %s %s %d %s%s", e.Time.Format("15:04:05.999999"), e.Client, e.Server, e.Name, e.Protocol, e.Bytes, e.ALPN, e.User))
		case !errors.Is(err, io.EOF):
			t.Fatal(err)
		case r.Trouble.Lines > 0:
			got = r.Trouble.First.Error()
		}
		if !strings.HasSuffix(got, c.want) && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %.120s\n got %s\nwant %s", c.format, c.line, got, c.want)
		}
	}
}

// TestWhatALineMaySayIsBounded: texts, answers, and invalid bytes.
func TestWhatALineMaySayIsBounded(t *testing.T) {
	line := `{"ts":1795629067,"id.orig_h":"10.0.0.7","id.orig_p":5,"id.resp_h":"192.0.2.9","id.resp_p":53,"_path":"dns","query":"` + strings.Repeat("ü", 4000) +
		`","answers":["text"` + strings.Repeat(`,"192.0.2.1"`, 100) + `]}`
	r, err := logs.NewReader("zeek", strings.NewReader(line), now)
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Name) > 1024 || len(e.Answers) != 31 || e.Answers[0] != "192.0.2.1" {
		t.Errorf("name of %d bytes, %d answers", len(e.Name), len(e.Answers))
	}
}
