// Package bundle reads the Info.plist of a macOS bundle.
package bundle

import (
	"errors"
	"fmt"

	"howett.net/plist"

	"github.com/chaperone-im/chaperone/internal/program"
)

// maxPlist bounds a property list.
const maxPlist = 4 << 20

// ErrNotBundle says that a property list is not the Info.plist of a bundle.
var ErrNotBundle = errors.New("bundle: no bundle identifier")

// Parse reads an Info.plist, in XML or binary.
func Parse(data []byte) (id program.Identity, err error) {
	id = program.Identity{Format: program.Bundle, Kind: program.Client}
	if len(data) > maxPlist {
		return id, ErrNotBundle
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bundle: %v", p)
		}
	}()
	var info struct {
		Identifier string `plist:"CFBundleIdentifier"`
		Name       string `plist:"CFBundleName"`
		Version    string `plist:"CFBundleShortVersionString"`
		Executable string `plist:"CFBundleExecutable"`
		Package    string `plist:"CFBundlePackageType"`
	}
	if _, err := plist.Unmarshal(data, &info); err != nil {
		return id, fmt.Errorf("bundle: %w", err)
	}
	if info.Identifier == "" {
		return id, ErrNotBundle
	}
	id.Bundle = program.Text(info.Identifier)
	id.Product = program.Text(info.Name)
	id.Version = program.Text(info.Version)
	id.Binary = program.Text(info.Executable)
	if info.Package != "" && info.Package != "APPL" {
		id.Kind = program.Library
	}
	return id, nil
}
