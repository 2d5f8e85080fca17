package clients_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/clients"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

// declared reads a declaration as github.com/apple/device-management describes it: the keys of declarationbase.yaml, all of them required, and in
// the payload those of its type alone (Error.UnknownPayloadKeys).
func declared(t *testing.T, write func(io.Writer, *export.Plan) ([]string, error), p *export.Plan) (kind, id, token string, payload map[string]any) {
	t.Helper()
	var out bytes.Buffer
	if _, err := write(&out, p); err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	text := func(key string, longest int) string {
		s, ok := all[key].(string)
		if !ok || s == "" || len(s) > longest {
			t.Errorf("%s is %v", key, all[key])
		}
		return s
	}
	kind, id, token = text("Type", 1000), text("Identifier", 64), text("ServerToken", 64)
	payload, ok := all["Payload"].(map[string]any)
	if !ok || len(all) != 4 {
		t.Fatalf("declaration %v", all)
	}
	keys := map[string][]string{"com.apple.configuration.legacy": {"ProfileURL"}, "com.apple.activation.simple": {"StandardConfigurations", "Predicate"}}
	for key := range payload {
		if !slices.Contains(keys[kind], key) {
			t.Errorf("%s has %s", kind, key)
		}
	}
	return kind, id, token, payload
}

// TestDeclarations: the activation puts the configuration in force, and the configuration points to the profile; its token follows what it points to.
func TestDeclarations(t *testing.T) {
	p := exporttest.Plan(t, set, export.Options{})
	kind, id, token, payload := declared(t, clients.Declaration, p)
	if u, err := url.Parse(payload["ProfileURL"].(string)); err != nil || u.Scheme != "https" || u.String() != exporttest.ProfileURL || kind != "com.apple.configuration.legacy" {
		t.Errorf("%s: %v, %v", kind, payload, err)
	}
	kind, activation, _, payload := declared(t, clients.Activation, p)
	if list, ok := payload["StandardConfigurations"].([]any); !ok || !slices.Equal(list, []any{id}) || kind != "com.apple.activation.simple" || activation == id {
		t.Errorf("%s: %v", kind, payload)
	}
	if _, _, again, _ := declared(t, clients.Declaration, exporttest.Plan(t, set, export.Options{})); again != token {
		t.Error("the same has another token")
	}
	for what, other := range map[string]*export.Plan{
		"profile": exporttest.Plan(t, strings.Replace(set, "T01FU78A0UC", "T2", 1), export.Options{}),
		"address": exporttest.Plan(t, set, export.Options{ProfileURL: "https://mdm.example.org/other"}),
	} {
		if _, sameID, changed, _ := declared(t, clients.Declaration, other); changed == token || sameID != id {
			t.Errorf("another %s: token %s, id %s", what, changed, sameID)
		}
	}
	for _, bad := range []string{"http://mdm.example.org/x", "mdm.example.org/x", "https://", "https://a:b@mdm.example.org/x", "%"} {
		p.ProfileURL = bad
		if _, err := clients.Declaration(io.Discard, p); !errors.Is(err, clients.ErrNoURL) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
