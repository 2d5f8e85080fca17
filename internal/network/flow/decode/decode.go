// Package decode reads the first bytes of flows and says what they are: DNS questions and answers, TLS and QUIC client hellos, HTTP
// requests, STUN, and the native protocols of messengers that have a grammar of their own.
//
// What a decoder found is a Fact: the decoder's name and named values. Rules of the catalog (`traffic`) name a decoder and the values
// that must be there. Decoders are pure functions over bytes that came from the wire; they never trust a length, keep no reference to
// the bytes they are given, and look at a bounded number of them.
//
// Decoders lists them with their values.
package decode

// Attr is one named value of a fact.
type Attr struct{ Key, Value string }

// Fact is what one decoder found.
type Fact struct {
	Decoder string
	Attrs   []Attr
}

// Get returns the first value of the key, or "".
func (f *Fact) Get(key string) string {
	for i := range f.Attrs {
		if f.Attrs[i].Key == key {
			return f.Attrs[i].Value
		}
	}
	return ""
}

// Has reports whether one of the key's values is value.
func (f *Fact) Has(key, value string) bool {
	for i := range f.Attrs {
		if f.Attrs[i].Key == key && f.Attrs[i].Value == value {
			return true
		}
	}
	return false
}

func (f *Fact) add(key, value string) {
	if value != "" && len(f.Attrs) < maxAttrs {
		f.Attrs = append(f.Attrs, Attr{key, value})
	}
}

// maxAttrs bounds the values of one fact, maxValue the bytes of one value.
const (
	maxAttrs = 32
	maxValue = 255
)

// answer is what a decoder says of the bytes so far.
type answer uint8

const (
	no   answer = iota // it is something else
	more               // it may be, and more bytes will tell
	yes                // it is
)

// Segments are the ordered beginnings of both directions of a TCP flow.
type Segments struct {
	Client, Server         []byte
	ClientPort, ServerPort uint16
	Middle                 bool // the beginning of the flow was not seen: client and server may be the other way round

	other *Segments // the same the other way round, made when it is first asked for
}

func (in *Segments) swapped() *Segments {
	if in.other == nil {
		in.other = &Segments{Middle: true}
	}
	o := in.other
	o.Client, o.Server, o.ClientPort, o.ServerPort = in.Server, in.Client, in.ServerPort, in.ClientPort
	return o
}

type streamDecoder func(in *Segments) (Fact, answer)

// streamDecoders are asked in this order.
func streamDecoders() []streamDecoder {
	return []streamDecoder{
		tlsHello, tlsCertificate, stunStream, stunAnswerStream, httpRequest, dnsStream, xmppStream, ircStream, sipStream, msnpStream,
		oscarStream, mtprotoStream, whatsappStream, mmtlsStream, locoStream, viberStream, skypeLoginStream, threemaStream,
		toxStream,
		socksStream, tlsRecordStream, whatsappFramesStream,
	}
}

// Stream asks the decoders of TCP flows until each has said yes or no.
type Stream struct {
	inner  *Stream // of what a proxy was asked for
	alive  uint32
	within bool // it is that: a tunnel in a tunnel is not opened
	asked  bool
	spoke  bool // a decoder has said yes
	opaque answer
	tunnel tunnel
}

var streams = streamDecoders()

// Look gives the decoders what is known of a flow. It returns new facts, and done when no decoder waits for more.
func (s *Stream) Look(in *Segments) (facts []Fact, done bool) {
	if s.tunnel == tunnelNone {
		facts, done = s.look(in)
	}
	if s.tunnel == tunnelNone || s.within {
		return facts, done
	}
	behind, a := s.tunnel.behind(in)
	if a != yes {
		return facts, a == no
	}
	if s.inner == nil {
		s.inner = &Stream{within: true}
	}
	more, done := s.inner.look(behind)
	return append(facts, more...), done
}

func (s *Stream) look(in *Segments) (facts []Fact, done bool) {
	if !s.asked {
		s.asked, s.alive = true, 1<<len(streams)-1
	}
	for i, look := range streams {
		if s.alive&(1<<i) == 0 {
			continue
		}
		switch fact, a := ask(look, in); {
		case a == yes:
			facts = append(facts, fact)
			s.spoke, s.tunnel = true, tunnelOf(&fact)
			// One grammar excludes the others. Only after a client hello, or a first STUN message, there is more to learn: the server's.
			s.alive &= next(i)
		case a == no && (!in.Middle || len(in.Server) > 0 && len(in.Client) > 0):
			s.alive &^= 1 << i
		}
	}
	return facts, s.alive == 0 && !s.waits(in)
}

// waits reports whether the server has yet to show that a flow which no decoder knows is opaque in both directions.
func (s *Stream) waits(in *Segments) bool {
	if s.spoke || in.Middle || len(in.Server) >= minEncrypted || len(in.Client) > maxOpaque {
		return false
	}
	if s.opaque == no { // not asked yet, or not long enough when it was
		s.opaque = is(random(in.Client))
	}
	return s.opaque == yes
}

