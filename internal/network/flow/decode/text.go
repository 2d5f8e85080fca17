package decode

import (
	"bytes"
	"net/netip"
	"strconv"
)

// xmppStream reads the stream header that opens an XMPP session (RFC 6120, section 4.7).
func xmppStream(in *Segments) (Fact, answer) {
	b := bytes.TrimLeft(in.Client, " \t\r\n")
	if a := prefixed(b, [][]byte{[]byte("<?xml "), []byte("<stream:stream"), []byte("<message "), []byte("<presence"), []byte("<iq "), []byte("</stream:stream>")}); a != yes {
		return Fact{}, a
	}
	b = b[:min(len(b), 2048)]
	i := bytes.Index(b, []byte("<stream:stream"))
	if i < 0 {
		if in.Middle && stanza(b) {
			return Fact{Decoder: "xmpp"}, yes
		}
		if len(b) < 512 && len(in.Server) == 0 {
			return Fact{}, more
		}
		return Fact{}, no
	}
	end := bytes.IndexByte(b[i:], '>')
	if end < 0 {
		return Fact{}, more
	}
	head := b[i : i+end]
	if !bytes.Contains(head, []byte("http://etherx.jabber.org/streams")) {
		return Fact{}, no
	}
	fact := Fact{Decoder: "xmpp"}
	fact.add("to", host(xmlAttribute(head, "to")))
	fact.add("from", text(xmlAttribute(head, "from")))
	return fact, yes
}

// stanza knows a session that is seen from its middle by a whole start tag with what only XMPP has (RFC 6120, section 8).
func stanza(b []byte) bool {
	tag, _, ok := bytes.Cut(b, []byte(">"))
	if !ok {
		return false
	}
	if string(tag) == "</stream:stream" {
		return true
	}
	kind := xmlAttribute(tag, "type")
	switch {
	case bytes.HasPrefix(tag, []byte("<iq ")):
		return string(kind) == "get" || string(kind) == "set" || string(kind) == "result" || string(kind) == "error"
	case bytes.HasPrefix(tag, []byte("<message ")), bytes.HasPrefix(tag, []byte("<presence ")):
		return bytes.IndexByte(xmlAttribute(tag, "to"), '@') > 0 || bytes.IndexByte(xmlAttribute(tag, "from"), '@') > 0
	}
	return false
}

func xmlAttribute(tag []byte, name string) []byte {
	for _, quote := range []string{"'", "\""} {
		_, rest, ok := bytes.Cut(tag, []byte(" "+name+"="+quote))
		if value, _, closed := bytes.Cut(rest, []byte(quote)); ok && closed {
			return value
		}
	}
	return nil
}

// ircStream knows IRC by the commands that register a client (RFC 2812, section 3.1; IRCv3 CAP), or by a server's own lines.
func ircStream(in *Segments) (Fact, answer) {
	if command := ircCommand(in.Client); command != "" {
		return Fact{Decoder: "irc", Attrs: []Attr{{"command", command}}}, yes
	}
	if command := ircServerLine(in.Server); command != "" {
		return Fact{Decoder: "irc", Attrs: []Attr{{"command", command}}}, yes
	}
	if len(in.Client) < 64 && printable(in.Client) && len(in.Server) < 512 {
		return Fact{}, more
	}
	return Fact{}, no
}

// ircCommand looks for NICK and USER lines among the client's first ones. One alone is a word that others use as well (FTP has USER).
func ircCommand(b []byte) string {
	var seen [ircMessage + 1]bool
	for range 8 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			break
		}
		kind := ircLine(bytes.TrimRight(line, "\r"))
		switch kind {
		case ircOther:
			return ""
		case ircMessage:
			return "message"
		}
		seen[kind] = true
		b = rest
	}
	if seen[ircUser] && (seen[ircNick] || seen[ircCapability]) || seen[ircNick] && seen[ircCapability] {
		return "register"
	}
	return ""
}

// Kinds of lines that a client begins with.
const (
	ircOther = iota
	ircNick
	ircUser
	ircCapability
	ircPassword
	ircMessage
)

func ircLine(line []byte) int {
	words := bytes.Count(line, []byte(" "))
	switch {
	case hasFold(line, "NICK ") && words <= 2:
		return ircNick
	case hasFold(line, "USER ") && words >= 4:
		return ircUser
	case hasFold(line, "CAP LS"), hasFold(line, "CAP REQ :"):
		return ircCapability
	case hasFold(line, "PASS "):
		return ircPassword
	case hasFold(line, "PRIVMSG ") && words >= 2 && bytes.Contains(line, []byte(" :")), hasFold(line, "JOIN #"):
		return ircMessage
	}
	return ircOther
}

// ircServerLine knows lines that begin with a prefix and a numeric reply or NOTICE (RFC 2812, section 2.3).
func ircServerLine(b []byte) string {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	if !ok || len(line) < 12 {
		return ""
	}
	if bytes.HasPrefix(line, []byte("NOTICE AUTH :")) {
		return "notice"
	}
	if line[0] != ':' {
		return ""
	}
	fields := bytes.Fields(line)
	if len(fields) < 4 {
		return ""
	}
	command := string(fields[1])
	switch {
	case command == "NOTICE" && fields[3][0] == ':', command == "PRIVMSG" && fields[3][0] == ':', command == "001", command == "020":
		return "reply"
	}
	return ""
}

