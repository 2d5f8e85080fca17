package logs

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// squid reads the native access log: time, milliseconds, client, result/status, bytes, method, URL, user, hierarchy/server, type
// (wiki.squid-cache.org, "Feature: Customizable Log Formats", the format named squid).
type squid struct{}

func (squid) state() []byte        { return nil }
func (squid) restore([]byte) error { return nil }

func (squid) line(b []byte) (*Entry, error) {
	f := strings.Fields(string(b))
	if len(f) == 0 {
		return nil, nil
	}
	if len(f) < 9 {
		return nil, fmt.Errorf("it has %d fields, not 10", len(f))
	}
	e := &Entry{Proto: "tcp", Protocol: "http"}
	var err error
	if e.Time, err = unixTime(f[0]); err != nil {
		return nil, err
	}
	if e.Client, err = join(f[2], 0); err != nil {
		return nil, err
	}
	if e.Bytes, err = strconv.ParseInt(f[4], 10, 64); err != nil {
		return nil, fmt.Errorf("%.20q is no number of bytes", f[4])
	}
	if strings.HasPrefix(f[6], "error:") {
		return nil, nil // what the client sent was no request
	}
	host, port, err := target(f[5], f[6])
	if err != nil && strings.HasPrefix(f[3], "NONE") {
		return nil, nil // nor was this: Squid answered by itself
	}
	if err != nil {
		return nil, err
	}
	if f[5] == "CONNECT" {
		e.Protocol = "connect"
	}
	e.Name, e.How = hostName(host), "host"
	if f[7] != "-" {
		e.User = f[7]
	}
	_, peer, _ := strings.Cut(f[8], "/")
	if server, err := join(peer, port); err == nil {
		e.Server = server
	} else if server, err := join(host, port); err == nil {
		e.Server = server
	}
	return e, nil
}

// target returns the host and port that a request was for.
func target(method, text string) (host string, port int64, err error) {
	if method == "CONNECT" && !strings.Contains(text, "://") {
		h, p, err := net.SplitHostPort(text)
		if err != nil {
			return "", 0, fmt.Errorf("%.60q is no host and port", text)
		}
		port, err := strconv.ParseUint(p, 10, 16)
		return h, int64(port), err
	}
	scheme, rest, _ := strings.Cut(text, "://")
	u, err := url.Parse("//" + rest[:strings.IndexAny(rest+"/", "/?#")]) // without the path: clients write some that no URL may have
	if err != nil || u.Hostname() == "" {
		return "", 0, errors.New("its URL names no host")
	}
	port = map[string]int64{"http": 80, "https": 443, "ftp": 21}[scheme]
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = int64(p)
	}
	return u.Hostname(), port, nil
}