// ServerOnly reports whether only what the server says can tell more.
func (s *Stream) ServerOnly() bool {
	return s.asked && (s.alive == next(decoderHello) || s.alive == next(decoderSTUN))
}

// Places of decoders whose next one reads the server's answer.
const (
	decoderHello = 0
	decoderSTUN  = 2
)

// next is the bit of the decoder that stays when one has spoken.
func next(decoder int) uint32 {
	if decoder == decoderHello || decoder == decoderSTUN {
		return 1 << (decoder + 1)
	}
	return 0
}

// Last returns what is left to say of a flow that no decoder knew, when no more of it will be looked at.
func (s *Stream) Last(in *Segments) []Fact {
	if s.spoke || in.Middle {
		return nil
	}
	if fact, ok := encrypted(in); ok {
		return []Fact{fact}
	}
	return nil
}

// ask asks one decoder, the other way round too when nobody knows who began.
func ask(look streamDecoder, in *Segments) (Fact, answer) {
	fact, a := look(in)
	if in.Middle && a != yes && len(in.Server) > 0 {
		if other, b := look(in.swapped()); b > a {
			return other, b
		}
	}
	return fact, a
}

// Datagram is one UDP payload of a flow.
type Datagram struct {
	Payload                []byte
	FromClient             bool
	Cut                    bool // it was longer on the wire
	ClientPort, ServerPort uint16
	V6                     bool
	Source, Destination    [16]byte
}

func (d *Datagram) port(n uint16) bool { return d.ClientPort == n || d.ServerPort == n }

// Datagrams asks the decoders of UDP flows.
type Datagrams struct {
	quic   *quicState
	tox    *toxState
	spoken uint64 // decoders that have spoken, by their place in the table
	seen   uint32
	told   uint32 // of them, of a protocol that announces flows for as long as it lasts
	rtp    rtpState
	peers  peers
	facts  uint8
	done   bool
}

const maxFacts = 10

// Seen returns the number of datagrams looked at. Those of SIP are not among them: a telephone describes its thousandth call over the flow
// of its first.
func (s *Datagrams) Seen() int64 { return int64(s.seen - s.told) }

// Look gives the decoders the next datagram. It returns new facts, and done when there is nothing more to learn.
func (s *Datagrams) Look(d *Datagram) (facts []Fact, done bool) {
	s.seen++
	if fact, ok := s.decode(d); ok {
		if fact.Decoder == "sip" {
			s.told++
		}
		if s.fresh(&fact) {
			facts = []Fact{fact}
		}
	}
	return facts, s.done
}

// fresh reports whether the fact is new: STUN and DNS may speak several times, SIP whenever it describes media, each other decoder once.
func (s *Datagrams) fresh(f *Fact) bool {
	bit := places[f.Decoder]
	if s.spoken&bit != 0 {
		switch f.Decoder {
		case "dns", "stun":
		case "sip":
			return f.Get("media") != ""
		default:
			return false
		}
	}
	if s.facts == maxFacts {
		s.done = true
		return false
	}
	s.spoken |= bit
	s.facts++
	return true
}

// places are the bits by which the decoders of the table are remembered.
var places = func() map[string]uint64 {
	of := map[string]uint64{}
	for i, d := range Decoders() {
		of[d.Name] = 1 << i
	}
	return of
}()

type datagramDecoder func(d *Datagram) (Fact, bool)

var datagrams = []datagramDecoder{
	stunDatagram, dnsDatagram, dtlsDatagram, sipDatagram, discordDatagram, oicqDatagram, mumbleDatagram, teamspeakDatagram, viberDatagram,
	zoomDatagram, opendhtDatagram, rtcpDatagram,
}

func (s *Datagrams) decode(d *Datagram) (Fact, bool) {
	if fact, ok := s.quicDatagram(d); ok {
		return fact, true
	}
	for _, look := range datagrams {
		if fact, ok := look(d); ok {
			return fact, true
		}
	}
	if fact, ok := s.rtp.look(d); ok {
		return fact, true
	}
	if fact, ok := s.skypeRefusal(d); ok {
		return fact, true
	}
	if fact, ok := s.toxDatagram(d); ok {
		return fact, true
	}
	if s.seen == 1 && s.spoken == 0 && s.quic == nil {
		s.noteObject(d)
		return skypeDatagram(d)
	}
	return Fact{}, false
}

// text returns b as a value: printable ASCII, bounded; "" when it is not.
func text(b []byte) string {
	if len(b) == 0 || len(b) > maxValue {
		return ""
	}
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return ""
		}
	}
	return string(b)
}

// host returns b as a host name in lower case without port and final dot; "" when it is not one.
func host(b []byte) string {
	if i := lastColon(b); i >= 0 {
		b = b[:i]
	}
	for len(b) > 0 && b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	if len(b) == 0 || len(b) > 253 {
		return ""
	}
	out := make([]byte, len(b))
	for i, c := range b {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == '*':
		default:
			return ""
		}
		out[i] = c
	}
	return string(out)
}

// lastColon returns the place of the colon before a port, or -1.
func lastColon(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == ':' {
			return i
		}
		if b[i] < '0' || b[i] > '9' {
			return -1
		}
	}
	return -1
}
