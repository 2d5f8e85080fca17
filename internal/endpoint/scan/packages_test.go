package scan_test

import (
	"archive/zip"
	"bytes"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// TestPackagesOfEverySystem knows messengers by the manifests of their packages, and as web applications.
func TestPackagesOfEverySystem(t *testing.T) {
	zipped := func(name, text string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	desktop := func(exec string) []byte {
		return []byte("[Desktop Entry]\nType=Application\nName=Chat\nExec=" + exec + "\n")
	}
	dir := t.TempDir()
	files := map[string]struct {
		data []byte
		app  string // "" for none
	}{
		"msix":            {zipped("AppxManifest.xml", `<Package><Identity Name="5319275A.WhatsAppDesktop" Publisher="CN=x" Version="1"/></Package>`), "whatsapp"},
		"jar":             {zipped("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nMain-Class: org.jivesoftware.launcher.Startup\n"), "xmpp"},
		"wheel":           {zipped("Telethon-1.36.dist-info/METADATA", "Metadata-Version: 2.1\nName: Telethon\nVersion: 1.36\n"), "telegram"},
		"METADATA":        {[]byte("Metadata-Version: 2.1\nName: poezio\nVersion: 0.14\n"), "xmpp"},
		"web-app":         {desktop("/usr/bin/chromium --profile-directory=Default --app-id=hnpfjngllnobngcgfapefoaidbinmjnm"), "whatsapp"},
		"page":            {desktop(`chromium "--app=https://web.whatsapp.com/"`), "whatsapp"},
		"other-page":      {desktop("chromium --app=https://example.org/web.whatsapp.com"), ""},
		"other.jar":       {zipped("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nMain-Class: org.example.Main\n"), ""},
		"other.msix":      {zipped("AppxManifest.xml", `<Package><Identity Name="Example.Clock" Publisher="CN=x" Version="1"/></Package>`), ""},
		"broken.msix":     {zipped("AppxManifest.xml", `<Package`), ""},
		"no-package.jar":  {zipped("META-INF/MANIFEST.MF", "\n"), ""},
		"words-about-it":  {[]byte("Metadata: 5319275A.WhatsAppDesktop"), ""},
		"METADATA-of-one": {[]byte("Metadata-Version: 2.1\n\nName: poezio\n"), ""},
	}
	for name, f := range files {
		write(t, filepath.Join(dir, name), f.data)
	}
	r := run(t, scan.Options{}, dir)
	for name, f := range files {
		got := ""
		if found := r.findings[name]; found != nil {
			got = found.Event.Program.App
			if !found.Certain() {
				t.Errorf("%s: confidence %v", name, found.Event.Program.Confidence)
			}
		}
		if got != f.app {
			t.Errorf("%s is %q, want %q", name, got, f.app)
		}
	}
	if len(r.problems) != 1 || r.problems[0] != "broken.msix: unparseable" {
		t.Errorf("problems %q", r.problems)
	}
}
