package logs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/network/logs"
)

// entriesOf reads a log to its end.
func entriesOf(t *testing.T, format, text string, now func() time.Time) ([]*logs.Entry, logs.Trouble) {
	t.Helper()
	r, err := logs.NewReader(format, strings.NewReader(text), now)
	if err != nil {
		t.Fatal(err)
	}
	var out []*logs.Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, r.Trouble
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
}

// TestHosts: what a Host header names is the same in the log of each program, and an address in it is no name.
func TestHosts(t *testing.T) {
	const (
		zeek     = `{"_path":"http","ts":1764000000.5,"uid":"C1","id.orig_h":"10.0.0.7","id.orig_p":5,"id.resp_h":"192.0.2.8","id.resp_p":80,"method":"GET","host":"%s"}`
		suricata = `{"timestamp":"2026-11-25T17:00:10.000001+0000","flow_id":9,"event_type":"http","src_ip":"10.0.0.7","src_port":5,"dest_ip":"192.0.2.8","dest_port":80,"proto":"TCP","http":{"hostname":"%s"}}`
		squid    = `1764000000.123     12 10.0.0.7 TCP_MISS/200 559 GET http://%s/path?q=1 - HIER_DIRECT/192.0.2.8 text/html`
	)
	for host, want := range map[string]string{
		"www.example.org":             "www.example.org",
		"www.example.org:8080":        "www.example.org",
		"WWW.Example.ORG.":            "www.example.org",
		"Web.WhatsApp.com.:443":       "web.whatsapp.com",
		"localhost":                   "localhost",
		"a_b.example.org":             "a_b.example.org",
		"192.0.2.8":                   "",
		"192.0.2.8:8080":              "",
		"[2001:db8::9]":               "",
		"[2001:db8::9]:8080":          "",
		"[::ffff:192.0.2.8]:80":       "",
		"xn--bcher-kva.example":       "xn--bcher-kva.example",
		"1.example.org":               "1.example.org",
		"192.0.2.8.nip.example.org:1": "192.0.2.8.nip.example.org",
	} {
		for format, line := range map[string]string{"zeek": zeek, "suricata": suricata, "squid": squid} {
			got, trouble := entriesOf(t, format, fmt.Sprintf(line, host)+"\n", now)
			if len(got) != 1 || trouble.Lines != 0 {
				t.Errorf("%s, %s: %d entries, %v", format, host, len(got), trouble.First)
				continue
			}
			how := "host"
			if want == "" {
				how = ""
			}
			if e := got[0]; e.Name != want || e.How != how || e.Client.Addr() != netip.MustParseAddr("10.0.0.7") || e.Server != netip.MustParseAddrPort("192.0.2.8:80") && format != "squid" {
				t.Errorf("%s, %s: %+v, want the name %q", format, host, e, want)
			}
		}
	}
}

