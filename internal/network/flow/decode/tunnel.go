package decode

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// tunnel is a proxy's preface at the beginning of a flow: what follows it is the flow that it was asked for.
type tunnel uint8

const (
	tunnelNone tunnel = iota
	tunnelConnect
	tunnelSOCKS
)

func tunnelOf(f *Fact) tunnel {
	switch {
	case f.Decoder == "socks":
		return tunnelSOCKS
	case f.Decoder == "http" && f.Has("method", "CONNECT"):
		return tunnelConnect
	}
	return tunnelNone
}

// behind returns what follows the preface, once the proxy has agreed.
func (t tunnel) behind(in *Segments) (*Segments, answer) {
	var client, server int
	var a answer
	if t == tunnelConnect {
		client, server, a = connectPreface(in)
	} else {
		var s socks
		a = s.read(in.Client, in.Server)
		client, server = s.client, s.server
	}
	if a != yes {
		return nil, a
	}
	return &Segments{Client: in.Client[client:], Server: in.Server[server:], ClientPort: in.ClientPort, ServerPort: in.ServerPort}, yes
}

// connectPreface measures the request and its answer, which is any of 2xx (RFC 9110, section 9.3.6).
func connectPreface(in *Segments) (client, server int, a answer) {
	end := []byte("\r\n\r\n")
	client, server = bytes.Index(in.Client, end), bytes.Index(in.Server, end)
	switch {
	case len(in.Server) > 12 && (!bytes.HasPrefix(in.Server, []byte("HTTP/1.")) || in.Server[9] != '2'):
		return 0, 0, no
	case client >= 0 && server >= 12:
		return client + 4, server + 4, yes
	case len(in.Server) > maxHTTPHead || len(in.Client) > maxHTTPHead && client < 0:
		return 0, 0, no
	}
	return 0, 0, more
}

// socksStream reads what a SOCKS proxy is asked for: version 4 and 4a, and 5 (RFC 1928) with or without a password (RFC 1929).
func socksStream(in *Segments) (Fact, answer) {
	if len(in.Client) == 0 {
		return Fact{}, more
	}
	var s socks
	a := s.read(in.Client, in.Server)
	if s.version == "" {
		return Fact{}, a
	}
	fact := Fact{Decoder: "socks"}
	fact.add("name", s.name)
	fact.add("version", s.version)
	fact.add("target", s.target)
	return fact, yes
}

// socks is a request to a proxy. Its version is empty until the request has been read.
type socks struct {
	version, name, target string
	client, server        int // bytes of the preface
}

func (s *socks) read(client, server []byte) answer {
	if len(client) == 0 { // seen from its middle, what the server's side sent was a request
		return more
	}
	switch client[0] {
	case 4:
		return s.four(client, server)
	case 5:
		return s.five(client, server)
	}
	return no
}

func (s *socks) four(client, server []byte) answer {
	if len(client) < 9 {
		return is(len(client) < 2 || client[1] == 1).orMore()
	}
	user := bytes.IndexByte(client[8:], 0)
	if client[1] != 1 || !printable(client[8:8+max(user, 0)]) {
		return no
	}
	if user < 0 {
		return is(len(client) < 8+maxValue).orMore()
	}
	s.client = 8 + user + 1
	if client[4]|client[5]|client[6] == 0 && client[7] != 0 { // 4a: a name follows
		end := bytes.IndexByte(client[s.client:], 0)
		if end < 0 {
			return is(len(client) < 512).orMore()
		}
		if s.name = host(client[s.client : s.client+end]); s.name == "" {
			return no
		}
		s.client += end + 1
	} else {
		s.target = netip.AddrFrom4([4]byte(client[4:8])).String()
	}
	if binary.BigEndian.Uint16(client[2:]) == 0 {
		return no
	}
	switch {
	case len(server) < 8:
		s.version = "4"
		return more
	case server[0] != 0 || server[1] != 90:
		return no
	}
	s.version, s.server = "4", 8
	return yes
}

func (s *socks) five(client, server []byte) answer {
	if len(client) < 3 || len(client) < 2+int(client[1]) {
		return is(len(client) < 2 || client[1] > 0 && client[1] < 10).orMore()
	}
	if client[1] == 0 || client[1] >= 10 {
		return no
	}
	s.client = 2 + int(client[1])
	if len(server) < 2 { // a client may go on before it was answered
		next := client[s.client:]
		return is(len(next) == 0 || len(next) < 600 && (next[0] == 5 || next[0] == 1)).orMore()
	}
	if server[0] != 5 || !bytes.Contains(client[2:s.client], server[1:2]) {
		return no
	}
	s.server = 2
	if server[1] == 2 && !s.password(client, server) {
		return is(len(client) < 600).orMore()
	}
	return s.request(client, server)
}

// password steps over the sub-negotiation.
func (s *socks) password(client, server []byte) bool {
	at := s.client + 1
	for range 2 {
		if at >= len(client) {
			return false
		}
		at += 1 + int(client[at])
	}
	s.client, s.server = at, s.server+2
	return at <= len(client) && len(server) >= s.server
}

func (s *socks) request(client, server []byte) answer {
	b := client[s.client:]
	size := 0
	switch {
	case len(b) < 5:
		return more
	case b[0] != 5 || b[1] != 1 || b[2] != 0:
		return no
	case b[3] == 1:
		size = 4
	case b[3] == 4:
		size = 16
	case b[3] == 3:
		size = 1 + int(b[4])
	default:
		return no
	}
	if len(b) < 4+size+2 {
		return more
	}
	if b[3] == 3 {
		if s.name = host(b[5 : 4+size]); s.name == "" {
			return no
		}
	} else if addr, ok := netip.AddrFromSlice(b[4 : 4+size]); ok {
		s.target = addr.String()
	}
	s.client += 4 + size + 2
	s.version = "5"
	return s.reply(server)
}

func (s *socks) reply(server []byte) answer {
	b := server[s.server:]
	if len(b) < 5 {
		return more
	}
	size := map[byte]int{1: 4, 3: 1 + int(b[4]), 4: 16}[b[3]]
	switch {
	case b[0] != 5 || b[1] != 0 || size == 0:
		return no
	case len(b) < 4+size+2:
		return more
	}
	s.server += 4 + size + 2
	return yes
}

// orMore is more instead of yes.
func (a answer) orMore() answer {
	if a == yes {
		return more
	}
	return a
}
