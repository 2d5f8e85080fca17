package logs_test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/logs"
	"github.com/chaperone-im/chaperone/internal/policy"
)

func now() time.Time { return time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC) }

// judged gives the catalog that messengers are named by.
func judged(t testing.TB) func() classify.Catalog {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	return func() classify.Catalog { return c }
}

func judge(t testing.TB, format string, d policy.Decider) *logs.Judge {
	t.Helper()
	return logs.NewJudge(judged(t), logs.Options{Source: format, Policy: d,
		Host: func(a netip.Addr, _ time.Time) event.Host { return event.Host{Address: a.String(), Person: "alice"} }})
}

// told reads a log and says in words what each line was.
func told(t *testing.T, format, text string) (lines []string, trouble logs.Trouble) {
	t.Helper()
	r, err := logs.NewReader(format, strings.NewReader(text), now)
	if err != nil {
		t.Fatal(err)
	}
	j := judge(t, format, nil)
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, r.Trouble
		}
		if err != nil {
			t.Fatal(err)
		}
		f := j.Judge(e).Finding.Flow
		lines = append(lines, fmt.Sprintf("%s %s>%s %s [%s] %v %d/%d", f.Proto, f.Client, f.Server, f.Name, f.App, f.Confidence.Float(), f.Packets, f.Bytes))
	}
}

