package event_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
)

// fill gives every field of v a random value, and leaves some empty.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	if r.IntN(4) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"a", "é\u2028", "\x00\x1f\"\\", "\xff\xfe", "\U0001f600", "<&>", "x\xc3", "/", " "}[r.IntN(9)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt([]int64{1, -1, 7, 100}[r.IntN(4)])
		if v.Type().Bits() == 64 && r.IntN(2) == 0 {
			v.SetInt(int64(r.Uint64()))
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1 + r.Uint64N(200))
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth-1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 4))
		for i := range v.Len() {
			fill(r, v.Index(i), depth-1)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(r.Int64N(4e9), r.Int64N(1e9)).UTC()))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(r, v.Field(i), depth)
			}
		}
	}
}

// randomEvent is an event with anything in its fields.
func randomEvent(r *rand.Rand) *event.Event {
	e := &event.Event{}
	fill(r, reflect.ValueOf(e).Elem(), 3)
	e.Received = at
	return e
}

// TestRandomRecords: of any event both halves are JSON in the form of RFC 8785 by another program's judgement, are read back, and make the same
// halves again.
func TestRandomRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 400 {
		h, content, err := randomEvent(r).Split(salt())
		if err != nil {
			t.Fatal(err)
		}
		h.Sealed = event.Digest(content)
		header, err := event.Canonical(&h)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{header, content} {
			if want, err := jcs.Transform(b); err != nil || !bytes.Equal(b, want) || !json.Valid(b) {
				t.Fatalf("not RFC 8785 (%v)\n got %s\nwant %s", err, b, want)
			}
		}
		back, err := event.ParseHeader(header)
		if err != nil {
			t.Fatalf("%v: %s", err, header)
		}
		e, err := event.Assemble(back, content)
		if err != nil {
			t.Fatalf("%v: %s", err, content)
		}
		e.Room.Incarnation = back.Incarnation
		again, twice, err := e.Split(salt())
		if err != nil || !bytes.Equal(twice, content) {
			t.Fatalf("%v: the content became\n%s\nof\n%s", err, twice, content)
		}
		again.Sealed = event.Digest(twice)
		if b, err := event.Canonical(&again); err != nil || !bytes.Equal(b, header) {
			t.Fatalf("%v: the header became\n%s\nof\n%s", err, b, header)
		}
	}
}

// TestEveryByteIsHeld: whatever byte of a content is changed, taken away or added, the header no longer takes it; and a header that was changed is
// either none, or another.
func TestEveryByteIsHeld(t *testing.T) {
	for _, e := range samples() {
		h, content, err := e.Split(salt())
		if err != nil {
			t.Fatal(err)
		}
		header, err := event.Canonical(&h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range content {
			for how, other := range map[string][]byte{"another": changed(content, i), "one fewer": slices.Delete(bytes.Clone(content), i, i+1), "one more": slices.Insert(bytes.Clone(content), i, content[i])} {
				if got, err := event.Assemble(h, other); err == nil {
					t.Fatalf("%s: %s byte at %d was taken: %+v", e.Kind, how, i, got)
				}
			}
		}
		for i := range header {
			got, err := event.ParseHeader(changed(header, i))
			if err == nil && reflect.DeepEqual(got, h) {
				t.Fatalf("%s: a header with another byte at %d says the same", e.Kind, i)
			}
		}
	}
}

func changed(b []byte, i int) []byte {
	out := bytes.Clone(b)
	out[i] ^= 1
	return out
}

// TestCommitmentIsWhatTheFormatSays: HMAC-SHA256 of the content under its salt; another salt gives another, so that nobody guesses texts by it.
func TestCommitmentIsWhatTheFormatSays(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		s := event.NewSalt()
		h, content, err := samples()[0].Split(s)
		if err != nil {
			t.Fatal(err)
		}
		m := hmac.New(sha256.New, s)
		m.Write(content)
		if want := hex.EncodeToString(m.Sum(nil)); h.Commitment != want || seen[want] {
			t.Fatalf("commitment %s, want %s (seen: %v)", h.Commitment, want, seen[want])
		}
		seen[h.Commitment] = true
	}
	for _, size := range []int{0, 1, event.SaltSize - 1, event.SaltSize + 1, 1000} {
		if _, _, err := samples()[0].Split(make([]byte, size)); err == nil {
			t.Errorf("a salt of %d bytes was taken", size)
		}
	}
}