// zeekLog makes random lines of one of Zeek's logs, as fields of which the absent ones are left out.
func zeekLog(r *rand.Rand, path string) (fields []string, rows []map[string]any) {
	fields = map[string][]string{
		"conn": {"ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "orig_bytes", "resp_bytes", "conn_state", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"},
		"dns":  {"ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "query", "qtype_name", "answers", "rejected"},
		"ssl":  {"ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "version", "cipher", "server_name", "next_protocol", "ja4"},
		"http": {"ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "method", "host", "uri", "username"},
		"quic": {"ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "client_initial_dcid", "server_name", "client_protocol"},
	}[path]
	pick := func(list ...any) any { return list[r.IntN(len(list))] }
	for range 1 + r.IntN(5) {
		row := map[string]any{}
		for _, f := range fields {
			var v any
			switch f {
			case "ts":
				v = json.Number(fmt.Sprintf("%d.%06d", 1_700_000_000+r.IntN(1e8), r.IntN(1e6)))
			case "uid":
				v = fmt.Sprintf("C%d", r.IntN(1000))
			case "id.orig_h", "id.resp_h":
				v = pick("10.0.0.7", "192.0.2.200", "2001:db8::7", "::ffff:192.0.2.1", "fe80::1")
			case "id.orig_p", "id.resp_p":
				v = json.Number(fmt.Sprint(r.IntN(65536)))
			case "rejected", "conn_state", "cipher", "client_initial_dcid", "method":
				v = "GET"
			case "answers":
				v = pick([]any{"192.0.2.1"}, []any{"alias.example.org", "192.0.2.1", "2001:db8::5"}, nil)
			case "orig_bytes", "resp_bytes", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes":
				v = pick(json.Number(fmt.Sprint(r.Uint64N(1<<63))), json.Number("0"), json.Number("12"), nil)
			case "proto":
				v = pick("tcp", "udp", "icmp")
			case "version":
				v = pick("TLSv13", "DTLSv12", nil)
			default:
				v = pick("a.example.org", "Web.WhatsApp.com", "x", "é", nil)
			}
			if v != nil {
				row[f] = v
			}
		}
		rows = append(rows, row)
	}
	return fields, rows
}

// tabbed writes rows as Zeek's ASCII writer does, with its own separators.
func tabbed(path, separator, set, empty, unset string, fields []string, rows []map[string]any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#separator \\x%02x\n", separator[0])
	for _, h := range [][]string{{"#set_separator", set}, {"#empty_field", empty}, {"#unset_field", unset}, {"#path", path}, {"#open", "2026-11-25-17-00-00"}, append([]string{"#fields"}, fields...), {"#types", "time"}} {
		fmt.Fprintln(&b, strings.Join(h, separator))
	}
	for _, row := range rows {
		var values []string
		for _, f := range fields {
			switch v := row[f].(type) {
			case nil:
				values = append(values, unset)
			case []any:
				var parts []string
				for _, p := range v {
					parts = append(parts, fmt.Sprint(p))
				}
				values = append(values, strings.Join(parts, set))
			default:
				values = append(values, fmt.Sprint(v))
			}
		}
		fmt.Fprintln(&b, strings.Join(values, separator))
	}
	return b.String() + "#close" + separator + "2026-11-25-18-00-00\n"
}

// TestZeekTabsAndJSONAgree: the same lines say the same in both forms that Zeek writes, whatever its separators are, and whether or not JSON says
// which log it is.
func TestZeekTabsAndJSONAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 9))
	for range 300 {
		path := []string{"conn", "dns", "ssl", "http", "quic"}[r.IntN(5)]
		fields, rows := zeekLog(r, path)
		separator, set := []string{"\t", "|", ";"}[r.IntN(3)], []string{",", "/"}[r.IntN(2)]
		tabs := tabbed(path, separator, set, "(empty)", []string{"-", "?"}[r.IntN(2)], fields, rows)
		var lines strings.Builder
		for _, row := range rows {
			if r.IntN(2) == 0 {
				row["_path"] = path
			}
			b, err := json.Marshal(row)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&lines, "%s\n", b)
		}
		want, trouble := entriesOf(t, "zeek", lines.String(), now)
		got, troubles := entriesOf(t, "zeek", tabs, now)
		if trouble.Lines+troubles.Lines != 0 || len(want) != len(rows) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v, %v:\n%s\n%s\n%+v\n%+v", trouble.First, troubles.First, tabs, &lines, got, want)
		}
		for _, e := range got {
			if e.Packets < 0 || e.Bytes < 0 {
				t.Fatalf("a sum went over: %+v", e)
			}
		}
	}
}

