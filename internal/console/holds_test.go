package console_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
)

// TestCounselHolds places a hold the way a person does: from a page, what it would cover first, then for good, and releases it.
func TestCounselHolds(t *testing.T) {
	r := newRig(t, noon)
	moved := r.tell()
	v := r.reading("cora")
	for _, p := range []string{"/person?who=alice", "/search?q=whatsapp"} {
		want(t, v.get(p), http.StatusOK, `href="/holds/place?kind=person&amp;name=alice"`)
	}
	want(t, v.get("/conversation?id="+url.QueryEscape(r.conversationOf(moved))), http.StatusOK, "Hold:")
	want(t, v.get("/holds/place?kind=person&name=alice"), http.StatusOK, `value="alice"`, "Show what it would cover")
	form := []string{"kind", "person", "name", "alice", "matter", "Meyer v. Firm", "reason", "letter of 3 November"}
	before := r.frames()
	shown := v.post("/holds/preview", form...)
	want(t, shown, http.StatusOK, "records would be held now", "Place this hold", "5 message")
	if got := actions(r.actsSince(before)); len(got) != 1 || got[0] != "content.read" || len(r.holds.List()) != 0 {
		t.Errorf("a preview did %v and holds %v", got, r.holds.List())
	}
	want(t, v.post("/holds/place", form...), http.StatusSeeOther)
	if list := r.holds.List(); len(list) != 1 || list[0].By != "cora" || list[0].Scope != (retention.Scope{Kind: retention.Person, Name: "alice"}) || list[0].Reason != "letter of 3 November" {
		t.Errorf("holds are %v", list)
	}
	want(t, v.get("/holds"), http.StatusOK, "Meyer v. Firm", "Release Meyer v. Firm")
	want(t, v.post("/holds/preview", form...), http.StatusOK, "It is held already, for the matter Meyer v. Firm")
	want(t, v.get("/holds/release?matter=Meyer+v.+Firm"), http.StatusOK, "person", "alice", "Release the matter")
	want(t, v.post("/holds/release", "matter", "Meyer v. Firm"), http.StatusBadRequest, "The reason is missing")
	want(t, v.post("/holds/release", "matter", "Meyer v. Firm", "reason", "settled"), http.StatusSeeOther)
	if list := r.holds.List(); len(list) != 0 {
		t.Errorf("after the release %v is held", list)
	}
	want(t, v.post("/holds/release", "matter", "Meyer v. Firm", "reason", "settled"), http.StatusBadRequest, "Nothing was released")
	if got := actions(r.actsSince(before)); fmt.Sprint(got) != "[content.read hold.place content.read hold.release]" {
		t.Errorf("on record: %v", got)
	}
}

// TestHoldsRefuse: each mistake has words, nobody but counsel holds, and what cannot be recorded is not held.
func TestHoldsRefuse(t *testing.T) {
	r := newRig(t, noon)
	r.tell()
	v := r.reading("cora")
	for words, form := range map[string][]string{
		"The name is missing":                 {"kind", "person", "name", " ", "matter", "m", "reason", "r"},
		"The matter is missing":               {"kind", "room", "name", "desk", "reason", "r"},
		"The reason is missing":               {"kind", "host", "name", "laptop-17", "matter", "m"},
		"A person, a room or a host is held.": {"kind", "everything", "name", "x", "matter", "m", "reason", "r"},
		"That is too long":                    {"kind", "person", "name", strings.Repeat("x", 2001), "matter", "m", "reason", "r"},
	} {
		for _, path := range []string{"/holds/preview", "/holds/place"} {
			want(t, v.post(path, form...), http.StatusBadRequest, words)
		}
	}
	want(t, v.get("/holds/release?matter=none"), http.StatusNotFound)
	form := []string{"kind", "person", "name", "nobody at all", "matter", "m", "reason", "r"}
	want(t, v.post("/holds/preview", form...), http.StatusOK, "would be held now", "Nothing on record has that name")
	rita := r.reading("rita")
	for _, a := range []answer{rita.get("/holds/place"), rita.get("/holds/release?matter=m"), rita.post("/holds/preview", form...), rita.post("/holds/place", form...), rita.post("/holds/release", "matter", "m", "reason", "r"), r.as("adam").post("/holds/place", form...)} {
		want(t, a, http.StatusForbidden, "Holds belong to counsel")
	}
	if a := rita.get("/person?who=alice"); strings.Contains(a.body, "/holds/place") {
		t.Error("a reviewer is offered a hold")
	}
	r.acts.set(errors.New("disk full"))
	want(t, v.post("/holds/place", form...), http.StatusServiceUnavailable, "nobody works here unrecorded")
	if len(r.holds.List()) != 0 {
		t.Errorf("holds are %v", r.holds.List())
	}
}

// file records an upload whose content is kept, and returns its record's id.
func (r *rig) file(name string, content []byte, change func(e *event.Event)) event.ID {
	r.t.Helper()
	f := event.File{Name: name, Type: "application/pdf"}
	if err := r.objects.Put(r.t.Context(), &f, bytes.NewReader(content)); err != nil {
		r.t.Fatal(err)
	}
	e := &event.Event{ID: event.NewID(), Kind: event.FileUpload, Time: at(13, 30, 0), Connector: "office", From: person("alice"), To: []event.Party{person("bob")},
		Verdict: event.Verdict{Action: event.Allow, Rule: "otherwise", Enforced: true}, Content: event.Content{Files: []event.File{f}}}
	if change != nil {
		change(e)
	}
	r.record(e)
	return e.ID
}

