package server_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/internal/archive"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/retention"
	"github.com/chaperone-im/chaperone/internal/server"
)

func TestPseudonymsByProfile(t *testing.T) {
	want := map[string][2]bool{"plain": {true, false}, "us-broker-dealer": {false, false}, "uk-eu": {true, false}, "works-council": {true, true}}
	for _, profile := range policy.Profiles() {
		c, err := config.Load(setUp(t, filepath.Join(t.TempDir(), "new"), profile).Config)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{c.Pseudonyms.InConsole(), c.Pseudonyms.OnCommandLine()}; got != want[profile] || c.Pseudonyms.Console == nil {
			t.Errorf("%s: console and command line %v, want %v", profile, got, want[profile])
		}
	}
	if p := (config.Pseudonyms{}); !p.InConsole() || p.OnCommandLine() {
		t.Error("the default is not the console alone")
	}
}

// TestPseudonymsOverTheSocket: commands print names by default and pseudonyms when told to, the same ones after a restart and a rebuild; a
// pseudonym is accepted where a name is; disclose tells the name, on record.
func TestPseudonymsOverTheSocket(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "")
	now := time.Now().UTC()
	asks := wrote(now, "alice", "ask bob@example.org")
	h.record(asks, wrote(now.Add(time.Second), "bob", "no"))
	stop := h.serve()
	if hits := h.hits("from:alice"); len(hits) != 1 || hits[0].From != "alice@example.org" || hits[0].Text != "ask bob@example.org" {
		t.Errorf("by default: %+v", hits)
	}
	stop()
	h.configure("pseudonyms: {command_line: true}\n")
	stop = h.serve()
	hits := h.hits("ask")
	if len(hits) != 1 || !strings.HasPrefix(hits[0].From, "person-") || strings.Contains(hits[0].Text, "bob") {
		t.Fatalf("under the veil: %+v", hits)
	}
	alice := hits[0].From
	h.must("rebuild", struct{}{})
	if hits := h.hits("ask"); len(hits) != 1 || hits[0].From != alice {
		t.Errorf("after a rebuild: %+v", hits)
	}
	stop()
	h.serve()
	if line := h.must("person", server.PersonArgs{Sign: as("reviewer"), Who: alice}); !strings.Contains(line, alice) || strings.Contains(line, "alice") || strings.Count(line, "\n") != 1 {
		t.Errorf("her time line is %s", line)
	}
	if line := h.must("person", server.PersonArgs{Sign: as("reviewer"), Who: "alice"}); !strings.Contains(line, "alice@example.org") || strings.Contains(line, "bob") {
		t.Errorf("her time line by name is %s", line)
	}
	var d archive.Disclosed
	if err := json.Unmarshal([]byte(h.must("disclose", server.DiscloseArgs{Sign: as("counsel"), Pseudonyms: []string{strings.ToLower(alice)}})), &d); err != nil || d.Names[0] != "alice" || d.Pseudonym != alice {
		t.Errorf("%+v, %v", d, err)
	}
	if n := h.acts(archive.ActDisclose); n != 2 {
		t.Errorf("%d disclosures on record, want 2", n)
	}
	_, err := h.do("disclose", server.DiscloseArgs{Sign: as("admin"), Pseudonyms: []string{alice}})
	refused(t, err, "may not read content")
	_, err = h.do("disclose", server.DiscloseArgs{Sign: as("reviewer"), Pseudonyms: []string{"person-0000-0000"}})
	refused(t, err, "not in the archive")
	disclosed := h.acts(archive.ActDisclose)
	hold := server.HoldArgs{Sign: as("counsel"), Matter: "Bob v. Firm", Reason: "letter of bob", Scopes: []retention.Scope{{Kind: retention.Person, Name: alice}}}
	if out := h.must("hold.place", hold); !strings.Contains(out, `"name":"`+alice+`"`) || !strings.Contains(out, `"total":1`) {
		t.Errorf("placed is %s", out)
	}
	out := h.must("hold.list", server.HoldArgs{Sign: as("counsel")})
	if strings.Contains(out, "alice") || !strings.Contains(out, alice) || strings.Contains(strings.ToLower(out), "bob") {
		t.Errorf("held is %s", out)
	}
	if n := h.acts(archive.ActDisclose); n != disclosed {
		t.Errorf("a hold under a pseudonym and the list of holds disclosed %d names", n-disclosed)
	}
	_, err = h.do("erase", server.EraseArgs{Sign: as("counsel"), ID: asks.ID, Reason: "GDPR, article 17"})
	refused(t, err, "is held for matter")
	if strings.Contains(strings.ToLower(err.Error()), "bob") {
		t.Errorf("a refusal to erase names somebody: %v", err)
	}
	var held retention.Hold
	if err := json.Unmarshal([]byte(out), &held); err != nil {
		t.Fatal(err)
	}
	_, err = h.do("hold.list", server.HoldArgs{Sign: server.Sign{Account: "counsel", Password: password}})
	refused(t, err, "purpose")
	h.must("hold.release", server.HoldArgs{Sign: as("counsel"), Matter: held.Matter, Reason: "settled"})
	if out := h.must("hold.list", server.HoldArgs{Sign: as("counsel")}); out != "" {
		t.Errorf("still held is %s", out)
	}
	if out := h.must("policy.replay", server.ReplayArgs{Sign: as("reviewer"), Query: "from:" + alice}); strings.Contains(out, "alice") || !strings.Contains(out, `"summary"`) {
		t.Errorf("replay says %s", out)
	}
}

// TestHeldHostUnderPseudonyms: a refusal to remove from a held machine tells the administrator no name, which its matter may hold.
func TestHeldHostUnderPseudonyms(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "h"), "pseudonyms: {command_line: true}\n")
	h.record(wrote(time.Now().UTC(), "bob", "no"))
	h.serve()
	h.must("hold.place", server.HoldArgs{Sign: as("counsel"), Matter: "Bob v. Firm", Reason: "letter", Scopes: []retention.Scope{{Kind: retention.Host, Name: "laptop-17"}}})
	out := h.must("hold.host", event.Host{Name: "laptop-17"})
	if !strings.Contains(out, `"held":true`) || !strings.Contains(out, "v. Firm") || strings.Contains(strings.ToLower(out), "bob") {
		t.Errorf("of the held machine is said %s", out)
	}
}
