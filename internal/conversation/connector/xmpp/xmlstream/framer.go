// Package xmlstream cuts an XMPP byte stream into its top-level parts and parses each of them, within limits that hold before anything is
// parsed.
//
// The Framer counts raw bytes and finds where a part ends; Parse then checks that the part is well-formed and namespace-well-formed and
// gives its elements with their places in the raw bytes. So whoever reads can look into a stanza and still pass on the bytes that came.
// Comments, processing instructions, DTDs and entities other than the five are refused (RFC 6120, section 11.1).
package xmlstream

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
)

// Conditions of stream errors (RFC 6120, section 4.9.3) that reading can end with.
const (
	NotWellFormed   = "not-well-formed"
	RestrictedXML   = "restricted-xml"
	PolicyViolation = "policy-violation"
	InvalidXML      = "invalid-xml"
)

// Error says why a stream cannot be read any further, as the condition of the stream error that ends it.
type Error struct {
	Condition string
	Detail    string
}

// Error returns condition and detail.
func (e *Error) Error() string { return "xml stream: " + e.Condition + ": " + e.Detail }

func fail(condition, format string, args ...any) error {
	return &Error{condition, fmt.Sprintf(format, args...)}
}

// Limits bound what one part of a stream may be.
type Limits struct {
	Bytes      int // of one part, raw
	Depth      int // of elements in a part
	Attributes int // of one element
	Elements   int // of one part
}

// DefaultLimits are those for what clients send.
var DefaultLimits = Limits{Bytes: 256 << 10, Depth: 64, Attributes: 64, Elements: 4096}

// FrameKind says what a part of a stream is.
type FrameKind int

// The kinds of parts.
const (
	Header  FrameKind = iota // the start tag of the stream, with the XML declaration before it
	Element                  // a whole top-level element
	Space                    // white space between elements: a keep-alive
	Close                    // the end tag of the stream
)

// Frame is one part of a stream. Raw is valid until the next call of Next.
type Frame struct {
	Kind FrameKind
	Raw  []byte
}

type state int

const (
	between   state = iota // at the top level
	text                   // inside an element
	opened                 // after "<"
	startTag               // inside a start tag
	quoted                 // inside an attribute value
	endTag                 // inside an end tag
	bang                   // after "<!"
	cdata                  // inside a CDATA section
	processed              // inside the XML declaration
)

// Framer cuts a stream into frames. One goroutine reads; Restart may be called from another.
type Framer struct {
	// Before, when set, is called before each read with whether a part has begun and not ended: the place to set deadlines.
	Before func(partial bool)

	r       io.Reader
	limits  Limits
	buf     []byte
	head    int // where the current part begins
	pos     int // up to where it was looked at
	tail    int // end of what was read
	state   state
	depth   int
	quote   byte
	matched int // of "[CDATA["
	begun   bool
	restart atomic.Bool
}

// NewFramer returns a framer of what r gives, at the beginning of a stream.
func NewFramer(r io.Reader, limits Limits) *Framer {
	f := &Framer{r: r, limits: limits}
	f.restart.Store(true)
	return f
}

// Restart lets a new stream header come next, as after SASL (RFC 6120, section 4.3.3).
func (f *Framer) Restart() { f.restart.Store(true) }

// Buffered returns how many bytes were read and are not part of a frame returned by Next. After STARTTLS there must be none.
func (f *Framer) Buffered() int { return f.tail - f.head }

// Partial returns what was read of the part that is not complete, valid until the next call of Next: after an error, what could not be read.
func (f *Framer) Partial() []byte { return f.buf[f.head:f.tail] }

// Next returns the next part. The error is an *Error, or what the reader returned.
func (f *Framer) Next() (Frame, error) {
	for {
		kind, done, err := f.scan()
		if err != nil {
			return Frame{}, err
		}
		if done {
			raw := f.buf[f.head:f.pos]
			f.head, f.state = f.pos, between
			return Frame{kind, raw}, nil
		}
		if f.pos-f.head > f.limits.Bytes {
			return Frame{}, fail(PolicyViolation, "more than %d bytes in one stanza", f.limits.Bytes)
		}
		if err := f.fill(); err != nil {
			return Frame{}, err
		}
	}
}

const readSize = 8 << 10