// TestDownload gives a recorded file out, byte for byte, to who reads for a purpose, and puts each download on record with the hash.
func TestDownload(t *testing.T) {
	r := newRig(t, noon)
	content := bytes.Repeat([]byte("quarterly report\n"), 40_000)
	id := string(r.file("../../a\u202efdp.exe", content, nil))
	v := r.reading("rita")
	want(t, v.get("/record?id="+id), http.StatusOK, "Download")
	before := r.frames()
	for range 2 {
		a := v.post("/file", "id", id, "n", "0")
		if a.status != http.StatusOK || a.body != string(content) {
			t.Fatalf("%d, %d bytes: %.100s", a.status, len(a.body), a.body)
		}
		for name, value := range map[string]string{"Content-Disposition": `attachment; filename="a[U+202E]fdp.exe"`, "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "no-store"} {
			if a.header.Get(name) != value {
				t.Errorf("%s is %q", name, a.header.Get(name))
			}
		}
	}
	downloads := 0
	for _, act := range r.actsSince(before) {
		if act.Act.Action != "file.download" {
			continue
		}
		downloads++
		if act.From.Handle != "rita" || act.Act.Object != id || !strings.Contains(act.Act.Purpose, "case 7") || act.Act.Details[1].Value != event.Digest(content) {
			t.Errorf("on record: %+v", act.Act)
		}
	}
	if downloads != 2 {
		t.Errorf("%d downloads on record", downloads)
	}
	for _, n := range []string{"1", "-1", "x", ""} {
		want(t, v.post("/file", "id", id, "n", n), http.StatusNotFound)
	}
	want(t, r.as("adam").post("/file", "id", id, "n", "0"), http.StatusForbidden, "Who administers does not read")
	want(t, r.as("cora").post("/file", "id", id, "n", "0"), http.StatusOK, "Why do you look?")
	r.acts.set(errors.New("disk full"))
	want(t, v.post("/file", "id", id, "n", "0"), http.StatusServiceUnavailable, "could not be recorded")
}

// TestStoppedFilesWarnFirst: what policy stopped, a scanner named or nobody could look into comes after a warning, and under another name.
func TestStoppedFilesWarnFirst(t *testing.T) {
	r := newRig(t, noon)
	v := r.reading("rita")
	for words, change := range map[string]func(e *event.Event){
		"Policy stopped it: block by rule malware.": func(e *event.Event) { e.Verdict = event.Verdict{Action: event.Block, Rule: "malware", Enforced: true} },
		"A scanner found Eicar in it.":              func(e *event.Event) { e.Hits = []event.Hit{{Inspector: "malware", Name: "Eicar"}} },
		"The inspector malware could not look into it: encrypted.": func(e *event.Event) {
			e.NotChecked = []event.NotInspected{{Inspector: "malware", Reason: event.ReasonEncrypted}}
		},
	} {
		id := string(r.file("offer.pdf", []byte("EICAR"), change))
		before := r.frames()
		want(t, v.post("/file", "id", id, "n", "0"), http.StatusOK, "Do not open this like any other file", words)
		want(t, v.get("/file?n=0&id="+id), http.StatusOK, words, ".quarantined")
		for _, act := range actions(r.actsSince(before)) {
			if act == "file.download" {
				t.Error("the warning gave the file out")
			}
		}
		a := v.post("/file", "id", id, "n", "0", "known", "yes")
		if a.status != http.StatusOK || a.body != "EICAR" || a.header.Get("Content-Disposition") != "attachment; filename=offer.pdf.quarantined" {
			t.Errorf("%d %q %v", a.status, a.body, a.header)
		}
	}
}

// TestFilesThatAreGoneOrAltered: a clear word, and not a byte.
func TestFilesThatAreGoneOrAltered(t *testing.T) {
	r := newRig(t, noon)
	v := r.reading("rita")
	path := func(id string) string {
		e := must[*event.Event](t)(r.eventOf(event.ID(id)))
		return filepath.Join(r.dir, "objects", e.Files[0].Object[:2], e.Files[0].Object)
	}
	gone := string(r.file("gone.pdf", []byte("gone"), nil))
	if err := os.Remove(path(gone)); err != nil {
		t.Fatal(err)
	}
	want(t, v.post("/file", "id", gone, "n", "0"), http.StatusGone, "Not kept any more")
	altered := string(r.file("altered.pdf", bytes.Repeat([]byte("x"), 100_000), nil))
	raw := must[[]byte](t)(os.ReadFile(path(altered)))
	raw[len(raw)-1]++ // in its last chunk: the first ones are good
	if err := os.WriteFile(path(altered), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, v.post("/file", "id", altered, "n", "0"), http.StatusInternalServerError, "Nothing of it was given out")
	lying := string(r.file("lying.pdf", []byte("one"), func(e *event.Event) { e.Files[0].SHA256 = event.Digest([]byte("two")) }))
	want(t, v.post("/file", "id", lying, "n", "0"), http.StatusInternalServerError, "Nothing of it was given out")
	named := string(r.file("named.pdf", nil, func(e *event.Event) { e.Files[0].Object, e.Files[0].Key = "", nil }))
	want(t, v.get("/record?id="+named), http.StatusOK, "not kept")
	want(t, v.post("/file", "id", named, "n", "0"), http.StatusGone)
}

// TestErasedFilesAreGone: the record of what was erased names no file any more.
func TestErasedFilesAreGone(t *testing.T) {
	r := newRig(t, noon)
	id := r.file("private.pdf", []byte("private"), nil)
	v := r.reading("rita")
	r.erase(id)
	want(t, v.post("/file", "id", string(id), "n", "0"), http.StatusGone, "The content was destroyed")
	want(t, v.get("/file?n=0&id="+string(id)), http.StatusGone)
}
