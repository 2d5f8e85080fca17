package dns

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	wire "github.com/miekg/dns"
)

// Sizes of answers over UDP: what a client without EDNS takes, and what passes every path unfragmented (DNS flag day 2020).
const (
	plainSize  = 512
	ednsSize   = 1232
	maxSay     = 240 // bytes of words for people in an answer
	maxReasons = 3   // of upstream that are passed on
)

// parse reads a question. When it is none that can be answered, the reply says why, or is nil when even a reply would be wrong.
func parse(packet []byte, client netip.Addr) (*query, *wire.Msg) {
	if len(packet) < 12 || packet[2]&0x80 != 0 { // no header, or an answer: never answer answers
		return nil, nil
	}
	m := new(wire.Msg)
	if opcode := int(packet[2]>>3) & 0xf; opcode != wire.OpcodeQuery {
		return nil, headerReply(packet, wire.RcodeNotImplemented)
	}
	if packet[4] != 0 || packet[5] != 1 { // exactly one question (RFC 9619)
		return nil, headerReply(packet, wire.RcodeFormatError)
	}
	if err := m.Unpack(packet); err != nil || len(m.Question) != 1 {
		return nil, headerReply(packet, wire.RcodeFormatError)
	}
	q := &query{msg: m, opt: m.IsEdns0(), name: foldName(m.Question[0].Name), client: client}
	question := m.Question[0]
	switch {
	case q.opt != nil && q.opt.Version() != 0:
		return nil, q.empty(wire.RcodeBadVers)
	case question.Qclass != wire.ClassINET, question.Qtype == wire.TypeAXFR, question.Qtype == wire.TypeIXFR, question.Qtype == wire.TypeANY:
		return nil, q.empty(wire.RcodeRefused) // ANY: RFC 8482, section 4
	case question.Qtype == wire.TypeOPT, question.Qtype == wire.TypeTSIG, question.Qtype == wire.TypeTKEY:
		return nil, q.empty(wire.RcodeFormatError)
	}
	q.key = cacheKey{q.name, question.Qtype, q.opt != nil && q.opt.Do(), m.CheckingDisabled}
	return q, nil
}

// headerReply answers a packet of which only the header can be trusted.
func headerReply(packet []byte, rcode int) *wire.Msg {
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		return nil
	}
	m := new(wire.Msg)
	m.Id = uint16(packet[0])<<8 | uint16(packet[1])
	m.Response, m.Rcode = true, rcode
	m.Opcode = int(packet[2]>>3) & 0xf
	m.RecursionDesired, m.RecursionAvailable = packet[2]&1 != 0, true
	return m
}

// empty returns an answer without records, with the client's own spelling of the name.
func (q *query) empty(rcode int) *wire.Msg {
	m := new(wire.Msg)
	m.Id, m.Response, m.Rcode = q.msg.Id, true, rcode
	m.RecursionDesired, m.RecursionAvailable = q.msg.RecursionDesired, true
	m.CheckingDisabled = q.msg.CheckingDisabled
	m.Question = q.msg.Question
	if q.opt != nil {
		opt := &wire.OPT{Hdr: wire.RR_Header{Name: ".", Rrtype: wire.TypeOPT}}
		opt.SetUDPSize(ednsSize)
		if q.opt.Do() {
			opt.SetDo()
		}
		m.Extra = []wire.RR{opt}
	}
	return m
}

// negative returns an answer that clients may remember for ttl (RFC 2308, section 5).
func (q *query) negative(rcode int, d time.Duration) *wire.Msg {
	m := q.empty(rcode)
	m.Ns = []wire.RR{&wire.SOA{
		Hdr: wire.RR_Header{Name: ".", Rrtype: wire.TypeSOA, Class: wire.ClassINET, Ttl: ttl(d)},
		Ns:  "localhost.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl(d),
	}}
	return m
}

