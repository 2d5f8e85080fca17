package scan_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
)

// TestNamedDevice: a path that was named and is not looked at is said, not passed by.
func TestNamedDevice(t *testing.T) {
	s := newScanner(t, scan.Options{})
	var said []string
	sum, err := s.Scan(t.Context(), []string{"/dev/zero"}, func(r scan.Result) error {
		if r.Problem != nil {
			said = append(said, r.Problem.Reason)
		}
		return nil
	})
	if err != nil || sum.Errors != 1 || len(said) != 1 || said[0] != "special-file" {
		t.Errorf("%v, %+v, %v", said, sum, err)
	}
}
