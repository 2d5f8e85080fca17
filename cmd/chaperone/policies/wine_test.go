package policies_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/cmd/chaperone/winetest"
)

// TestWineImportsTheRegistryFiles has the reg of Wine import what we write, over what stood there before, and reads it back.
func TestWineImportsTheRegistryFiles(t *testing.T) {
	if os.Getenv("CHAPERONE_WINE") == "" {
		t.Skip("CHAPERONE_WINE is not set: make wine runs this")
	}
	p, err := winetest.New(filepath.Join(t.TempDir(), "prefix"))
	if err != nil {
		t.Fatal("Wine, which CHAPERONE_WINE asks for:", err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Log("end Wine:", err)
		}
	}()
	policy := "version: 1\nrules: [{id: firm, apps: [mattermost, teams, zoom], verdict: allow}, {id: none, apps: ['*'], verdict: block}]\nclients:\n" +
		"  mattermost: {servers: ['https://chat.example.org', 'https://chat.example.com:8443/a']}\n  teams: {tenants: [2fd6bb84-ad40-4ec5-9369-a215b25c9952]}\n  zoom: {servers: [firm.zoom.us]}\n"
	if err := os.WriteFile(p.Path(`C:\p.yaml`), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := func(args ...string) string {
		t.Helper()
		out, err := p.Output(append([]string{"reg"}, args...)...)
		if err != nil {
			t.Fatalf("reg %q: %v\n%s", args, err, out)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	const servers = `HKLM\SOFTWARE\Policies\Mattermost\DefaultServerList`
	reg("add", servers, "/v", "elsewhere.example", "/d", "https://elsewhere.example", "/f")
	reg("add", `HKLM\SOFTWARE\Policies\Google\Chrome\URLBlocklist`, "/v", "999", "/d", "old.example", "/f")
	for _, format := range []string{"clients-reg", "chromium-reg"} {
		if code, _, errOut := call(t, "", "policy", "export", "--format", format, "-o", p.Path(`C:\`+format+".reg"), p.Path(`C:\p.yaml`)); code != 0 {
			t.Fatal(errOut)
		}
		reg("import", `C:\`+format+".reg")
	}
	for key, want := range map[string][]string{
		servers:                             {"chat.example.org REG_SZ https://chat.example.org", "chat.example.com:8443/a REG_SZ https://chat.example.com:8443/a"},
		`HKLM\SOFTWARE\Policies\Mattermost`: {"EnableServerManagement REG_DWORD 0x0"},
		`HKCU\SOFTWARE\Policies\Microsoft\Office\16.0\Teams`: {"RestrictTeamsSignInToAccountsFromTenantList REG_SZ 2fd6bb84-ad40-4ec5-9369-a215b25c9952"},
		`HKLM\SOFTWARE\Policies\Zoom\Zoom Meetings\General`:  {"ForceSSOURL REG_SZ firm", "DisableLoginWithEmail REG_DWORD 0x1"},
		`HKLM\SOFTWARE\Policies\Google\Chrome\URLBlocklist`:  {"REG_SZ whatsapp.com", "REG_SZ telegram.org"},
		`HKLM\SOFTWARE\Policies\Microsoft\Edge\URLBlocklist`: {"REG_SZ whatsapp.com"},
	} {
		got := reg("query", key)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s has no %q: %s", key, w, got)
			}
		}
		if strings.Contains(got, "elsewhere.example") || strings.Contains(got, "old.example") {
			t.Errorf("%s keeps what stood there: %s", key, got)
		}
	}
}
