package xmlstream

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Attr is an attribute. From and To are where its value stands in the raw bytes, without the quotes.
type Attr struct {
	Space, Local, Value string
	From, To            int
}

// Node is an element. From and To are where it stands in the raw bytes.
type Node struct {
	Space, Local string
	Attrs        []Attr
	Children     []*Node
	Text         string // all of its own character data, without that of its children
	From, To     int
}

// Attr returns the value of an attribute that has no namespace, "" when it is absent.
func (n *Node) Attr(local string) string {
	for i := range n.Attrs {
		if n.Attrs[i].Local == local && n.Attrs[i].Space == "" {
			return n.Attrs[i].Value
		}
	}
	return ""
}

// Child returns the first child of that name, or nil.
func (n *Node) Child(space, local string) *Node {
	for _, c := range n.Children {
		if c.Local == local && c.Space == space {
			return c
		}
	}
	return nil
}

// AllText returns the character data of the element and all below it, in no order that matters.
func (n *Node) AllText() string {
	if len(n.Children) == 0 {
		return n.Text
	}
	var b strings.Builder
	n.writeText(&b)
	return b.String()
}

func (n *Node) writeText(b *strings.Builder) {
	b.WriteString(n.Text)
	for _, c := range n.Children {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		c.writeText(b)
	}
}

// Scope is the namespaces that hold at a place: those of the stream header, for stanzas.
type Scope []Binding

// Binding is one namespace declaration.
type Binding struct{ Prefix, URI string }

const (
	xmlNamespace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"
)

func (s Scope) find(prefix string) (string, bool) {
	if prefix == "xml" {
		return xmlNamespace, true
	}
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].Prefix == prefix {
			return s[i].URI, s[i].URI != "" || prefix == ""
		}
	}
	return "", prefix == ""
}

// Parse reads one whole element, which must be all of raw. It holds no reference to raw.
func Parse(raw []byte, scope Scope, limits Limits) (*Node, error) {
	p := parser{raw: raw, scope: scope[:len(scope):len(scope)], limits: limits}
	return p.element()
}

// ParseHeader reads a stream header and returns the namespaces that hold in the stream.
func ParseHeader(raw []byte, limits Limits) (*Node, Scope, error) {
	p := parser{raw: raw, limits: limits}
	if bytes.HasPrefix(raw, []byte("<?")) {
		end := bytes.Index(raw, []byte("?>"))
		if end < 0 || !validDeclaration(raw[:end]) {
			return nil, nil, fail(RestrictedXML, "only an XML declaration for UTF-8 may come before the stream")
		}
		p.pos = end + 2
	}
	p.pos += spaces(raw[p.pos:])
	if p.pos >= len(raw) || raw[p.pos] != '<' {
		return nil, nil, fail(NotWellFormed, "no stream header")
	}
	n, closed, err := p.start()
	switch {
	case err != nil:
		return nil, nil, err
	case closed || p.pos != len(raw):
		return nil, nil, fail(NotWellFormed, "no stream header")
	}
	return n, p.scope, nil
}

func validDeclaration(decl []byte) bool {
	if len(decl) < 6 || string(decl[:5]) != "<?xml" || !isSpace(decl[5]) {
		return false
	}
	i := bytes.Index(decl, []byte("encoding"))
	return i < 0 || bytes.Contains(bytes.ToLower(decl[i:]), []byte("utf-8"))
}

type parser struct {
	raw      []byte
	pos      int
	scope    Scope
	limits   Limits
	elements int
	nodes    []Node // handed out one by one: one allocation for several elements
	text     []byte
}

type level struct {
	node  *Node
	name  []byte // as written, for the end tag
	scope int
	text  strings.Builder
}

func (p *parser) element() (*Node, error) {
	var stack []*level
	for {
		if p.pos >= len(p.raw) {
			return nil, fail(NotWellFormed, "the element does not end")
		}
		if p.raw[p.pos] != '<' || bytes.HasPrefix(p.raw[p.pos:], []byte("<![CDATA[")) {
			if len(stack) == 0 {
				return nil, fail(NotWellFormed, "text outside of the element")
			}
			if err := p.charData(stack[len(stack)-1]); err != nil {
				return nil, err
			}
			continue
		}
		done, err := p.tag(&stack)
		if err != nil {
			return nil, err
		}
		if done != nil {
			if p.pos != len(p.raw) {
				return nil, fail(NotWellFormed, "something follows the element")
			}
			return done, nil
		}
	}
}

