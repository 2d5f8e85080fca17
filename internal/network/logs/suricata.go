package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// suricata reads EVE lines of the types flow, tls, quic, http and dns (docs.suricata.io, "EVE JSON Format"); all others say nothing to us.
type suricata struct{}

func (suricata) state() []byte        { return nil }
func (suricata) restore([]byte) error { return nil }

// eve is an EVE line, as far as it concerns us.
type eve struct {
	Timestamp string `json:"timestamp"`
	FlowID    uint64 `json:"flow_id"`
	Type      string `json:"event_type"`
	SrcIP     string `json:"src_ip"`
	SrcPort   int64  `json:"src_port"`
	DestIP    string `json:"dest_ip"`
	DestPort  int64  `json:"dest_port"`
	Proto     string `json:"proto"`
	AppProto  string `json:"app_proto"`
	Flow      struct {
		PacketsOut int64  `json:"pkts_toserver"`
		PacketsIn  int64  `json:"pkts_toclient"`
		BytesOut   int64  `json:"bytes_toserver"`
		BytesIn    int64  `json:"bytes_toclient"`
		Start      string `json:"start"`
	} `json:"flow"`
	TLS  eveHandshake `json:"tls"`
	QUIC eveHandshake `json:"quic"`
	HTTP struct {
		Host string `json:"hostname"`
	} `json:"http"`
	DNS eveDNS `json:"dns"`
}

// eveHandshake is what tls and quic have in common. client_alpns is a list in tls.
type eveHandshake struct {
	SNI   string `json:"sni"`
	JA3   any    `json:"ja3"`
	JA4   string `json:"ja4"`
	Agent string `json:"ua"` // of Google's QUIC
	ALPNs any    `json:"client_alpns"`
}

// fromClient tells a client's line of QUIC from its server's: each end's handshake has one, under its own address as the source.
func (h *eveHandshake) fromClient() bool {
	return h.SNI != "" || h.JA3 != nil || h.JA4 != "" || h.Agent != "" || h.ALPNs != nil
}

// eveDNS is a question or an answer: of version 1 (before Suricata 5) a line for each record of an answer, of version 2 with its names beside, of
// version 3 (Suricata 8) with a list of questions.
type eveDNS struct {
	Type    string        `json:"type"`
	Name    string        `json:"rrname"`
	RR      string        `json:"rrtype"`
	Data    string        `json:"rdata"`
	Queries []eveQuestion `json:"queries"`
	Answers []struct {
		Data string `json:"rdata"`
	} `json:"answers"`
	Grouped map[string]any `json:"grouped"`
}

type eveQuestion struct {
	Name string `json:"rrname"`
	RR   string `json:"rrtype"`
}

// eveTime is the form of Suricata's times: RFC 3339 with six digits and a zone without a colon.
const eveTime = "2006-01-02T15:04:05.999999-0700"

// eveCookie stands before each line where Suricata was told to mark them for a collector (its option prefix).
const eveCookie = "@cee: "

func (suricata) line(b []byte) (*Entry, error) {
	b = bytes.TrimPrefix(b, []byte(eveCookie))
	if len(b) == 0 {
		return nil, nil
	}
	var kind struct {
		Type string `json:"event_type"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	switch kind.Type {
	case "flow", "tls", "quic", "http", "dns":
	case "":
		return nil, fmt.Errorf("it has no event_type")
	default:
		return nil, nil
	}
	var v eve
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", kind.Type, err)
	}
	return v.entry()
}

func (v *eve) entry() (*Entry, error) {
	if v.Type == "quic" && !v.QUIC.fromClient() {
		return nil, nil
	}
	e := &Entry{Proto: strings.TrimPrefix(strings.ToLower(v.Proto), "ipv6-"), Protocol: v.AppProto, Flow: strconv.FormatUint(v.FlowID, 10)}
	var err error
	if e.Time, err = parseEve(v.Timestamp); err != nil {
		return nil, err
	}
	if e.Client, err = join(v.SrcIP, v.SrcPort); err != nil {
		return nil, fmt.Errorf("src_ip: %w", err)
	}
	if e.Server, err = join(v.DestIP, v.DestPort); err != nil {
		return nil, fmt.Errorf("dest_ip: %w", err)
	}
	e.Packets, e.Bytes = sum(v.Flow.PacketsOut, v.Flow.PacketsIn), sum(v.Flow.BytesOut, v.Flow.BytesIn)
	if start, err := parseEve(v.Flow.Start); err == nil {
		e.Time = start
	}
	switch v.Type {
	case "tls":
		e.Protocol, e.Name, e.How, e.JA4, e.ALPN = "tls", v.TLS.SNI, "sni", v.TLS.JA4, v.TLS.alpn()
	case "quic":
		e.Protocol, e.Name, e.How, e.JA4, e.ALPN = "quic", v.QUIC.SNI, "sni", v.QUIC.JA4, v.QUIC.alpn()
	case "http":
		e.Protocol, e.Name, e.How = "http", hostName(v.HTTP.Host), "host"
	case "dns":
		v.question(e)
	}
	return e, nil
}

// question fills in what a line about DNS says. Answers of some versions name the server first.
func (v *eve) question(e *Entry) {
	e.Kind, e.Name, e.How, e.Type = Question, v.DNS.Name, "dns", v.DNS.RR
	if e.Name == "" && len(v.DNS.Queries) > 0 {
		e.Name, e.Type = v.DNS.Queries[0].Name, v.DNS.Queries[0].RR
	}
	if e.Client.Port() == 53 && e.Server.Port() != 53 {
		e.Client, e.Server = e.Server, e.Client
	}
	if v.DNS.Data != "" {
		e.Answers = append(e.Answers, v.DNS.Data)
	}
	for _, a := range v.DNS.Answers {
		e.Answers = append(e.Answers, a.Data)
	}
	for _, rr := range []string{"A", "AAAA"} {
		list, _ := v.DNS.Grouped[rr].([]any)
		for _, a := range list {
			if s, ok := a.(string); ok {
				e.Answers = append(e.Answers, s)
			}
		}
	}
}

func (h *eveHandshake) alpn() string {
	if list, ok := h.ALPNs.([]any); ok && len(list) > 0 {
		s, _ := list[0].(string)
		return s
	}
	return ""
}

func parseEve(s string) (time.Time, error) {
	t, err := time.Parse(eveTime, s)
	if err != nil {
		if t, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return time.Time{}, fmt.Errorf("%.40q is no time", s)
		}
	}
	return recordable(t)
}
