package clients_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"howett.net/plist"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/clients"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

const set = `
version: 1
rules:
  - {id: firm, apps: [teams, skype_for_business, slack, zoom, mattermost], verdict: allow}
  - {id: none, apps: ["*"], verdict: block}
clients:
  teams: {tenants: [2fd6bb84-ad40-4ec5-9369-a215b25c9952, 5b0c4a10-0000-4000-8000-000000000001], file_transfer: block}
  skype_for_business: {servers: [sip.example.org, access.example.org], file_transfer: block}
  slack: {tenants: [T01FU78A0UC], file_transfer: block}
  zoom: {tenants: [example.org], servers: [firm.zoom.us], file_transfer: block}
  mattermost: {servers: ["https://chat.example.org", "chat.example.com"], file_transfer: block}
`

// registry reads a registry file as its format is described (support.microsoft.com 310516): keys in brackets, deletion by a hyphen, strings in
// quotes with \ before quotes and itself, dwords in hexadecimal.
func registry(t *testing.T, text string) map[string]string {
	t.Helper()
	lines := strings.Split(text, "\r\n")
	if lines[0] != "Windows Registry Editor Version 5.00" || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") {
		t.Fatalf("not a registry file: %.100q", text)
	}
	valueLine := regexp.MustCompile(`^"((?:[^"\\]|\\.)*)"=(?:"((?:[^"\\]|\\.)*)"|dword:([0-9a-f]{8}))$`)
	unquote := strings.NewReplacer(`\\`, `\`, `\"`, `"`)
	got, key := map[string]string{}, ""
	for _, l := range lines[1:] {
		switch {
		case l == "":
		case strings.HasPrefix(l, "[-HKEY_") && strings.HasSuffix(l, "]"):
			gone := strings.TrimSuffix(l[2:], "]")
			maps.DeleteFunc(got, func(k, _ string) bool { return strings.HasPrefix(k, gone+`\`) })
			key = ""
		case strings.HasPrefix(l, "[HKEY_") && strings.HasSuffix(l, "]"):
			key = strings.TrimSuffix(l[1:], "]")
		default:
			m := valueLine.FindStringSubmatch(l)
			if m == nil || key == "" {
				t.Fatalf("line %q below %q", l, key)
			}
			v := unquote.Replace(m[2])
			if m[3] != "" {
				n, err := strconv.ParseUint(m[3], 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				v = fmt.Sprintf("dword %d", n)
			}
			got[key+`\`+unquote.Replace(m[1])] = v
		}
	}
	return got
}

func TestRegistry(t *testing.T) {
	var out bytes.Buffer
	left, err := clients.Registry(&out, exporttest.Plan(t, set, export.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	zoom := `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Zoom\Zoom Meetings\General\`
	lync, mattermost := `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Office\16.0\Lync\`, `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Mattermost\`
	want := map[string]string{
		`HKEY_CURRENT_USER\SOFTWARE\Policies\Microsoft\Office\16.0\Teams\RestrictTeamsSignInToAccountsFromTenantList`: "2fd6bb84-ad40-4ec5-9369-a215b25c9952,5b0c4a10-0000-4000-8000-000000000001",
		lync + "ConfigurationMode": "dword 1", lync + "ServerAddressInternal": "sip.example.org", lync + "ServerAddressExternal": "access.example.org",
		`HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Slack\DefaultSignInTeam`: "T01FU78A0UC",
		mattermost + "EnableServerManagement":                          "dword 0", mattermost + `DefaultServerList\chat.example.org`: "https://chat.example.org",
		mattermost + `DefaultServerList\chat.example.com`: "https://chat.example.com",
		zoom + "ForceSSOURL":                              "firm", zoom + "ForceLoginWithSSO": "dword 1", zoom + "DisableLoginWithEmail": "dword 1", zoom + "DisableFacebookLogin": "dword 1", zoom + "DisableGoogleLogin": "dword 1",
	}
	if got := registry(t, out.String()); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	said(t, left, `zoom: install it with msiexec … ZConfig="login_domain=example.org"`, "teams: its key belongs to the person")
}

func TestProfile(t *testing.T) {
	var out bytes.Buffer
	left, err := clients.Profile(&out, exporttest.Plan(t, set, export.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		PayloadType, PayloadIdentifier, PayloadUUID, PayloadScope, PayloadDisplayName string
		PayloadVersion                                                                int
		PayloadContent                                                                []map[string]any
	}
	if _, err := plist.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.PayloadType != "Configuration" || got.PayloadVersion != 1 || got.PayloadScope != "System" || got.PayloadIdentifier == "" || got.PayloadDisplayName == "" {
		t.Errorf("%+v", got)
	}
	uuids, seen := regexp.MustCompile(`^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`), map[any]bool{got.PayloadUUID: true}
	domains := map[string]string{}
	for _, p := range got.PayloadContent {
		if id, _ := p["PayloadUUID"].(string); !uuids.MatchString(id) || seen[id] || p["PayloadIdentifier"] == "" || p["PayloadVersion"] != uint64(1) {
			t.Errorf("payload %v", p)
		}
		seen[p["PayloadUUID"]] = true
		domain, _ := p["PayloadType"].(string)
		maps.DeleteFunc(p, func(k string, _ any) bool { return strings.HasPrefix(k, "Payload") })
		domains[domain] = fmt.Sprint(p)
	}
	tenants := "map[RestrictTeamsSignInToAccountsFromTenantList:2fd6bb84-ad40-4ec5-9369-a215b25c9952,5b0c4a10-0000-4000-8000-000000000001]"
	want := map[string]string{"com.microsoft.teams2": tenants, "com.microsoft.teams": tenants, "com.tinyspeck.slackmacgap": "map[DefaultSignInTeam:T01FU78A0UC]",
		"us.zoom.config":     "map[ZAutoSSOLogin:true ZSSOHost:firm.zoom.us disableloginwithemail:true login_domain:example.org nofacebook:true nogoogle:true]",
		"Mattermost.Desktop": "map[DefaultServerList:[map[name:chat.example.org url:https://chat.example.org] map[name:chat.example.com url:https://chat.example.com]] EnableServerManagement:false]"}
	if !maps.Equal(domains, want) {
		t.Errorf("got %v\nwant %v", domains, want)
	}
	said(t, left, "skype_for_business: no documented setting of its client for macOS")
}

// said checks that what a file lacks is said, file transfer of each client included.
func said(t *testing.T, left []string, also ...string) {
	t.Helper()
	for _, id := range clients.Known() {
		also = append(also, id+": its client has no setting for file transfer; ")
	}
	for _, want := range also {
		if !slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("not said: %s; only\n%s", want, strings.Join(left, "\n"))
		}
	}
}

// TestNothingIsDroppedSilently: what is asked for is in the file, or is said to be left out.
func TestNothingIsDroppedSilently(t *testing.T) {
	for client, want := range map[string]string{
		"signal: {tenants: [x]}":                           "signal: no documented setting of its client is known",
		"mattermost: {tenants: [x]}":                       "mattermost: its client has no setting for whose accounts may sign in",
		"teams: {servers: [x.example]}":                    "teams: its client has no setting for where people may sign in",
		"slack: {tenants: [T1, T2, T3]}":                   "slack: one workspace can be set, 2 are left out",
		"zoom: {tenants: [a.example, b.example]}":          "zoom: one domain can be set, 1 are left out",
		"zoom: {servers: [firm.example.org]}":              "zoom: its server is the name of the firm below zoom.us (firm.zoom.us), as single sign-on has it",
		"zoom: {servers: [a.zoom.us, b.zoom.us]}":          "zoom: one server can be set, 1 are left out",
		"skype_for_business: {servers: ['https://x.org']}": "skype_for_business: its servers are host names, not addresses of the web",
	} {
		p := exporttest.Plan(t, "version: 1\nrules: [{id: all, apps: ['*'], verdict: allow}]\nclients: {"+client+"}\n", export.Options{})
		for _, f := range clients.Formats() {
			if left, err := f.Write(io.Discard, p); err != nil || !slices.Contains(left, want) {
				t.Errorf("%s, %s: %q, %v", client, f.Name, left, err)
			}
		}
	}
}

func TestWhatPolicyStopsIsNotSet(t *testing.T) {
	p := exporttest.Plan(t, strings.Replace(set, "slack, zoom", "zoom", 1), export.Options{})
	var out bytes.Buffer
	if _, err := clients.Registry(&out, p); err != nil || strings.Contains(out.String(), "Slack") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !slices.Contains(p.Notes, "clients sets slack, which rule none stops: its settings are left out") {
		t.Errorf("notes %q", p.Notes)
	}
	p = exporttest.Plan(t, strings.Replace(set, "version: 1", "version: 1\nmode: monitor", 1), export.Options{})
	for _, f := range clients.Formats() {
		if _, err := f.Write(io.Discard, p); !errors.Is(err, export.ErrWatched) {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

// TestNothingIsSet where the policy says nothing of clients, and it is said.
func TestNothingIsSet(t *testing.T) {
	plan := exporttest.Plan(t, "version: 1\nrules: [{id: none, apps: [\"*\"], verdict: block}]\n", export.Options{})
	for _, f := range clients.Formats() {
		if left, err := f.Write(io.Discard, plan); err != nil || len(left) != 1 || !strings.HasPrefix(left[0], "nothing is set") {
			t.Errorf("%s: %q, %v", f.Name, left, err)
		}
	}
}