// tag reads a start or end tag and returns the outermost element when it is complete.
func (p *parser) tag(stack *[]*level) (*Node, error) {
	depth := len(*stack)
	if bytes.HasPrefix(p.raw[p.pos:], []byte("</")) {
		if depth == 0 {
			return nil, fail(NotWellFormed, "an end tag without its start")
		}
		top := (*stack)[depth-1]
		if err := p.end(top.name); err != nil {
			return nil, err
		}
		top.node.To, top.node.Text = p.pos, top.text.String()
		p.scope = p.scope[:top.scope]
		*stack = (*stack)[:depth-1]
		if depth == 1 {
			return top.node, nil
		}
		return nil, nil
	}
	scope, from := len(p.scope), p.pos
	n, closed, err := p.start()
	if err != nil {
		return nil, err
	}
	n.From, n.To = from, p.pos
	if depth > 0 {
		parent := (*stack)[depth-1].node
		parent.Children = append(parent.Children, n)
	}
	if closed {
		p.scope = p.scope[:scope]
		if depth == 0 {
			return n, nil
		}
		return nil, nil
	}
	if depth+1 > p.limits.Depth {
		return nil, fail(PolicyViolation, "more than %d levels of elements", p.limits.Depth)
	}
	*stack = append(*stack, &level{node: n, name: nameOf(p.raw[from+1:]), scope: scope})
	return nil, nil
}

func nameOf(b []byte) []byte {
	if end := bytes.IndexAny(b, " \t\r\n/>"); end >= 0 {
		return b[:end]
	}
	return b
}

func (p *parser) end(name []byte) error {
	p.pos += 2
	if !bytes.HasPrefix(p.raw[p.pos:], name) {
		return fail(NotWellFormed, "an end tag that does not match its start")
	}
	p.pos += len(name)
	p.pos += spaces(p.raw[p.pos:])
	if p.pos >= len(p.raw) || p.raw[p.pos] != '>' {
		return fail(NotWellFormed, "an end tag that does not match its start")
	}
	p.pos++
	return nil
}

type rawAttr struct {
	prefix, local []byte
	value         string
	from, to      int
}

// start reads a start tag and reports whether it closes itself.
func (p *parser) start() (*Node, bool, error) {
	if p.elements++; p.elements > p.limits.Elements {
		return nil, false, fail(PolicyViolation, "more than %d elements", p.limits.Elements)
	}
	p.pos++
	prefix, local, err := p.name()
	if err != nil {
		return nil, false, err
	}
	var room [8]rawAttr
	attrs, closed, err := p.attributes(room[:0])
	if err != nil {
		return nil, false, err
	}
	if err := p.declare(attrs); err != nil {
		return nil, false, err
	}
	n := p.newNode()
	n.Local = name(local)
	var ok bool
	if n.Space, ok = p.scope.find(string(prefix)); !ok || string(prefix) == "xmlns" {
		return nil, false, fail(NotWellFormed, "a prefix without a namespace")
	}
	if err := p.resolve(n, attrs); err != nil {
		return nil, false, err
	}
	return n, closed, nil
}

func (p *parser) newNode() *Node {
	if len(p.nodes) == 0 {
		p.nodes = make([]Node, min(8, max(1, p.elements)))
	}
	n := &p.nodes[0]
	p.nodes = p.nodes[1:]
	return n
}

func (p *parser) attributes(attrs []rawAttr) ([]rawAttr, bool, error) {
	for {
		n := spaces(p.raw[p.pos:])
		p.pos += n
		rest := p.raw[p.pos:]
		switch {
		case len(rest) == 0:
			return nil, false, fail(NotWellFormed, "a tag does not end")
		case rest[0] == '>':
			p.pos++
			return attrs, false, nil
		case rest[0] == '/':
			if len(rest) < 2 || rest[1] != '>' {
				return nil, false, fail(NotWellFormed, "a slash inside a tag")
			}
			p.pos += 2
			return attrs, true, nil
		case n == 0:
			return nil, false, fail(NotWellFormed, "no space before an attribute")
		case len(attrs) == p.limits.Attributes:
			return nil, false, fail(PolicyViolation, "more than %d attributes", p.limits.Attributes)
		}
		a, err := p.attribute()
		if err != nil {
			return nil, false, err
		}
		attrs = append(attrs, a)
	}
}

func (p *parser) attribute() (rawAttr, error) {
	var a rawAttr
	var err error
	if a.prefix, a.local, err = p.name(); err != nil {
		return a, err
	}
	p.pos += spaces(p.raw[p.pos:])
	if p.pos >= len(p.raw) || p.raw[p.pos] != '=' {
		return a, fail(NotWellFormed, "an attribute without a value")
	}
	p.pos++
	p.pos += spaces(p.raw[p.pos:])
	if p.pos >= len(p.raw) || p.raw[p.pos] != '"' && p.raw[p.pos] != '\'' {
		return a, fail(NotWellFormed, "an attribute value without quotes")
	}
	quote := p.raw[p.pos]
	p.pos++
	end := bytes.IndexByte(p.raw[p.pos:], quote)
	if end < 0 {
		return a, fail(NotWellFormed, "an attribute value does not end")
	}
	a.from, a.to = p.pos, p.pos+end
	value := p.raw[a.from:a.to]
	if bytes.IndexByte(value, '<') >= 0 {
		return a, fail(NotWellFormed, "a tag begins inside an attribute value")
	}
	p.text, err = appendText(p.text[:0], value, true)
	a.value = string(p.text)
	p.pos = a.to + 1
	return a, err
}

