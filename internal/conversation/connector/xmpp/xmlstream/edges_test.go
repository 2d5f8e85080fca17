package xmlstream

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestParseRefuses what the framer would not give it: Parse holds on its own, with the condition that ends a stream.
func TestParseRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		"": NotWellFormed, "x": NotWellFormed, "<": NotWellFormed, "<a": NotWellFormed, "<a ": NotWellFormed, "<a/": NotWellFormed, "<a>": NotWellFormed, "<a>x": NotWellFormed,
		"<a></a": NotWellFormed, "<a></": NotWellFormed, "</a>": NotWellFormed, "<a/><b/>": NotWellFormed, "<a/> ": NotWellFormed, " <a/>": NotWellFormed, "<a></a>x": NotWellFormed,
		"<a / >": NotWellFormed, "<a/b>": NotWellFormed, "<a b>": NotWellFormed, "<a b=>": NotWellFormed, "<a b=\"x": NotWellFormed, "<a b='x\">": NotWellFormed, "<a b": NotWellFormed,
		"<a b='x' b='y'/>": NotWellFormed, "<a><![CDATA[x</a>": NotWellFormed, "<a>]]></a>": NotWellFormed, "<a><![CDATA[\x01]]></a>": NotWellFormed, "<![CDATA[x]]>": NotWellFormed,
		"<a xmlns='http://www.w3.org/2000/xmlns/'/>": NotWellFormed, "<a xmlns='http://www.w3.org/XML/1998/namespace'/>": NotWellFormed,
		"<a xmlns:xml='urn:x'/>": NotWellFormed, "<a xmlns:b='http://www.w3.org/XML/1998/namespace'/>": NotWellFormed, "<a xmlns:xmlns='urn:x'/>": NotWellFormed,
		"<a xmlns:p='u' xmlns:p='v'/>": NotWellFormed, "<p:a xmlns:p=''/>": NotWellFormed, "<a:/>": NotWellFormed, "<:a/>": NotWellFormed, "<a p:b='1'/>": NotWellFormed,
		"<a><b xmlns:p='u'/><p:c/></a>": NotWellFormed, "<\u00d7/>": NotWellFormed, "<a\u2028b/>": NotWellFormed, "<a\xff/>": NotWellFormed, "<-a/>": NotWellFormed, "<\u0300a/>": NotWellFormed,
		"<a>&#xFFFFFFFF;</a>": NotWellFormed, "<a>&#x110000;</a>": NotWellFormed, "<a>&#-1;</a>": NotWellFormed, "<a>&#+9;</a>": NotWellFormed, "<a>&#1_0;</a>": NotWellFormed, "<a>&#;</a>": NotWellFormed,
		"<a>&#x;</a>": NotWellFormed, "<a>&;</a>": RestrictedXML, "<a>&LT;</a>": RestrictedXML, "<a>&#X41;</a>": NotWellFormed, "<a>&#00000000065;</a>": NotWellFormed, "<a b='&#8;'/>": NotWellFormed,
	} {
		n, err := Parse([]byte(raw), scope, DefaultLimits)
		var e *Error
		if !errors.As(err, &e) || e.Condition != want || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %+v, %v, want %s", raw, n, err, want)
		}
	}
}