// TestZeekHeaders: lines are read by the header that stands above them, and by no other.
func TestZeekHeaders(t *testing.T) {
	const fields = "ts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state"
	const line = "1764000000.0\t10.0.0.7\t1\t192.0.2.1\t443\ttcp\tSF\n"
	for name, c := range map[string]struct {
		text             string
		entries, trouble int
	}{
		"none":                      {line, 0, 1},
		"fields alone":              {"#fields\t" + fields + "\n" + line, 1, 0},
		"another path":              {"#path\tdhcp\n#fields\t" + fields + "\n" + line, 0, 0},
		"fewer values":              {"#fields\t" + fields + "\tx\n" + line, 0, 1},
		"more values":               {"#fields\tts\n" + line, 0, 1},
		"a second header":           {"#fields\tts\n#fields\t" + fields + "\n" + line, 1, 0},
		"a header between":          {"#fields\t" + fields + "\n" + line + "#path\tdhcp\n" + line + "#path\tconn\n" + line, 2, 0},
		"a new separator begins":    {"#fields\t" + fields + "\n" + line + "#separator \\x7c\n" + line, 1, 1},
		"an empty separator":        {"#separator \n#fields\t" + fields + "\n" + line, 1, 1},
		"a separator that is none":  {"#separator \\xZZ\n#fields\t" + fields + "\n" + line, 1, 1},
		"a separator that is long":  {"#separator " + strings.Repeat("x", 100) + "\n#fields\t" + fields + "\n" + line, 1, 1},
		"too many fields":           {"#fields\t" + strings.Repeat("a\t", 300) + "\n" + line, 0, 2},
		"no time":                   {"#fields\t" + fields + "\n" + strings.Replace(line, "1764000000.0", "-", 1), 0, 1},
		"a time before any log":     {"#fields\t" + fields + "\n" + strings.Replace(line, "1764000000.0", "12.0", 1), 0, 1},
		"a time that never comes":   {"#fields\t" + fields + "\n" + strings.Replace(line, "1764000000.0", "99999999999.0", 1), 0, 1},
		"no client":                 {"#fields\t" + fields + "\n" + strings.Replace(line, "10.0.0.7", "-", 1), 0, 1},
		"a client that is a name":   {"#fields\t" + fields + "\n" + strings.Replace(line, "10.0.0.7", "laptop", 1), 0, 1},
		"a port that is none":       {"#fields\t" + fields + "\n" + strings.Replace(line, "\t443\t", "\t70000\t", 1), 0, 1},
		"a negative port":           {"#fields\t" + fields + "\n" + strings.Replace(line, "\t443\t", "\t-1\t", 1), 0, 1},
		"an empty line":             {"#fields\t" + fields + "\n\n" + line + "\n", 1, 0},
		"ends of lines of Windows":  {"#fields\t" + fields + "\r\n" + strings.ReplaceAll(line, "\n", "\r\n"), 1, 0},
		"JSON among the tabs":       {"#fields\t" + fields + "\n" + line + `{"ts":1764000000,"id.orig_h":"10.0.0.7","id.resp_h":"192.0.2.1","conn_state":"SF"}` + "\n" + line, 3, 0},
		"JSON that is another type": {`{"ts":{},"id.orig_h":["10.0.0.7"],"id.resp_h":7,"conn_state":"SF"}` + "\n" + `{"ts":1764000000` + "\n" + `[]` + "\n", 0, 3},
	} {
		got, trouble := entriesOf(t, "zeek", c.text, now)
		if len(got) != c.entries || trouble.Lines != c.trouble {
			t.Errorf("%s: %d entries and %d in trouble (%v), want %d and %d", name, len(got), trouble.Lines, trouble.First, c.entries, c.trouble)
		}
	}
}