// TestIDsAreInOrder: ids of events are UUIDs of version 7 that sort as they were made; those of imports are of version 8.
func TestIDsAreInOrder(t *testing.T) {
	var last event.ID
	for range 2000 {
		id := event.NewID()
		u, err := uuid.Parse(string(id))
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || id <= last {
			t.Fatalf("%s after %s: %v", id, last, err)
		}
		last = id
	}
	seen := map[event.ID]string{}
	for _, key := range []string{"", "k", "kk"} {
		for _, connector := range []string{"", "a", "ab", "1:a"} {
			for _, source := range []string{"", "b", "1:b", "é"} {
				for _, revision := range []string{"", "0", "1"} {
					id := event.ImportID([]byte(key), connector, source, revision)
					of := fmt.Sprintf("%q %q %q %q", key, connector, source, revision)
					u, err := uuid.Parse(string(id))
					if err != nil || u.Version() != 8 || u.Variant() != uuid.RFC4122 {
						t.Errorf("%s: %s, %v", of, id, err)
					}
					if other, ok := seen[id]; ok {
						t.Errorf("%s and %s have the same id", of, other)
					}
					seen[id] = of
				}
			}
		}
	}
}

// TestTimesThatNoRecordHolds: a time that RFC 3339 has no form for is refused when it is written, not when it is read.
func TestTimesThatNoRecordHolds(t *testing.T) {
	for name, c := range map[string]struct {
		at time.Time
		ok bool
	}{
		"the first":          {time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), true},
		"before the first":   {time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Add(-1), false},
		"the last":           {time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), true},
		"after the last":     {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), false},
		"the last by a zone": {time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200)), false},
		"the first by one":   {time.Date(0, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)), false},
		"none":               {time.Time{}, true},
	} {
		h := event.Header{Version: event.FormatVersion, ID: "x", Time: c.at}
		b, err := event.Canonical(&h)
		if (err == nil) != c.ok {
			t.Errorf("%s: %s, %v", name, b, err)
			continue
		}
		if back, parsed := event.ParseHeader(b); c.ok && (parsed != nil || !back.Time.Equal(c.at)) {
			t.Errorf("%s: %v became %v, %v", name, c.at, back.Time, parsed)
		}
	}
}

// TestWhatCannotBeSaid: what canonical JSON cannot say is an error, not something else.
func TestWhatCannotBeSaid(t *testing.T) {
	for name, v := range map[string]any{
		"nothing": nil, "a nil pointer": (*event.Content)(nil), "a float": struct {
			X float64 `json:"x"`
		}{1.5},
		"an interface": struct {
			X any `json:"x"`
		}{1},
		"a map with numbers for keys": struct {
			X map[int]string `json:"x"`
		}{map[int]string{1: "a"}},
		"a map with a key that is not UTF-8": struct {
			X map[string]string `json:"x"`
		}{map[string]string{"\xff": "a"}},
		"a map with a value that is not UTF-8": struct {
			X map[string]string `json:"x"`
		}{map[string]string{"a": "\xff"}},
		"a channel": struct {
			X chan int `json:"x"`
		}{make(chan int)},
		"a function": struct {
			X func() `json:"x"`
		}{func() {}},
		"a time of no year in a list": struct {
			X []time.Time `json:"x"`
		}{[]time.Time{time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)}},
	} {
		if b, err := event.Canonical(v); err == nil {
			t.Errorf("%s became %s", name, b)
		}
	}
}

// TestObjectsOfFiles: a header names the object of each file that has one, in order, and nothing of the others.
func TestObjectsOfFiles(t *testing.T) {
	e := &event.Event{ID: "x", Kind: event.FileUpload, Received: at}
	var want []event.Object
	for i := range 9 {
		f := event.File{Name: fmt.Sprintf("secret-%d.txt", i), Size: int64(i)}
		if i%3 != 0 {
			f.Object, f.Sealed = fmt.Sprintf("o%d", i), strings.Repeat(fmt.Sprint(i), 64)
			want = append(want, event.Object{Name: f.Object, SHA256: f.Sealed})
		}
		e.Files = append(e.Files, f)
	}
	h, content, err := e.Split(salt())
	if err != nil || !slices.Equal(h.Objects, want) {
		t.Errorf("%v: %+v, want %+v", err, h.Objects, want)
	}
	if b, _ := event.Canonical(&h); bytes.Contains(b, []byte("secret")) {
		t.Errorf("the header names a file: %s", b)
	}
	if back, err := event.Assemble(h, content); err != nil || !reflect.DeepEqual(back.Files, e.Files) {
		t.Errorf("%v: %+v", err, back)
	}
}
