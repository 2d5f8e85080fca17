// Package scantest makes files for tests of the scanner, and for the demo.
package scantest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// Installer returns a generated Windows program whose version resource says that it installs Telegram Desktop. It is a real PE file that
// does nothing.
func Installer() []byte {
	return programtest.PE(map[string]string{
		"ProductName": "Telegram Desktop", "CompanyName": "Telegram FZ-LLC", "FileDescription": "Telegram Desktop Setup",
		"ProductVersion": "4.6.5.0", "OriginalFilename": "tsetup.exe",
	})
}

// WriteRenamedInstaller writes Installer to dir under the name of a picture and returns its path.
func WriteRenamedInstaller(dir string) (string, error) {
	path := filepath.Join(dir, "holiday.jpg")
	if err := os.WriteFile(path, Installer(), 0o644); err != nil {
		return "", fmt.Errorf("write installer: %w", err)
	}
	return path, nil
}
