package rpm_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/program/programtest"
	"github.com/chaperone-im/chaperone/internal/program/rpm"
)

func TestParse(t *testing.T) {
	id, err := rpm.Parse(programtest.RPM("telegram-desktop", "4.6.5", "RPM Fusion", nil))
	if err != nil || id.Package != "telegram-desktop" || id.Version != "4.6.5-1" || id.Maintains != "RPM Fusion" {
		t.Errorf("%+v, %v", id, err)
	}
	whole := programtest.RPM("x", "1", "", nil)
	for n := range len(whole) {
		if _, err := rpm.Parse(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were read", n, len(whole))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(programtest.RPM("telegram-desktop", "4.6.5", "RPM Fusion", nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = rpm.Parse(b) // must end, whatever it says
	})
}
