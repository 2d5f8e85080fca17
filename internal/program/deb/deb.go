// Package deb reads the control file of a Debian package.
package deb

import (
	"bufio"
	"bytes"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
)

// maxControl bounds the control file.
const maxControl = 1 << 20

// ParseControl reads the fields of a control file (Debian Policy, section 5.1) that say which package it is.
func ParseControl(control []byte) program.Identity {
	id := program.Identity{Format: program.Deb, Kind: program.Package}
	lines := bufio.NewScanner(bytes.NewReader(control[:min(len(control), maxControl)]))
	lines.Buffer(nil, maxControl+1) // a long line hides nothing behind it
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			continue // continued
		}
		field, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = program.Text(value)
		switch strings.ToLower(field) {
		case "package":
			id.Package = value
		case "version":
			id.Version = value
		case "maintainer":
			id.Maintains = value
		}
	}
	return id
}
