package xmlstream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='x' version='1.0'>"

var scope = Scope{{"", "jabber:client"}, {"stream", "http://etherx.jabber.org/streams"}}

func TestFramesAreTheBytesThatCame(t *testing.T) {
	parts := []string{
		header, " \n", "<message to='a&apos;b'><body>a &lt; b</body></message>", "<r xmlns='urn:xmpp:sm:3'/>", "\n",
		`<iq a="/>" b='>'><q x='"'/><![CDATA[ <not> ]] a ]]></iq>`, "<presence\n/>", "</stream:stream>",
	}
	all := strings.Join(parts, "")
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(all), "byte by byte": iotest.OneByteReader(strings.NewReader(all))} {
		t.Run(name, func(t *testing.T) {
			f := NewFramer(r, DefaultLimits)
			var got []string
			for {
				frame, err := f.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if frame.Kind == Space && len(got) > 0 && strings.TrimSpace(got[len(got)-1]) == "" {
					got[len(got)-1] += string(frame.Raw)
					continue
				}
				got = append(got, string(frame.Raw))
			}
			if strings.Join(got, "|") != strings.Join(parts, "|") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	f := NewFramer(strings.NewReader(header+"<a/>"+header+"<b/>"), DefaultLimits)
	for i, want := range []FrameKind{Header, Element, Header, Element} {
		frame, err := f.Next()
		if err != nil || frame.Kind != want {
			t.Fatalf("part %d: %v %v", i, frame.Kind, err)
		}
		if i == 1 {
			f.Restart()
		}
	}
}

// hostile is what must end a stream, with the condition it ends with. Each comes after a header.
var hostile = []struct{ name, xml, condition string }{
	{"comment", "<message><!-- x --></message>", RestrictedXML},
	{"comment outside", "<!-- x --><message/>", RestrictedXML},
	{"document type", "<!DOCTYPE a [<!ENTITY b 'c'>]><message/>", RestrictedXML},
	{"document type inside", "<message><!DOCTYPE a></message>", RestrictedXML},
	{"processing instruction", "<message><?php x ?></message>", RestrictedXML},
	{"declaration twice", "<?xml version='1.0'?><message/>", RestrictedXML},
	{"entity", "<message><body>&lol;</body></message>", RestrictedXML},
	{"entity in attribute", "<message to='&lol;'/>", RestrictedXML},
	{"null", "<message><body>&#0;</body></message>", NotWellFormed},
	{"surrogate", "<message><body>&#xD800;</body></message>", NotWellFormed},
	{"reference without end", "<message><body>&amp</body></message>", NotWellFormed},
	{"text outside", "hello", NotWellFormed},
	{"wrong end", "<message><body></message></body>", NotWellFormed},
	{"end longer", "<a></ab>", NotWellFormed},
	{"tag in tag", "<message <body/>/>", NotWellFormed},
	{"attribute twice", "<message to='a' to='b'/>", NotWellFormed},
	{"attribute twice by namespace", "<m xmlns:a='u' xmlns:b='u' a:x='1' b:x='2'/>", NotWellFormed},
	{"attribute without quotes", "<message to=a/>", NotWellFormed},
	{"attribute without value", "<message to/>", NotWellFormed},
	{"attributes without space", "<message a='1'b='2'/>", NotWellFormed},
	{"less-than in attribute", "<message to='<'/>", NotWellFormed},
	{"unbound prefix", "<x:message/>", NotWellFormed},
	{"unbound attribute prefix", "<message x:a='1'/>", NotWellFormed},
	{"unbinding a prefix", "<m xmlns:a=''/>", NotWellFormed},
	{"xmlns as prefix", "<xmlns:a/>", NotWellFormed},
	{"two colons", "<a:b:c/>", NotWellFormed},
	{"empty name", "<></>", NotWellFormed},
	{"digit name", "<1/>", NotWellFormed},
	{"no UTF-8", "<message><body>\xff</body></message>", NotWellFormed},
	{"overlong UTF-8", "<message><body>\xc0\xbc</body></message>", NotWellFormed},
	{"control", "<message><body>\x01</body></message>", NotWellFormed},
	{"noncharacter", "<message><body>\uffff</body></message>", NotWellFormed},
	{"cdata end in text", "<message><body>]]></body></message>", NotWellFormed},
	{"stray end", "</message></stream:stream>", NotWellFormed},
	{"stream in stream", header, RestrictedXML},
	{"stream header again", header[strings.Index(header, "<stream"):], NotWellFormed},
	{"deep", strings.Repeat("<a>", 100), PolicyViolation},
	{"large", "<message><body>" + strings.Repeat("x", 300<<10) + "</body></message>", PolicyViolation},
	{"large tag", "<message " + strings.Repeat("x", 300<<10), PolicyViolation},
	{"many attributes", "<message" + strings.Repeat(" a='1'", 100) + "/>", PolicyViolation},
	{"many elements", "<message>" + strings.Repeat("<a/>", 5000) + "</message>", PolicyViolation},
}

// readAll frames and parses a stream to its end.
func readAll(r io.Reader) error {
	f := NewFramer(r, DefaultLimits)
	var in Scope
	for {
		frame, err := f.Next()
		if err != nil {
			return err
		}
		switch frame.Kind {
		case Header:
			if _, in, err = ParseHeader(frame.Raw, DefaultLimits); err != nil {
				return err
			}
		case Element:
			if _, err := Parse(frame.Raw, in, DefaultLimits); err != nil {
				return err
			}
		case Close:
			return nil
		}
	}
}

func TestHostileStreamsEnd(t *testing.T) {
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			err := readAll(strings.NewReader(header + tt.xml))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want %s", err, tt.condition)
			}
			if e.Condition != tt.condition {
				t.Errorf("got %v, want %s", err, tt.condition)
			}
		})
	}
}

