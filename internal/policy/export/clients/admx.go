package clients

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/policy/export"
)

// The template and its language file are written as [MS-GPREG] 7 describes them. Each client has one policy for each hive; where it is enabled,
// the values of clients-reg are written, and where it is disabled they are deleted.
const (
	admxSpace    = "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"
	admxRevision = "1.0"
	maxListed    = 255   // characters that a fixed value can have
	maxText      = 26000 // characters that a value can have which the administrator confirms
)

type template struct {
	XMLName   xml.Name     `xml:"http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions policyDefinitions"`
	Revision  string       `xml:"revision,attr"`
	Schema    string       `xml:"schemaVersion,attr"`
	Comment   xml.Comment  `xml:",comment"`
	Target    namespace    `xml:"policyNamespaces>target"`
	Resources resources    `xml:"resources"`
	Supported []named      `xml:"supportedOn>definitions>definition"`
	Category  named        `xml:"categories>category"`
	Policies  *policyTable `xml:"policies"`
}

type policyTable struct {
	Policies []admxPolicy `xml:"policy"`
}

type namespace struct {
	Prefix    string `xml:"prefix,attr"`
	Namespace string `xml:"namespace,attr"`
}

type resources struct {
	Revision string `xml:"minRequiredRevision,attr"`
}

type named struct {
	Name    string `xml:"name,attr"`
	Display string `xml:"displayName,attr"`
}

type reference struct {
	Ref string `xml:"ref,attr"`
}

type admxPolicy struct {
	Name         string      `xml:"name,attr"`
	Class        string      `xml:"class,attr"`
	Display      string      `xml:"displayName,attr"`
	Explain      string      `xml:"explainText,attr"`
	Presentation string      `xml:"presentation,attr,omitempty"`
	Key          string      `xml:"key,attr"`
	Parent       reference   `xml:"parentCategory"`
	Supported    reference   `xml:"supportedOn"`
	Enabled      *itemTable  `xml:"enabledList"`
	Disabled     *itemTable  `xml:"disabledList"`
	Elements     *textsTable `xml:"elements"`
}

type itemTable struct {
	Items []item `xml:"item"`
}

type item struct {
	Key   string    `xml:"key,attr"`
	Name  string    `xml:"valueName,attr"`
	Value itemValue `xml:"value"`
}

type itemValue struct {
	Delete *struct{} `xml:"delete"`
	Number *number   `xml:"decimal"`
	Text   *string   `xml:"string"`
}

type number struct {
	Value uint32 `xml:"value,attr"`
}

type textsTable struct {
	Texts []textElement `xml:"text"`
}

// textElement is a value too long to be fixed in the template: the language file has it as what the field holds when the policy is opened.
type textElement struct {
	ID       string `xml:"id,attr"`
	Key      string `xml:"key,attr"`
	Name     string `xml:"valueName,attr"`
	Required bool   `xml:"required,attr"`
	Longest  int    `xml:"maxLength,attr"`

	value string
}

