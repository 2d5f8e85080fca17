package export

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
)

// WriteXML writes an XML document.
func WriteXML(w io.Writer, document any) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(document); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// Comment says in an XML document what it was made from. Two hyphens would end a comment.
func Comment(p *Plan) xml.Comment {
	return xml.Comment(" made by chaperone policy export from policy " + strings.ReplaceAll(p.Policy, "--", "- -") + " ")
}

// WriteJSON writes a JSON document.
func WriteJSON(w io.Writer, document any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document)
}

// RegistryHeader begins a registry file of Windows.
const RegistryHeader = "Windows Registry Editor Version 5.00\r\n"

// RegistryString is a string as a registry file writes it.
func RegistryString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
