package protocol_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chaperone-im/chaperone/internal/endpoint/fleet/protocol"
	"github.com/chaperone-im/chaperone/internal/event"
)

func TestFramesAreBounded(t *testing.T) {
	var b bytes.Buffer
	if err := protocol.Send(&b, protocol.HelloFrame, protocol.Hello{Protocol: 1, Name: "laptop-17"}); err != nil {
		t.Fatal(err)
	}
	kind, payload, err := protocol.Read(&b)
	if err != nil || kind != protocol.HelloFrame {
		t.Fatal(kind, err)
	}
	if h, err := protocol.Decode[protocol.Hello](payload); err != nil || h.Name != "laptop-17" {
		t.Error(h, err)
	}
	for name, raw := range map[string][]byte{
		"an unknown kind":  {'?', 0, 0, 0, 0},
		"a long ping":      {'P', 0, 0, 0, 1, 0},
		"a long one":       {'I', 0x10, 0, 0, 0},
		"four gigabytes":   {'b', 0xff, 0xff, 0xff, 0xff},
		"no end of a head": {'P', 0, 0},
	} {
		if _, _, err := protocol.Read(bytes.NewReader(raw)); !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := protocol.Send(io.Discard, protocol.AppliedFrame, protocol.Applied{Error: strings.Repeat("x", 5000)}); err == nil {
		t.Error("a frame longer than its kind may be was sent")
	}
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, err := range map[string]error{
		"another version":    second(protocol.Decode[protocol.Hello]([]byte(`{"protocol":2}`))),
		"no JSON":            second(protocol.Decode[protocol.Hello]([]byte(`{`))),
		"not UTF-8":          second(protocol.Decode[protocol.Hello]([]byte("{\"protocol\":1,\"name\":\"\xff\"}"))),
		"a long name":        second(protocol.Decode[protocol.Hello]([]byte(`{"protocol":1,"name":"` + long + `"}`))),
		"a request for none": second(protocol.Decode[protocol.Request]([]byte(`{"id":"1"}`))),
		"an endless one":     second(protocol.Decode[protocol.Overlay]([]byte(`{"approvals":[{"id":"1","app":"x"}]}`))),
		"both":               second(protocol.Decode[protocol.Overlay]([]byte(`{"approvals":[{"id":"1","app":"x","sha256":"y","until":"2030-01-01T00:00:00Z"}]}`))),
		"another action":     second(protocol.Decode[protocol.Overlay]([]byte(`{"orders":[{"id":"1","action":"format"}]}`))),
	} {
		if !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestItems(t *testing.T) {
	e := &event.Event{ID: event.NewID(), Kind: event.FindingHit, Time: time.Now().UTC(), Content: event.Content{Program: &event.Program{Path: "/x", App: "telegram"}}}
	body, err := protocol.EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	in := protocol.Items{First: 7, List: []protocol.Item{{Kind: protocol.EventItem, Body: body}, {Kind: protocol.InventoryItem, Body: []byte("{}")}}}
	out, err := protocol.ParseItems(in.Append(nil))
	if err != nil || !reflect.DeepEqual(in, out) || out.Last() != 8 {
		t.Fatalf("%+v, %v", out, err)
	}
	back, err := protocol.DecodeEvent(out.List[0].Body)
	if err != nil || back.Program.App != "telegram" || back.ID != e.ID {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []protocol.Items{{First: 0, List: in.List}, {First: 1}, {First: 1, List: []protocol.Item{{Kind: '?'}}}} {
		if _, err := protocol.ParseItems(bad.Append(nil)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func keys(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, "fleet.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func manifest() protocol.Manifest {
	return protocol.Manifest{Fleet: "fleet.example", Scope: protocol.HostScope("abc"), Generation: 12, Created: time.Unix(1764000000, 0).UTC(),
		Parts: []protocol.Part{protocol.PartOf("overlay", []byte("{}")), protocol.PartOf("policy", nil)}}
}

// TestEveryBitOfAManifestIsSigned: nothing of it can be changed, and nobody else can sign it.
func TestEveryBitOfAManifestIsSigned(t *testing.T) {
	signer, verifier := keys(t)
	signed, err := protocol.Sign(manifest(), signer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := protocol.Open(signed, verifier)
	if err != nil || !reflect.DeepEqual(got, manifest()) {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, ok := got.Part("policy"); !ok {
		t.Error("the part is not found")
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 0x20
		if _, err := protocol.Open(changed, verifier); err == nil {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	if _, other := keys(t); second(protocol.Open(signed, other)) == nil {
		t.Error("another key opens it")
	}
	for name, change := range map[string]func(m *protocol.Manifest){
		"no generation": func(m *protocol.Manifest) { m.Generation = 0 },
		"a line break":  func(m *protocol.Manifest) { m.Scope = "host a\npart x" },
		"out of order":  func(m *protocol.Manifest) { m.Parts[0], m.Parts[1] = m.Parts[1], m.Parts[0] },
		"no digest":     func(m *protocol.Manifest) { m.Parts[0].SHA256 = "zz" },
		"too large":     func(m *protocol.Manifest) { m.Parts[0].Size = protocol.MaxPart + 1 },
	} {
		m := manifest()
		change(&m)
		if _, err := protocol.Sign(m, signer); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCode(t *testing.T) {
	c := protocol.NewCode([16]byte{1, 2, 3})
	for _, text := range []string{c.String(), " " + strings.ToLower(c.String()) + "\n"} {
		if got, err := protocol.ParseCode(text); err != nil || got != c {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "CF1-", "CF1-!!", c.String()[4:], c.String() + "A", strings.TrimSuffix(c.String(), "A") + "B", "CF1-" + strings.Repeat("A", 1000)} {
		if _, err := protocol.ParseCode(text); !errors.Is(err, protocol.ErrCode) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRequestsProveTheirKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := protocol.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := protocol.ParseRequest(der)
	if err != nil || len(protocol.Fingerprint(r.RawSubjectPublicKeyInfo)) != 39 {
		t.Fatal(err)
	}
	der[len(der)-1] ^= 1
	if _, err := protocol.ParseRequest(der); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a request with a wrong signature: %v", err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = protocol.NewRequest(other); err != nil {
		t.Fatal(err)
	}
	if _, err := protocol.ParseRequest(der); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("a key on another curve: %v", err)
	}
}

// FuzzFrame: whatever comes, every decoder answers within its bounds, and what it takes is written the same way again.
func FuzzFrame(f *testing.F) {
	signer, verifier := keys(f)
	signed, err := protocol.Sign(manifest(), signer)
	if err != nil {
		f.Fatal(err)
	}
	body, err := protocol.EncodeEvent(&event.Event{ID: event.NewID(), Kind: event.FindingHit, Time: time.Now().UTC()})
	if err != nil {
		f.Fatal(err)
	}
	seeds := map[protocol.Kind][]byte{
		protocol.HelloFrame:    []byte(`{"protocol":1,"name":"x","addresses":["10.0.0.1"]}`),
		protocol.EnrolFrame:    []byte(`{"protocol":1,"code":"00","secret":"AA==","request":"AA=="}`),
		protocol.EnrolledFrame: []byte(`{"state":"approved"}`),
		protocol.WelcomeFrame:  []byte(`{"heartbeat":60}`),
		protocol.AppliedFrame:  []byte(`{"scope":"fleet","generation":1}`),
		protocol.RefusedFrame:  []byte(`{"after":1}`),
		protocol.ItemsFrame:    protocol.Items{First: 1, List: []protocol.Item{{Kind: protocol.EventItem, Body: body}, {Kind: protocol.ReportItem, Body: []byte(`{"order":"a-do"}`)}}}.Append(nil),
		protocol.BundleFrame:   protocol.Delivery{Note: signed, Parts: [][]byte{[]byte("{}")}}.Encode(),
		protocol.DeltaFrame:    protocol.Delta{Delivery: protocol.Delivery{Note: signed}, Patches: []protocol.Patch{{Bytes: []byte("abc")}}}.Encode(),
		protocol.GetFrame:      protocol.Get{Offset: 300}.Encode(),
		protocol.PieceFrame:    protocol.Piece{Bytes: []byte("abc")}.Encode(),
		protocol.AckFrame:      protocol.AckNumber(9),
		protocol.RenewFrame:    {0x30, 0x03, 0x02, 0x01, 0x00},
		protocol.PingFrame:     nil,
	}
	for k, b := range seeds {
		f.Add(protocol.Frame(k, b))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := bytes.NewReader(raw)
		for range 8 {
			k, b, err := protocol.Read(in)
			if err != nil {
				return
			}
			if limit, ok := k.Limit(); !ok || len(b) > limit {
				t.Fatalf("%d bytes in a frame of kind %q", len(b), byte(k))
			}
			decode(t, k, b, verifier)
		}
	})
}

func decode(t *testing.T, k protocol.Kind, b []byte, v note.Verifier) {
	same := func(again []byte, err error) {
		if err == nil && !bytes.Equal(again, b) && len(again) >= len(b) { // numbers may have been written longer than need be
			t.Fatalf("%q became %q", b, again)
		}
	}
	switch k {
	case protocol.HelloFrame:
		protocol.Decode[protocol.Hello](b)
	case protocol.EnrolFrame:
		protocol.Decode[protocol.Enrol](b)
	case protocol.EnrolledFrame:
		protocol.Decode[protocol.Enrolled](b)
	case protocol.WelcomeFrame:
		protocol.Decode[protocol.Welcome](b)
	case protocol.AppliedFrame:
		protocol.Decode[protocol.Applied](b)
	case protocol.RefusedFrame:
		protocol.Decode[protocol.Refused](b)
	case protocol.ItemsFrame:
		items, err := protocol.ParseItems(b)
		same(items.Append(nil), err)
		for _, i := range items.List {
			protocol.DecodeEvent(i.Body)
			protocol.Decode[protocol.Inventory](i.Body)
			protocol.Decode[protocol.Report](i.Body)
			protocol.Decode[protocol.Request](i.Body)
		}
	case protocol.BundleFrame:
		d, err := protocol.ParseDelivery(b)
		same(d.Encode(), err)
		protocol.Open(d.Note, v)
		for _, p := range d.Parts {
			protocol.Decode[protocol.Overlay](p)
			protocol.Decode[protocol.Settings](p)
		}
	case protocol.DeltaFrame:
		d, err := protocol.ParseDelta(b)
		same(d.Encode(), err)
		for _, p := range d.Patches {
			p.Apply([]byte("version: 1\n"), protocol.PartOf(protocol.PolicyPart, []byte("version: 2\n")))
		}
	case protocol.GetFrame:
		g, err := protocol.ParseGet(b)
		same(g.Encode(), err)
	case protocol.PieceFrame:
		p, err := protocol.ParsePiece(b)
		same(p.Encode(), err)
	case protocol.AckFrame:
		protocol.ParseAck(b)
	case protocol.RenewFrame:
		protocol.ParseRequest(b)
	}
}

// FuzzManifest: what a trusted key signed is held to its bounds all the same, and has one form.
func FuzzManifest(f *testing.F) {
	signer, verifier := keys(f)
	signed, err := protocol.Sign(manifest(), signer)
	if err != nil {
		f.Fatal(err)
	}
	text, _, _ := strings.Cut(string(signed), "\n\n")
	f.Add(text + "\n")
	f.Add("chaperone fleet manifest/1\n")
	f.Fuzz(func(t *testing.T, text string) {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			return
		}
		m, err := protocol.Open(signed, verifier)
		if err != nil {
			return
		}
		again, err := protocol.Sign(m, signer)
		if err != nil || !bytes.Equal(again, signed) {
			t.Errorf("%q has another form than %q (%v)", signed, again, err)
		}
	})
}