func TestParse(t *testing.T) {
	raw := "<message xml:lang='de' to='a&amp;b\nc'><body>x\r\ny&#13;<![CDATA[<&]]>&#x1F600;</body><p:x xmlns:p='urn:p' p:k='v'>t<q/></p:x></message>"
	n, err := Parse([]byte(raw), scope, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	body, x := n.Child("jabber:client", "body"), n.Child("urn:p", "x")
	switch {
	case n.Attr("to") != "a&b c":
		t.Errorf("to %q", n.Attr("to"))
	case body == nil || body.Text != "x\ny\r<&\U0001F600":
		t.Errorf("body %+v", body)
	case x == nil || x.Text != "t" || x.Child("jabber:client", "q") == nil || x.AllText() != "t ":
		t.Errorf("x %+v", x)
	case raw[x.From:x.To] != "<p:x xmlns:p='urn:p' p:k='v'>t<q/></p:x>":
		t.Errorf("range %q", raw[x.From:x.To])
	}
	for _, a := range x.Attrs {
		if a.Local == "k" && raw[a.From:a.To] != "v" {
			t.Errorf("attribute range %q", raw[a.From:a.To])
		}
	}
}

func TestEscapeAndApply(t *testing.T) {
	text := "a<b>&\"'\r\n\t\x00é\U0001F600"
	raw := append(append([]byte("<a b='"), Escape(nil, text)...), "'/>"...)
	n, err := Parse(raw, nil, DefaultLimits)
	if err != nil || n.Attr("b") != strings.ReplaceAll(text, "\x00", "") {
		t.Errorf("%v %+v", err, n)
	}
	if got := Apply([]byte("0123456789"), Edit{1, 3, []byte("ab")}, Edit{5, 5, []byte("c")}, Edit{9, 10, nil}); string(got) != "0ab34c5678" {
		t.Errorf("got %s", got)
	}
}

// corpus returns real stanzas, or nil when the corpus is not there.
func corpus() []string {
	dir := os.Getenv("CHAPERONE_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "..", "..", "shared", "corpus")
	}
	f, err := os.Open(filepath.Join(dir, "chat", "xmpp-xep-examples.jsonl"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var line struct{ XML string }
		if json.Unmarshal(in.Bytes(), &line) == nil {
			out = append(out, line.XML)
		}
	}
	return out
}

// TestExamplesOfTheStandards compares with the standard library's parser: what it takes and the framer does not must have a reason.
func TestExamplesOfTheStandards(t *testing.T) {
	examples := corpus()
	if examples == nil {
		t.Skip("no corpus: set CHAPERONE_CORPUS")
	}
	refused := map[string]int{}
	taken := 0
	for _, x := range examples {
		err := readAll(strings.NewReader(header + x + "</stream:stream>"))
		var e *Error
		switch {
		case err == nil:
			taken++
		case errors.As(err, &e):
			refused[e.Condition+": "+e.Detail]++
		default:
			refused[err.Error()]++
		}
	}
	t.Logf("%d of %d taken; refused: %v", taken, len(examples), refused)
	if taken < len(examples)*9/10 {
		t.Errorf("only %d of %d examples of the standards are taken", taken, len(examples))
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(header + "<message to='a'><body>b</body></message> </stream:stream>"))
	for _, h := range hostile {
		if len(h.xml) < 1000 {
			f.Add([]byte(header + h.xml))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, piece := NewFramer(bytes.NewReader(b), DefaultLimits), NewFramer(iotest.HalfReader(bytes.NewReader(b)), DefaultLimits)
		var joined, pieces []byte
		for {
			frame, err := whole.Next()
			if err != nil {
				break
			}
			joined = append(joined, frame.Raw...)
			if frame.Kind == Element {
				if n, err := Parse(frame.Raw, scope, DefaultLimits); err == nil && (n.From != 0 || n.To != len(frame.Raw)) {
					t.Errorf("range %d-%d of %d", n.From, n.To, len(frame.Raw))
				}
			}
		}
		for {
			frame, err := piece.Next()
			if err != nil {
				break
			}
			pieces = append(pieces, frame.Raw...)
		}
		if !bytes.HasPrefix(b, joined) || !bytes.Equal(joined, pieces) {
			t.Errorf("frames %q and %q of %q", joined, pieces, b)
		}
	})
}

func BenchmarkFrameAndParse(b *testing.B) {
	stanza := []byte("<message xmlns='jabber:client' to='bob@example.org' type='chat' id='8fd8a1c0'><body>shall we meet at noon?</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='8fd8a1c0'/></message>")
	stream := io.MultiReader(strings.NewReader(header), endless{stanza: stanza, at: new(int)})
	f := NewFramer(stream, DefaultLimits)
	f.Next()
	b.ReportAllocs()
	for b.Loop() {
		frame, err := f.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Parse(frame.Raw, scope, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

type endless struct {
	stanza []byte
	at     *int
}

func (e endless) Read(b []byte) (int, error) {
	n := copy(b, e.stanza[*e.at:])
	*e.at = (*e.at + n) % len(e.stanza)
	return n, nil
}
