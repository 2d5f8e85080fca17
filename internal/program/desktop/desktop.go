// Package desktop reads desktop files: what a menu entry starts.
package desktop

import (
	"bufio"
	"bytes"
	"errors"
	"net/url"
	"path"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
)

// maxDesktop bounds a desktop file.
const maxDesktop = 1 << 20

// ErrNotApplication says that a desktop file starts no program.
var ErrNotApplication = errors.New("desktop: starts no program")

// Parse reads the first group of a desktop file (Desktop Entry Specification 1.5). The file's own name, which anybody can choose, is not
// its id here: icon, window class and the marks of flatpak and snap are.
func Parse(data []byte) (program.Identity, error) {
	id := program.Identity{Format: program.Desktop, Kind: program.Launcher}
	lines := bufio.NewScanner(bytes.NewReader(data[:min(len(data), maxDesktop)]))
	lines.Buffer(nil, maxDesktop+1) // a long line hides nothing behind it
	entry, application := false, false
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			if entry {
				break // a second group: actions
			}
			entry = line == "[Desktop Entry]"
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || !entry {
			continue
		}
		key, value = strings.TrimSpace(key), program.Text(value)
		if key == "Type" {
			application = value == "Application"
		}
		set(&id, key, value)
	}
	if !application {
		return id, ErrNotApplication
	}
	return id, nil
}

func set(id *program.Identity, key, value string) {
	switch key {
	case "Name":
		id.Product = value
	case "Exec":
		id.Binary = started(value)
		webApp(id, value)
	case "Icon", "StartupWMClass":
		name := path.Base(value)
		if name != "." && name != "/" {
			id.DesktopID = append(id.DesktopID, name)
		}
		if app, ok := strings.CutPrefix(name, "crx_"); ok && id.WebApp == "" {
			id.WebApp = strings.TrimPrefix(app, "_") // Edge writes two
		}
	case "X-Flatpak":
		id.Flatpak = value
	case "X-SnapInstanceName":
		id.Snap = value
	}
}

// webApp takes what an Exec line has a browser show as a program of its own: an installed application, or a page.
func webApp(id *program.Identity, exec string) {
	for word := range strings.FieldsSeq(exec) {
		word = strings.Trim(word, `"`)
		if app, ok := strings.CutPrefix(word, "--app-id="); ok {
			id.WebApp = app
		}
		if page, ok := strings.CutPrefix(word, "--app="); ok {
			if u, err := url.Parse(page); err == nil {
				id.WebHost = strings.ToLower(u.Hostname())
			}
		}
	}
}

// started returns the program that an Exec line starts, without its path.
func started(exec string) string {
	for word := range strings.FieldsSeq(exec) {
		word = strings.Trim(word, `"`)
		if word == "env" || strings.HasSuffix(word, "/env") || strings.Contains(word, "=") {
			continue
		}
		return path.Base(word)
	}
	return ""
}