// hives are those that a policy can write to, by the beginning of a key in a registry file.
func hives() [][2]string {
	return [][2]string{{"Machine", `HKEY_LOCAL_MACHINE\`}, {"User", `HKEY_CURRENT_USER\`}}
}

// policiesOf returns the policies of one client.
func policiesOf(c *export.Client, s *settings) []admxPolicy {
	var out []admxPolicy
	for _, hive := range hives() {
		class, prefix := hive[0], hive[1]
		name := "Chaperone_" + c.ID + "_" + class
		p := admxPolicy{Name: name, Class: class, Display: stringOf(name), Explain: stringOf(name + "_Explain"), Parent: reference{category}, Supported: reference{supported}}
		enabled, disabled, texts := &itemTable{}, &itemTable{}, &textsTable{}
		for _, v := range s.values {
			key, ok := strings.CutPrefix(v.key, prefix)
			if !ok {
				continue
			}
			if p.Key == "" {
				p.Key = key
			}
			if data, ok := v.data.(string); ok && len(data) > maxListed {
				texts.Texts = append(texts.Texts, textElement{name + "_" + v.name, key, v.name, true, maxText, data})
				continue
			}
			enabled.Items = append(enabled.Items, item{key, v.name, fixed(v.data)})
			disabled.Items = append(disabled.Items, item{key, v.name, itemValue{Delete: &struct{}{}}})
		}
		if len(enabled.Items) > 0 {
			p.Enabled, p.Disabled = enabled, disabled
		}
		if len(texts.Texts) > 0 {
			p.Elements, p.Presentation = texts, "$(presentation."+name+")"
		}
		if p.Key != "" {
			out = append(out, p)
		}
	}
	return out
}

func stringOf(id string) string { return "$(string." + id + ")" }

func fixed(data any) itemValue {
	if n, ok := data.(uint32); ok {
		return itemValue{Number: &number{n}}
	}
	s := fmt.Sprint(data)
	return itemValue{Text: &s}
}

const (
	category  = "Chaperone"
	supported = "SUPPORTED_Any"
)

// Template writes the settings for Windows as a group policy template (ADMX). Its words are in the file that Language writes.
func Template(w io.Writer, p *export.Plan) (left []string, err error) {
	if err := watched(p); err != nil {
		return nil, err
	}
	left = unset(p)
	out := template{Revision: admxRevision, Schema: "1.0", Comment: export.Comment(p), Target: namespace{"chaperone", "Chaperone.Policies.Clients"}, Resources: resources{admxRevision},
		Supported: []named{{supported, stringOf(supported)}}, Category: named{category, stringOf(category)}}
	var policies []admxPolicy
	for i := range p.Clients {
		s := of(&p.Clients[i])
		left = append(append(left, s.left...), s.windows...)
		for _, v := range s.values {
			if v.only {
				left = append(left, p.Clients[i].ID+": a group policy adds to the list below "+v.key+" and leaves what others wrote there; clients-reg empties it first")
				break
			}
		}
		policies = append(policies, policiesOf(&p.Clients[i], s)...)
	}
	if len(policies) > 0 {
		out.Policies = &policyTable{policies}
	}
	return left, export.WriteXML(w, out)
}

type language struct {
	XMLName       xml.Name           `xml:"http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions policyDefinitionResources"`
	Revision      string             `xml:"revision,attr"`
	Schema        string             `xml:"schemaVersion,attr"`
	Comment       xml.Comment        `xml:",comment"`
	Name          string             `xml:"displayName"`
	About         string             `xml:"description"`
	Strings       []word             `xml:"resources>stringTable>string"`
	Presentations *presentationTable `xml:"resources>presentationTable"`
}

type word struct {
	ID   string `xml:"id,attr"`
	Text string `xml:",chardata"`
}

type presentationTable struct {
	Presentations []presentation `xml:"presentation"`
}

type presentation struct {
	ID    string    `xml:"id,attr"`
	Boxes []textBox `xml:"textBox"`
}

type textBox struct {
	Ref     string `xml:"refId,attr"`
	Label   string `xml:"label"`
	Default string `xml:"defaultValue"`
}

// Language writes the English words of the template (ADML), and the values that are too long to be fixed in it.
func Language(w io.Writer, p *export.Plan) (left []string, err error) {
	if err := watched(p); err != nil {
		return nil, err
	}
	left = unset(p)
	out := language{Revision: admxRevision, Schema: "1.0", Comment: export.Comment(p), Name: "Chaperone", About: "Settings of approved messengers",
		Strings: []word{{category, "Chaperone: approved messengers"}, {supported, "Windows with the client"}}}
	var boxes []presentation
	for i := range p.Clients {
		s := of(&p.Clients[i])
		left = append(append(left, s.left...), s.windows...)
		for _, policy := range policiesOf(&p.Clients[i], s) {
			out.Strings = append(out.Strings, word{policy.Name, p.Clients[i].Name + ": as the firm allows it"}, word{policy.Name + "_Explain", explain(&policy)})
			if policy.Elements == nil {
				continue
			}
			shown := presentation{ID: policy.Name}
			for _, t := range policy.Elements.Texts {
				shown.Boxes = append(shown.Boxes, textBox{t.ID, t.Name, t.value})
			}
			boxes = append(boxes, shown)
		}
	}
	if len(boxes) > 0 {
		out.Presentations = &presentationTable{boxes}
	}
	return left, export.WriteXML(w, out)
}

// explain says what a policy writes.
func explain(p *admxPolicy) string {
	var b strings.Builder
	b.WriteString("Enabled: writes what chaperone policy export took from the policy of the firm. Disabled: deletes it. Values:")
	if p.Enabled != nil {
		for _, i := range p.Enabled.Items {
			text := ""
			if i.Value.Number != nil {
				text = fmt.Sprint(i.Value.Number.Value)
			} else if i.Value.Text != nil {
				text = *i.Value.Text
			}
			b.WriteString("\n" + i.Key + `\` + i.Name + " = " + text)
		}
	}
	if p.Elements != nil {
		for _, t := range p.Elements.Texts {
			b.WriteString("\n" + t.Key + `\` + t.Name + " = as the field below has it")
		}
	}
	return b.String()
}