// TestYearsOfDnsmasq: its traditional log leaves the year out, which is the last one that is not to come.
func TestYearsOfDnsmasq(t *testing.T) {
	for _, c := range []struct{ now, line, want string }{
		{"2026-11-25T18:00:00Z", "Nov 25 17:59:59", "2026-11-25T17:59:59Z"},
		{"2026-11-25T18:00:00Z", "Nov  5 17:59:59", "2026-11-05T17:59:59Z"},
		{"2026-11-25T18:00:00Z", "Nov 26 12:00:00", "2026-11-26T12:00:00Z"}, // a clock that runs ahead a little
		{"2026-11-25T18:00:00Z", "Nov 27 12:00:00", "2025-11-27T12:00:00Z"},
		{"2026-11-25T18:00:00Z", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"},
		{"2027-01-01T00:00:10Z", "Dec 31 23:59:59", "2026-12-31T23:59:59Z"},
		{"2026-12-31T23:59:50Z", "Jan  1 00:00:05", "2027-01-01T00:00:05Z"},
		{"2026-11-25T18:00:00Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z"},
		{"2104-02-01T00:00:00Z", "Feb 29 12:00:00", "2096-02-29T12:00:00Z"}, // 2100 has none
		{"2026-11-25T18:00:00Z", "Feb 30 12:00:00", ""},
		{"2026-11-25T18:00:00Z", "Foo 12 12:00:00", ""},
		{"2026-11-25T18:00:00Z", "Nov 25 24:00:00", ""},
	} {
		at, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		local := func() time.Time {
			y, m, d := at.Date()
			return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), 0, time.Local)
		}
		got, trouble := entriesOf(t, "dnsmasq", c.line+" dnsmasq[1]: query[A] a.example.org from 10.0.0.7\n", local)
		said := ""
		if len(got) == 1 {
			said = got[0].Time.In(time.Local).Format("2006-01-02T15:04:05Z")
		}
		if said != c.want || (trouble.Lines == 1) != (c.want == "") {
			t.Errorf("%s at %s is %q, want %q (%v)", c.line, c.now, said, c.want, trouble.First)
		}
	}
}

// TestLinesOfDnsmasq: questions are read in each form of syslog, what else dnsmasq says is passed over, and what it does not say is trouble.
func TestLinesOfDnsmasq(t *testing.T) {
	for line, want := range map[string]string{
		"Nov 25 17:00:00 dnsmasq[1]: query[A] a.example.org from 10.0.0.7":                              "a.example.org A 10.0.0.7",
		"Nov 25 17:00:00 router dnsmasq[1]: query[AAAA] A.Example.ORG from fd00::7":                     "a.example.org AAAA fd00::7",
		"Nov 25 17:00:00 dnsmasq[1]: 7 10.0.0.7/5353 query[type=65] a.example.org from 10.0.0.7":        "a.example.org type=65 10.0.0.7",
		"2026-11-25T17:00:00.123456+01:00 router dnsmasq[1]: query[PTR] 7.0.0.10.in-addr.arpa from ::1": "7.0.0.10.in-addr.arpa PTR ::1",
		"2026-11-25T17:00:00Z router dnsmasq-dns[12]: query[A] . from 10.0.0.7":                         " A 10.0.0.7",
		"2026-11-25T17:00:00Z router dnsmasq: query[A] a.example.org from ::ffff:10.0.0.7":              "a.example.org A 10.0.0.7",
		"2026-11-25T17:00:00Z router dnsmasq: query[A] a.example.org from fe80::1%eth0":                 "a.example.org A fe80::1",
		"Nov 25 17:00:00 dnsmasq[1]: forwarded a.example.org to 192.0.2.53":                             "nothing",
		"Nov 25 17:00:00 dnsmasq[1]: reply a.example.org is 192.0.2.1":                                  "nothing",
		"Nov 25 17:00:00 dnsmasq[1]: cached a.example.org is NXDOMAIN":                                  "nothing",
		"Nov 25 17:00:00 dnsmasq[1]: started, version 2.90 cachesize 150":                               "nothing",
		"Nov 25 17:00:00 dnsmasq-dhcp[1]: DHCPACK(br0) 10.0.0.7 aa:bb:cc:dd:ee:ff laptop":               "nothing",
		"Nov 25 17:00:00 dnsmasq[1]: query[A] a.example.org from nowhere":                               "trouble",
		"2026-13-25T17:00:00Z router dnsmasq: query[A] a.example.org from 10.0.0.7":                     "trouble",
		"Nov 25 17:00:00 sshd[1]: Accepted publickey":                                                   "trouble",
		"query[A] a.example.org from 10.0.0.7":                                                          "trouble",
	} {
		got, trouble := entriesOf(t, "dnsmasq", line+"\n", now)
		said := "nothing"
		switch {
		case len(got) == 1:
			said = got[0].Name + " " + got[0].Type + " " + got[0].Client.Addr().String()
		case trouble.Lines > 0:
			said = "trouble"
		}
		if said != want {
			t.Errorf("%s\nsays %s, want %s (%v)", line, said, want, trouble.First)
		}
	}
}

