package exporttest_test

import (
	"testing"

	"github.com/chaperone-im/chaperone/internal/policy/export"
	"github.com/chaperone-im/chaperone/internal/policy/export/exporttest"
)

func TestPlanHasSomethingOfEachKind(t *testing.T) {
	p := exporttest.Plan(t, exporttest.Policy, export.Options{})
	if len(p.Apps) == 0 || len(p.Hashes) != 2 || len(p.Names) == 0 || p.Removable == nil || p.Audit {
		t.Errorf("%d apps, %d hashes, %d names, removable %v, audit %t", len(p.Apps), len(p.Hashes), len(p.Names), p.Removable, p.Audit)
	}
}
