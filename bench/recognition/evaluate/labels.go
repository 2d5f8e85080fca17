package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// label is what a flow of the corpus is.
type label struct {
	key         string // see flowKey
	capture     string
	source      string // the part of the capture's name before "__"
	app         string // "none" is no messenger
	accept      []string
	kind        string // dns, tls, quic, http, stun, dtls, media or native
	proto       string
	about       string // the evidence of whoever labelled it
	independent bool   // it does not rest on the verdict of an engine
	time        float64
}

var engine = regexp.MustCompile(`\bengine`)

// readLabels reads the labels that are scored.
func readLabels(path string) ([]label, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	var out []label
	for line := 2; ; line++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		get := func(name string) string {
			if i, ok := column[name]; ok {
				return row[i]
			}
			return ""
		}
		l, scored, err := parseLabel(get)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, line, err)
		}
		if scored {
			out = append(out, l)
		}
	}
}

func parseLabel(get func(name string) string) (l label, scored bool, err error) {
	if c := get("confidence"); c != "high" && c != "medium" || get("label") == "unknown" {
		return l, false, nil
	}
	l = label{capture: get("capture"), app: get("label"), kind: get("kind"), proto: get("proto"), about: get("evidence")}
	l.source = sourceOf(l.capture)
	l.accept = slices.DeleteFunc(strings.Split(get("accept"), "|"), func(s string) bool { return s == "" })
	basis, _, _ := strings.Cut(l.about, ";")
	l.independent = !engine.MatchString(basis)
	if l.time, err = strconv.ParseFloat(get("first_packet_time"), 64); err != nil {
		return l, false, err
	}
	a, errA := endpoint(get("client_ip"), get("client_port"))
	b, errB := endpoint(get("server_ip"), get("server_port"))
	if err := errors.Join(errA, errB); err != nil {
		return l, false, err
	}
	l.key = flowKey(l.capture, l.proto, a, b)
	return l, true, nil
}

func endpoint(ip, port string) (netip.AddrPort, error) {
	a, errA := netip.ParseAddr(ip)
	n, errB := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.WithZone(""), uint16(n)), errors.Join(errA, errB)
}

// flowKey names a flow by its endpoints without direction.
func flowKey(capture, proto string, a, b netip.AddrPort) string {
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return filepath.Base(capture) + " " + proto + " " + a.String() + " " + b.String()
}

func sourceOf(capture string) string {
	source, _, _ := strings.Cut(capture, "__")
	return source
}
