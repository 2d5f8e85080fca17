// Package clients writes how the clients of approved messengers are to be set: who may sign in where. It writes a registry file for Windows
// and a configuration profile for macOS, of settings that the vendors document; what a client has no setting for is said.
package clients

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"howett.net/plist"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// Formats are the entries of these formats.
func Formats() []export.Format {
	set := export.Holds{Clients: true}
	return []export.Format{
		{Name: "clients-reg", About: "settings of approved clients on Windows: a registry file (reg import FILE, as administrator and in the session of each person)", Holds: set, Write: Registry},
		{Name: "clients-profile", About: "settings of approved clients on macOS: a configuration profile (.mobileconfig) for a device management", Holds: set, Write: Profile},
		{Name: "clients-admx", About: `the same as clients-reg as a group policy template: C:\Windows\PolicyDefinitions\chaperone.admx (or the central store); then enable its policies`, Holds: set, Write: Template},
		{Name: "clients-adml", About: `the words of clients-admx: C:\Windows\PolicyDefinitions\en-US\chaperone.adml`, Holds: set, Write: Language},
		{Name: "clients-declaration", About: "settings of approved clients on macOS 13 and later, declarative: the configuration that has the device fetch the profile from --url", Holds: set, Write: Declaration},
		{Name: "clients-activation", About: "the activation that puts clients-declaration in force", Holds: set, Write: Activation},
	}
}

// settings are what one client is set to.
type settings struct {
	values  []value
	domains []domain
	left    []string // what the client has no setting for, on either system
	windows []string // on Windows
	macos   []string
}

// value is a value of the Windows registry.
type value struct {
	key  string // whole, with its hive
	name string
	data any  // string or uint32
	only bool // the key is emptied first: what stands in it is a list
}

// domain is a preference domain of macOS.
type domain struct {
	name string
	keys map[string]any
}

func (s *settings) leave(list *[]string, format string, args ...any) {
	*list = append(*list, fmt.Sprintf(format, args...))
}

// merge puts what is set in one preference domain together: a profile has one payload of it.
func (s *settings) merge() {
	var out []domain
	for _, d := range s.domains {
		i := slices.IndexFunc(out, func(o domain) bool { return o.name == d.name })
		if i < 0 {
			out = append(out, d)
			continue
		}
		maps.Copy(out[i].keys, d.keys)
	}
	s.domains = out
}

// of returns the settings of a client.
func of(c *export.Client) *settings {
	s := &settings{}
	known, ok := vendors()[c.ID]
	if !ok {
		s.leave(&s.left, "%s: no documented setting of its client is known", c.ID)
		return s
	}
	if len(c.Tenants) > 0 && known.tenants == nil {
		s.leave(&s.left, "%s: its client has no setting for whose accounts may sign in", c.ID)
	}
	if len(c.Servers) > 0 && known.servers == nil {
		s.leave(&s.left, "%s: its client has no setting for where people may sign in", c.ID)
	}
	if len(c.Tenants) > 0 && known.tenants != nil {
		known.tenants(s, c.Tenants)
	}
	if len(c.Servers) > 0 && known.servers != nil {
		known.servers(s, c.Servers)
	}
	s.merge()
	if c.FileTransfer == "block" {
		s.leave(&s.left, "%s: its client has no setting for file transfer; %s", c.ID, known.files)
	}
	return s
}

// watched refuses to set what a policy that only watches would not.
func watched(p *export.Plan) error {
	if p.Audit {
		return export.ErrWatched
	}
	return nil
}

// Registry writes the settings as a registry file.
func Registry(w io.Writer, p *export.Plan) (left []string, err error) {
	if err := watched(p); err != nil {
		return nil, err
	}
	left = unset(p)
	var b strings.Builder
	b.WriteString(export.RegistryHeader)
	for i := range p.Clients {
		s := of(&p.Clients[i])
		left = append(append(left, s.left...), s.windows...)
		key := ""
		for _, v := range s.values {
			if v.key != key && v.only {
				fmt.Fprintf(&b, "\r\n[-%s]\r\n", v.key)
			}
			if v.key != key {
				fmt.Fprintf(&b, "\r\n[%s]\r\n", v.key)
			}
			key = v.key
			switch data := v.data.(type) {
			case string:
				fmt.Fprintf(&b, "%s=%s\r\n", export.RegistryString(v.name), export.RegistryString(data))
			case uint32:
				fmt.Fprintf(&b, "%s=dword:%08x\r\n", export.RegistryString(v.name), data)
			}
		}
	}
	_, err = io.WriteString(w, b.String())
	return left, err
}

// profileID is the identifier of the profile: one that comes later takes the place of an earlier one.
const profileID = "im.chaperone.clients"

// Profile writes the settings as a configuration profile: a payload for each preference domain (Apple, "Profile-specific payload keys").
func Profile(w io.Writer, p *export.Plan) (left []string, err error) {
	if err := watched(p); err != nil {
		return nil, err
	}
	left = unset(p)
	content := []map[string]any{}
	for i := range p.Clients {
		s := of(&p.Clients[i])
		left = append(append(left, s.left...), s.macos...)
		for _, d := range s.domains {
			payload := header(d.name, profileID+"."+d.name, "Settings of "+p.Clients[i].Name)
			for k, v := range d.keys {
				payload[k] = v
			}
			content = append(content, payload)
		}
	}
	profile := header("Configuration", profileID, "Chaperone: settings of approved messengers")
	profile["PayloadDescription"] = "made by chaperone policy export from policy " + p.Policy
	profile["PayloadScope"] = "System"
	profile["PayloadContent"] = content
	out, err := plist.MarshalIndent(profile, plist.XMLFormat, "\t")
	if err != nil {
		return left, err
	}
	_, err = w.Write(append(out, '\n'))
	return left, err
}

// header is what each payload has.
func header(kind, id, name string) map[string]any {
	return map[string]any{"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": id, "PayloadDisplayName": name,
		"PayloadUUID": strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceURL, []byte("chaperone:profile:"+id)).String())}
}

// Known lists the messengers whose clients can be set.
func Known() []string {
	var out []string
	for id := range vendors() {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// unset says that a plan sets nothing for any client.
func unset(p *export.Plan) []string {
	if len(p.Clients) > 0 {
		return nil
	}
	return []string{"nothing is set: the policy's `clients` name no tenants, servers or file transfer of an approved messenger"}
}