// TestLinesOfSquid: who asked, for what, and where it went.
func TestLinesOfSquid(t *testing.T) {
	const head = "1764000000.123     12 10.0.0.7 "
	for line, want := range map[string]string{
		head + "TCP_TUNNEL/200 39 CONNECT web.whatsapp.com:443 - HIER_DIRECT/192.0.2.7 -":                "connect web.whatsapp.com 192.0.2.7:443  39",
		head + "TCP_TUNNEL/200 39 CONNECT web.whatsapp.com:443 alice HIER_DIRECT/2001:db8::7 -":          "connect web.whatsapp.com [2001:db8::7]:443 alice 39",
		head + "TCP_DENIED/403 39 CONNECT 192.0.2.7:5222 - HIER_NONE/- text/html":                        "connect  192.0.2.7:5222  39",
		head + "TCP_DENIED/403 39 CONNECT [2001:db8::7]:443 - HIER_NONE/- text/html":                     "connect  [2001:db8::7]:443  39",
		head + "TCP_MISS/200 39 GET https://t.me/x bob FIRSTUP_PARENT/192.0.2.3 text/html":               "http t.me 192.0.2.3:443 bob 39",
		head + "TCP_MISS/200 39 GET http://t.me:8081/x - HIER_NONE/- text/html":                          "http t.me invalid AddrPort  39",
		head + "TCP_MISS/200 39 GET ftp://files.example.org/x - HIER_DIRECT/192.0.2.3 text/html":         "http files.example.org 192.0.2.3:21  39",
		head + "TCP_MISS/200 -39 GET http://t.me/ - HIER_NONE/- text/html":                               "http t.me invalid AddrPort  0",
		head + "NONE/400 39 NONE error:invalid-request - HIER_NONE/- text/html":                          "nothing",
		head + "TCP_TUNNEL/200 39 CONNECT web.whatsapp.com - HIER_NONE/- -":                              "trouble",
		head + "TCP_TUNNEL/200 39 CONNECT web.whatsapp.com:99999 - HIER_NONE/- -":                        "trouble",
		head + "TCP_MISS/200 39 GET /relative - HIER_NONE/- text/html":                                   "trouble",
		head + "TCP_MISS/200 39 GET http://%zz/ - HIER_NONE/- text/html":                                 "trouble",
		head + "TCP_MISS/200 many GET http://t.me/ - HIER_NONE/- text/html":                              "trouble",
		head + "TCP_MISS/200 39 GET http://t.me/":                                                        "trouble",
		strings.Replace(head, "10.0.0.7", "laptop", 1) + "TCP_MISS/200 39 GET http://t.me/ - H/- text":   "trouble",
		strings.Replace(head, "1764000000", "yesterday", 1) + "TCP_MISS/200 39 GET http://t.me/ - H/- t": "trouble",
	} {
		got, trouble := entriesOf(t, "squid", line+"\n", now)
		said := "nothing"
		switch {
		case len(got) == 1:
			said = fmt.Sprintf("%s %s %s %s %d", got[0].Protocol, got[0].Name, got[0].Server, got[0].User, got[0].Bytes)
		case trouble.Lines > 0:
			said = "trouble"
		}
		if said != want {
			t.Errorf("%s\nsays %s, want %s (%v)", line, said, want, trouble.First)
		}
	}
}

