package decode

// tlsRecordStream knows TLS that is seen from its middle by whole application records (RFC 8446, section 5.1): no name is left to read.
func tlsRecordStream(in *Segments) (Fact, answer) {
	b := in.Client
	if !in.Middle {
		return Fact{}, no
	}
	if len(b) < 5 {
		return Fact{}, is(len(b) == 0 || b[0] == 23).orMore()
	}
	if size := int(b[3])<<8 | int(b[4]); b[0] != 23 || b[1] != 3 || b[2] > 3 || size == 0 || size > 1<<14+256 {
		return Fact{}, no
	}
	return Fact{Decoder: "tls-record", Attrs: []Attr{{"version", versionText(uint16(b[1])<<8 | uint16(b[2]))}}}, yes
}

// whatsappFramesStream knows a WhatsApp session that is seen from its middle by its framing: lengths of three bytes that fill what both
// sides said to the last byte. Before Noise the upper half of the first byte was a flag of encryption. form is noise or fun.
func whatsappFramesStream(in *Segments) (Fact, answer) {
	if !in.Middle || !whatsappPort(in.ServerPort) && !whatsappPort(in.ClientPort) {
		return Fact{}, no
	}
	if len(in.Client) == 0 || len(in.Server) == 0 {
		return Fact{}, more
	}
	for _, f := range []struct {
		flag byte
		form string
	}{{0, "noise"}, {8, "fun"}} {
		switch a := min(framed(in.Client, f.flag), framed(in.Server, f.flag)); a {
		case yes:
			return Fact{Decoder: "whatsapp-frames", Attrs: []Attr{{"form", f.form}}}, yes
		case more:
			return Fact{}, more
		}
	}
	return Fact{}, no
}

func whatsappPort(port uint16) bool { return port == 443 || port == 5222 || port == 80 }

// framed tells whether frames fill b. The first frame's length is the whole proof, so it must not be of few bytes.
func framed(b []byte, flag byte) answer {
	for len(b) > 0 {
		if len(b) < 3 {
			return more
		}
		size := int(b[0]&15)<<16 | int(b[1])<<8 | int(b[2])
		if b[0]>>4 != flag || size < 16 || size > 64<<10 {
			return no
		}
		if 3+size > len(b) {
			return more
		}
		b = b[3+size:]
	}
	return yes
}
