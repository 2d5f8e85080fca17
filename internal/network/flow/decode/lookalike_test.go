package decode_test

import (
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/network/flow/decode"
)

// TestOtherStreamsAreNotClaimed: protocols that are no messenger's, on the ports where messengers are as well, are not taken for one.
func TestOtherStreamsAreNotClaimed(t *testing.T) {
	padded := func(s string) string { return s + strings.Repeat("\x00", 64) }
	for _, c := range []struct{ name, client, server string }{
		{"ssh", "SSH-2.0-OpenSSH_9.6\r\n" + strings.Repeat("\x90", 64), "SSH-2.0-OpenSSH_9.6\r\n"},
		{"smtp", "EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n", "220 mail.example.org ESMTP\r\n250 ok\r\n"},
		{"imap", "a001 LOGIN bob secret\r\na002 SELECT INBOX\r\na003 FETCH 1 BODY[]\r\na004 LOGOUT\r\n", "* OK IMAP4rev1 ready\r\n"},
		{"pop3", "USER bob\r\nPASS secret\r\nSTAT\r\nLIST\r\nRETR 1\r\nDELE 1\r\nQUIT\r\nNOOP\r\nRSET\r\nTOP 1 0\r\n", "+OK ready\r\n"},
		{"ftp", "USER anonymous\r\nPASS a@example.org\r\nSYST\r\nPASV\r\nRETR a.txt\r\nQUIT\r\nTYPE I\r\nCWD /pub/a\r\n", "220 ready\r\n"},
		{"nntp", "GROUP comp.lang.go\r\nARTICLE 1\r\nBODY 2\r\nLIST\r\nQUIT\r\nMODE READER\r\nNEXT\r\nDATE\r\nHELP\r\n", "200 news\r\n"},
		{"redis", "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "+OK\r\n"},
		{"memcached", "set key 0 0 5\r\nvalue\r\nget key\r\nget another\r\ndelete key\r\nversion\r\nstats\r\nquit\r\n", "STORED\r\n"},
		{"postgresql", "\x00\x00\x00\x54\x00\x03\x00\x00user\x00bob\x00database\x00shop\x00application_name\x00psql\x00client_encoding\x00UTF8\x00\x00" + strings.Repeat("Q", 20), "R\x00\x00\x00\x08\x00\x00\x00\x00"},
		{"rdp", padded("\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00Cookie: mstshash=bob\r\n\x01\x00\x08\x00\x03\x00\x00\x00"), "\x03\x00\x00\x13\x0e\xd0"},
		{"smb", padded("\x00\x00\x00\x54\xfeSMB\x40\x00\x00\x00"), "\x00\x00\x00\x54\xfeSMB"},
		{"mqtt", padded("\x10\x1a\x00\x04MQTT\x04\x02\x00\x3c\x00\x0ebob-the-client"), "\x20\x02\x00\x00"},
		{"amqp", padded("AMQP\x00\x00\x09\x01"), "\x01\x00\x00\x00\x00\x01"},
		{"bittorrent", padded("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05" + strings.Repeat("h", 40)), "\x13BitTorrent protocol"},
		{"ldap", padded("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"), "\x30\x0c\x02\x01\x01\x61"},
		{"kerberos", padded("\x00\x00\x00\xe3\x6a\x81\xe0\x30\x81\xdd\xa1\x03\x02\x01\x05"), "\x00\x00\x00\x20\x7e"},
		{"telnet", padded("\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f"), "\xff\xfd\x18"},
		{"vnc", "RFB 003.008\n" + strings.Repeat("\x01", 64), "RFB 003.008\n"},
		{"rtmp", "\x03" + strings.Repeat("\x00\x01\x02\x83", 384), ""},
		{"mysql", padded("\x55\x00\x00\x01\x85\xa6\xff\x01\x00\x00\x00\x01\x21"), "\x4a\x00\x00\x00\x0a8.0.36\x00"},
		{"mongodb", padded("\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00"), ""},
		{"cassandra", padded("\x04\x00\x00\x00\x01\x00\x00\x00\x16\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0"), ""},
		{"git", "0032git-upload-pack /project.git\x00host=git.example\x00" + strings.Repeat("0000", 10), ""},
		{"rsync", "@RSYNCD: 31.0\nmodule\n" + strings.Repeat("\x90", 64), "@RSYNCD: 31.0\n"},
		{"whois", "example.org\r\n", "% This is the registry\r\n" + strings.Repeat("x", 600)},
		{"syslog", "<34>1 2026-11-25T09:00:00Z host app - - - a message that is long enough to be one, and longer\n", ""},
		{"socks5", "\x05\x01\x00" + strings.Repeat("\x05\x01\x00\x03", 20), "\x05\x00"},
		{"tds", padded("\x12\x01\x00\x2f\x00\x00\x01\x00\x00\x00\x1a\x00\x06\x01"), ""},
		{"json lines", strings.Repeat(`{"jsonrpc":"2.0","method":"subscribe"}`+"\n", 4), ""},
		{"xml of another language", "<?xml version='1.0'?><rss version='2.0'>" + strings.Repeat("<item/>", 200), "x"},
		{"a word that begins as a method", "GETTING things done is what the people in this long line of text do all day\r\n", ""},
		{"a word that begins as sip", "INVITED guests only, says the long line of text that comes over this connection\r\n", ""},
		{"whatsapp's letters in a text", "WAITING for the end of this text, which is longer than what could be a handshake", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, port := range []uint16{443, 5222, 6667, 5060, 1863, 5190, 9999} {
				if facts := conversation(c.client, c.server, port, false); len(facts) > 0 {
					t.Errorf("port %d: found %v", port, facts)
				}
			}
		})
	}
}

