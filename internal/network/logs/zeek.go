package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// zeek reads conn, dns, ssl, http and quic logs, tab-separated or JSON (docs.zeek.org, "Zeek Log Formats and Inspection"). Which log it is says
// #path, _path, or the fields that are there.
type zeek struct {
	header zeekHeader
}

// zeekHeader is what the lines that begin with # say. It is kept across restarts.
type zeekHeader struct {
	Separator string   `json:"separator"`
	Set       string   `json:"set"`
	Empty     string   `json:"empty"`
	Unset     string   `json:"unset"`
	Path      string   `json:"path"`
	Fields    []string `json:"fields"`
}

const maxFields = 256

func (z *zeek) state() []byte {
	b, err := json.Marshal(z.header)
	if err != nil {
		return nil
	}
	return b
}

func (z *zeek) restore(b []byte) error {
	z.header = zeekHeader{}
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, &z.header)
}

func (z *zeek) line(b []byte) (*Entry, error) {
	switch {
	case len(b) == 0:
		return nil, nil
	case b[0] == '#':
		return nil, z.comment(string(b))
	case b[0] == '{':
		return z.json(b)
	case len(z.header.Fields) == 0:
		return nil, errors.New("it is no JSON, and no #fields stand above it")
	}
	values := strings.Split(string(b), z.header.Separator)
	if len(values) != len(z.header.Fields) {
		return nil, fmt.Errorf("it has %d fields, not %d", len(values), len(z.header.Fields))
	}
	row := make(zeekRow, len(values))
	for i, v := range values {
		if v != z.header.Unset && v != z.header.Empty {
			row[z.header.Fields[i]] = v
		}
	}
	return z.entry(row, z.header.Path)
}

// comment reads a line of the header.
func (z *zeek) comment(line string) error {
	if rest, ok := strings.CutPrefix(line, "#separator "); ok {
		sep, err := unescape(rest)
		if err != nil || sep == "" || len(sep) > 8 {
			return fmt.Errorf("separator %.20q is none", rest)
		}
		z.header = zeekHeader{Separator: sep, Set: ",", Empty: "(empty)", Unset: "-"}
		return nil
	}
	if z.header.Separator == "" {
		z.header = zeekHeader{Separator: "\t", Set: ",", Empty: "(empty)", Unset: "-"}
	}
	name, value, _ := strings.Cut(line, z.header.Separator)
	switch name {
	case "#set_separator":
		z.header.Set = value
	case "#empty_field":
		z.header.Empty = value
	case "#unset_field":
		z.header.Unset = value
	case "#path":
		z.header.Path = value
	case "#fields":
		fields := strings.Split(value, z.header.Separator)
		if len(fields) > maxFields {
			return fmt.Errorf("it names %d fields", len(fields))
		}
		z.header.Fields = fields
	}
	return nil
}

// unescape reads \x09 and the like.
func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
}

// zeekRow is one line, by field.
type zeekRow map[string]string

func (z *zeek) json(b []byte) (*Entry, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	row := make(zeekRow, len(raw))
	for k, v := range raw {
		switch v := v.(type) {
		case string:
			row[k] = v
		case json.Number:
			row[k] = v.String()
		case []any:
			var list []string
			for _, x := range v {
				if s, ok := x.(string); ok {
					list = append(list, s)
				}
			}
			row[k] = strings.Join(list, ",")
		}
	}
	z.header.Set = ","
	return z.entry(row, row["_path"])
}

// entry makes an entry of a line of the log at path.
func (z *zeek) entry(row zeekRow, path string) (*Entry, error) {
	if path == "" {
		path = row.path()
	}
	var err error
	e := &Entry{Flow: row["uid"], Proto: row["proto"], Protocol: row["service"]}
	if e.Time, err = row.time("ts"); err != nil {
		return nil, err
	}
	if e.Client, err = join(row["id.orig_h"], row.number("id.orig_p")); err != nil {
		return nil, fmt.Errorf("id.orig_h: %w", err)
	}
	if e.Server, err = join(row["id.resp_h"], row.number("id.resp_p")); err != nil {
		return nil, fmt.Errorf("id.resp_h: %w", err)
	}
	switch path {
	case "conn":
		e.Packets = sum(row.number("orig_pkts"), row.number("resp_pkts"))
		e.Bytes = sum(row.number("orig_ip_bytes"), row.number("resp_ip_bytes"))
		if e.Bytes == 0 {
			e.Bytes = sum(row.number("orig_bytes"), row.number("resp_bytes"))
		}
	case "dns":
		e.Kind, e.Name, e.How, e.Type, e.Answers = Question, row["query"], "dns", row["qtype_name"], z.set(row["answers"])
	case "ssl":
		e.Proto, e.Protocol, e.Name, e.How, e.JA4, e.ALPN = "tcp", "ssl", row["server_name"], "sni", row["ja4"], row["next_protocol"]
		if strings.HasPrefix(row["version"], "DTLS") {
			e.Proto, e.Protocol = "udp", "dtls"
		}
	case "http":
		e.Proto, e.Protocol, e.Name, e.How, e.User = "tcp", "http", hostName(row["host"]), "host", row["username"]
	case "quic":
		e.Proto, e.Protocol, e.Name, e.How, e.ALPN = "udp", "quic", row["server_name"], "sni", row["client_protocol"]
	default:
		return nil, nil // another log of Zeek
	}
	return e, nil
}

func (z *zeek) set(s string) []string {
	if s == "" {
		return nil
	}
	sep := z.header.Set
	if sep == "" {
		sep = ","
	}
	return strings.Split(s, sep)
}

// path tells the log by its fields, for JSON lines do not say.
func (r zeekRow) path() string {
	has := func(names ...string) bool {
		for _, n := range names {
			if _, ok := r[n]; ok {
				return true
			}
		}
		return false
	}
	switch {
	case has("conn_state"):
		return "conn"
	case has("qtype_name", "qclass_name", "query", "answers", "rejected"):
		return "dns"
	case has("client_initial_dcid", "client_protocol"):
		return "quic"
	case has("cipher", "curve", "next_protocol", "server_name"):
		return "ssl"
	case has("method", "uri", "status_code", "request_body_len"):
		return "http"
	}
	return ""
}

// time reads seconds since 1970, or RFC 3339.
func (r zeekRow) time(name string) (time.Time, error) {
	s := r[name]
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return recordable(t)
	}
	return unixTime(s)
}

// unixTime reads seconds since 1970 with a fraction.
func unixTime(s string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<34 {
		return time.Time{}, fmt.Errorf("%.40q is no time", s)
	}
	nanos := int64(0)
	if fraction != "" {
		if nanos, err = strconv.ParseInt((fraction + "000000000")[:9], 10, 64); err != nil || nanos < 0 {
			return time.Time{}, fmt.Errorf("%.40q is no time", s)
		}
	}
	return time.Unix(seconds, nanos).UTC(), nil
}

// number reads a count; what is none is 0, for none of them decides anything alone.
func (r zeekRow) number(name string) int64 {
	n, err := strconv.ParseInt(r[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// sum adds what may be anything.
func sum(a, b int64) int64 {
	if a < 0 || b < 0 || a > math.MaxInt64-b {
		return 0
	}
	return a + b
}
