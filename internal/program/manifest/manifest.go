// Package manifest reads what packages that are zip archives or trees say about themselves in a file of text: the manifest of an MSIX or AppX
// package, of a Java archive, the metadata of a Python distribution, and the package.json of an Electron program.
//
// None of this is proven by the text: where a package is signed, package appx checks by whom.
package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
)

// MaxSize bounds a manifest.
const MaxSize = 1 << 20

// ErrNone says that a text is no manifest of its kind.
var ErrNone = errors.New("manifest: it names no program")

// Parse reads the manifest of a format.
func Parse(f program.Format, b []byte) (program.Identity, error) {
	b = b[:min(len(b), MaxSize)]
	switch f {
	case program.MSIX:
		return appx(b)
	case program.JAR:
		return jar(b)
	case program.Wheel:
		return python(b)
	case program.ASAR:
		return electron(b)
	}
	return program.Identity{Format: f}, ErrNone
}

// appx reads AppxManifest.xml, or that of a bundle. Its publisher must be the subject of the certificate that signs the package: Windows checks
// that when it installs it.
func appx(b []byte) (program.Identity, error) {
	id := program.Identity{Format: program.MSIX, Kind: program.Package}
	var m struct {
		Identity struct {
			Name      string `xml:"Name,attr"`
			Publisher string `xml:"Publisher,attr"`
			Version   string `xml:"Version,attr"`
		} `xml:"Identity"`
		Properties struct {
			DisplayName string `xml:"DisplayName"`
			Publisher   string `xml:"PublisherDisplayName"`
		} `xml:"Properties"`
	}
	if err := xml.Unmarshal(b, &m); err != nil {
		return id, fmt.Errorf("manifest: %w", err)
	}
	if m.Identity.Name == "" {
		return id, ErrNone
	}
	id.Package, id.Version = program.Text(m.Identity.Name), program.Text(m.Identity.Version)
	id.Product, id.Company = program.Text(m.Properties.DisplayName), program.Text(m.Properties.Publisher)
	if m.Identity.Publisher != "" {
		id.Signers = []program.Signer{{Subject: program.Text(m.Identity.Publisher), Unverified: "the signature of the package is not checked"}}
	}
	return id, nil
}

// jar reads the main section of META-INF/MANIFEST.MF (JAR File Specification).
func jar(b []byte) (program.Identity, error) {
	id := program.Identity{Format: program.JAR, Kind: program.Library}
	for key, value := range fields(b, true) {
		switch key {
		case "main-class":
			id.Package, id.Kind = value, program.Client
		case "implementation-title", "bundle-name":
			id.Product = value
		case "implementation-vendor", "bundle-vendor":
			id.Company = value
		case "implementation-version", "bundle-version":
			id.Version = value
		}
	}
	if id.Package == "" && id.Product == "" {
		return id, ErrNone
	}
	return id, nil
}

// python reads METADATA of a wheel or an installed distribution, or PKG-INFO (PEP 566).
func python(b []byte) (program.Identity, error) {
	id := program.Identity{Format: program.Wheel, Kind: program.Package}
	f := fields(b, false)
	id.Package, id.Version, id.Maintains = f["name"], f["version"], f["author"]
	if id.Package == "" || f["metadata-version"] == "" {
		return id, ErrNone
	}
	return id, nil
}

const maxFields = 500

// fields reads "Key: value" lines up to the first empty one, the first of each key. With joined, a line that begins with a space goes on with the
// value before it.
func fields(b []byte, joined bool) map[string]string {
	out := map[string]string{}
	last := ""
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, MaxSize+1)
	for lines.Scan() && len(out) < maxFields {
		line := lines.Text()
		if strings.TrimSpace(line) == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if joined && last != "" && len(out[last]) < 1024 {
				out[last] = program.Text(out[last] + line[1:])
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if key, last = strings.ToLower(key), ""; !ok || out[key] != "" {
			continue
		}
		last = key
		out[key] = program.Text(value)
	}
	return out
}

// electron reads package.json. Names are chosen freely: they are hints.
func electron(b []byte) (program.Identity, error) {
	id := program.Identity{Format: program.ASAR, Kind: program.Package}
	var p struct {
		Name        any `json:"name"`
		ProductName any `json:"productName"`
		Version     any `json:"version"`
		DesktopName any `json:"desktopName"`
		Author      any `json:"author"`
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return id, fmt.Errorf("manifest: package.json: %w", err)
	}
	text := func(v any) string {
		if m, ok := v.(map[string]any); ok {
			v = m["name"]
		}
		s, _ := v.(string)
		return program.Text(s)
	}
	id.Product, id.Version, id.Company, id.Package = text(p.ProductName), text(p.Version), text(p.Author), text(p.Name)
	if id.Product == "" {
		id.Product = id.Package
	}
	for _, name := range []string{strings.TrimSuffix(text(p.DesktopName), ".desktop"), id.Package} {
		if name != "" {
			id.DesktopID = append(id.DesktopID, name)
		}
	}
	if id.Product == "" {
		return id, ErrNone
	}
	return id, nil
}
