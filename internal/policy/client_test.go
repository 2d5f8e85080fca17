package policy_test

import (
	"strings"
	"testing"
)

// TestClients: what an approved client is set to is checked, and each mistake has its place and its hint.
func TestClients(t *testing.T) {
	for text, want := range map[string]string{
		"signal: {tenants: [2fd6bb84-ad40-4ec5-9369-a215b25c9952]}":          "",
		"signal: {servers: ['https://chat.example.org', chat.example.org]}":  "",
		"signal: {servers: ['https://chat.example.org:8443/team']}":          "",
		"whatsapp: {file_transfer: block}":                                   "",
		"whatsap: {file_transfer: block}":                                    `unknown app "whatsap"; did you mean "whatsapp"?`,
		"whatsapp: {}":                                                       "the client of whatsapp is set to nothing; give it tenants, servers or file_transfer",
		"whatsapp: {file_transfer: 'no'}":                                    `file_transfer cannot be "no"; allow or block`,
		"signal: {tenants: ['a,b']}":                                         `"a,b" is no tenant; an id or a domain, without spaces and commas`,
		"signal: {tenants: ['']}":                                            `"" is no tenant; an id or a domain, without spaces and commas`,
		`signal: {servers: ["https://x.example\"\r\n[HKEY_LOCAL_MACHINE]"]}`: "is no server",
		"signal: {servers: ['http://chat.example.org']}":                     "is no server",
		"signal: {servers: ['https://a:b@chat.example.org']}":                "is no server",
		"signal: {servers: ['https://chat.example.org?x=1']}":                "is no server",
		"signal: {tenants: [" + strings.Repeat("a, ", 101) + "]}":            "more than 100; ",
	} {
		got := mistakesOf(t, "version: 1\nrules: []\nclients:\n  "+text+"\n")
		switch {
		case want == "" && len(got) > 0:
			t.Errorf("%s: %v", text, got)
		case want == "":
		case len(got) != 1 || !strings.Contains(got[0].Msg+"; "+got[0].Hint, want):
			t.Errorf("%s: %v, want %s", text, got, want)
		case got[0].Line != 4:
			t.Errorf("%s: line %d", text, got[0].Line)
		}
	}
}