// TestFormats reads what each program writes. The logs of Squid and dnsmasq were written by these programs, that of Suricata 7 by Suricata 7.0.10
// over captures of ours (Chromium, SIPp, XMPP and quic-go at messengers' names); those of Zeek, and of other versions of Suricata, follow their documentation.
func TestFormats(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		want         []string
		trouble      int
	}{
		{"zeek-conn.log", "zeek", []string{
			"tcp 10.0.0.7:50001>149.154.167.50:443  [telegram] 0.5 20/3000",
			"tcp 10.0.0.7:50002>192.0.2.9:6667  [irc] 0.8 12/900",
			"udp 10.0.0.7:5353>192.0.2.53:53  [] 0 2/160"}, 1},
		{"zeek-ssl.log", "zeek", []string{"tcp 10.0.0.7:50003>192.0.2.7:443 web.whatsapp.com [whatsapp] 0.8 0/0", "tcp 10.0.0.7:50004>192.0.2.8:443 www.example.org [] 0 0/0"}, 0},
		{"zeek.json", "zeek", []string{
			"udp 10.0.0.7:40000>192.0.2.53:53 web.telegram.org [telegram] 0.8 0/0",
			"tcp 10.0.0.7:50005>192.0.2.44:443 web.telegram.org [telegram] 0.8 9/2000",
			"tcp 10.0.0.7:50006>192.0.2.7:443 web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 10.0.0.7:50006>192.0.2.7:443 web.whatsapp.com [whatsapp] 0.8 30/9000",
			"udp 10.0.0.7:50007>192.0.2.7:443 discord.com [discord] 0.8 0/0",
			"tcp 10.0.0.7:50008>192.0.2.8:80 www.example.org [] 0 0/0"}, 1},
		{"eve.json", "suricata", []string{
			"udp 10.0.0.7:40000>192.0.2.53:53 web.telegram.org [telegram] 0.8 0/0",
			"udp 10.0.0.7:40000>192.0.2.53:53 web.telegram.org [telegram] 0.8 0/0",
			"udp 10.0.0.7:40001>192.0.2.53:53 discord.com [discord] 0.8 0/0",
			"tcp 10.0.0.7:50001>192.0.2.7:443 web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 10.0.0.7:50001>192.0.2.7:443 web.whatsapp.com [whatsapp] 0.8 30/9000",
			"udp 10.0.0.7:50002>192.0.2.9:443 discord.com [discord] 0.8 0/0",
			"tcp 10.0.0.7:50003>192.0.2.44:443 web.telegram.org [telegram] 0.8 4/400",
			"tcp 10.0.0.7:50004>192.0.2.8:80 www.example.org [] 0 0/0"}, 2},
		{"eve-suricata-7.json", "suricata", []string{
			"tcp 198.51.100.7:26756>203.0.113.10:80 clients2.google.com [] 0 0/0",
			"tcp 198.51.100.7:57830>203.0.113.10:443 update.googleapis.com [] 0 0/0",
			"udp 198.51.100.7:14126>203.0.113.53:53 accounts.google.com [] 0 0/0",
			"udp 198.51.100.7:14126>203.0.113.53:53 accounts.google.com [] 0 0/0",
			"tcp 198.51.100.7:57844>203.0.113.10:443 accounts.google.com [] 0 0/0",
			"udp 198.51.100.7:17040>203.0.113.53:53 web.whatsapp.com [whatsapp] 0.8 0/0",
			"udp 198.51.100.7:17040>203.0.113.53:53 web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 198.51.100.7:57850>203.0.113.10:443 web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 198.51.100.7:57864>203.0.113.10:443 web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 198.51.100.7:26770>203.0.113.10:80 update.googleapis.com [] 0 0/0",
			"tcp 198.51.100.7:57864>203.0.113.10:443 web.whatsapp.com [whatsapp] 0.8 13/3847",
			"tcp 198.51.100.7:57830>203.0.113.10:443 update.googleapis.com [] 0 24/6319",
			"tcp 198.51.100.7:57844>203.0.113.10:443 accounts.google.com [] 0 24/5421",
			"udp 198.51.100.7:14126>203.0.113.53:53  [] 0 2/174",
			"tcp 198.51.100.7:57850>203.0.113.10:443 web.whatsapp.com [whatsapp] 0.8 23/5411",
			"tcp 198.51.100.7:26770>203.0.113.10:80 update.googleapis.com [] 0 10/2249",
			"tcp 198.51.100.7:26756>203.0.113.10:80 clients2.google.com [] 0 10/1286",
			"udp 198.51.100.7:17040>203.0.113.53:53  [] 0 2/168",
			"udp 198.51.100.7:5060>203.0.113.10:5060 web.whatsapp.com [sip] 0.8 10/4559",
			"tcp 198.51.100.7:57634>203.0.113.10:5223 talk.example [] 0 0/0",
			"tcp 198.51.100.7:57634>203.0.113.10:5223 talk.example [] 0 24/5098",
			"udp 203.0.113.10:46468>203.0.113.10:443 web.whatsapp.com [whatsapp] 0.8 0/0",
			"udp 203.0.113.10:45055>203.0.113.10:443 www.shop.example [] 0 0/0",
			"udp 203.0.113.10:52087>203.0.113.10:443 discord.com [discord] 0.8 0/0",
			"udp 203.0.113.10:52087>203.0.113.10:443 discord.com [discord] 0.8 10/6587",
			"udp 203.0.113.10:46468>203.0.113.10:443 web.whatsapp.com [whatsapp] 0.8 11/6739",
			"udp 203.0.113.10:45055>203.0.113.10:443 www.shop.example [] 0 10/6581",
		}, 0},
		{"squid.log", "squid", []string{
			"tcp 127.0.0.1:0>127.0.0.1:18081 localhost [] 0 0/632",
			"tcp 127.0.0.1:0> web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 127.0.0.1:0> t.me [telegram] 0.8 0/3392",
			"tcp 127.0.0.1:0>127.0.0.1:18081  [] 0 0/559",
			"tcp [2001:db8::7]:0>[2001:db8::9]:443  [] 0 0/559"}, 1},
		{"squid-5.log", "squid", []string{
			"tcp 127.0.0.1:0>127.0.0.1:18082  [] 0 0/786",
			"tcp 127.0.0.1:0>127.0.0.1:18082 localhost [] 0 0/599",
			"tcp 127.0.0.1:0> web.telegram.org [telegram] 0.8 0/3412",
			"tcp 127.0.0.1:0> t.me [telegram] 0.8 0/3395",
			"tcp 127.0.0.1:0>127.0.0.1:21  [] 0 0/3415",
			"tcp 127.0.0.1:0>[::1]:18082  [] 0 0/3415",
			"tcp 127.0.0.1:0> localhost [] 0 0/2598",
			"tcp 127.0.0.1:0> web.whatsapp.com [whatsapp] 0.8 0/0",
			"tcp 127.0.0.1:0>127.0.0.1:18082  [] 0 0/39",
			"tcp 127.0.0.1:0> xmpp.example [] 0 0/0",
			"tcp 127.0.0.1:0>[::1]:443  [] 0 0/0",
			"tcp 127.0.0.1:0>127.0.0.1:18082  [] 0 0/258",
			"tcp 127.0.0.1:0>127.0.0.1:18082  [] 0 0/264"}, 0},
		{"dnsmasq.log", "dnsmasq", []string{
			"udp 127.0.0.1:0> web.whatsapp.com [whatsapp] 0.8 0/0",
			"udp 127.0.0.1:0> example.org [] 0 0/0",
			"udp 10.0.0.8:0> telegram.org [telegram] 0.8 0/0",
			"udp 10.0.0.9:0> discord.com [discord] 0.8 0/0"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", tt.name))
			if err != nil {
				t.Fatal(err)
			}
			got, trouble := told(t, tt.format, string(raw))
			for i := range max(len(got), len(tt.want)) {
				g, w := "", ""
				if i < len(got) {
					g = got[i]
				}
				if i < len(tt.want) {
					w = tt.want[i]
				}
				if g != w {
					t.Errorf("%d:\n got %s\nwant %s", i, g, w)
				}
			}
			if trouble.Lines != tt.trouble {
				t.Errorf("%d lines were not understood: %v", trouble.Lines, trouble.First)
			}
		})
	}
}