// declare adds the namespaces that the attributes declare.
func (p *parser) declare(attrs []rawAttr) error {
	for _, a := range attrs {
		switch {
		case string(a.prefix) == "xmlns":
			local := string(a.local)
			if a.value == "" || a.value == xmlnsNamespace || local == "xmlns" || (local == "xml") != (a.value == xmlNamespace) {
				return fail(NotWellFormed, "a namespace declaration that is not allowed")
			}
			p.scope = append(p.scope, Binding{local, a.value})
		case len(a.prefix) == 0 && string(a.local) == "xmlns":
			if a.value == xmlNamespace || a.value == xmlnsNamespace {
				return fail(NotWellFormed, "a namespace declaration that is not allowed")
			}
			p.scope = append(p.scope, Binding{"", name([]byte(a.value))})
		}
	}
	return nil
}

// resolve gives the node its attributes, which must be distinct.
func (p *parser) resolve(n *Node, attrs []rawAttr) error {
	if len(attrs) == 0 {
		return nil
	}
	n.Attrs = make([]Attr, 0, len(attrs))
	for _, a := range attrs {
		out := Attr{Local: name(a.local), Value: a.value, From: a.from, To: a.to}
		switch {
		case string(a.prefix) == "xmlns" || len(a.prefix) == 0 && string(a.local) == "xmlns":
			out.Space = xmlnsNamespace
		case len(a.prefix) > 0:
			space, ok := p.scope.find(string(a.prefix))
			if !ok {
				return fail(NotWellFormed, "a prefix without a namespace")
			}
			out.Space = space
		}
		for _, other := range n.Attrs {
			if other.Local == out.Local && other.Space == out.Space {
				return fail(NotWellFormed, "an attribute twice")
			}
		}
		n.Attrs = append(n.Attrs, out)
	}
	return nil
}

// name reads a qualified name.
func (p *parser) name() (prefix, local []byte, err error) {
	start, colon := p.pos, -1
	for p.pos < len(p.raw) {
		c := p.raw[p.pos]
		size := 1
		if c == ':' {
			if colon >= 0 || p.pos == start {
				return nil, nil, fail(NotWellFormed, "a name with several colons")
			}
			colon = p.pos
		} else if c < utf8.RuneSelf {
			if !nameByte(c, p.pos == start || p.pos == colon+1) {
				break
			}
		} else {
			r, n := utf8.DecodeRune(p.raw[p.pos:])
			if !nameRune(r, p.pos == start || p.pos == colon+1) {
				return nil, nil, fail(NotWellFormed, "a character that no name has")
			}
			size = n
		}
		p.pos += size
	}
	if p.pos == start || p.pos == colon+1 {
		return nil, nil, fail(NotWellFormed, "a tag or attribute without a name")
	}
	if colon >= 0 {
		return p.raw[start:colon], p.raw[colon+1 : p.pos], nil
	}
	return nil, p.raw[start:p.pos], nil
}

func nameByte(c byte, first bool) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || !first && (c == '-' || c == '.' || c >= '0' && c <= '9')
}

func nameRune(r rune, first bool) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || !first && (unicode.IsDigit(r) || unicode.Is(unicode.M, r)))
}

func (p *parser) charData(l *level) error {
	if bytes.HasPrefix(p.raw[p.pos:], []byte("<![CDATA[")) {
		p.pos += len("<![CDATA[")
		end := bytes.Index(p.raw[p.pos:], []byte("]]>"))
		if end < 0 {
			return fail(NotWellFormed, "a CDATA section does not end")
		}
		section := p.raw[p.pos : p.pos+end]
		p.pos += end + 3
		out, err := appendPlain(p.text[:0], section, false)
		p.text = out
		l.text.Write(out)
		return err
	}
	end := bytes.IndexByte(p.raw[p.pos:], '<')
	if end < 0 {
		return fail(NotWellFormed, "the element does not end")
	}
	data := p.raw[p.pos : p.pos+end]
	p.pos += end
	if bytes.Contains(data, []byte("]]>")) {
		return fail(NotWellFormed, "the end of a CDATA section without its start")
	}
	out, err := appendText(p.text[:0], data, false)
	p.text = out
	l.text.Write(out)
	return err
}