// TestWhatALineSaysIsBounded: no field of a line, however long, makes an entry that is not within bounds, in any format.
func TestWhatALineSaysIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 20_000)
	answers := strings.TrimSuffix(strings.Repeat(`"192.0.2.1",`, 5000), ",")
	for format, line := range map[string]string{
		"zeek":     `{"_path":"dns","ts":1764000000,"id.orig_h":"10.0.0.7","id.resp_h":"192.0.2.1","uid":"` + long + `","proto":"` + "udp" + `","query":"` + long + `","qtype_name":"` + long + `","answers":[` + answers + `]}`,
		"suricata": `{"timestamp":"2026-11-25T17:00:10+0000","event_type":"dns","src_ip":"10.0.0.7","dest_ip":"192.0.2.1","proto":"UDP","app_proto":"` + long + `","dns":{"rrname":"` + long + `","rrtype":"` + long + `","grouped":{"A":[` + answers + `]}}}`,
		"squid":    "1764000000.1 1 10.0.0.7 TCP_MISS/200 1 CONNECT " + long + ":443 " + long + " HIER_NONE/- -",
		"dnsmasq":  "Nov 25 17:00:00 dnsmasq[1]: query[A] " + long + " from 10.0.0.7",
	} {
		got, trouble := entriesOf(t, format, line+"\n", now)
		if len(got) != 1 {
			t.Errorf("%s: %d entries, %v", format, len(got), trouble.First)
			continue
		}
		e := got[0]
		for _, s := range []string{e.Name, e.Type, e.JA4, e.ALPN, e.Protocol, e.User, e.Flow} {
			if len(s) > 1100 || strings.ToValidUTF8(s, "") != strings.ReplaceAll(s, "\x00", "") {
				t.Errorf("%s: a field of %d bytes", format, len(s))
			}
		}
		if e.Name == "" || len(e.Answers) > 32 || slices.Contains(e.Answers, "") {
			t.Errorf("%s: name %.20q, %d answers", format, e.Name, len(e.Answers))
		}
	}
}

// TestOneClientsAnswersAreItsOwn: a name that DNS led one client to says nothing of another's flows to the same address.
func TestOneClientsAnswersAreItsOwn(t *testing.T) {
	j := judge(t, "zeek", nil)
	at := func(client string) netip.AddrPort { return netip.MustParseAddrPort(client) }
	server := netip.MustParseAddrPort("192.0.2.44:443")
	j.Judge(&logs.Entry{Kind: logs.Question, Time: now(), Client: at("10.0.0.7:5000"), Name: "web.telegram.org", How: "dns", Type: "A", Answers: []string{"192.0.2.44"}})
	j.Judge(&logs.Entry{Kind: logs.Question, Time: now(), Client: at("10.0.0.7:5000"), Type: "A", Answers: []string{"192.0.2.44"}}) // to no question
	for _, c := range []struct{ client, app string }{{"10.0.0.7:6000", "telegram"}, {"10.0.0.8:6000", ""}, {"10.0.0.7:1", "telegram"}} {
		e := &logs.Entry{Time: now(), Proto: "tcp", Client: at(c.client), Server: server, Protocol: "ssl"}
		if got := j.Judge(e).Finding.Flow.App; got != c.app {
			t.Errorf("a flow of %s is %q, want %q", c.client, got, c.app)
		}
	}
	named := &logs.Entry{Time: now(), Proto: "tcp", Client: at("10.0.0.7:6001"), Server: server, Protocol: "ssl", Name: "www.example.org", How: "sni"}
	if got := j.Judge(named).Finding.Flow.App; got != "" {
		t.Errorf("a flow with a name of its own is %q", got)
	}
}
