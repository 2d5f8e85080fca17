package logs_test

import (
	"strings"
	"testing"
)

// TestVersionsOfPrograms: what versions and settings of the same program write differently says the same.
func TestVersionsOfPrograms(t *testing.T) {
	const (
		dns1 = `{"timestamp":"2026-11-25T17:00:10.250000+0000","flow_id":1,"event_type":"dns","src_ip":"192.0.2.53","src_port":53,"dest_ip":"10.0.0.7","dest_port":40000,` +
			`"proto":"UDP","dns":{"type":"answer","id":1,"rcode":"NOERROR","rrname":"web.telegram.org","rrtype":"A","ttl":60,"rdata":"192.0.2.44"}}`
		later = `{"timestamp":"2026-11-25T17:00:11.250000+0000","flow_id":2,"event_type":"flow","src_ip":"10.0.0.7","src_port":50003,"dest_ip":"192.0.2.44","dest_port":443,` +
			`"proto":"TCP","app_proto":"failed","flow":{"pkts_toserver":2,"pkts_toclient":2,"bytes_toserver":200,"bytes_toclient":200}}`
		quic = `{"timestamp":"2026-11-25T17:00:12.250000+0000","flow_id":3,"event_type":"quic",SIDES,"proto":"UDP","quic":{WHAT}}`
		out  = `"src_ip":"10.0.0.7","src_port":50002,"dest_ip":"192.0.2.9","dest_port":443`
		back = `"src_ip":"192.0.2.9","src_port":443,"dest_ip":"10.0.0.7","dest_port":50002`
		ping = `{"timestamp":"2026-11-25T17:00:13.250000+0000","flow_id":4,"event_type":"flow","src_ip":"fe80::1","dest_ip":"2001:db8::9","proto":"IPv6-ICMP","icmp_type":135,` +
			`"icmp_code":0,"flow":{"pkts_toserver":3,"pkts_toclient":3,"bytes_toserver":264,"bytes_toclient":240}}`
		conn = `{"_path":"conn","ts":1795629067.5,"uid":"C1","id.orig_h":"10.0.0.7","id.orig_p":50001,"id.resp_h":"149.154.167.50","id.resp_p":5222,"proto":"tcp","service":"SERVICE",` +
			`"conn_state":"SF","orig_pkts":10,"resp_pkts":10,"orig_ip_bytes":1000,"resp_ip_bytes":2000}`
	)
	quicLine := func(sides, what string) string {
		return strings.NewReplacer("SIDES", sides, "WHAT", what).Replace(quic)
	}
	for _, tt := range []struct {
		name, format, text string
		want               []string
	}{
		{"DNS of Suricata 4: a line for each record of the answer", "suricata", dns1 + "\n" + later, []string{
			"udp 10.0.0.7:40000>192.0.2.53:53 web.telegram.org [telegram] 0.8 0/0", "tcp 10.0.0.7:50003>192.0.2.44:443 web.telegram.org [telegram] 0.8 4/400"}},
		{"lines marked for a collector", "suricata", "@cee: " + dns1 + "\n@cee: " + later, []string{
			"udp 10.0.0.7:40000>192.0.2.53:53 web.telegram.org [telegram] 0.8 0/0", "tcp 10.0.0.7:50003>192.0.2.44:443 web.telegram.org [telegram] 0.8 4/400"}},
		{"the server's line of QUIC makes no client of it", "suricata",
			quicLine(out, `"version":"1","sni":"discord.com","ja3":{"hash":"x"}`) + "\n" + quicLine(back, `"version":"1","ja3s":{"hash":"y"}`) + "\n" + quicLine(back, `"version":"1"`), []string{
				"udp 10.0.0.7:50002>192.0.2.9:443 discord.com [discord] 0.8 0/0"}},
		{"Google QUIC tells its agent", "suricata", quicLine(out, `"version":"Q046","ua":"Chrome/93"`), []string{"udp 10.0.0.7:50002>192.0.2.9:443  [] 0 0/0"}},
		{"ICMP has one name", "suricata", ping, []string{"icmp [fe80::1]:0>[2001:db8::9]:0  [] 0 6/504"}},
		{"XMPP that went on encrypted", "zeek", strings.Replace(conn, "SERVICE", "xmpp,ssl", 1), []string{"tcp 10.0.0.7:50001>149.154.167.50:5222  [xmpp] 0.8 20/3000"}},
		{"all that Zeek saw hides the rest", "zeek", strings.Replace(conn, "SERVICE", "quic,ssl", 1), []string{"tcp 10.0.0.7:50001>149.154.167.50:5222  [telegram] 0.5 20/3000"}},
		{"what Zeek could read is no messenger's", "zeek", strings.Replace(conn, "SERVICE", "ssl,http", 1), []string{"tcp 10.0.0.7:50001>149.154.167.50:5222  [] 0 20/3000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, trouble := told(t, tt.format, tt.text)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") || trouble.Lines != 0 {
				t.Errorf("got\n%s\nwant\n%s\ntrouble: %v", strings.Join(got, "\n"), strings.Join(tt.want, "\n"), trouble.First)
			}
		})
	}
}
