package update_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/update/updatetest"
)

func TestMain(m *testing.M) {
	inside = os.Getenv(updatetest.Inside) != ""
	if err := updatetest.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// inside says that this process is on a machine to throw away.
var inside bool