// TestParseTakes what looks odd and is well-formed, and reads it as it is meant.
func TestParseTakes(t *testing.T) {
	for raw, want := range map[string]string{
		"<a>&#x41;&#66;&#x1f600;</a>":            "AB\U0001f600",
		"<a>&amp;lt;</a>":                        "&lt;",
		"<a>&lt;&gt;&quot;&apos;</a>":            `<>"'`,
		"<a>x\r\ny\rz</a>":                       "x\ny\nz",
		"<a><![CDATA[]]]]><![CDATA[>]]></a>":     "]]>",
		"<a><![CDATA[&amp;]]></a>":               "&amp;",
		"<a \t\r\n></a \n>":                      "",
		"<b:a xmlns:b='urn:b'>é\U0001f600</b:a>": "é\U0001f600",
		"<é.1-_\u0300 b = 'c'>x</é.1-_\u0300>":   "x",
		"<a><b>in</b>out</a>":                    "out in",
		"<a xmlns=''><b/></a>":                   " ",
		"<a><b><c>deep</c></b><d>wide</d></a>":   "deep wide",
		"<a xml:lang='en' xmlns:xml='http://www.w3.org/XML/1998/namespace'>x</a>": "x",
	} {
		n, err := Parse([]byte(raw), scope, DefaultLimits)
		if err != nil || strings.Join(strings.Fields(n.AllText()), " ") != strings.Join(strings.Fields(want), " ") || n.From != 0 || n.To != len(raw) {
			t.Errorf("%q: %v, %+v, want %q", raw, err, n, want)
		}
	}
	n, err := Parse([]byte("<a b='1' p:b='2' xmlns:p='urn:p'/>"), scope, DefaultLimits)
	if err != nil || n.Attr("b") != "1" || n.Attr("c") != "" || n.Child("jabber:client", "b") != nil || n.Space != "jabber:client" {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestLimitsAreExact: as many as allowed are taken, one more is not, by framer and parser alike.
func TestLimitsAreExact(t *testing.T) {
	limits := Limits{Bytes: 200, Depth: 3, Attributes: 2, Elements: 5}
	for name, c := range map[string]struct{ most, more string }{
		"depth":      {"<a><b><c/></b></a>", "<a><b><c><d></d></c></b></a>"},
		"attributes": {"<a b='1' c='2'/>", "<a b='1' c='2' d='3'/>"},
		"elements":   {"<a><b/><b/><b/><b/></a>", "<a><b/><b/><b/><b/><b/></a>"},
		"bytes":      {"<a>" + strings.Repeat("x", 193) + "</a>", "<a>" + strings.Repeat("x", 194) + "</a>"},
	} {
		for raw, taken := range map[string]bool{c.most: true, c.more: false} {
			for how, r := range map[string]io.Reader{"whole": strings.NewReader(header + raw + "<z/>"), "in pieces": iotest.OneByteReader(strings.NewReader(header + raw + "<z/>"))} {
				f := NewFramer(r, limits)
				if _, err := f.Next(); err != nil {
					t.Fatal(err)
				}
				frame, err := f.Next()
				if err == nil {
					_, err = Parse(frame.Raw, scope, limits)
				}
				var e *Error
				if taken != (err == nil) || !taken && (!errors.As(err, &e) || e.Condition != PolicyViolation) {
					t.Errorf("%s, %s: %.40q gives %v", name, how, raw, err)
				}
			}
		}
	}
}

// TestHeadersThatAreNone end the stream before anything is in it.
func TestHeadersThatAreNone(t *testing.T) {
	const open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
	for raw, ok := range map[string]bool{
		open + ">": true, "<?xml version='1.0' encoding='UTF-8'?>" + open + ">": true, "<?xml version=\"1.0\" encoding='utf-8' ?>\n" + open + ">": true,
		"": false, " ": false, "x": false, open: false, open + "/>": false, open + "><a/>": false, "<?xml version='1.0'": false, "<?php x?>" + open + ">": false, "<?xmlx?>" + open + ">": false,
		"<?xml version='1.0' encoding='UTF-16'?>" + open + ">": false, "<?xml version='1.0'?>": false, "<?xml version='1.0'?>x" + open + ">": false, "<stream:stream>": false,
	} {
		n, in, err := ParseHeader([]byte(raw), DefaultLimits)
		if (err == nil) != ok || ok && (n.Space != "http://etherx.jabber.org/streams" || len(in) != 2) {
			t.Errorf("%q: %+v, %v, %v", raw, n, in, err)
		}
	}
	for _, raw := range []string{open + "/>", "<message/>", "<stream:stream>" + "</stream:stream>x"} {
		if err := readAll(strings.NewReader(raw)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a stream of %q ends with %v", raw, err)
		}
	}
}

// TestHowAStreamStops: in the middle of a part it is cut off, between parts it ended, and what its reader says comes through. What was read
// and is no part is there to be kept.
func TestHowAStreamStops(t *testing.T) {
	broken := errors.New("connection reset")
	for name, c := range map[string]struct {
		r       io.Reader
		want    error
		partial string
	}{
		"between":           {strings.NewReader(header + "<a/>"), io.EOF, ""},
		"in a part":         {strings.NewReader(header + "<a/><b>x"), io.ErrUnexpectedEOF, "<b>x"},
		"reset":             {io.MultiReader(strings.NewReader(header+"<a/>"), iotest.ErrReader(broken)), broken, ""},
		"reset in a part":   {io.MultiReader(strings.NewReader(header+"<a/><b"), iotest.ErrReader(broken)), broken, "<b"},
		"data and an error": {iotest.DataErrReader(strings.NewReader(header + "<a/>")), io.EOF, ""},
	} {
		f := NewFramer(c.r, DefaultLimits)
		partial := map[bool]int{}
		f.Before = func(p bool) { partial[p]++ }
		var err error
		for n := 0; err == nil; n++ {
			if _, err = f.Next(); err != nil && n != 2 {
				t.Errorf("%s: %d parts", name, n)
			}
		}
		if !errors.Is(err, c.want) || string(f.Partial()) != c.partial || f.Buffered() != len(c.partial) || partial[false] == 0 || (partial[true] > 0) != (c.partial != "") {
			t.Errorf("%s: %v, left %q, told %v", name, err, f.Partial(), partial)
		}
	}
}
