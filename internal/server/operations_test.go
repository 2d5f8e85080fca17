package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/server"
)

func refused(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), what) {
		t.Errorf("error %v does not say %q", err, what)
	}
}

func TestReadingOverTheSocket(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	now := time.Now().UTC()
	h.record(wrote(now, "alice", "meet me outside"), wrote(now.Add(time.Second), "bob", "no \x7f é\u2028"))
	h.serve()
	noPurpose := as("reviewer")
	noPurpose.Purpose = ""
	wrong := as("reviewer")
	wrong.Password = "wrong"
	for _, tt := range []struct {
		name string
		sign server.Sign
		says string
	}{
		{"this machine's user, who is root or nobody", server.Sign{Purpose: "x"}, "not"},
		{"administrator", as("admin"), "may not read content"},
		{"no purpose", noPurpose, "purpose"},
		{"wrong password", wrong, "wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := h.do("search", server.SearchArgs{Sign: tt.sign})
			refused(t, err, tt.says)
			_, err = h.do("person", server.PersonArgs{Sign: tt.sign, Who: "alice"})
			refused(t, err, tt.says)
		})
	}
	if hits := h.hits("kind:message"); len(hits) != 2 || hits[0].Text != "no \x7f é\u2028" {
		t.Errorf("%+v", hits)
	}
	if n := h.must("search", server.SearchArgs{Sign: as("counsel"), Query: "outside", Count: true}); n != "1\n" {
		t.Errorf("count is %q", n)
	}
	if line := h.must("person", server.PersonArgs{Sign: as("reviewer"), Who: "alice", Limit: 1}); !strings.Contains(line, "meet me outside") || strings.Count(line, "\n") != 1 {
		t.Errorf("her time line is %s", line)
	}
	_, err := h.do("search", server.SearchArgs{Sign: as("reviewer"), Query: "colour:red"})
	refused(t, err, "colour")
	if looks := h.acts("content.read"); looks < 4 {
		t.Errorf("only %d looks are on record", looks)
	}
	before := h.hits("kind:message")
	if out := h.must("rebuild", struct{}{}); !strings.Contains(out, "rebuilt") {
		t.Error(out)
	}
	if after := h.hits("kind:message"); !sameJSON(before, after) {
		t.Errorf("search differs after a rebuild: %v, %v", before, after)
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestHoldAndEraseOverTheSocket(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	e := wrote(time.Now().UTC(), "alice", "number one")
	h.record(e)
	h.serve()
	hold := server.HoldArgs{Sign: as("counsel"), Matter: "case-7", Reason: "litigation", Scopes: []retention.Scope{{Kind: retention.Person, Name: "alice"}}}
	byReviewer, byAdmin := hold, hold
	byReviewer.Sign, byAdmin.Sign = as("reviewer"), as("admin")
	for _, op := range []string{"hold.place", "hold.release", "hold.list"} {
		for _, who := range []server.HoldArgs{byReviewer, byAdmin, {Matter: "case-7", Reason: "x"}} {
			if _, err := h.do(op, who); !errors.Is(err, control.ErrForbidden) {
				t.Errorf("%s by %q gave %v", op, who.Account, err)
			}
		}
	}
	dry, typo := hold, hold
	dry.DryRun, typo.Scopes = true, []retention.Scope{{Kind: retention.Person, Name: "nosuchguy"}}
	if out := h.must("hold.place", dry); !strings.Contains(out, `"total":1`) || !strings.Contains(out, `"placed":false`) || h.must("hold.list", server.HoldArgs{Sign: as("counsel")}) != "" {
		t.Errorf("a dry run says %s", out)
	}
	typo.DryRun = true
	if out := h.must("hold.place", typo); !strings.Contains(out, `"total":0`) {
		t.Errorf("of nobody it says %s", out)
	}
	if out := h.must("hold.place", hold); !strings.Contains(out, `"total":1`) || !strings.Contains(out, `"placed":true`) {
		t.Errorf("placed is %s", out)
	}
	if list := h.must("hold.list", server.HoldArgs{Sign: as("counsel")}); !strings.Contains(list, "case-7") {
		t.Errorf("holds are %s", list)
	}
	erase := func(who string) (string, error) {
		return h.do("erase", server.EraseArgs{Sign: as(who), ID: e.ID, Reason: "GDPR, article 17"})
	}
	_, err := erase("counsel")
	refused(t, err, "held")
	h.must("hold.release", hold)
	if _, err := erase("admin"); !errors.Is(err, control.ErrForbidden) {
		t.Errorf("an administrator erases: %v", err)
	}
	for _, tt := range []struct{ who, says string }{{"counsel", "requested"}, {"counsel", "requested"}, {"reviewer", "erased"}} {
		if out, err := erase(tt.who); err != nil || !strings.Contains(out, tt.says) {
			t.Errorf("%s: %q %v", tt.who, out, err)
		}
	}
	if hits := h.hits("number"); len(hits) != 0 {
		t.Errorf("what was erased is found: %+v", hits)
	}
}

func TestAccountsOverTheSocket(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	h.serve()
	h.must("account.create", server.AccountArgs{Name: "rita", Roles: []control.Role{control.Reviewer}, UIDs: []uint32{4242}})
	for _, tt := range []struct {
		args server.AccountArgs
		says string
	}{
		{server.AccountArgs{Name: "rita"}, "exists"},
		{server.AccountArgs{Name: "both", Roles: []control.Role{control.Reviewer, control.Administrator}}, "both"},
		{server.AccountArgs{Name: "root2", Roles: []control.Role{control.Reviewer}, UIDs: []uint32{0}}, "does not read"},
	} {
		_, err := h.do("account.create", tt.args)
		refused(t, err, tt.says)
	}
	if token := h.must("account.link", server.AccountArgs{Name: "rita"}); len(strings.TrimSpace(token)) < 40 {
		t.Errorf("link is %q", token)
	}
	_, err := h.do("account.link", server.AccountArgs{Name: "nobody"})
	refused(t, err, "no account")
	if list := h.must("account.list", struct{}{}); !strings.Contains(list, "rita") || strings.Contains(list, "argon") {
		t.Error(list)
	}
	if n := h.acts("account.create"); n != 1 {
		t.Errorf("one account was made, and %d acts say so", n)
	}
}

func TestRecordOverTheSocket(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	h.write("people.csv", "person,name,handle,host,address,from,to,groups\nalice,Alice,alice@example.org,laptop-17,10.0.0.17,,,sales\n")
	h.serve()
	send := func(events ...*event.Event) error {
		var in bytes.Buffer
		for _, e := range events {
			w, err := server.ToWire(e)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.NewEncoder(&in).Encode(w); err != nil {
				t.Fatal(err)
			}
		}
		return control.Do(t.Context(), h.cfg.Data(), "record", struct{}{}, &in, &bytes.Buffer{})
	}
	now := time.Now().UTC()
	found := func(n int) *event.Event {
		return &event.Event{ID: event.NewID(), Kind: event.FlowSeen, Time: now.Add(time.Duration(n) * time.Millisecond), Received: now, Connector: "border", Host: event.Host{Address: "10.0.0.17"},
			Verdict: event.Verdict{Action: event.Block, Rule: "no-messengers"}, Content: event.Content{Flow: &event.Flow{App: "whatsapp", Name: "web.whatsapp.com"}}}
	}
	var many []*event.Event
	for n := range 300 { // more than a batch
		many = append(many, found(n))
	}
	if err := send(many...); err != nil {
		t.Fatal(err)
	}
	if hits := h.hits("kind:flow"); len(hits) != 300 || hits[0].Host != "laptop-17" {
		t.Errorf("%d findings, the first %+v", len(hits), hits[0])
	}
	if hits := h.hits("person:alice"); len(hits) != 300 {
		t.Errorf("%d are hers", len(hits))
	}
	if err := send(wrote(now, "alice", "she never wrote this")); !errors.Is(err, control.ErrForbidden) || !errors.Is(err, event.ErrUnfit) {
		t.Errorf("a forged message: %v", err)
	}
	if err := send(&event.Event{ID: event.NewID(), Kind: event.Act, Phase: "hold.release", Content: event.Content{Act: &event.ActDetail{Action: "hold.release"}}}); !errors.Is(err, control.ErrForbidden) {
		t.Errorf("a forged act: %v", err)
	}
	if err := send(found(1000), wrote(now, "alice", "forged")); !errors.Is(err, control.ErrForbidden) {
		t.Errorf("forged after a good one: %v", err)
	}
}