// TestEvent: what becomes of a line is an ordinary event: evidence marked, confidence bounded, host and person known, never enforced.
func TestEvent(t *testing.T) {
	file, err := policy.Parse("policy.yaml", []byte("version: 1\nmode: enforce\nrules:\n  - {id: no-messengers, apps: [\"*\"], verdict: block}\notherwise: {network: allow}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(file, policy.Known{})
	if err != nil {
		t.Fatal(err)
	}
	j := judge(t, "squid", p)
	e := &logs.Entry{Time: now(), Proto: "tcp", Client: netip.MustParseAddrPort("10.0.0.7:0"), Name: "web.whatsapp.com", How: "host"}
	f := j.Judge(e)
	v := f.Event
	if v.Kind != event.FlowSeen || v.Verdict.Action != event.Block || v.Verdict.Rule != "no-messengers" || v.Verdict.Enforced || !f.Finding.Record() {
		t.Errorf("%+v", v.Verdict)
	}
	if v.Host.Person != "alice" || v.From.Person != "alice" || v.Flow.App != "whatsapp" || v.Flow.Confidence != event.Medium {
		t.Errorf("%+v %+v", v.Host, v.Flow)
	}
	if len(v.Evidence) != 1 || !strings.HasPrefix(v.Evidence[0].Source, "from a log of squid; ") || v.Evidence[0].Strength > event.Medium {
		t.Errorf("%+v", v.Evidence)
	}
	q := j.Judge(&logs.Entry{Kind: logs.Question, Time: now(), Proto: "udp", Client: e.Client, Name: "www.example.org", How: "dns", Type: "A"})
	if q.Event.Kind != event.DNSQuery || q.Event.Question.Name != "www.example.org" || q.Finding.Record() {
		t.Errorf("%+v", q.Event)
	}
}

func TestLongLinesAndGarbage(t *testing.T) {
	long := strings.Repeat("x", 3*logs.MaxLine)
	for _, format := range logs.Formats() {
		got, trouble := told(t, format, long+"\n\x00\xff\n{\n"+long)
		if len(got) != 0 || trouble.Lines < 3 || trouble.First == nil || !strings.HasPrefix(trouble.First.Error(), "line 1: it is longer than") {
			t.Errorf("%s: %v %+v", format, got, trouble)
		}
	}
	if _, err := logs.NewReader("netflow", strings.NewReader(""), now); err == nil {
		t.Error("a format that is none is taken")
	}
}

// TestTimesThatNoRecordCanHold: a zone brings a valid time (RFC 3339) out of the years 0 to 9999. It is trouble of that line alone.
func TestTimesThatNoRecordCanHold(t *testing.T) {
	const (
		zeek     = `{"id.orig_h":"10.0.0.7","id.orig_p":40000,"id.resp_h":"192.0.2.53","id.resp_p":53,"uid":"D1","ts":"%s","proto":"udp","query":"web.telegram.org","qtype_name":"A"}` + "\n"
		suricata = `{"timestamp":"%s","event_type":"dns","src_ip":"10.0.0.7","src_port":40000,"dest_ip":"192.0.2.53","dest_port":53,"proto":"UDP","dns":{"type":"query","rrname":"web.telegram.org","rrtype":"A"}}` + "\n"
		dnsmasq  = "%s host dnsmasq[25370]: 1 127.0.0.1/44882 query[A] web.whatsapp.com from 127.0.0.1\n"
	)
	for format, line := range map[string]string{"zeek": zeek, "suricata": suricata, "dnsmasq": dnsmasq} {
		text := ""
		for _, at := range []string{"9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00+12:00", "2026-11-25T17:00:10+01:00"} {
			text += fmt.Sprintf(line, at)
		}
		if got, trouble := told(t, format, text); len(got) != 1 || trouble.Lines != 2 {
			t.Errorf("%s: %d lines are read, %d are not: %v", format, len(got), trouble.Lines, trouble.First)
		}
	}
}
