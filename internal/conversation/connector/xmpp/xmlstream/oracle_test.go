package xmlstream

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// writer writes random elements in many of the forms that XML has for one thing.
type writer struct {
	*rand.Rand
	b strings.Builder
}

func (w *writer) pick(list ...string) string { return list[w.IntN(len(list))] }

// text writes character data: plain, by references and in CDATA sections.
func (w *writer) text() {
	for range w.IntN(4) {
		switch w.IntN(4) {
		case 0:
			w.b.WriteString(w.pick("&lt;", "&gt;", "&amp;", "&quot;", "&apos;", "&#65;", "&#x1F600;", "&#xe9;", "&#10;", "&#x9;"))
		case 1:
			w.b.WriteString("<![CDATA[" + w.pick("<b>", "&amp;", "]]", "] ]>", "", "é") + "]]>")
		default:
			w.b.WriteString(w.pick("word", " ", "é\U0001f600", "\n", "\t", "]", "'", "\"", "/>", "a=b"))
		}
	}
}

func (w *writer) element(depth int) {
	name := w.pick("message", "body", "p:x", "q:y", "é", "a-b.c_1", "iq")
	w.b.WriteString("<" + name)
	for _, a := range []string{" to", "\n\tp:to", " xml:lang", " xmlns:q", " xmlns", " id", " q:id"} {
		if w.IntN(4) > 0 {
			continue
		}
		value := w.pick("v", "a &amp; b", "&#x41;", "tab\there", "line\nbreak", "", "é", "&lt;")
		if strings.HasPrefix(a, " xmlns") {
			value = w.pick("urn:one", "urn:two")
		}
		quote := w.pick("'", "\"")
		w.b.WriteString(a + w.pick("=", " = ", "\n=") + quote + value + quote)
	}
	if w.IntN(3) == 0 {
		w.b.WriteString(w.pick("/>", " />"))
		return
	}
	w.b.WriteString(w.pick(">", " >", "\n>"))
	w.text()
	for range w.IntN(3) {
		if depth > 0 {
			w.element(depth - 1)
			w.text()
		}
	}
	w.b.WriteString("</" + name + w.pick(">", " >"))
}

// told writes down what an element is, for comparison.
func told(n *Node, b *strings.Builder) {
	fmt.Fprintf(b, "{%s}%s[", n.Space, n.Local)
	for _, a := range n.Attrs {
		if a.Space != xmlnsNamespace {
			fmt.Fprintf(b, "{%s}%s=%q ", a.Space, a.Local, a.Value)
		}
	}
	fmt.Fprintf(b, "]%q(", n.Text)
	for _, c := range n.Children {
		told(c, b)
	}
	b.WriteString(")")
}

// toldByAnother writes down the same by the parser of the standard library.
func toldByAnother(raw string) (string, error) {
	d := xml.NewDecoder(strings.NewReader(header + raw))
	var levels []*Node
	root := &Node{}
	for {
		tok, err := d.Token()
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.Is(err, io.EOF) || errors.As(err, &syntax) && strings.Contains(err.Error(), "unexpected EOF") { // the stream's own end is not there
				break
			}
			return "", err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			n := &Node{Space: tok.Name.Space, Local: tok.Name.Local}
			for _, a := range tok.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					continue
				}
				// It does not do what XML 1.0, section 3.3.3 asks of white space in attributes.
				n.Attrs = append(n.Attrs, Attr{Space: a.Name.Space, Local: a.Name.Local, Value: strings.NewReplacer("\n", " ", "\t", " ").Replace(a.Value)})
			}
			parent := root
			if len(levels) > 0 {
				parent = levels[len(levels)-1]
			}
			parent.Children = append(parent.Children, n)
			levels = append(levels, n)
		case xml.EndElement:
			levels = levels[:len(levels)-1]
		case xml.CharData:
			if len(levels) > 0 {
				levels[len(levels)-1].Text += string(tok)
			}
		}
	}
	if len(root.Children) == 0 || len(root.Children[0].Children) != 1 {
		return "", errors.New("no element")
	}
	var b strings.Builder
	told(root.Children[0].Children[0], &b)
	return b.String(), nil
}