// TestOtherDatagramsAreNotClaimed: the same over UDP. What may be classic Skype is a candidate only, and no claim.
func TestOtherDatagramsAreNotClaimed(t *testing.T) {
	zeros := func(s string, n int) string { return s + strings.Repeat("\x00", n-len(s)) }
	for _, c := range []struct{ name, payload string }{
		{"ntp", zeros("\x23\x00\x06\xec", 48)},
		{"snmp", "\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x04\x00\x00\x00\x01\x02\x01\x00\x02\x01\x00\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00"},
		{"dhcp", zeros("\x01\x01\x06\x00\x12\x34\x56\x78", 300)},
		{"ssdp", "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\n\r\n"},
		{"wireguard initiation", zeros("\x01\x00\x00\x00\x11\x22\x33\x44", 148)},
		{"wireguard response", zeros("\x02\x00\x00\x00\x11\x22\x33\x44", 92)},
		{"openvpn", "\x38\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x00\x00"},
		{"ike", zeros("\x01\x02\x03\x04\x05\x06\x07\x08", 16) + "\x21\x20\x22\x08\x00\x00\x00\x00\x00\x00\x00\x40" + strings.Repeat("\x00", 36)},
		{"radius", zeros("\x01\x10\x00\x26", 38)},
		{"tftp", "\x00\x01boot.img\x00octet\x00"},
		{"coap", "\x40\x01\x12\x34\xbb.well-known\x04core"},
		{"syslog", "<34>Nov 25 09:00:00 host app: a message"},
		{"netflow", zeros("\x00\x09\x00\x01\x00\x00\x00\x01", 60)},
		{"sflow", zeros("\x00\x00\x00\x05\x00\x00\x00\x01", 60)},
		{"vxlan", zeros("\x08\x00\x00\x00\x00\x00\x2a\x00", 60)},
		{"gtp", zeros("\x32\x01\x00\x04\x00\x00\x00\x00", 24)},
		{"bfd", "\x20\x40\x03\x18\x00\x00\x00\x01\x00\x00\x00\x00\x00\x0f\x42\x40\x00\x0f\x42\x40\x00\x00\x00\x00"},
		{"rip", zeros("\x02\x02\x00\x00\x00\x02\x00\x00", 24)},
		{"netbios name", "\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x20CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01"},
		{"llmnr", "\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04host\x00\x00\x01\x00\x01"},
		{"bittorrent dht", "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"},
		{"utp", zeros("\x41\x00\x12\x34", 20)},
		{"steam", "\xff\xff\xff\xffTSource Engine Query\x00"},
		{"minecraft", zeros("\x01\x00\x00\x00", 33)},
		{"teamspeak's word elsewhere", "xTS3INIT1\x00\x65\x00\x00\x88"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, port := range []uint16{443, 3478, 5060, 7000, 50004} {
				if fact, ok := datagram([]byte(c.payload), port); ok && fact.Decoder != "skype-candidate" {
					t.Errorf("port %d: found %v", port, fact)
				}
			}
		})
	}
}

// TestOneFactAFlow: of a stream that two grammars could claim only one does.
func TestOneFactAFlow(t *testing.T) {
	for _, s := range streamSpecimens() {
		var stream decode.Stream
		total := 0
		for range 3 {
			facts, _ := stream.Look(&decode.Segments{Client: s.bytes, ClientPort: 50000, ServerPort: s.port})
			total += len(facts)
		}
		if total != 1 {
			t.Errorf("%s: %d facts", s.name, total)
		}
	}
}
