package event_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/gowebpki/jcs"
)

// word is a string type of its own, as ids and kinds are.
type word string

// shapes has a field of every type that has a canonical form.
type shapes struct {
	Small   int8                      `json:"small"`
	Big     int64                     `json:"big"`
	Port    uint16                    `json:"port"`
	Count   uint64                    `json:"count"`
	Yes     bool                      `json:"yes"`
	Name    string                    `json:"name"`
	Raw     []byte                    `json:"raw"`
	List    []string                  `json:"list"`
	Numbers []int64                   `json:"numbers"`
	When    time.Time                 `json:"when"`
	Inner   *shapes                   `json:"inner"`
	Words   map[word]string           `json:"words"`
	Nested  map[string]map[string]int `json:"nested"`
	Hidden  string                    `json:"-"`
	Untold  string
}

// TestFormsOfTypes says what each type looks like, and that it comes back.
func TestFormsOfTypes(t *testing.T) {
	for _, c := range []struct {
		name string
		v    shapes
		want string
	}{
		{"nothing", shapes{}, `{}`},
		{"what is not part of it", shapes{Hidden: "x", Untold: "y"}, `{}`},
		{"small numbers", shapes{Small: -128, Port: 65535, Yes: true}, `{"port":65535,"small":-128,"yes":true}`},
		{"the largest safe number", shapes{Big: 1<<53 - 1}, `{"big":9007199254740991}`},
		{"the first unsafe number", shapes{Big: 1 << 53}, `{"big":"9007199254740992"}`},
		{"the smallest", shapes{Big: math.MinInt64, Count: math.MaxUint64}, `{"big":"-9223372036854775808","count":"18446744073709551615"}`},
		{"unsafe numbers in a list", shapes{Numbers: []int64{0, -1 << 60}}, `{"numbers":[0,"-1152921504606846976"]}`},
		{"controls", shapes{Name: "\b\t\n\f\r\x00\x1f\x7f\"\\/"}, `{"name":"\b\t\n\f\r\u0000\u001f` + "\x7f" + `\"\\/"}`},
		{"bytes", shapes{Raw: []byte{0, 255}}, `{"raw_base64":"AP8="}`},
		{"a list of which one is not UTF-8", shapes{List: []string{"a", "\xff"}, Name: "n"}, `{"list_base64":["YQ==","/w=="],"name":"n"}`},
		{"a renamed key has its own place", shapes{Name: "\xff", Numbers: []int64{1}, Nested: map[string]map[string]int{"a": {}}}, `{"name_base64":"/w==","nested":{"a":{}},"numbers":[1]}`},
		{"times", shapes{When: time.Date(2026, 1, 2, 3, 4, 5, 60, time.FixedZone("", 3600))}, `{"when":"2026-01-02T02:04:05.000000060Z"}`},
		{"an inner one that is empty", shapes{Inner: &shapes{Inner: &shapes{}}}, `{}`},
		{"an inner one", shapes{Inner: &shapes{Yes: true}}, `{"inner":{"yes":true}}`},
		// RFC 8785, section 3.2.3: U+1F600 is a surrogate pair from D83D on, and comes before U+FB33.
		{"keys by UTF-16", shapes{Words: map[word]string{"\ufb33": "c", "\U0001f600": "b", "é": "a", "1": ""}}, `{"words":{"1":"","é":"a","` + "\U0001f600" + `":"b","` + "\ufb33" + `":"c"}}`},
	} {
		got, err := event.Canonical(&c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, got, err, c.want)
			continue
		}
		if want, err := jcs.Transform(got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: RFC 8785 has %s (%v)", c.name, want, err)
		}
		var back shapes
		if err := event.ParseCanonical(got, &back); err != nil {
			t.Errorf("%s does not come back: %v", c.name, err)
		}
		if again, err := event.Canonical(back); err != nil || !bytes.Equal(again, got) { // a struct as a pointer to it
			t.Errorf("%s: came back as %s (%v)", c.name, again, err)
		}
	}
}

// TestWhatHasNoForm is refused, wherever it is: what was written could not be read.
func TestWhatHasNoForm(t *testing.T) {
	at := func(year int, zone int) time.Time {
		return time.Date(year, 12, 31, 23, 59, 59, 0, time.FixedZone("", zone))
	}
	for name, v := range map[string]any{
		"a float": struct {
			F float64 `json:"f"`
		}{1.5},
		"a float in a list": struct {
			F []float64 `json:"f"`
		}{[]float64{1}},
		"a float in a map": struct {
			F map[string]float64 `json:"f"`
		}{map[string]float64{"a": 1}},
		"a map by numbers": struct {
			F map[int]string `json:"f"`
		}{map[int]string{1: "a"}},
		"a key that is no UTF-8": struct {
			F map[string]string `json:"f"`
		}{map[string]string{"\xff": "a"}},
		"a value that is no UTF-8": struct {
			F map[string]string `json:"f"`
		}{map[string]string{"a": "\xff"}},
		"a channel": struct {
			F chan int `json:"f"`
		}{make(chan int)},
		"the year 10000":       &event.Header{Version: 1, Time: at(9999, -12*3600)}, // 9999-12-31T23:59:59-12:00 is valid RFC 3339
		"the year -1":          &event.Header{Version: 1, Time: time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 12*3600))},
		"no value":             nil,
		"a pointer to nothing": (*event.Header)(nil),
	} {
		if b, err := event.Canonical(v); err == nil {
			t.Errorf("%s became %s", name, b)
		}
	}
	e := &event.Event{ID: event.NewID(), Kind: event.Message, Verdict: event.Verdict{Action: event.Allow}}
	if _, _, err := e.Split([]byte("short")); err == nil || !strings.Contains(err.Error(), "salt") {
		t.Errorf("a short salt gives %v", err)
	}
}