// fixed answers with one address, or with no data when the question is of another type.
func (q *query) fixed(addr netip.Addr, d time.Duration) *wire.Msg {
	question := q.msg.Question[0]
	header := wire.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: wire.ClassINET, Ttl: ttl(d)}
	switch {
	case question.Qtype == wire.TypeA && addr.Is4():
		m := q.empty(wire.RcodeSuccess)
		m.Answer = []wire.RR{&wire.A{Hdr: header, A: addr.AsSlice()}}
		return m
	case question.Qtype == wire.TypeAAAA && addr.Is6():
		m := q.empty(wire.RcodeSuccess)
		m.Answer = []wire.RR{&wire.AAAA{Hdr: header, AAAA: addr.AsSlice()}}
		return m
	}
	return q.negative(wire.RcodeSuccess, d)
}

// failure answers SERVFAIL with its reason.
func (q *query) failure(code uint16, text string) *wire.Msg {
	m := q.empty(wire.RcodeServerFailure)
	q.explain(m, code, text)
	return m
}

// explain adds an Extended DNS Error (RFC 8914), if the client speaks EDNS.
func (q *query) explain(m *wire.Msg, code uint16, text string) {
	if q.opt == nil {
		return
	}
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &wire.EDNS0_EDE{InfoCode: code, ExtraText: clip(text)})
	}
}

// clip makes words fit into an answer, as one line of UTF-8.
func clip(text string) string {
	if isLine(text) {
		return text
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if len(text) <= maxSay {
		return text
	}
	text = text[:maxSay]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}

// isLine reports whether text fits as it is, which most words of most policies do.
func isLine(text string) bool {
	if len(text) > maxSay {
		return false
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// reply gives the client an answer of upstream: under its own id and spelling, with what is left of the times to live.
func (q *query) reply(a *stored, now time.Time) *wire.Msg {
	m := q.empty(a.msg.Rcode)
	m.AuthenticatedData = a.msg.AuthenticatedData && (q.msg.AuthenticatedData || q.opt != nil && q.opt.Do())
	age := uint32(max(now.Sub(a.at)/time.Second, 0))
	m.Answer, m.Ns = aged(a.msg.Answer, age), aged(a.msg.Ns, age)
	for _, rr := range aged(a.msg.Extra, age) {
		if rr.Header().Rrtype != wire.TypeOPT {
			m.Extra = append(m.Extra, rr)
		}
	}
	q.passOn(m, a.msg.IsEdns0())
	return m
}

// passOn gives the client the reasons that upstream gave, such as a signature that does not hold (RFC 8914, section 3), and none of its
// other options, which are between it and us.
func (q *query) passOn(m *wire.Msg, upstream *wire.OPT) {
	if upstream == nil {
		return
	}
	given := 0
	for _, option := range upstream.Option {
		if reason, ok := option.(*wire.EDNS0_EDE); ok && given < maxReasons {
			q.explain(m, reason.InfoCode, reason.ExtraText)
			given++
		}
	}
}

func aged(rrs []wire.RR, age uint32) []wire.RR {
	if age == 0 {
		return rrs
	}
	out := make([]wire.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = wire.Copy(rr)
		if h := out[i].Header(); h.Rrtype != wire.TypeOPT {
			h.Ttl -= min(h.Ttl, age)
		}
	}
	return out
}

// size returns how many bytes the client takes over UDP.
func (q *query) size() int {
	if q == nil || q.opt == nil {
		return plainSize
	}
	return min(max(int(q.opt.UDPSize()), plainSize), ednsSize)
}

// pack writes an answer, cut to size. It returns nil when there is nothing to send.
func (r *Resolver) pack(m *wire.Msg, size int, buf []byte) []byte {
	if m == nil {
		return nil
	}
	m.Compress = len(m.Answer) > 0 // the names of a refusal are too short to be worth it
	packed, err := m.PackBuffer(buf)
	if err == nil && len(packed) > size {
		m.Truncate(size)
		packed, err = m.PackBuffer(buf)
	}
	if err == nil {
		return packed
	}
	r.dep.Log.Warn("answer cannot be packed", "error", err)
	if packed, err = headerOnly(m).PackBuffer(buf); err != nil {
		return nil
	}
	return packed
}

// headerOnly is what is left to say when the records of an answer cannot be written.
func headerOnly(m *wire.Msg) *wire.Msg {
	short := new(wire.Msg)
	short.Id, short.Response, short.Rcode, short.Question = m.Id, true, wire.RcodeServerFailure, m.Question
	return short
}
