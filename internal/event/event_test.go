package event_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/gowebpki/jcs"
)

var rewrite = flag.Bool("rewrite", false, "write golden files that do not exist yet")

var at = time.Date(2026, 11, 25, 9, 30, 0, 123456789, time.UTC)

// samples holds one event of every kind, each with the fields that its kind uses.
func samples() []*event.Event {
	alice := event.Party{ID: "a1", Handle: "alice@example.org", Person: "alice", Groups: []string{"sales"}}
	bob := event.Party{ID: "b2", Handle: "bob@example.org", Person: "bob"}
	laptop := event.Host{ID: "h7", Name: "laptop-17", Address: "10.0.0.17", Person: "alice"}
	desk := event.Room{ID: "r3", Name: "desk@rooms.example.org", Incarnation: "1"}
	block := event.Verdict{Action: event.Block, Rule: "cards", Say: "No cards.", Enforced: true, Policy: "p1",
		Obligations: []event.Obligation{{Kind: event.Review, Rule: "venue", Queue: "supervision"}}, Also: []string{"late"}}
	allow := event.Verdict{Action: event.Allow, Rule: "otherwise", Enforced: true, Policy: "p1"}
	base := func(kind event.Kind, v event.Verdict, c event.Content) *event.Event {
		return &event.Event{ID: "018f0000-0000-7000-8000-000000000001", Kind: kind, Time: at, Received: at.Add(time.Millisecond),
			Connector: "office", From: alice, Verdict: v, Content: c}
	}
	direct := func(e *event.Event) *event.Event { e.To = []event.Party{bob}; return e }
	inRoom := func(e *event.Event) *event.Event { e.Room = desk; return e }
	refers := func(e *event.Event) *event.Event { e.Refers = "018f0000-0000-7000-8000-000000000000"; return e }
	phase := func(e *event.Event, p string) *event.Event { e.Phase = p; return e }
	onHost := func(e *event.Event) *event.Event { e.Host, e.From = laptop, event.Party{}; return e }
	gap := &event.Event{ID: "018f0000-0000-7000-8000-000000000001", Kind: event.Gap, Time: at, Until: at.Add(time.Hour), Received: at, Connector: "office", Reason: event.ReasonUnavailable}
	return []*event.Event{
		direct(base(event.Message, block, event.Content{Text: "4111 1111 1111 1111 \u2028 <&>", Native: "m1", Raw: []byte("<message/>"),
			Hits:       []event.Hit{{Inspector: "pattern", Name: "payment-card", Count: 1, Confidence: event.Exact, Spans: []event.Span{{0, 19}}, Version: "1"}},
			NotChecked: []event.NotInspected{{Inspector: "malware", Reason: event.ReasonUnavailable}}, Audience: []event.Party{bob}})),
		refers(direct(base(event.Edit, allow, event.Content{Text: "corrected", NativeRefs: "m1"}))),
		refers(direct(base(event.Retraction, allow, event.Content{NativeRefs: "m1"}))),
		refers(direct(base(event.Reaction, allow, event.Content{Text: "👍", NativeRefs: "m1"}))),
		inRoom(base(event.FileUpload, allow, event.Content{Files: []event.File{{Name: "plan.pdf", Type: "application/pdf", Size: 1 << 54, SHA256: "aa", Object: "o1", Sealed: "bb", Key: []byte{1, 2}}}})),
		inRoom(base(event.Join, allow, event.Content{})),
		inRoom(base(event.Leave, allow, event.Content{})),
		inRoom(base(event.RoomChange, allow, event.Content{Subject: "Q4 \xff plans"})),
		phase(refers(direct(base(event.Delivery, event.Verdict{}, event.Content{}))), event.HandedOver),
		phase(inRoom(base(event.Call, allow, event.Content{CallDetail: &event.CallDetail{Parties: []event.Party{alice, bob}, Media: "audio", Seconds: 61}})), event.CallEnded),
		onHost(base(event.FlowSeen, block, event.Content{Flow: &event.Flow{Proto: "tcp", Client: "10.0.0.17:5000", Server: "[2001:db8::1]:443", App: "whatsapp", Service: "chat", Confidence: event.High, Packets: 9, Bytes: 900, PacketsToVerdict: 4},
			Evidence: []event.Evidence{{Fact: "whatsapp/names", Value: "web.whatsapp.com", Strength: event.High, Source: "vendor"}}})),
		onHost(base(event.DNSQuery, block, event.Content{Question: &event.Question{Name: "web.whatsapp.com.", Type: "A", App: "whatsapp", Client: "10.0.0.17"}})),
		onHost(base(event.WebRequest, block, event.Content{Web: &event.Web{Method: "GET", URL: "https://desktop.telegram.org/", Status: 403, App: "telegram"}})),
		onHost(base(event.ProgramRun, block, event.Content{Program: &event.Program{Path: "/home/a/\xfe", App: "telegram", SHA256: "cc", Confidence: event.Exact}})),
		onHost(base(event.FindingHit, block, event.Content{Program: &event.Program{Path: "/home/a/setup.zip", Inside: "a!/b.exe", App: "skype", Form: "installer", Format: "pe", Confidence: event.High}})),
		onHost(base(event.MediaIn, allow, event.Content{Media: &event.Media{Device: "/dev/sdb1", Serial: "S1", Label: "STICK", Mount: "/media/a"}})),
		refers(base(event.VerdictSet, allow, event.Content{Explanation: "exception-42"})),
		gap,
		phase(base(event.Act, event.Verdict{}, event.Content{Act: &event.ActDetail{Action: "content.read", Object: "person alice", Purpose: "case 7", Details: []event.Fact{{Name: "count", Value: "3"}}}}), "content.read"),
	}
}

