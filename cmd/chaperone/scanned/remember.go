package scanned

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// OpenMemory opens what earlier scans with this data directory found nothing in, by the rules that hold now. Where policy judges programs by
// their path or by an expression there is no memory, since what was no finding in one place may be one in another: why says so.
func OpenMemory(data string, p *policy.Policy, c *catalog.Catalog, host string, now time.Time) (m *rescan.Memory, why string, err error) {
	for i := range p.File().Rules {
		r := &p.File().Rules[i]
		if len(r.Programs.Paths) > 0 || r.When != "" {
			return nil, fmt.Sprintf("rule %s judges by path or expression: every file is looked into", r.ID), nil
		}
	}
	build, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	info, err := os.Stat(build)
	if err != nil {
		return nil, "", err
	}
	rules := fmt.Sprintf("program %d %d, policy %s until %d, catalog %s, host %s", info.Size(), info.ModTime().UnixNano(), p.Version(), p.NextChange(now).Unix(), c.Version(), host)
	m, err = rescan.Open(filepath.Join(data, "state", "scan"), rules)
	return m, "", err
}

// Left tells how long a scan will go on that took so long for done of expected files, "" when that is not known.
func Left(done, expected int64, took time.Duration) string {
	if done < 100 || expected <= done || took < 2*time.Second {
		return ""
	}
	left := time.Duration(float64(took) * float64(expected-done) / float64(done))
	return ", about " + max(left.Round(time.Second), time.Second).String() + " left"
}