func (f *Framer) fill() error {
	if f.head > 0 {
		copy(f.buf, f.buf[f.head:f.tail])
		f.pos, f.tail, f.head = f.pos-f.head, f.tail-f.head, 0
	}
	if f.tail == 0 && cap(f.buf) > 4*readSize {
		f.buf = nil // one large stanza does not keep its memory for the rest of the session
	}
	if len(f.buf)-f.tail < readSize/2 {
		grown := make([]byte, max(readSize, 2*len(f.buf)))
		copy(grown, f.buf[:f.tail])
		f.buf = grown
	}
	if f.Before != nil {
		f.Before(f.tail > 0)
	}
	n, err := f.r.Read(f.buf[f.tail:])
	f.tail += n
	if n > 0 {
		return nil
	}
	if err == io.EOF && f.tail > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// scan goes on from where it stopped. It reports a part when it has seen its end.
func (f *Framer) scan() (FrameKind, bool, error) {
	for f.pos < f.tail {
		if f.pos-f.head >= f.limits.Bytes {
			return 0, false, fail(PolicyViolation, "more than %d bytes in one stanza", f.limits.Bytes)
		}
		kind, done, err := f.step()
		if done || err != nil {
			if err == nil && f.pos-f.head > f.limits.Bytes {
				err = fail(PolicyViolation, "more than %d bytes in one stanza", f.limits.Bytes)
			}
			return kind, done, err
		}
	}
	return 0, false, nil
}

func (f *Framer) step() (FrameKind, bool, error) {
	switch f.state {
	case between:
		return f.stepBetween()
	case opened:
		return 0, false, f.stepOpened()
	case startTag:
		return f.stepStart()
	case endTag:
		return f.stepEnd()
	case bang:
		return 0, false, f.stepBang()
	case text:
		f.skipTo('<', opened)
	case quoted:
		f.skipTo(f.quote, startTag)
	case cdata:
		f.skipPast("]]>", text)
	case processed:
		f.skipPast("?>", between)
	}
	return 0, false, nil
}

// skipTo goes behind the next c and changes state there.
func (f *Framer) skipTo(c byte, next state) {
	i := bytes.IndexByte(f.buf[f.pos:f.tail], c)
	if i < 0 {
		f.pos = f.tail
		return
	}
	f.pos += i + 1
	f.state = next
}

// skipPast is skipTo for an end mark of several bytes, which may come in pieces.
func (f *Framer) skipPast(mark string, next state) {
	last := mark[len(mark)-1]
	for f.pos < f.tail {
		i := bytes.IndexByte(f.buf[f.pos:f.tail], last)
		if i < 0 {
			f.pos = f.tail
			return
		}
		f.pos += i + 1
		if bytes.HasSuffix(f.buf[f.head:f.pos], []byte(mark)) {
			f.state = next
			return
		}
	}
}

func (f *Framer) stepBetween() (FrameKind, bool, error) {
	if !f.begun && f.pos == f.head {
		n := spaces(f.buf[f.pos:f.tail])
		if n > 0 {
			f.pos += n
			return Space, true, nil
		}
	}
	c := f.buf[f.pos]
	switch {
	case c == '<':
		f.state, f.depth = opened, 0
	case !isSpace(c):
		return 0, false, fail(NotWellFormed, "text outside of any stanza")
	}
	f.pos++
	return 0, false, nil
}

func (f *Framer) stepOpened() error {
	c := f.buf[f.pos]
	switch c {
	case '/':
		f.state = endTag
	case '!':
		if f.depth == 0 {
			return fail(RestrictedXML, "comments and document types are refused")
		}
		f.state, f.matched = bang, 0
	case '?':
		if f.depth > 0 || f.begun || !f.restart.Load() {
			return fail(RestrictedXML, "processing instructions are refused")
		}
		f.state, f.begun = processed, true
	default:
		f.state = startTag
		return nil // the byte belongs to the name
	}
	f.pos++
	return nil
}

func (f *Framer) stepBang() error {
	const open = "[CDATA["
	if f.buf[f.pos] != open[f.matched] {
		return fail(RestrictedXML, "comments and document types are refused")
	}
	f.pos++
	if f.matched++; f.matched == len(open) {
		f.state = cdata
	}
	return nil
}

func (f *Framer) stepStart() (FrameKind, bool, error) {
	i := bytes.IndexAny(f.buf[f.pos:f.tail], `>"'<`)
	if i < 0 {
		f.pos = f.tail
		return 0, false, nil
	}
	f.pos += i + 1
	switch c := f.buf[f.pos-1]; c {
	case '<':
		return 0, false, fail(NotWellFormed, "a tag begins inside a tag")
	case '"', '\'':
		f.quote, f.state = c, quoted
		return 0, false, nil
	}
	return f.startDone(f.buf[f.pos-2] == '/')
}

func (f *Framer) startDone(selfClosing bool) (FrameKind, bool, error) {
	if f.depth == 0 {
		if isStream(f.buf[f.head:f.pos]) != (f.begun || f.restart.Load()) {
			return 0, false, fail(NotWellFormed, "a stream header was expected, or was not")
		}
		if f.restart.Swap(false) {
			f.begun = false
			if selfClosing {
				return 0, false, fail(InvalidXML, "an empty stream")
			}
			return Header, true, nil
		}
	}
	f.state = text
	if !selfClosing {
		if f.depth++; f.depth > f.limits.Depth {
			return 0, false, fail(PolicyViolation, "more than %d levels of elements", f.limits.Depth)
		}
		return 0, false, nil
	}
	return Element, f.depth == 0, nil
}

func (f *Framer) stepEnd() (FrameKind, bool, error) {
	i := bytes.IndexAny(f.buf[f.pos:f.tail], "><")
	if i < 0 {
		f.pos = f.tail
		return 0, false, nil
	}
	f.pos += i + 1
	if f.buf[f.pos-1] == '<' {
		return 0, false, fail(NotWellFormed, "a tag begins inside a tag")
	}
	if f.depth == 0 {
		if f.begun || !isStream(append([]byte{'<'}, f.buf[f.head+2:f.pos]...)) {
			return 0, false, fail(NotWellFormed, "an end tag without its start")
		}
		return Close, true, nil
	}
	f.depth--
	f.state = text
	return Element, f.depth == 0, nil
}

// isStream reports whether a start tag, perhaps with an XML declaration before it, is that of a stream.
func isStream(raw []byte) bool {
	if i := bytes.Index(raw, []byte("?>")); i >= 0 && bytes.HasPrefix(raw, []byte("<?xml")) {
		raw = bytes.TrimLeft(raw[i+2:], " \t\r\n")
	}
	raw = bytes.TrimPrefix(raw, []byte("<"))
	if end := bytes.IndexAny(raw, " \t\r\n/>"); end >= 0 {
		raw = raw[:end]
	}
	_, local, prefixed := bytes.Cut(raw, []byte(":"))
	return prefixed && string(local) == "stream" || string(raw) == "stream"
}

func spaces(b []byte) int {
	n := 0
	for n < len(b) && isSpace(b[n]) {
		n++
	}
	return n
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