func salt() []byte { return bytes.Repeat([]byte{7}, event.SaltSize) }

// TestGolden holds the law that the bytes of a record never change: header and content of every kind against files made once.
func TestGolden(t *testing.T) {
	for _, e := range samples() {
		h, content, err := e.Split(salt())
		if err != nil {
			t.Fatal(err)
		}
		h.Sealed = event.Digest(content)
		header, err := event.Canonical(&h)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Appendf(nil, "%s\n%s\n", header, content)
		name := filepath.Join("testdata", "golden", string(e.Kind)+".txt")
		want, err := os.ReadFile(name)
		if os.IsNotExist(err) && *rewrite {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: canonical bytes changed\n got %s\nwant %s", e.Kind, got, want)
		}
	}
}

func TestEveryKindHasAGoldenFile(t *testing.T) {
	src, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := strings.Count(string(src), " Kind = \"")
	if got := len(samples()); got != kinds {
		t.Errorf("%d samples for %d kinds", got, kinds)
	}
}

func TestSplitAndAssemble(t *testing.T) {
	for _, e := range samples() {
		h, content, err := e.Split(salt())
		if err != nil {
			t.Fatal(err)
		}
		b, err := event.Canonical(&h)
		if err != nil {
			t.Fatal(err)
		}
		back, err := event.ParseHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		again, err := event.Assemble(back, content)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Errorf("%s: not the same after a round trip\n got %+v\nwant %+v", e.Kind, again, e)
		}
	}
}

// TestHeaderNamesNobody holds the law that canonical bytes carry nothing that a person typed or is called by.
func TestHeaderNamesNobody(t *testing.T) {
	for _, e := range samples() {
		h, _, err := e.Split(salt())
		if err != nil {
			t.Fatal(err)
		}
		b, _ := event.Canonical(&h)
		for _, secret := range []string{"alice", "bob", "4111", "laptop", "10.0.0", "desk", "whatsapp", "plan", "plans", "setup", "STICK", "case 7"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s: header holds %q: %s", e.Kind, secret, b)
			}
		}
	}
}

func TestAssembleRefusesOtherContent(t *testing.T) {
	e := samples()[0]
	h, content, _ := e.Split(salt())
	other := bytes.Replace(content, []byte("4111"), []byte("4222"), 1)
	if _, err := event.Assemble(h, other); err == nil {
		t.Error("content that was changed was accepted")
	}
}

func TestParseRefusesOtherForms(t *testing.T) {
	for _, b := range []string{`{"v":1, "id":"x"}`, `{"id":"x","v":1}x`, `{"v":1,"id":"x"}`, `{"id":"","v":1}`, `{"nope":1,"v":1}`, `{"v":"1"}`, `{"v":2}`, `{`, `null`, `[]`, `{"v":1.0}`} {
		if _, err := event.ParseHeader([]byte(b)); err == nil {
			t.Errorf("%s was accepted", b)
		}
	}
}

// FuzzCanonical checks the encoder against an independent implementation of RFC 8785, and that every form decodes to itself.
func FuzzCanonical(f *testing.F) {
	f.Add("a\u2028\"\\\x00<é>", []byte{0xff}, int64(1)<<60, "x\xff")
	f.Add("", []byte{}, int64(0), "")
	f.Fuzz(func(t *testing.T, text string, raw []byte, size int64, name string) {
		c := &event.Content{Text: text, Raw: raw, Subject: name, Files: []event.File{{Name: name, Size: size}, {}},
			Facts: []event.Fact{{Name: text, Value: name}}}
		got, err := event.Canonical(c)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(got) {
			t.Fatalf("not JSON: %q", got)
		}
		want, err := jcs.Transform(got)
		if err != nil {
			t.Fatalf("%v: %q", err, got)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("not RFC 8785\n got %s\nwant %s", got, want)
		}
		var back event.Content
		if err := event.ParseCanonical(got, &back); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
	})
}

// FuzzParseHeader checks that no bytes make the parser panic and that what it takes is canonical.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte(`{"id":"x","kind":"message","v":1}`))
	f.Add([]byte(`{"to_base64":["/w=="],"v":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := event.ParseHeader(b)
		if err != nil {
			return
		}
		again, err := event.Canonical(&h)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q became %q (%v)", b, again, err)
		}
	})
}

func TestImportIDIsStableAndKeyed(t *testing.T) {
	a := event.ImportID([]byte("k"), "slack", "1", "0")
	if a != event.ImportID([]byte("k"), "slack", "1", "0") {
		t.Error("not stable")
	}
	for _, other := range []event.ID{event.ImportID([]byte("j"), "slack", "1", "0"), event.ImportID([]byte("k"), "slac", "k1", "0"), event.ImportID([]byte("k"), "slack", "1", "1")} {
		if a == other {
			t.Error("two sources share an id")
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	e := samples()[0]
	for b.Loop() {
		h, _, err := e.Split(salt())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := event.Canonical(&h); err != nil {
			b.Fatal(err)
		}
	}
}

func TestEvidenceLines(t *testing.T) {
	lines := event.AppendEvidenceLines([]event.EvidenceLine{}, []event.Evidence{{Fact: "name", Value: "t.me", Strength: event.High, Source: "catalog"}, {Fact: "address"}})
	got, err := json.Marshal(lines)
	if want := `[{"fact":"name","value":"t.me","strength":0.95,"source":"catalog"},{"fact":"address","value":"","strength":0}]`; err != nil || string(got) != want {
		t.Errorf("%s (%v)", got, err)
	}
}
