package clients

import (
	"net/url"
	"strings"
)

// vendor says what a client can be set to, and where file transfer is turned off instead.
type vendor struct {
	tenants func(s *settings, tenants []string)
	servers func(s *settings, servers []string)
	files   string
}

// vendors are the clients with documented settings, by the id of the catalog. Each setting names its source.
func vendors() map[string]vendor {
	return map[string]vendor{
		"teams":              {tenants: teams, files: "set NativeFileEntryPoints to Disabled by Set-CsTeamsFilesPolicy in the tenant"},
		"skype_for_business": {servers: skypeForBusiness, files: "set EnableP2PFileTransfer and EnableFileTransfer to false by Set-CsConferencingPolicy on the server"},
		"slack":              {tenants: slack, files: "turn it off in the administration of the workspace"},
		"zoom":               {tenants: zoom, servers: zoomServers, files: "lock it in the account's settings (in meetings and in chat)"},
		"mattermost":         {servers: mattermost, files: "set FileSettings.EnableFileAttachments to false on the server"},
	}
}

// teams: learn.microsoft.com/microsoftteams/sign-in-teams, "How to restrict sign in on desktop devices". The key is below the person's hive.
func teams(s *settings, tenants []string) {
	const name = "RestrictTeamsSignInToAccountsFromTenantList"
	list := strings.Join(tenants, ",")
	s.values = append(s.values, value{key: `HKEY_CURRENT_USER\SOFTWARE\Policies\Microsoft\Office\16.0\Teams`, name: name, data: list})
	for _, d := range []string{"com.microsoft.teams2", "com.microsoft.teams"} {
		s.domains = append(s.domains, domain{d, map[string]any{name: list}})
	}
	s.leave(&s.windows, "teams: its key belongs to the person: import the file in each session (logon script, group policy preferences)")
	s.leave(&s.left, "teams: who signs in is restricted, not where they are guests, and not the web client: give the proxy or the tenant the restriction too")
}

// skypeForBusiness: learn.microsoft.com/skypeforbusiness/deploy/deploy-clients/configure-client-bootstrapping-policies names the key and the
// values; that ConfigurationMode is 1 where servers are given is in windows/client-management/mdm/win32-and-centennial-app-policy-configuration.md
// of MicrosoftDocs/windows-itpro-docs, whose L_PolicyConfigurationMode is this policy. What number of Transport means TLS no public source says: it
// is left out, and that is said.
func skypeForBusiness(s *settings, servers []string) {
	inside, outside := servers[0], servers[0]
	if len(servers) > 1 {
		outside = servers[1]
	}
	if strings.Contains(inside+outside, "/") {
		s.leave(&s.left, "skype_for_business: its servers are host names, not addresses of the web")
		return
	}
	const key = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Office\16.0\Lync`
	s.values = append(s.values, value{key: key, name: "ConfigurationMode", data: uint32(1)}, value{key: key, name: "ServerAddressInternal", data: inside},
		value{key: key, name: "ServerAddressExternal", data: outside})
	s.leave(&s.windows, "skype_for_business: the transport is left to the client: no public source gives the number of TLS")
	if len(servers) > 2 {
		s.leave(&s.windows, "skype_for_business: one server inside and one outside can be set, %d are left out", len(servers)-2)
	}
	s.leave(&s.macos, "skype_for_business: no documented setting of its client for macOS says where people may sign in")
}

// slack: slack.com/help/articles/11906214948755, "Manage desktop app configurations": settings of a group policy and of the domain
// com.tinyspeck.slackmacgap, locked where they stand outside of Defaults. The article has the key of Windows in its template alone; that it is
// SOFTWARE\Policies\Slack is known from published scripts of administrators which follow the article, not from Slack's own pages.
func slack(s *settings, tenants []string) {
	const name = "DefaultSignInTeam"
	s.values = append(s.values, value{key: `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Slack`, name: name, data: tenants[0]})
	s.domains = append(s.domains, domain{"com.tinyspeck.slackmacgap", map[string]any{name: tenants[0]}})
	if len(tenants) > 1 {
		s.leave(&s.left, "slack: one workspace can be set, %d are left out", len(tenants)-1)
	}
	s.leave(&s.left, "slack: the workspace is where people first sign in; others are not forbidden by the client: the proxy can, by the header X-Slack-Allowed-Workspaces")
}

// zoom: support.zoom.com KB0065462, "Restricting logins for the Zoom Client", and KB0064959 for macOS. The vendor's template for Windows is its
// own; the parameter of the installer is what the article gives word for word.
func zoom(s *settings, tenants []string) {
	if len(tenants) > 1 {
		s.leave(&s.left, "zoom: one domain can be set, %d are left out", len(tenants)-1)
	}
	s.leave(&s.windows, `zoom: install it with msiexec … ZConfig="login_domain=%s"; no documented registry value is known for it`, tenants[0])
	s.domains = append(s.domains, domain{"us.zoom.config", map[string]any{"login_domain": tenants[0]}})
	s.leave(&s.left, "zoom: who signs in is restricted, not whose meetings people join")
}

// zoomServers: support.zoom.com KB0064363 says what the settings mean (of them SetSSOURL, by the name before zoom.us), cpe_zoom of uber/client-platform-engineering
// where they stand on Windows and what they are called on macOS. With all other ways to sign in closed, the firm's single sign-on is left.
func zoomServers(s *settings, servers []string) {
	name, ok := strings.CutSuffix(strings.ToLower(servers[0]), ".zoom.us")
	if !ok || strings.ContainsAny(name, "./") {
		s.leave(&s.left, "zoom: its server is the name of the firm below zoom.us (firm.zoom.us), as single sign-on has it")
		return
	}
	if len(servers) > 1 {
		s.leave(&s.left, "zoom: one server can be set, %d are left out", len(servers)-1)
	}
	const key = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Zoom\Zoom Meetings\General`
	s.values = append(s.values, value{key: key, name: "ForceSSOURL", data: name})
	for _, n := range []string{"ForceLoginWithSSO", "DisableLoginWithEmail", "DisableFacebookLogin", "DisableGoogleLogin"} {
		s.values = append(s.values, value{key: key, name: n, data: uint32(1)})
	}
	s.domains = append(s.domains, domain{"us.zoom.config", map[string]any{"ZSSOHost": servers[0], "ZAutoSSOLogin": true, "disableloginwithemail": true, "nofacebook": true, "nogoogle": true}})
}

// mattermost: docs.mattermost.com, "Desktop app custom deployment: Windows group policies", and src/main/policyConfigLoader of mattermost/desktop.
func mattermost(s *settings, servers []string) {
	const key = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Mattermost`
	list := make([]map[string]any, 0, len(servers))
	s.values = append(s.values, value{key: key, name: "EnableServerManagement", data: uint32(0)})
	for _, address := range servers {
		if !strings.Contains(address, "/") {
			address = "https://" + address
		}
		name := address
		if u, err := url.Parse(address); err == nil {
			name = u.Host + strings.TrimSuffix(u.Path, "/")
		}
		s.values = append(s.values, value{key: key + `\DefaultServerList`, name: name, data: address, only: true})
		list = append(list, map[string]any{"name": name, "url": address})
	}
	s.domains = append(s.domains, domain{"Mattermost.Desktop", map[string]any{"DefaultServerList": list, "EnableServerManagement": false}})
}