func hasFold(line []byte, upper string) bool {
	return len(line) >= len(upper) && bytes.EqualFold(line[:len(upper)], []byte(upper))
}

func printable(b []byte) bool {
	for _, c := range b[:min(len(b), 64)] {
		if c < 0x20 && c != '\r' && c != '\n' && c != '\t' || c > 0x7e {
			return false
		}
	}
	return true
}

var sipWords = [][]byte{
	[]byte("INVITE "), []byte("REGISTER "), []byte("ACK "), []byte("BYE "), []byte("CANCEL "), []byte("OPTIONS "), []byte("SUBSCRIBE "),
	[]byte("NOTIFY "), []byte("MESSAGE "), []byte("INFO "), []byte("PRACK "), []byte("UPDATE "), []byte("REFER "), []byte("PUBLISH "),
	[]byte("SIP/2.0 "),
}

func sipDatagram(d *Datagram) (Fact, bool) {
	fact, a := sipMessage(d.Payload)
	return fact, a == yes
}

func sipStream(in *Segments) (Fact, answer) { return sipMessage(in.Client) }

// sipMessage knows SIP by its start line (RFC 3261, section 7.1).
func sipMessage(b []byte) (Fact, answer) {
	if a := prefixed(b, sipWords); a != yes {
		return Fact{}, a
	}
	line, head, ok := bytes.Cut(b[:min(len(b), maxHTTPHead)], []byte("\r\n"))
	if !ok {
		if len(b) < 1024 {
			return Fact{}, more
		}
		return Fact{}, no
	}
	method, rest, _ := bytes.Cut(line, []byte(" "))
	if string(method) != "SIP/2.0" && (!bytes.HasSuffix(rest, []byte(" SIP/2.0")) || !bytes.HasPrefix(rest, []byte("sip")) && !bytes.HasPrefix(rest, []byte("tel:"))) {
		return Fact{}, no
	}
	fact := Fact{Decoder: "sip"}
	fact.add("method", text(method))
	agent := httpHeader(head, "user-agent")
	fact.add("agent", text(agent[:min(len(agent), maxValue)]))
	sdpMedia(&fact, head)
	return fact, yes
}

// sdpMedia notes where a session description wants its media (RFC 8866, sections 5.7 and 5.14).
func sdpMedia(fact *Fact, head []byte) {
	_, body, ok := bytes.Cut(head, []byte("\r\n\r\n"))
	if !ok {
		return
	}
	var addr netip.Addr
	for range 64 {
		line, rest, found := bytes.Cut(body, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		if value, ok := bytes.CutPrefix(line, []byte("c=IN IP")); ok && len(value) > 2 {
			if a, err := netip.ParseAddr(string(value[2:min(len(value), 48)])); err == nil {
				addr = a
			}
		}
		if fields := bytes.Fields(line); len(fields) >= 3 && bytes.HasPrefix(line, []byte("m=")) && addr.IsValid() {
			if port, err := strconv.ParseUint(string(fields[1]), 10, 16); err == nil && port > 0 {
				fact.add("media", netip.AddrPortFrom(addr, uint16(port)).String())
			}
		}
		if !found {
			return
		}
		body = rest
	}
}

// msnpStream knows the MSN protocol by the version command that opens it, or its other commands with a transaction id.
func msnpStream(in *Segments) (Fact, answer) {
	words := [][]byte{[]byte("VER "), []byte("ANS "), []byte("USR "), []byte("CVR "), []byte("MSG "), []byte("PNG\r\n")}
	if a := prefixed(in.Client, words); a != yes {
		return Fact{}, a
	}
	line, _, ok := bytes.Cut(in.Client[:min(len(in.Client), 512)], []byte("\r\n"))
	if !ok {
		if len(in.Client) < 512 {
			return Fact{}, more
		}
		return Fact{}, no
	}
	if string(line) == "PNG" { // a ping, answered by QNG and seconds
		if len(in.Server) < 6 {
			return Fact{}, more
		}
		return Fact{Decoder: "msnp"}, is(bytes.HasPrefix(in.Server, []byte("QNG ")))
	}
	fields := bytes.Fields(line)
	if len(fields) < 4 || !digits(fields[1]) {
		return Fact{}, no
	}
	fact := Fact{Decoder: "msnp"}
	switch {
	case string(fields[0]) == "MSG" && digits(fields[3]) && bytes.HasPrefix(in.Client[len(line):], []byte("\r\nMIME-Version: ")):
	case string(fields[0]) == "VER" && bytes.HasPrefix(fields[2], []byte("MSNP")):
		fact.add("version", text(fields[2]))
	case (string(fields[0]) == "ANS" || string(fields[0]) == "USR") && bytes.IndexByte(fields[2], '@') > 0:
	default:
		return Fact{}, no
	}
	return fact, yes
}

func is(ok bool) answer {
	if ok {
		return yes
	}
	return no
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
