package decode

// Description says what a decoder finds.
type Description struct {
	Name   string
	About  string
	Values []string // keys of its facts
}

// Decoders lists the decoders that signatures of the catalog may name. The last three are derived by package classify, from many flows.
func Decoders() []Description {
	return []Description{
		{"dns", "question and answer over UDP and TCP; not multicast DNS", []string{"name", "type", "answer", "alias"}},
		{"tls", "client hello, over any number of records and segments", []string{"name", "alpn", "ja4", "version", "ech"}},
		{"certificate", "names of the server's certificate, below TLS 1.3", []string{"name"}},
		{"quic", "client hello in Initial packets of versions 1, 2 and the drafts, and of Google QUIC in clear", []string{"name", "alpn", "ja4", "version", "agent", "ech"}},
		{"dtls", "kind is hello or record", []string{"kind", "ja4", "alpn", "name", "version", "ech"}},
		{"http", "first request; name is Host, or the target of CONNECT", []string{"name", "method", "path", "agent"}},
		{"stun", "STUN and TURN; kind is rfc5389 or rfc3489, vendor the numbers of attributes that IANA names for nobody, in hex", []string{"kind", "method", "form", "software", "realm", "origin", "vendor", "ice", "peer", "relayed"}},
		{"rtp", "four packets in order from one source", []string{"payload"}},
		{"rtcp", "control packets of media; form is plain or encrypted", []string{"form"}},
		{"xmpp", "stream header, or a stanza in the middle of a session", []string{"to", "from"}},
		{"irc", "registration, message, or a server's line", []string{"command"}},
		{"sip", "request or response", []string{"method", "agent", "media"}},
		{"msnp", "MSN protocol", []string{"version"}},
		{"oscar", "kind is flap, oft2 or odc2", []string{"kind"}},
		{"mtproto", "Telegram; transport is abridged, intermediate, padded or full", []string{"transport", "obfuscated"}},
		{"whatsapp", "handshake; form is noise or edge", []string{"form"}},
		{"whatsapp-frames", "a session seen from its middle: frames fill what both sides said; form is noise or fun", []string{"form"}},
		{"mmtls", "WeChat's own TLS", []string{"version"}},
		{"loco", "KakaoTalk in clear, or method secure: the beginning of its secure layer", []string{"method"}},
		{"discord", "kind is discovery or ping", []string{"kind"}},
		{"oicq", "QQ over UDP, port 8000", []string{"version"}},
		{"mumble", "ping of servers", []string{"kind"}},
		{"teamspeak", "TeamSpeak 3 handshake", []string{"version"}},
		{"viber", "form is tcp or udp, on documented ports", []string{"form"}},
		{"zoom", "kind is media or session, on documented ports", []string{"kind"}},
		{"threema", "sizes of the chat server handshake: ask for the address too", nil},
		{"opendht", "packets of the hash table of Jami's clients", []string{"network"}},
		{"tox", "kind is dht, two packets with one key, or relay", []string{"kind"}},
		{"socks", "request to a proxy; what it was asked for is decoded too, as behind CONNECT", []string{"name", "version", "target"}},
		{"tls-record", "TLS seen from its middle", []string{"version"}},
		{"encrypted", "no byte of it could be read from the first one on; sides is client or both", []string{"sides"}},
		{"skype-login", "login of classic Skype; form", []string{"form"}},
		{"skype-refusal", "reply of 11 bytes with the object id asked and the ends' addresses; kind is own, told, or agreed when two peers told the same", []string{"kind", "address"}},
		{"skype-udp", "a UDP socket that behaves as classic Skype: many peers, object ids in small steps", nil},
		{"skype-peer", "TCP to a peer of such a socket, kind host, or to its network, kind network", []string{"kind"}},
		{"skype-node", "TCP of a machine with such a socket: kind port is to that port, kind opaque is encrypted from the first byte", []string{"kind"}},
	}
}