// TestParseRefusesWhatDoesNotFit: every door of the parser, with what does not belong there, and what is not the one form of what it says.
func TestParseRefusesWhatDoesNotFit(t *testing.T) {
	for _, s := range []string{
		``, `null`, `[]`, `7`, `"x"`, `true`, `{"small":128}`, `{"small":-129}`, `{"port":-1}`, `{"port":65536}`, `{"count":18446744073709551616}`, `{"small":1.0}`,
		`{"small":1e2}`, `{"small":true}`, `{"small":[1]}`, `{"small":{}}`, `{"small":"1"}`, `{"big":9007199254740992}`, `{"big":"9007199254740991"}`, `{"big":"x"}`, `{"big":"+9007199254740992"}`,
		`{"yes":1}`, `{"yes":"true"}`, `{"yes":false}`, `{"name":1}`, `{"name":null}`, `{"name":""}`, `{"name":["a"]}`, `{"name_base64":"YQ=="}`, `{"name_base64":"/w"}`, `{"name_base64":"/w==\n"}`,
		`{"raw":"AP8="}`, `{"raw_base64":[1]}`, `{"raw_base64":"AP8"}`, `{"raw_base64":"AP9="}`, `{"list":"a"}`, `{"list":[1]}`, `{"list":[null]}`, `{"list_base64":["YQ=="]}`, `{"list_base64":["?"]}`,
		`{"when":"2026-01-02T03:04:05Z"}`, `{"when":"2026-01-02T03:04:05.000000000+00:00"}`, `{"when":"2026-02-30T03:04:05.000000000Z"}`, `{"when":1}`, `{"when":{}}`,
		`{"inner":{}}`, `{"inner":null}`, `{"inner":{"nope":1}}`, `{"inner":[]}`, `{"words":{"b":"","a":""}}`, `{"words":{"a":1}}`, `{"words":{"a":"x","a":"y"}}`, `{"words":{"a":"\ud800"}}`,
		`{"Hidden":"x"}`, `{"-":"x"}`, `{"Untold":"x"}`, `{"yes":true,"yes":true}`, `{"name":"\u0061"}`, `{"name":"\/"}`, `{"name":"` + "\xff" + `"}`, ` {}`, `{} `, `{}{}`, `{"port":1,"name":"a"}`,
		strings.Repeat(`{"inner":`, 20000), strings.Repeat("[", 200000),
	} {
		var v shapes
		if err := event.ParseCanonical([]byte(s), &v); err == nil {
			t.Errorf("%.80s was taken: %+v", s, v)
		}
	}
	var v shapes
	if err := event.ParseCanonical([]byte(`{"yes": true}`), &v); !errors.Is(err, event.ErrNotCanonical) {
		t.Errorf("white space gives %v", err)
	}
}

// TestWhatKeepsAnEventBack: only an answer that is final keeps an event from its recipient.
func TestWhatKeepsAnEventBack(t *testing.T) {
	for a, want := range map[event.Action]bool{event.Allow: false, event.Hold: true, event.Quarantine: true, event.Block: true, event.Pending: false, "": false, "BLOCK": false} {
		if a.Stops() != want {
			t.Errorf("%q stops: %v", a, !want)
		}
	}
	if event.Exact.Float() != 0.99 || event.Confidence(0).Float() != 0 {
		t.Error("confidence is not a number from 0 to 1")
	}
}

// TestRandomIDsSayNothing: they are hexadecimal, all of one length, and never the same.
func TestRandomIDsSayNothing(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := event.RandomID()
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

// TestAssembleRefuses what is no content, and content of another header.
func TestAssembleRefuses(t *testing.T) {
	h, content, err := samples()[0].Split(salt())
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := samples()[0].Split(event.NewSalt())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		h event.Header
		b []byte
	}{"nothing": {h, nil}, "an empty object": {h, []byte("{}")}, "half": {h, content[:len(content)/2]}, "another salt": {other, content}, "white space": {h, append(bytes.Clone(content), '\n')}} {
		if _, err := event.Assemble(c.h, c.b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
