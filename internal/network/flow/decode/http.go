package decode

import "bytes"

// maxHTTPHead bounds the bytes of a request's head that are read.
const maxHTTPHead = 8 << 10

var httpMethods = [][]byte{
	[]byte("GET "), []byte("POST "), []byte("HEAD "), []byte("PUT "), []byte("DELETE "), []byte("OPTIONS "), []byte("PATCH "),
	[]byte("CONNECT "), []byte("TRACE "), []byte("PROPFIND "), []byte("PRI "),
}

// prefixed tells whether b begins with one of the words, or may when more of it comes.
func prefixed(b []byte, words [][]byte) answer {
	best := no
	for _, w := range words {
		if bytes.HasPrefix(b, w) {
			return yes
		}
		if len(b) < len(w) && bytes.HasPrefix(w, b) {
			best = more
		}
	}
	return best
}

// httpRequest reads the head of the first request (RFC 9112): method, target, Host and User-Agent.
func httpRequest(in *Segments) (Fact, answer) {
	b := in.Client
	if a := prefixed(b, httpMethods); a != yes {
		return Fact{}, a
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 && len(b) < maxHTTPHead && len(in.Server) == 0 {
		return Fact{}, more
	}
	if end < 0 {
		end = min(len(b), maxHTTPHead)
	}
	line, head, _ := bytes.Cut(b[:end], []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	fact := Fact{Decoder: "http"}
	name, agent := httpHeader(head, "host"), httpHeader(head, "user-agent")
	if string(method) == "CONNECT" {
		name = target
	} else if after, ok := bytes.CutPrefix(target, []byte("http://")); ok && len(name) == 0 {
		name, _, _ = bytes.Cut(after, []byte("/"))
	}
	fact.add("name", host(name))
	fact.add("method", text(method))
	path, _, _ := bytes.Cut(target, []byte("?"))
	fact.add("path", text(path[:min(len(path), maxValue)]))
	fact.add("agent", text(agent[:min(len(agent), maxValue)]))
	return fact, yes
}

// httpHeader returns the value of the header with the name, which is in lower case.
func httpHeader(head []byte, name string) []byte {
	for range 64 {
		line, rest, found := bytes.Cut(head, []byte("\r\n"))
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && len(key) == len(name) && equalFold(key, name) {
			return bytes.TrimSpace(value)
		}
		if !found {
			return nil
		}
		head = rest
	}
	return nil
}

func equalFold(b []byte, lower string) bool {
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
