package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/manifest"
)

const (
	appx = `<?xml version="1.0" encoding="utf-8"?><Package xmlns="http://schemas.microsoft.com/appx/manifest/foundation/windows10" xmlns:uap="x">
<Identity Name="5319275A.WhatsAppDesktop" Publisher="CN=24803D75-212C-471A-BC57-9EF86AB91435" Version="2.2.1.0" ProcessorArchitecture="x64"/>
<Properties><DisplayName>WhatsApp</DisplayName><PublisherDisplayName>WhatsApp Inc.</PublisherDisplayName></Properties></Package>`
	bundle   = `<Bundle xmlns="x"><Identity Name="a.b" Publisher="CN=c" Version="1"/></Bundle>`
	jar      = "Manifest-Version: 1.0\r\nMain-Class: org.jivesoftware.launch\r\n er.Startup\r\nImplementation-Title: Spark\r\nImplementation-Vendor: Ignite Realtime\r\nImplementation-Version: 3.0\r\n\r\nName: other\r\nMain-Class: no\r\n"
	metadata = "Metadata-Version: 2.1\nName: poezio\nVersion: 0.14\nSummary: A console client\n goes on\nAuthor: Example\n\nName: in the description\n"
	electron = `{"name":"signal-desktop","productName":"Signal","version":"7.1.0","desktopName":"signal.desktop","author":{"name":"Signal Messenger, LLC","email":"x"}}`
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		format program.Format
		text   string
		want   program.Identity
	}{
		"appx":       {program.MSIX, appx, program.Identity{Package: "5319275A.WhatsAppDesktop", Version: "2.2.1.0", Product: "WhatsApp", Company: "WhatsApp Inc."}},
		"bundle":     {program.MSIX, bundle, program.Identity{Package: "a.b", Version: "1"}},
		"jar":        {program.JAR, jar, program.Identity{Package: "org.jivesoftware.launcher.Startup", Product: "Spark", Company: "Ignite Realtime", Version: "3.0"}},
		"python":     {program.Wheel, metadata, program.Identity{Package: "poezio", Version: "0.14"}},
		"electron":   {program.ASAR, electron, program.Identity{Package: "signal-desktop", Product: "Signal", Version: "7.1.0", Company: "Signal Messenger, LLC"}},
		"name alone": {program.ASAR, `{"name":"x","author":"A","version":[1]}`, program.Identity{Package: "x", Product: "x", Company: "A"}},
	} {
		id, err := manifest.Parse(c.format, []byte(c.text))
		if err != nil || id.Format != c.format || id.Package != c.want.Package || id.Product != c.want.Product || id.Company != c.want.Company || id.Version != c.want.Version {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		for _, s := range id.Signers {
			if s.Verified || s.Unverified == "" {
				t.Errorf("%s: a claim is taken for a signature: %+v", name, s)
			}
		}
	}
}

func TestNoManifest(t *testing.T) {
	for _, f := range []program.Format{program.MSIX, program.JAR, program.Wheel, program.ASAR, program.PE} {
		for _, text := range []string{"", "{}", "<x/>", "Manifest-Version: 1.0\n\n", "Metadata-Version: 2\n\n", strings.Repeat("a: b\n", 2000)} {
			if id, err := manifest.Parse(f, []byte(text)); err == nil {
				t.Errorf("%s of %.20q: %+v", f, text, id)
			}
		}
	}
	if _, err := manifest.Parse(program.JAR, []byte("Manifest-Version: 1.0\n")); !errors.Is(err, manifest.ErrNone) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for i, s := range []string{appx, jar, metadata, electron} {
		f.Add(i, []byte(s))
	}
	formats := []program.Format{program.MSIX, program.JAR, program.Wheel, program.ASAR}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		id, err := manifest.Parse(formats[uint(i)%4], b)
		if err == nil && id.Package == "" && id.Product == "" {
			t.Errorf("%+v", id)
		}
	})
}