// TestParserAgreesWithAnother: random elements say what the standard library's parser reads in them, as far as that keeps to namespaces.
func TestParserAgreesWithAnother(t *testing.T) {
	in := append(append(Scope{}, scope...), Binding{"p", "urn:p"}, Binding{"q", "urn:q"})
	for seed := range 4000 {
		w := &writer{Rand: rand.New(rand.NewPCG(uint64(seed), 3))}
		w.element(3)
		raw := w.b.String()
		n, err := Parse([]byte(raw), in, DefaultLimits)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		bound := raw
		end := strings.IndexAny(bound, " \t\n/>")
		bound = bound[:end] + " xmlns:p='urn:p'" + bound[end:]
		if !strings.Contains(raw[:strings.IndexByte(raw, '>')], "xmlns:q") {
			bound = bound[:end] + " xmlns:q='urn:q'" + bound[end:]
		}
		want, err := toldByAnother(bound)
		if err != nil {
			t.Fatalf("the other parser: %q: %v", bound, err)
		}
		var b strings.Builder
		told(n, &b)
		if b.String() != want {
			t.Fatalf("%q is\n%s, by the other parser\n%s", raw, &b, want)
		}
		if n.From != 0 || n.To != len(raw) || !placed(n, raw) {
			t.Fatalf("%q: an element is not where it says", raw)
		}
	}
}

// placed reports whether each element and attribute stands where it says.
func placed(n *Node, raw string) bool {
	own := raw[n.From:n.To]
	if own[0] != '<' || own[len(own)-1] != '>' || !strings.Contains(own, n.Local) {
		return false
	}
	for _, a := range n.Attrs {
		if a.From <= n.From || a.To >= n.To || raw[a.From-1] != raw[a.To] || raw[a.To] != '\'' && raw[a.To] != '"' {
			return false
		}
	}
	last := n.From
	for _, c := range n.Children {
		if c.From <= last || c.To >= n.To || !placed(c, raw) {
			return false
		}
		last = c.To - 1
	}
	return true
}

// TestFramesOfRandomStreams: however a stream comes in pieces, its parts are the elements that were written, and nothing is lost.
func TestFramesOfRandomStreams(t *testing.T) {
	for seed := range 300 {
		w := &writer{Rand: rand.New(rand.NewPCG(uint64(seed), 4))}
		var parts []string
		for range 1 + w.IntN(6) {
			w.b.Reset()
			w.element(2)
			parts = append(parts, w.b.String())
		}
		all := header + strings.Join(parts, "\n") + "</stream:stream>"
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(all), "halves": iotest.HalfReader(strings.NewReader(all)), "bytes": iotest.OneByteReader(strings.NewReader(all))} {
			f := NewFramer(r, DefaultLimits)
			var got []string
			var joined bytes.Buffer
			for {
				frame, err := f.Next()
				if err != nil {
					t.Fatalf("%s of %q: %v", name, all, err)
				}
				joined.Write(frame.Raw)
				if frame.Kind == Element {
					got = append(got, string(frame.Raw))
				}
				if frame.Kind == Close {
					break
				}
			}
			if strings.Join(got, "|") != strings.Join(parts, "|") || joined.String() != all {
				t.Fatalf("%s: %q became %q", name, parts, got)
			}
		}
	}
}

// TestEscapedIsReadBack: any text stands in character data and in attributes of either quote as it was, but for what XML cannot hold, by this parser
// and by another.
func TestEscapedIsReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	for range 3000 {
		var want, text strings.Builder
		for range r.IntN(12) {
			c := []rune{'a', '&', '<', '>', '"', '\'', '\n', '\r', '\t', 0, 0x1f, 0xfffe, 0xfffd, 0x1f600, 'é', 0x2028, ']'}[r.IntN(17)]
			text.WriteRune(c)
			if validChar(c) {
				want.WriteRune(c)
			}
		}
		escaped := string(Escape(nil, text.String()))
		raw := "<a b='" + escaped + "' c=\"" + escaped + "\">" + escaped + "</a>"
		n, err := Parse([]byte(raw), scope, DefaultLimits)
		if err != nil || n.Text != want.String() || n.Attr("b") != want.String() || n.Attr("c") != want.String() {
			t.Fatalf("%q, as %q: %+v, %v", text.String(), escaped, n, err)
		}
		var other struct {
			B    string `xml:"b,attr"`
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal([]byte(raw), &other); err != nil || other.B != want.String() || other.Text != want.String() {
			t.Fatalf("%q by another parser: %+v, %v", raw, other, err)
		}
	}
}
